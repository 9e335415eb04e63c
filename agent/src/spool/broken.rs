//! What [`crate::sabotage`] does to the spool. Kept apart, so that the spool itself shows each fault in a line.

use super::{SpoolError, database, writing};
use crate::sabotage::{self, UNLINK_BEFORE_WATERMARK};
use firstline_model::{Epoch, SequenceNumber};
use rusqlite::{Connection, params};
use std::path::Path;

/// Deletes what these watermarks cover, before they are durable.
pub(super) fn unlink_early(
    database: &mut Option<Connection>,
    watermarks: &[(Epoch, SequenceNumber)],
) -> rusqlite::Result<()> {
    if !sabotage::is(UNLINK_BEFORE_WATERMARK) {
        return Ok(());
    }
    let transaction = writing(database)?;
    for (epoch, through) in watermarks {
        transaction.execute(
            "DELETE FROM record WHERE epoch = (SELECT id FROM epoch NOT INDEXED WHERE name = ?) AND seq <= ?",
            params![epoch.0.as_slice(), through.0],
        )?;
    }
    transaction.commit()
}

/// Throws the whole spool away.
pub(super) fn reset(path: &Path) -> Result<(), SpoolError> {
    let (journal, shared) = (database::beside(path, "-wal"), database::beside(path, "-shm"));
    for file in [path, &journal, &shared] {
        match std::fs::remove_file(file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(SpoolError::SetAside { path: file.to_path_buf(), source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
