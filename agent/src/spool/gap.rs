//! Records that are given up: which go when the quota is reached, and the gap record that names them.

use super::database::update_epoch;
use firstline_model::{Body, Component, ComponentKind, Epoch, Observation, SequenceNumber, Timestamp};
use firstline_proto::{convert::encode_record, limits};
use rusqlite::{OptionalExtension, Transaction, params};

/// Numbers of one epoch that nobody will ever see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) epoch: Epoch,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// What made room.
pub(super) struct Freed {
    pub(super) epoch: Epoch,
    pub(super) last: SequenceNumber,
    pub(super) bytes: u64,
    pub(super) unacked: Option<Range>,
}

/// Deletes some of the oldest records: acked ones first, then unacked ones, never of nothing.
pub(super) fn drop_oldest(transaction: &Transaction<'_>, current: i64) -> rusqlite::Result<Option<Freed>> {
    const AT_ONCE: u32 = 64;
    let acked = transaction
        .query_row(
            "SELECT r.epoch FROM record r JOIN epoch e ON e.id = r.epoch WHERE r.seq <= e.watermark
             ORDER BY r.epoch, r.seq LIMIT 1",
            [],
            |row| row.get::<_, i64>(0),
        )
        .optional()?;
    let id = match acked {
        Some(id) => Some(id),
        None => transaction
            .query_row("SELECT epoch FROM record ORDER BY epoch, seq LIMIT 1", [], |row| row.get(0))
            .optional()?,
    };
    let Some(id) = id else { return Ok(None) };
    let (name, watermark): ([u8; 16], u64) =
        transaction.query_row("SELECT name, watermark FROM epoch WHERE id = ?", [id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let bound = if acked.is_some() { watermark } else { u64::MAX >> 1 };
    let (first, last, bytes): (u64, u64, u64) = transaction.query_row(
        "SELECT min(seq), max(seq), sum(length(payload)) FROM
         (SELECT seq, payload FROM record WHERE epoch = ? AND seq <= ? ORDER BY seq LIMIT ?)",
        params![id, bound, AT_ONCE],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let epoch = Epoch(name);
    delete_through(transaction, id, epoch, last)?;
    if id != current {
        transaction.execute(
            "DELETE FROM epoch WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM record WHERE epoch = ?1)",
            [id],
        )?;
    }
    let unacked = acked.is_none().then_some(Range { epoch, first, last });
    Ok(Some(Freed { epoch, last: SequenceNumber(last), bytes, unacked }))
}

/// Deletes an epoch's records through `last` and notes that they are missing on purpose.
pub(super) fn delete_through(
    transaction: &Transaction<'_>,
    row: i64,
    epoch: Epoch,
    last: u64,
) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM record WHERE epoch = ? AND seq <= ?", params![row, last])?;
    transaction.execute("DELETE FROM lost WHERE epoch = ? AND last <= ?", params![row, last])?;
    update_epoch(transaction, epoch, |_, _, trimmed| *trimmed = last.max(*trimmed))
}

/// The payloads of the gap records that name these ranges.
pub(super) fn records(ranges: &[Range], reason: &'static str, now: Timestamp) -> Vec<Vec<u8>> {
    let gap = |range: &Range| Observation {
        component: Component::only(ComponentKind::Agent),
        observed_at: now,
        body: Body::Gap { epoch: range.epoch, first: range.first, last: range.last, reason: reason.into() },
    };
    ranges
        .chunks(limits::RECORD_OBSERVATIONS)
        .map(|ranges| encode_record(&ranges.iter().map(gap).collect::<Vec<_>>()))
        .collect()
}

/// What is missing between `first` and `last`, when `present` (ascending) and `named` are not.
pub(super) fn missing(
    first: u64,
    last: u64,
    present: impl Iterator<Item = u64>,
    named: &[(u64, u64)],
) -> Vec<(u64, u64)> {
    let mut holes = Vec::new();
    let mut due = first;
    for seq in present.filter(|seq| (first..=last).contains(seq)) {
        if seq > due {
            holes.push((due, seq - 1));
        }
        due = seq.saturating_add(1);
    }
    if due <= last {
        holes.push((due, last));
    }
    for (first, last) in named {
        holes = holes.into_iter().flat_map(|hole| without(hole, *first, *last)).collect();
    }
    holes
}

fn without((begin, end): (u64, u64), first: u64, last: u64) -> Vec<(u64, u64)> {
    if last < begin || first > end {
        return vec![(begin, end)];
    }
    let before = (begin < first).then(|| (begin, first.saturating_sub(1)));
    let after = (last < end).then(|| (last.saturating_add(1), end));
    before.into_iter().chain(after).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_there_nor_named_is_missing() {
        assert_eq!(missing(1, 5, 1..=5, &[]), []);
        assert_eq!(missing(1, 5, [2, 4].into_iter(), &[]), [(1, 1), (3, 3), (5, 5)]);
        assert_eq!(missing(1, 9, [1].into_iter(), &[(3, 4), (9, 12)]), [(2, 2), (5, 8)]);
        assert_eq!(missing(4, 3, std::iter::empty(), &[]), []);
    }
}
