//! What [`crate::sabotage`] does to the embedded engine. Kept apart, so that the engine itself shows each fault in a
//! line.

use super::Sqlite;
use super::failure::Failure;
use super::rows::{At, first};
use crate::StoreError;
use crate::plan::{CommitPlan, DevicePlan};
use crate::sabotage::{
    NO_DEDUPE_KEY, OUTBOX_WITHOUT_KEY, TICKET_WITHOUT_UNIQUE_INDEX, TOKEN_CHECK_IN_READ_TRANSACTION, is,
};
use firstline_model::Timestamp;
use rusqlite::{Connection, params};

/// Takes from the schema what keeps doubles out.
pub(super) fn weaken(connection: &Connection) -> Result<(), StoreError> {
    let damage = if is(TICKET_WITHOUT_UNIQUE_INDEX) {
        "DROP INDEX IF EXISTS ticket_one_open; DROP INDEX IF EXISTS ticket_one_open_parent;"
    } else if is(OUTBOX_WITHOUT_KEY) && has_key(connection, "outbox", "UNIQUE")? {
        "ALTER TABLE outbox RENAME TO outbox_before; DROP INDEX outbox_unfinished;
         CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT, request_id TEXT, ticket INTEGER,
             payload TEXT, created_at INTEGER, finished_at INTEGER);
         DROP TABLE outbox_before;"
    } else if is(NO_DEDUPE_KEY) && has_key(connection, "record", "PRIMARY KEY")? {
        "ALTER TABLE record RENAME TO record_before; DROP INDEX record_by_age;
         CREATE TABLE record (device TEXT, epoch BLOB, seq INTEGER, received_at INTEGER, payload BLOB);
         DROP TABLE record_before;"
    } else {
        return Ok(());
    };
    connection.execute_batch(damage).map_err(|error| StoreError::from(Failure::Sqlite(error)))
}

fn has_key(connection: &Connection, table: &str, key: &str) -> Result<bool, StoreError> {
    connection
        .query_row("SELECT instr(sql, ?2) FROM sqlite_master WHERE name = ?1", [table, key], |row| {
            row.get::<_, i64>(0)
        })
        .map(|place| place > 0)
        .map_err(|error| StoreError::from(Failure::Sqlite(error)))
}

/// The plan without its marks, and another with only them.
pub(super) fn without_marks(mut plan: CommitPlan) -> (CommitPlan, CommitPlan) {
    let mut later = CommitPlan::default();
    for part in &mut plan.devices {
        let marks = std::mem::take(&mut part.marks);
        later.devices.push(DevicePlan { marks, ..DevicePlan::unchanged(part.device.clone()) });
    }
    (plan, later)
}

impl Sqlite {
    /// Looks at a token outside of the transaction that uses it, and gives it a further use if it had one then, so that
    /// the transaction finds what was read.
    pub(super) async fn check_apart(&self, hash: [u8; 32], now: Timestamp) -> Result<(), StoreError> {
        if !is(TOKEN_CHECK_IN_READ_TRANSACTION) {
            return Ok(());
        }
        let usable = self
            .read(move |connection| {
                let statement = connection.prepare_cached(
                    "SELECT uses_left FROM enrollment_token WHERE hash = ?1 AND uses_left > 0 AND expires_at > ?2",
                )?;
                first(statement, params![hash, At(now)], |row| Ok(row.get::<_, i64>(0)?))
            })
            .await?;
        if usable.is_some() {
            self.write(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE enrollment_token SET uses_left = max(uses_left, 1) WHERE hash = ?1",
                    )?
                    .execute([hash])?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
