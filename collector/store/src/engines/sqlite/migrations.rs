//! Brings the schema of a file up to date, one numbered script after the other, each in its own transaction.
//!
//! A script that was released never changes: its checksum is kept in the file and compared at every start.

use super::failure::Failure;
use crate::StoreError;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "first", sql: include_str!("../../../migrations/sqlite/0001_first.sql") },
    Migration {
        version: 2,
        name: "device_identity",
        sql: include_str!("../../../migrations/sqlite/0002_device_identity.sql"),
    },
    Migration {
        version: 3,
        name: "clock_suspect",
        sql: include_str!("../../../migrations/sqlite/0003_clock_suspect.sql"),
    },
    Migration {
        version: 4,
        name: "shared_cause",
        sql: include_str!("../../../migrations/sqlite/0004_shared_cause.sql"),
    },
    Migration { version: 5, name: "quiet", sql: include_str!("../../../migrations/sqlite/0005_quiet.sql") },
];

/// The newest schema that this program knows.
pub(super) fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// Applies what is missing. Processes that start together wait for each other.
pub(super) fn run(connection: &mut Connection) -> Result<(), StoreError> {
    run_list(connection, MIGRATIONS).map_err(StoreError::from)
}

fn run_list(connection: &mut Connection, migrations: &[Migration]) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_version (
            version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL
        ) STRICT",
    )?;
    let newest: Option<i64> =
        transaction.query_row("SELECT max(version) FROM schema_version", [], |row| row.get(0))?;
    let known = migrations.last().map_or(0, |migration| migration.version);
    if let Some(newest) = newest.filter(|&newest| newest > known) {
        return Err(Failure::Store(StoreError::Unavailable {
            detail: format!(
                "the database has schema {newest}, this program knows {known}: it was written by a newer version; \
                 start that one, or restore a backup made by this one"
            ),
        }));
    }
    for migration in migrations {
        apply(&transaction, migration)?;
    }
    transaction.commit()?;
    Ok(())
}

fn apply(connection: &Connection, migration: &Migration) -> Result<(), Failure> {
    let checksum = checksum(migration.sql);
    let applied: Option<String> = connection
        .query_row("SELECT checksum FROM schema_version WHERE version = ?1", [migration.version], |row| {
            row.get(0)
        })
        .optional()?;
    match applied {
        Some(applied) if applied == checksum => Ok(()),
        Some(_) => Err(Failure::Store(StoreError::Corrupt {
            detail: format!(
                "schema {} ({}) of the database is not the one that this program was built with",
                migration.version, migration.name
            ),
        })),
        None => {
            connection.execute_batch(migration.sql)?;
            connection.execute(
                "INSERT INTO schema_version (version, name, checksum) VALUES (?1, ?2, ?3)",
                params![migration.version, migration.name, checksum],
            )?;
            Ok(())
        }
    }
}

/// FNV-1a, 64 bits. It guards against an edited script, not against an adversary; line ends do not count.
fn checksum(sql: &str) -> String {
    let hash = sql.bytes().filter(|&byte| byte != b'\r').fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_follows_the_one_before() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=i64::try_from(MIGRATIONS.len()).unwrap()).collect::<Vec<_>>());
    }

    #[test]
    fn running_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection).unwrap();
        run(&mut connection).unwrap();
        let rows: i64 =
            connection.query_row("SELECT count(*) FROM schema_version", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, i64::try_from(MIGRATIONS.len()).unwrap());
    }

    #[test]
    fn a_newer_schema_and_an_edited_script_are_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection).unwrap();
        connection.execute("INSERT INTO schema_version VALUES (99, 'later', 'x')", []).unwrap();
        let refused = run(&mut connection).unwrap_err();
        assert!(
            matches!(&refused, StoreError::Unavailable { detail } if detail.contains("schema 99")),
            "{refused}"
        );
        connection.execute("DELETE FROM schema_version WHERE version = 99", []).unwrap();
        connection.execute("UPDATE schema_version SET checksum = 'edited' WHERE version = 1", []).unwrap();
        assert!(matches!(run(&mut connection), Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn a_script_that_fails_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken =
            [Migration { version: 1, name: "broken", sql: "CREATE TABLE half (x); CREATE TABLE half (x);" }];
        assert!(run_list(&mut connection, &broken).is_err());
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 0);
    }
}
