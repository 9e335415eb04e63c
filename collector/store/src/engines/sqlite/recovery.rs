//! What becomes of a store that was restored from a backup.

use super::Sqlite;
use super::failure::{Failure, count, integer};
use super::rows;
use crate::StoreError;
use crate::record::{AuditEntry, Recovered, Settled};
use crate::store::Recovery;
use async_trait::async_trait;
use firstline_model::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

/// When the backup was taken, and when it was restored; milliseconds since 1970.
const TAKEN: &str = "backup_taken";
const RESTORED: &str = "backup_restored";

#[async_trait]
impl Recovery for Sqlite {
    async fn settle(
        &self,
        recovered: Recovered,
        skipped: u64,
        audit: &AuditEntry,
    ) -> Result<Settled, StoreError> {
        let audit = audit.clone();
        self.write(move |connection| {
            let sessions = connection.execute("DELETE FROM session", [])?;
            let tokens = connection.execute("DELETE FROM enrollment_token", [])?;
            connection.execute("DELETE FROM setup_link", [])?;
            let last: i64 = connection.query_row(
                "UPDATE counter SET value = value + ?1 WHERE name = 'ticket' RETURNING value",
                [integer("count of tickets", skipped)?],
                |row| row.get(0),
            )?;
            for (name, at) in [(TAKEN, recovered.taken_at), (RESTORED, recovered.restored_at)] {
                connection.execute(
                    "INSERT INTO counter (name, value) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    params![name, at.as_millis()],
                )?;
            }
            rows::append_audit(connection, &audit)?;
            Ok(Settled {
                sessions: sessions as u64,
                tokens: tokens as u64,
                next_ticket: count("counter", last)? + 1,
            })
        })
        .await
    }

    async fn recovered(&self) -> Result<Option<Recovered>, StoreError> {
        self.read(|connection| {
            let (taken_at, restored_at) = (moment(connection, TAKEN)?, moment(connection, RESTORED)?);
            Ok(taken_at.zip(restored_at).map(|(taken_at, restored_at)| Recovered { taken_at, restored_at }))
        })
        .await
    }
}

fn moment(connection: &Connection, name: &str) -> Result<Option<Timestamp>, Failure> {
    let stored: Option<i64> = connection
        .prepare_cached("SELECT value FROM counter WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(stored.map(Timestamp::from_millis))
}
