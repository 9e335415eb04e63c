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
    let now = Timestamp::from_millis(1);
    let disk = || Box::new(Folder { path: folder.join("spool.db") });
    let mut spool = Spool::open(disk(), Epoch([7; 16]), limits, now).map_err(|error| said(&error))?;
    for stored in spool.stored().map_err(|error| said(&error))? {
        for (seq, _) in stored.records {
            // A record that cannot be read costs itself; which ones can is for the spool to say.
            let _ = spool.read(stored.epoch, seq, 1, now);
        }
    }
    let appended = spool.append(NEW, now).map_err(|error| said(&error))?;
    let Some(&(epoch, seq, _)) = appended.records.last() else {
        return Err("the spool took a record and gave it no number".to_owned());
    };
    drop(spool);
    let mut spool = Spool::open(disk(), Epoch([8; 16]), limits, now).map_err(|error| said(&error))?;
    let read = spool.read(epoch, seq, 1, now).map_err(|error| said(&error))?;
    if read.first().map(Vec::as_slice) != Some(NEW) {
        return Err(format!(
            "record {} is not in the files after the spool was opened again",
            SequenceNumber(seq.0)
        ));
    }
    Ok(())
}

/// A record as it would be delivered: epoch, number, payload. An empty payload is one that was given up.
pub type Delivered = ([u8; 16], u64, Vec<u8>);

/// Makes these payloads durable in one life of a spool in `folder`, then lets `meanwhile` look at the files before they
/// are closed, as a kill would leave them.
///
/// # Errors
/// When the spool refuses.
pub fn spool_keeps(
    folder: &Path,
    life: [u8; 16],
    payloads: &[Vec<u8>],
    meanwhile: impl FnOnce(),
) -> Result<(), String> {
    let mut spool = open_spool(folder, life)?;
    for payload in payloads {
        spool.append(payload, Timestamp::from_millis(1)).map_err(|error| format!("{error:?}"))?;
    }
    meanwhile();
    Ok(())
}

/// Everything that the spool in `folder` would deliver in a new life, as a sender asks for it.
///
/// # Errors
/// When the spool refuses.
pub fn spool_delivers(folder: &Path, life: [u8; 16]) -> Result<Vec<Delivered>, String> {
    let mut spool = open_spool(folder, life)?;
    let mut delivered = Vec::new();
    // What is damaged is found while it is read, and named in records that come after all others.
    for _ in 0..2 {
        delivered.clear();
        for stored in spool.stored().map_err(|error| format!("{error:?}"))? {
            let first = stored.records.first().map_or(stored.next, |(seq, _)| *seq);
            let count = u32::try_from(stored.next.0.saturating_sub(first.0)).unwrap_or(u32::MAX).min(100_000);
            let read = spool.read(stored.epoch, first, count, Timestamp::from_millis(2));
            let read = read.map_err(|error| format!("{error:?}"))?;
            delivered.extend((first.0..).zip(read).map(|(seq, payload)| (stored.epoch.0, seq, payload)));
        }
    }
    Ok(delivered)
}

fn open_spool(folder: &Path, life: [u8; 16]) -> Result<Spool, String> {
    let limits = Limits { quota: 64 << 20, keep_acked: Duration::from_secs(3600) };
    let disk = Box::new(Folder { path: folder.join("spool.db") });
    Spool::open(disk, Epoch(life), limits, Timestamp::from_millis(1)).map_err(|error| format!("{error:?}"))
}
