//! The flight recorder: every look of every probe for three days, for whoever asks what happened in the minutes before.
//!
//! A ring of files in a folder of its own, closed to others, never reached through a link. Looks gather in memory for a
//! minute and are appended without waiting for the disk: what is lost in a power cut is evidence, never a finding. Nothing
//! here is numbered, delivered or judged; what is asked for becomes the report of a diagnostic, which is (`crate::spool`).
//!
//! A file is a row of frames: length, check sum, record. Records repeat what earlier ones of the same file say, as on the
//! wire. A frame that is damaged costs itself and what leads back to it, at most until everything is said in full again.

use crate::collect::RunOf;
use firstline_agent_core::coalesce::Coalescer;
use firstline_agent_platform::private_file::{self, PrivateFileError};
use firstline_model::{Component, Epoch, Observation, SequenceNumber, Timestamp, Told, order};
use firstline_proto::convert::{decode_record_with, encode_record_with};
use firstline_proto::limits::RECORD_BYTES;
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a look is kept.
const KEPT: Duration = Duration::from_secs(72 * 3600);
/// Most bytes on disk.
const MOST_BYTES: u64 = 20 << 20;
/// A file that is larger or older is followed by the next one.
const FILE_BYTES: u64 = 1 << 20;
const FILE_AGE: Duration = Duration::from_secs(6 * 3600);
/// Looks wait so long in memory, or until there is so much of them. One write a minute is the recorder's share of the disk.
const GATHER: Duration = Duration::from_secs(60);
const GATHER_BYTES: usize = 64 << 10;
/// A folder that cannot be written is tried again after this.
const RETRY: Duration = Duration::from_secs(60);
/// Length and check sum.
const FRAME_HEAD: usize = 12;
/// Names what is repeated inside of a file; it never leaves the file.
const FILE: Epoch = Epoch([0; 16]);

/// See the module.
#[derive(Debug)]
pub(crate) struct Recorder {
    folder: PathBuf,
    most_bytes: u64,
    open: Option<Segment>,
    gathered: Vec<u8>,
    written_at: Duration,
    /// The folder refused, and is not tried before this.
    retry_at: Option<Duration>,
}

/// The file that is written.
#[derive(Debug)]
struct Segment {
    file: File,
    bytes: u64,
    began: Duration,
    next: u64,
    /// Looks in between see fewer series than steady ones, so each kind is led back to its own.
    steady: Coalescer,
    between: Coalescer,
}

/// What one look saw.
#[derive(Debug)]
pub(crate) struct Look<'l> {
    pub(crate) seen: &'l [Observation],
    pub(crate) runs: &'l [RunOf],
    pub(crate) is_steady: bool,
}

impl Recorder {
    /// Records into this folder, which is made when it is needed.
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        let (open, gathered, retry_at) = (None, Vec::new(), None);
        Self { folder, most_bytes: MOST_BYTES, open, gathered, written_at: Duration::ZERO, retry_at }
    }

    /// Takes note of a look. `now` is the device's clock, `awake` powered-on time.
    pub(crate) fn record(&mut self, look: &Look<'_>, now: Timestamp, awake: Duration) {
        if look.seen.is_empty() || self.retry_at.is_some_and(|retry| awake < retry) {
            return;
        }
        self.retry_at = None;
        if let Err(error) = self.try_record(look, now, awake) {
            tracing::warn!(error = %error, "the flight recorder cannot write; what it saw for a minute is lost");
            (self.open, self.retry_at) = (None, Some(awake + RETRY));
            self.gathered.clear();
        }
    }

    fn try_record(
        &mut self,
        look: &Look<'_>,
        now: Timestamp,
        awake: Duration,
    ) -> Result<(), PrivateFileError> {
        if self.open.as_ref().is_some_and(|open| open.is_full(awake)) {
            self.write(awake)?;
            self.open = None;
        }
        if self.open.is_none() {
            private_file::ensure_folder(&self.folder)?;
            self.make_room(now);
            self.open = Some(Segment::begin(&self.folder, now, awake)?);
        }
        if let Some(open) = &mut self.open {
            let payload = open.encode(look, awake);
            if payload.len() <= RECORD_BYTES {
                open.bytes += (FRAME_HEAD + payload.len()) as u64;
                self.gathered.extend_from_slice(&frame_head(&payload));
                self.gathered.extend_from_slice(&payload);
            }
        }
        if awake.saturating_sub(self.written_at) >= GATHER || self.gathered.len() >= GATHER_BYTES {
            self.write(awake)?;
        }
        Ok(())
    }

    fn write(&mut self, awake: Duration) -> Result<(), PrivateFileError> {
        self.written_at = awake;
        if let Some(open) = &mut self.open {
            let written = open.file.write_all(&self.gathered);
            written.map_err(|source| PrivateFileError::Io {
                action: "write",
                path: self.folder.clone(),
                source,
            })?;
        }
        self.gathered.clear();
        Ok(())
    }

    /// Everything that was seen of a component in this time, in order. Damaged parts are left out.
    pub(crate) fn window(
        &mut self,
        component: &Component,
        (from, to): (Timestamp, Timestamp),
        awake: Duration,
    ) -> Vec<Observation> {
        if let Err(error) = self.write(awake) {
            tracing::warn!(error = %error, "the flight recorder cannot write what it saw last");
            (self.open, self.retry_at) = (None, Some(awake + RETRY));
            self.gathered.clear();
        }
        let files = self.files();
        let mut seen = Vec::new();
        for (place, (began, path)) in files.iter().enumerate() {
            let ended = files.get(place + 1).map(|(next, _)| *next);
            if *began > to || ended.is_some_and(|ended| ended < from) {
                continue;
            }
            read(path, |observation| {
                let is_wanted =
                    observation.component == *component && (from..=to).contains(&observation.observed_at);
                if is_wanted {
                    seen.push(observation);
                }
            });
        }
        order::sort_by_key(&mut seen, |observation| observation.observed_at);
        seen
    }

    /// The files by when they begin. What is no file of ours is left alone.
    fn files(&self) -> Vec<(Timestamp, PathBuf)> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .filter_map(|entry| {
                let path = entry.path();
                let is_ours = path.extension().is_some_and(|extension| extension == "rec");
                let began = path.file_stem()?.to_str()?.parse().ok()?;
                is_ours.then_some((Timestamp::from_millis(began), path))
            })
            .collect();
        order::sort_by(&mut files, Ord::cmp);
        files
    }

    /// Deletes what is too old, and what is too much once the next file is full.
    fn make_room(&self, now: Timestamp) {
        let files = self.files();
        let sizes = files.iter().map(|(_, path)| std::fs::metadata(path).map_or(0, |m| m.len()));
        let mut bytes: u64 = sizes.clone().sum();
        for (place, ((_, path), size)) in files.iter().zip(sizes).enumerate() {
            // A clock that was set back must not keep files for ever, so those of the future are old too.
            let ended = files.get(place + 1).map_or(now, |(next, _)| *next);
            let is_old = now.since(ended) > KEPT || ended > now.plus(KEPT);
            if !is_old && bytes + FILE_BYTES + GATHER_BYTES as u64 <= self.most_bytes {
                continue;
            }
            match std::fs::remove_file(path) {
                Ok(()) => bytes -= size,
                Err(error) => {
                    tracing::warn!(file = %path.display(), error = %error, "an old recording cannot be deleted");
                }
            }
        }
    }
}

impl Segment {
    fn begin(folder: &Path, now: Timestamp, awake: Duration) -> Result<Self, PrivateFileError> {
        let path = folder.join(format!("{:015}.rec", now.as_millis().max(0)));
        let file = private_file::open(&path)?;
        // A file of that very millisecond can only be left from a clock that was set back.
        file.set_len(0).map_err(|source| PrivateFileError::Io { action: "empty", path, source })?;
        let (steady, between) = (Coalescer::default(), Coalescer::default());
        Ok(Self { file, bytes: 0, began: awake, next: 0, steady, between })
    }

    fn is_full(&self, awake: Duration) -> bool {
        self.bytes >= FILE_BYTES || awake.saturating_sub(self.began) >= FILE_AGE
    }

    fn encode(&mut self, look: &Look<'_>, awake: Duration) -> Vec<u8> {
        let coalescer = if look.is_steady { &mut self.steady } else { &mut self.between };
        let written = coalescer.coalesce(look.seen, look.runs, FILE, awake);
        let payload = encode_record_with(&written.own, &written.repeats, &[]);
        coalescer.written(written, FILE, SequenceNumber(self.next), true, awake);
        self.next += 1;
        payload
    }
}

fn frame_head(payload: &[u8]) -> [u8; FRAME_HEAD] {
    let mut head = [0; FRAME_HEAD];
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let sum = digest(&SHA256, payload);
    head.iter_mut().zip(length.iter().chain(sum.as_ref())).for_each(|(to, from)| *to = *from);
    head
}

/// Gives every observation of a file to `take`, as far as it can be read.
fn read(path: &Path, mut take: impl FnMut(Observation)) {
    let Ok(file) = private_file::open(path) else { return };
    let mut bytes = Vec::new();
    if file.take(FILE_BYTES * 4).read_to_end(&mut bytes).is_err() {
        return;
    }
    let mut rest = bytes.as_slice();
    let mut said: BTreeMap<SequenceNumber, Vec<Told>> = BTreeMap::new();
    let mut number = 0;
    while let Some((head, after)) = rest.split_at_checked(FRAME_HEAD) {
        let length = head.iter().take(4).rev().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let Some((payload, after)) = after.split_at_checked(length) else { break };
        rest = after;
        let seq = SequenceNumber(number);
        number += 1;
        if frame_head(payload) != *head {
            continue;
        }
        let Ok(record) = decode_record_with(payload) else { continue };
        for (_, repeat) in &record.repeats {
            if let Some(Ok(seen)) = said.get(&repeat.record).map(|told| repeat.expand(told)) {
                seen.into_iter().for_each(&mut take);
            }
        }
        record.own.iter().for_each(|told| take(told.observation.clone()));
        if !record.own.is_empty() {
            said.insert(seq, record.own);
        }
    }
}

#[cfg(test)]
mod tests;
