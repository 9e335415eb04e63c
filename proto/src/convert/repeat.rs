//! Repeats: what was seen once more as an earlier record tells it.

use super::DecodeError;
use super::value::check_size;
use crate::{limits, v1};
use firstline_model::{Repeat, SequenceNumber, Timestamp};
use prost::Message;

pub(super) fn to_wire(place: usize, repeat: &Repeat, base_ms: i64) -> v1::Repeat {
    let mut before = 0;
    let mut changed = Vec::new();
    for (at, _) in &repeat.changed {
        changed.push(small(at.saturating_sub(before)));
        before = *at;
    }
    v1::Repeat {
        record: repeat.record.0,
        first: small(repeat.first),
        count: small(repeat.count),
        offset_ms: repeat.at.as_millis().saturating_sub(base_ms),
        changed,
        differences: repeat.changed.iter().map(|(_, by)| *by).collect(),
        place: small(place),
    }
}

/// Places are below the number of observations that a record may have.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The repeats of a record with `own` observations of its own.
pub(super) fn from_wire(
    repeats: Vec<v1::Repeat>,
    own: usize,
    base_ms: i64,
) -> Result<Vec<(usize, Repeat)>, DecodeError> {
    check_size("repeats in a record", repeats.len(), limits::RECORD_REPEATS)?;
    let mut found = Vec::new();
    let mut least = 0;
    for repeat in repeats {
        let place = repeat.place as usize;
        if place < least || place > own || repeat.changed.len() != repeat.differences.len() {
            return Err(DecodeError::Malformed);
        }
        least = place;
        check_size("changes of a repeat", repeat.changed.len(), repeat.count as usize)?;
        let mut at = 0_usize;
        let mut changed = Vec::new();
        for (number, (further, by)) in repeat.changed.iter().zip(&repeat.differences).enumerate() {
            if number > 0 && *further == 0 {
                return Err(DecodeError::Malformed);
            }
            at = at.checked_add(*further as usize).ok_or(DecodeError::Malformed)?;
            changed.push((at, *by));
        }
        found.push((
            place,
            Repeat {
                record: SequenceNumber(repeat.record),
                first: repeat.first as usize,
                count: repeat.count as usize,
                at: Timestamp::from_millis(base_ms.saturating_add(repeat.offset_ms)),
                changed,
            },
        ));
    }
    Ok(found)
}

/// Only what a record leads back to; everything else of it is passed over.
#[derive(Clone, PartialEq, Message)]
struct LeadsOnly {
    #[prost(message, repeated, tag = "4")]
    repeats: Vec<v1::Repeat>,
    #[prost(message, repeated, tag = "5")]
    inventories: Vec<v1::Inventory>,
}

/// What has to be known to read a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leads {
    /// Records of the same epoch.
    pub records: Vec<SequenceNumber>,
    /// The newest inventories.
    pub inventories: bool,
}

/// What has to be known to read an encoded record. What cannot be read leads nowhere.
pub fn leads_of(bytes: &[u8]) -> Leads {
    if bytes.len() > limits::RECORD_BYTES || super::depth::check_record(bytes).is_err() {
        return Leads::default();
    }
    let Ok(read) = LeadsOnly::decode(bytes) else { return Leads::default() };
    let mut records: Vec<_> = read.repeats.iter().map(|repeat| SequenceNumber(repeat.record)).collect();
    records.sort_unstable();
    records.dedup();
    Leads { records, inventories: !read.inventories.is_empty() }
}
