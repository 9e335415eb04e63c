//! The doors of this program through which bytes come that somebody else may have chosen, one function each, for the
//! fuzz targets. Each answers whether the bytes were taken; what it must never do is panic, hang, or lose what it
//! promised to keep.

use crate::config;
use crate::seams::Folder;
use crate::spool::{Limits, Spool};
use firstline_model::{Epoch, SequenceNumber, Timestamp};
use std::path::Path;
use std::time::Duration;

/// A configuration file. The refusal is what a person reads.
///
/// # Errors
/// When the text is refused.
pub fn configuration(text: &str) -> Result<(), String> {
    config::parse(text).map(drop).map_err(|error| format!("{error:#}"))
}

/// A data folder in which a spool's files lie. Opens the spool, reads everything that it claims to hold, appends one
/// record and reads that back from the files.
///
/// # Errors
/// When a spool of any content cannot be used, or the new record is not there: both are defects.
pub fn spool_files(folder: &Path) -> Result<(), String> {
    const NEW: &[u8] = b"appended after the damage";
    let limits = Limits { quota: 64 << 20, keep_acked: Duration::from_secs(3600) };
    let said = |error: &dyn std::error::Error| {
        error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
    };
    let disk = || Box::new(Folder { path: folder.join("spool.db") });
    let mut spool = Spool::open(disk(), Epoch([7; 16]), limits).map_err(|error| said(&error))?;
    for stored in spool.stored().map_err(|error| said(&error))? {
        for (seq, _) in stored.records {
            // A record that cannot be read costs itself; which ones can is for the spool to say.
            let _ = spool.read(stored.epoch, seq, 1);
        }
    }
    let appended = spool.append(NEW, Timestamp::from_millis(1)).map_err(|error| said(&error))?;
    let Some(&(epoch, seq, _)) = appended.records.last() else {
        return Err("the spool took a record and gave it no number".to_owned());
    };
    drop(spool);
    let spool = Spool::open(disk(), Epoch([8; 16]), limits).map_err(|error| said(&error))?;
    let read = spool.read(epoch, seq, 1).map_err(|error| said(&error))?;
    if read.first().map(Vec::as_slice) != Some(NEW) {
        return Err(format!(
            "record {} is not in the files after the spool was opened again",
            SequenceNumber(seq.0)
        ));
    }
    Ok(())
}
