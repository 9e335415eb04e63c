//! How many records each epoch has had, noted outside of the database: `spool.tally`.
//!
//! A database that lost its end, or its journal, or that was replaced by an old copy, looks whole. Only somebody else can
//! tell that something is missing, and what. One line per epoch, oldest first, each with a checksum of its own:
//! name, next number, watermark. The line of the current epoch is rewritten in place after each append, without
//! waiting for the disk: it survives a kill, and after a power cut an older count is only less sharp.

use super::StoredEpoch;
use firstline_agent_platform::private_file;
use firstline_model::{Epoch, SequenceNumber};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Largest file that is believed: thousands of epochs.
const MOST_BYTES: u64 = 1 << 20;

/// What is known of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) epoch: Epoch,
    pub(super) next: SequenceNumber,
    pub(super) watermark: SequenceNumber,
}

/// The file, open for the line of the current epoch. Without a folder nothing is noted.
#[derive(Default)]
pub(super) struct Tally {
    path: Option<PathBuf>,
    current: Option<(File, u64)>,
}

impl Tally {
    /// What the file in `folder` says, as far as it is whole.
    pub(super) fn load(folder: Option<&Path>) -> (Self, Vec<Count>) {
        let Some(path) = folder.map(|folder| folder.join("spool.tally")) else {
            return (Self::default(), Vec::new());
        };
        let mut text = Vec::new();
        if let Ok(file) = File::open(&path) {
            // What cannot be read is not known; the database usually knows it too.
            let _ = file.take(MOST_BYTES).read_to_end(&mut text);
        }
        let counts = text.split(|byte| *byte == b'\n').filter_map(parse).collect();
        (Self { path: Some(path), current: None }, counts)
    }

    /// Writes all of it anew, durably. `current` is the one that [`Self::note`] will speak of.
    pub(super) fn rewrite(&mut self, epochs: &[StoredEpoch], current: Epoch) {
        let Some(path) = &self.path else { return };
        let lines: Vec<String> = epochs
            .iter()
            .map(|e| line(Count { epoch: e.epoch, next: e.next, watermark: e.watermark }))
            .collect();
        let text: String = lines.concat();
        let written = private_file::replace(path, text.as_bytes());
        let last = lines.last().map_or(0, String::len);
        self.current = match written.and_then(|()| private_file::open(path)) {
            // An epoch without a record has no line yet.
            Ok(file) => {
                let is_last = epochs.last().is_some_and(|epoch| epoch.epoch == current);
                is_last.then_some((file, (text.len() - last) as u64))
            }
            Err(error) => {
                tracing::debug!(error = %error, "the tally of the spool cannot be written");
                None
            }
        };
    }

    /// Another epoch becomes the current one; it has no line yet.
    pub(super) fn leave(&mut self) {
        self.current = None;
    }

    /// The count of the current epoch changed. `false` when the whole file has to be written first.
    pub(super) fn note(&mut self, count: Count) -> bool {
        if self.path.is_none() {
            return true;
        }
        let Some((file, at)) = &mut self.current else { return false };
        let written = file.seek(SeekFrom::Start(*at)).and_then(|_| file.write_all(line(count).as_bytes()));
        if let Err(error) = written {
            tracing::debug!(error = %error, "the tally of the spool cannot be written");
        }
        true
    }
}

fn line(count: Count) -> String {
    let mut text = String::with_capacity(84);
    for byte in count.epoch.0 {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    let _ = write!(text, " {:020} {:020}", count.next.0, count.watermark.0);
    let sum = crc32fast::hash(text.as_bytes());
    let _ = writeln!(text, " {sum:08x}");
    text
}

fn parse(line: &[u8]) -> Option<Count> {
    let text = std::str::from_utf8(line).ok()?;
    let (body, sum) = text.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(body.as_bytes()) {
        return None;
    }
    let mut words = body.split(' ');
    let name = words.next()?.as_bytes();
    let mut epoch = [0; 16];
    for (byte, digits) in epoch.iter_mut().zip(name.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    let next = SequenceNumber(words.next()?.parse().ok()?);
    let watermark = SequenceNumber(words.next()?.parse().ok()?);
    (name.len() == 32).then_some(Count { epoch: Epoch(epoch), next, watermark })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_line_costs_that_line() {
        let count = |n: u8| Count {
            epoch: Epoch([n; 16]),
            next: SequenceNumber(u64::from(n) * 10),
            watermark: SequenceNumber(3),
        };
        let text = [line(count(1)), line(count(2)), line(count(3))].concat();
        let all = |text: &[u8]| text.split(|b| *b == b'\n').filter_map(parse).collect::<Vec<_>>();
        assert_eq!(all(text.as_bytes()), [count(1), count(2), count(3)]);
        for at in 0..text.len() {
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 1;
            let read = all(&flipped);
            assert!(!read.is_empty(), "byte {at}");
            assert!(read.iter().all(|c| [count(1), count(2), count(3)].contains(c)), "byte {at}: {read:?}");
        }
    }
}
