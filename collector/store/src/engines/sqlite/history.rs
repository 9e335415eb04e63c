//! Records in order of receipt. The index by age holds the primary key behind the time, so a page is one walk of it.

use super::failure::{Failure, integer};
use super::rows::{self, At, EpochBytes, collect};
use crate::history::{KeptRecord, RecordPlace};
use firstline_model::{DeviceId, Timestamp};
use rusqlite::{Connection, params};

pub(super) fn page(
    connection: &Connection,
    after: &RecordPlace,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<KeptRecord>, Failure> {
    let statement = connection.prepare_cached(
        "SELECT device, epoch, seq, received_at, payload, clock_suspect FROM record
         WHERE (received_at, device, epoch, seq) > (?1, ?2, ?3, ?4) AND received_at < ?5
         ORDER BY received_at, device, epoch, seq LIMIT ?6",
    )?;
    // Ids are never empty, so the empty text stands before all of them.
    let device = after.device.as_ref().map_or("", DeviceId::as_str);
    let seq = integer("sequence number", after.seq.0)?;
    let values = params![At(after.received_at), device, EpochBytes(after.epoch), seq, At(until), limit];
    collect(statement, values, |row| {
        Ok(KeptRecord {
            device: rows::device_id("record", row.get(0)?)?,
            epoch: row.get::<_, EpochBytes>(1)?.0,
            seq: rows::sequence("record", row.get(2)?)?,
            received_at: row.get::<_, At>(3)?.0,
            payload: row.get(4)?,
            clock_suspect: row.get(5)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::migrations;
    use super::*;

    #[test]
    fn a_page_of_history_is_read_along_the_index_without_sorting() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::run(&mut connection).unwrap();
        let plan: Vec<String> = connection
            .prepare(
                "EXPLAIN QUERY PLAN SELECT payload FROM record
                 WHERE (received_at, device, epoch, seq) > (1, '', x'00', 0) AND received_at < 9
                 ORDER BY received_at, device, epoch, seq LIMIT 5",
            )
            .unwrap()
            .query_map([], |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let plan = plan.join("; ");
        assert!(plan.contains("record_by_age") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}
