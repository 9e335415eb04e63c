//! How deep a record nests, measured before anything of it is built.
//!
//! The decoder of the protobuf library calls itself for every level and stops at 100; its limit cannot be set. Here the
//! levels are counted with a list instead of calls, so what is too deep costs nothing, whoever sent it. Groups, which
//! this schema has none of and which the library would also follow, are refused.

use super::DecodeError;
use crate::limits;

/// The messages that can hold others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Record,
    Observation,
    State,
    DiagnosticReport,
    Inventory,
    Value,
    ValueList,
    ValueMap,
    ValueField,
    /// Holds numbers and texts only.
    Leaf,
}

impl Kind {
    /// What the field of this number holds, when it holds a message that can nest further.
    fn holds(self, field: u64) -> Option<Self> {
        match (self, field) {
            (Self::Record, 3) => Some(Self::Observation),
            (Self::Record, 5) => Some(Self::Inventory),
            (Self::Inventory, 7) => Some(Self::Value),
            (Self::Observation, 5) => Some(Self::State),
            (Self::Observation, 9) => Some(Self::DiagnosticReport),
            (Self::Observation, 10) | (Self::State | Self::ValueField, 2) => Some(Self::Value),
            (Self::DiagnosticReport, 6) | (Self::ValueList, 1) => Some(Self::Value),
            (Self::Observation, 4 | 6 | 7 | 11) | (Self::Record, 4) => Some(Self::Leaf),
            (Self::Value, 4) => Some(Self::ValueList),
            (Self::Value, 5) => Some(Self::ValueMap),
            (Self::ValueMap, 1) => Some(Self::ValueField),
            (
                Self::Record
                | Self::Observation
                | Self::State
                | Self::DiagnosticReport
                | Self::Inventory
                | Self::Value
                | Self::ValueList
                | Self::ValueMap
                | Self::ValueField
                | Self::Leaf,
                _,
            ) => None,
        }
    }
}

/// Refuses an encoded record that nests deeper than [`limits::MESSAGE_LEVELS`], or whose parts do not fit into each other.
pub(super) fn check_record(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut open = vec![(Kind::Record, bytes.len())];
    let mut at = 0;
    while let Some(&(kind, end)) = open.last() {
        if at == end {
            open.pop();
            continue;
        }
        let tag = varint(bytes, &mut at, end)?;
        match tag & 7 {
            0 => drop(varint(bytes, &mut at, end)?),
            1 => skip(&mut at, 8, end)?,
            5 => skip(&mut at, 4, end)?,
            2 => {
                let length =
                    usize::try_from(varint(bytes, &mut at, end)?).map_err(|_| DecodeError::Malformed)?;
                let start = at;
                skip(&mut at, length, end)?;
                if let Some(inner) = kind.holds(tag >> 3) {
                    super::value::check_size("levels in a record", open.len() + 1, limits::MESSAGE_LEVELS)?;
                    open.push((inner, at));
                    at = start;
                }
            }
            _ => return Err(DecodeError::Malformed),
        }
    }
    Ok(())
}

fn skip(at: &mut usize, length: usize, end: usize) -> Result<(), DecodeError> {
    *at = at.checked_add(length).filter(|&next| next <= end).ok_or(DecodeError::Malformed)?;
    Ok(())
}

fn varint(bytes: &[u8], at: &mut usize, end: usize) -> Result<u64, DecodeError> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = bytes.get(..end).and_then(|bytes| bytes.get(*at)).ok_or(DecodeError::Malformed)?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::super::{decode_record, encode_record};
    use super::*;
    use crate::v1;
    use firstline_model::{Body, Component, ComponentKind, Observation, Timestamp, Value};
    use prost::Message;

    fn document(value: v1::Value) -> Vec<u8> {
        let state = v1::State { name_text: 0, document: Some(value) };
        let observation = v1::Observation {
            component_kind: v1::ComponentKind::Os.into(),
            body: Some(v1::observation::Body::State(state)),
            ..v1::Observation::default()
        };
        let texts = vec!["0".to_owned()];
        v1::Record {
            base_ms: 0,
            texts,
            observations: vec![observation],
            repeats: Vec::new(),
            inventories: Vec::new(),
        }
        .encode_to_vec()
    }

    fn lists(levels: usize) -> v1::Value {
        let innermost = v1::Value { kind: Some(v1::value::Kind::Truth(true)) };
        (0..levels).fold(innermost, |inner, _| v1::Value {
            kind: Some(v1::value::Kind::List(v1::ValueList { items: vec![inner] })),
        })
    }

    #[test]
    fn r15_a_document_as_deep_as_the_model_allows_passes_in_each_place() {
        let deepest = (0..Value::MAX_DEPTH)
            .fold(Value::from("x"), |inner, _| Value::map([("a", Value::List(vec![inner]))]));
        // Lists and maps by turns are two levels each; half of them are as deep as the model allows.
        let half = (0..Value::MAX_DEPTH / 2)
            .fold(Value::from("x"), |inner, _| Value::map([("a", Value::List(vec![inner]))]));
        for (document, passes) in [(half, true), (deepest, false)] {
            let bodies =
                [Body::State { name: "s".into(), document: document.clone() }, Body::Facts(document)];
            for body in bodies {
                let component = Component::only(ComponentKind::Os);
                let record =
                    encode_record(&[Observation { component, observed_at: Timestamp::from_millis(0), body }]);
                assert_eq!(decode_record(&record).is_ok(), passes);
            }
        }
    }

    #[test]
    fn r15_nesting_is_refused_before_anything_is_built_however_deep_it_is() {
        // Two levels of messages for a list; four levels lead to the document.
        let most = (limits::MESSAGE_LEVELS - 4) / 2;
        assert!(check_record(&document(lists(most))).is_ok());
        for levels in [most + 1, 45, 49, 51, 5_000] {
            // Built from the inside: no decoder and no encoder could follow so many levels.
            let mut value = vec![8, 1];
            for _ in 0..levels {
                for field in [0x0a, 0x22] {
                    let mut outer = vec![field];
                    prost::encoding::encode_varint(value.len() as u64, &mut outer);
                    outer.append(&mut value);
                    value = outer;
                }
            }
            let mut record = value;
            for field in [0x12, 0x2a, 0x1a] {
                let mut outer = vec![field];
                prost::encoding::encode_varint(record.len() as u64, &mut outer);
                outer.append(&mut record);
                record = outer;
            }
            let refused = decode_record(&record).expect_err("too deep");
            assert!(refused.to_string().contains("levels in a record"), "{levels}: {refused}");
        }
    }

    #[test]
    fn r15_groups_and_lengths_that_lie_are_refused() {
        for bytes in [
            [0x1b_u8; 40].as_slice(),
            &[0x1c],
            &[0x1a, 5, 0],
            &[0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x80; 11],
            &[0x09, 1, 2, 3],
        ] {
            assert!(decode_record(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn r15_what_the_library_reads_is_what_was_measured() {
        // Whatever is flipped: when the library can read it, it was not deeper than measured, and nothing panics.
        let whole = document(lists(5));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                if v1::Record::decode(flipped.as_slice()).is_err() {
                    assert!(decode_record(&flipped).is_err(), "byte {at}, bit {bit}");
                }
            }
        }
    }
}
