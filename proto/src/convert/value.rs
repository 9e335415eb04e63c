//! Documents. Depth and number of values are bounded while reading, not afterwards.

use super::DecodeError;
use crate::{limits, v1};
use firstline_model::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

pub(super) fn to_wire(value: &Value) -> v1::Value {
    let kind = match value {
        Value::Bool(truth) => v1::value::Kind::Truth(*truth),
        Value::Number(number) => v1::value::Kind::Number(*number),
        Value::Text(text) => v1::value::Kind::Text(cut(text, limits::DOCUMENT_TEXT_BYTES).to_owned()),
        Value::List(items) => {
            v1::value::Kind::List(v1::ValueList { items: items.iter().map(to_wire).collect() })
        }
        Value::Map(fields) => v1::value::Kind::Map(v1::ValueMap {
            fields: fields
                .iter()
                .map(|(name, value)| v1::ValueField {
                    name: cut(name, limits::TEXT_BYTES).to_owned(),
                    value: Some(to_wire(value)),
                })
                .collect(),
        }),
    };
    v1::Value { kind: Some(kind) }
}

pub(super) fn from_wire(value: v1::Value) -> Result<Value, DecodeError> {
    let mut budget = limits::DOCUMENT_VALUES;
    read(value, Value::MAX_DEPTH, &mut budget)
}

fn read(value: v1::Value, depth_left: usize, budget: &mut usize) -> Result<Value, DecodeError> {
    *budget = budget.checked_sub(1).ok_or(DecodeError::TooLarge {
        what: "values in a document",
        found: limits::DOCUMENT_VALUES + 1,
        limit: limits::DOCUMENT_VALUES,
    })?;
    let too_deep = DecodeError::TooLarge {
        what: "levels in a document",
        found: Value::MAX_DEPTH + 1,
        limit: Value::MAX_DEPTH,
    };
    Ok(match value.kind.ok_or(DecodeError::Missing { what: "value" })? {
        v1::value::Kind::Truth(truth) => Value::Bool(truth),
        v1::value::Kind::Number(number) => Value::Number(if number.is_nan() { 0.0 } else { number }),
        v1::value::Kind::Text(text) => {
            check_size("bytes in a text", text.len(), limits::DOCUMENT_TEXT_BYTES)?;
            Value::Text(text)
        }
        v1::value::Kind::List(list) => {
            let depth_left = depth_left.checked_sub(1).ok_or(too_deep)?;
            Value::List(
                list.items
                    .into_iter()
                    .map(|item| read(item, depth_left, budget))
                    .collect::<Result<_, _>>()?,
            )
        }
        v1::value::Kind::Map(map) => {
            let depth_left = depth_left.checked_sub(1).ok_or(too_deep)?;
            let mut fields = BTreeMap::new();
            for field in map.fields {
                check_size("bytes in a name", field.name.len(), limits::TEXT_BYTES)?;
                let value = field.value.ok_or(DecodeError::Missing { what: "field value" })?;
                fields.insert(Cow::Owned(field.name), read(value, depth_left, budget)?);
            }
            Value::Map(fields)
        }
    })
}

pub(super) fn check_size(what: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    if found > limit { Err(DecodeError::TooLarge { what, found, limit }) } else { Ok(()) }
}

/// The longest beginning of `text` that is at most `max` bytes and does not split a character.
pub(super) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}
