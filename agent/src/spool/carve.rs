//! Finds records in the bytes of a damaged database, without SQLite.
//!
//! Every record lies in the file as its mark and its payload, side by side, on a page of 4096 bytes of the database or of
//! its journal (WAL). What does not fit goes on in a chain of overflow pages, which is the only thing that has to be known
//! of SQLite's format here. What is found proves itself by its checksums, so the damage around it does not matter,
//! and one flipped byte costs at most the record that it is in.

use super::database;
use super::mark::{self, Mark};
use crate::seams::Disk;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The page size that the spool is made with.
pub(super) const PAGE: usize = 4096;
/// What an overflow page holds besides the number of the next one.
const OVERFLOW: usize = PAGE - 4;
/// Most bytes of a record that stay on its own page (largest and smallest local part in an index b-tree).
const LARGEST_LOCAL: usize = (PAGE - 12) * 64 / 255 - 23;
const SMALLEST_LOCAL: usize = (PAGE - 12) * 32 / 255 - 23;
/// How many bytes of a row can stand before its mark: the header, the epoch, the number and the time.
const BEFORE: std::ops::RangeInclusive<usize> = 4..=40;
/// Larger payloads are never spooled.
const MOST_PAYLOAD: usize = 2 << 20;
/// Largest journal that is looked at; it is kept below a mebibyte.
const MOST_JOURNAL: u64 = 64 << 20;
const JOURNAL_HEAD: usize = 32;
const FRAME_HEAD: usize = 24;

/// The journal as it lay beside the database before SQLite looked at it.
#[derive(Debug, Default, Clone)]
pub(super) struct Journal {
    bytes: Vec<u8>,
    /// Where the newest copy of a page begins.
    pages: BTreeMap<u32, usize>,
}

impl Journal {
    /// Reads it; nothing when there is none.
    pub(super) fn beside(disk: &dyn Disk) -> Self {
        let mut bytes = Vec::new();
        if disk.folder().is_some()
            && let Ok(file) = File::open(database::beside(disk.path(), "-wal"))
        {
            // A part is better than nothing.
            let _ = file.take(MOST_JOURNAL).read_to_end(&mut bytes);
        }
        let mut pages = BTreeMap::new();
        let mut at = JOURNAL_HEAD;
        while let Some(number) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            pages.insert(u32::from_be_bytes(*number), at + FRAME_HEAD);
            at += FRAME_HEAD + PAGE;
        }
        Self { bytes, pages }
    }

    /// How many bytes of it there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn page(&self, number: u32) -> Option<&[u8]> {
        let at = *self.pages.get(&number)?;
        self.bytes.get(at..at + PAGE)
    }
}

/// Calls `found` for every whole record in the database file and its journal; the same one may be found several times.
pub(super) fn records<E>(
    database: &Path,
    journal: &Journal,
    mut found: impl FnMut(Mark, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut file = File::open(database).ok();
    let mut page = vec![0; PAGE];
    let mut number: u64 = 0;
    while let Some(open) = &mut file {
        let here = open.seek(SeekFrom::Start(number * PAGE as u64)).and_then(|_| fill(open, &mut page));
        let Ok(length @ 1..) = here else { break };
        number += 1;
        let content = page.get(..length).unwrap_or_default().to_vec();
        on_page(&content, &mut |page| from_file(&mut file, page), journal, &mut found)?;
    }
    let mut at = JOURNAL_HEAD + FRAME_HEAD;
    while let Some(rest) = journal.bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let content = rest.get(..PAGE).unwrap_or(rest);
        on_page(content, &mut |page| from_file(&mut file, page), journal, &mut found)?;
        at += FRAME_HEAD + PAGE;
    }
    Ok(())
}

fn fill(file: &mut File, page: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = page.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn from_file(file: &mut Option<File>, number: u32) -> Option<Vec<u8>> {
    let file = file.as_mut()?;
    let mut page = vec![0; PAGE];
    file.seek(SeekFrom::Start(u64::from(number.checked_sub(1)?) * PAGE as u64)).ok()?;
    let length = fill(file, &mut page).ok()?;
    (length == PAGE).then_some(page)
}

fn on_page<E>(
    page: &[u8],
    in_file: &mut dyn FnMut(u32) -> Option<Vec<u8>>,
    journal: &Journal,
    found: &mut impl FnMut(Mark, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = 0;
    while let Some(at) = find(page, from) {
        from = at + 1;
        let Some(mark) = page.get(at..).and_then(Mark::from_bytes) else { continue };
        let length = mark.len as usize;
        if length > MOST_PAYLOAD {
            continue;
        }
        let begin = at + mark::BYTES;
        if let Some(payload) = page.get(begin..begin + length).filter(|payload| mark.fits(payload)) {
            found(mark, payload)?;
            continue;
        }
        // The pages of a chain were written together, either all in the journal or all moved to the file.
        let in_journal = &mut |number| journal.page(number).map(<[u8]>::to_vec);
        let payload = BEFORE
            .filter(|before| *before <= at)
            .find_map(|before| chained(page, begin, before, &mark, in_journal))
            .or_else(|| {
                BEFORE.filter(|b| *b <= at).find_map(|before| chained(page, begin, before, &mark, in_file))
            });
        if let Some(payload) = payload {
            found(mark, &payload)?;
        }
    }
    Ok(())
}

fn find(page: &[u8], from: usize) -> Option<usize> {
    let rest = page.get(from..)?;
    rest.windows(mark::MAGIC.len()).position(|window| window == mark::MAGIC).map(|at| from + at)
}

/// The payload of a row that goes on in overflow pages, if `before` bytes of the row stand before its mark.
fn chained(
    page: &[u8],
    begin: usize,
    before: usize,
    mark: &Mark,
    page_of: &mut dyn FnMut(u32) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let length = mark.len as usize;
    let whole = before + mark::BYTES + length;
    if whole <= LARGEST_LOCAL {
        return None;
    }
    let fitting = SMALLEST_LOCAL + (whole - SMALLEST_LOCAL) % OVERFLOW;
    let local = if fitting <= LARGEST_LOCAL { fitting } else { SMALLEST_LOCAL };
    let here = local.checked_sub(before + mark::BYTES)?;
    let mut payload = page.get(begin..begin + here)?.to_vec();
    let mut next = page.get(begin + here..)?.first_chunk::<4>().copied()?;
    while payload.len() < length {
        let page = page_of(u32::from_be_bytes(next))?;
        let (following, content) = page.split_first_chunk::<4>()?;
        let wanted = (length - payload.len()).min(OVERFLOW);
        payload.extend_from_slice(content.get(..wanted)?);
        next = *following;
    }
    mark.fits(&payload).then_some(payload)
}
