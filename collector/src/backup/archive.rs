//! The form of a backup: a tar file (POSIX ustar) of plain files. First stands `backup.json`, which says what it is; last
//! `SHA256SUMS`, as sha256sum writes it, over everything before it. So it can be listed and checked by hand, and one that
//! was cut off anywhere is not complete.
//!
//! What is read may come from anybody: names, kinds and sizes are judged before anything is written, and nothing is
//! believed before all sums are right.

use crate::{private, secret};
use anyhow::{Context, Result, bail};
use ring::digest::{Context as Digest, SHA256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// The only form so far.
pub(crate) const FORMAT: u32 = 1;
const ABOUT: &str = "backup.json";
const SUMS: &str = "SHA256SUMS";
/// Names that ustar holds in one field; longer ones would need extensions, which are refused.
const LONGEST_NAME: usize = 100;
/// Most entries: far above a folder full of knowledge.
const MOST_ENTRIES: usize = 20_000;
/// Largest `backup.json` and `SHA256SUMS`.
const LARGEST_TEXT: u64 = 4 << 20;
/// Read and written at once.
const PORTION: usize = 256 << 10;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub format: u32,
    /// The version of the collector that made it.
    pub program: String,
    pub taken_at_ms: i64,
    /// Of the store.
    pub schema: i64,
    pub has_seal_key: bool,
}

/// Whether a file of this name can be in an archive.
pub(crate) fn can_be_named(name: &str) -> bool {
    check_name(name).is_ok()
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err("its name is empty or longer than 100 bytes");
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return Err("its name has characters that no name of a backup has");
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("its name leads out of the folder");
    }
    if matches!(name, ABOUT | SUMS) {
        return Err("its name is one of the backup's own");
    }
    Ok(())
}

/// Puts an archive together.
pub(crate) struct Writer {
    tar: tar::Builder<BufWriter<File>>,
    sums: String,
    done: u64,
}

impl Writer {
    pub(crate) fn begin(file: File, about: &About) -> Result<Self> {
        let tar = tar::Builder::new(BufWriter::with_capacity(PORTION, file));
        let mut writer = Self { tar, sums: String::new(), done: 0 };
        let text = serde_json::to_string_pretty(about).context("the backup cannot be described")?;
        writer.put(ABOUT, text.len() as u64, text.as_bytes(), &mut |_| ())?;
        Ok(writer)
    }

    /// Appends a file that nobody else changes. `progress` hears how many bytes are done in all.
    pub(crate) fn append(&mut self, name: &str, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let size = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len();
        self.put(name, size, BufReader::with_capacity(PORTION, file), progress)
    }

    fn put(&mut self, name: &str, size: u64, from: impl Read, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_path(name).with_context(|| format!("{name:?} cannot be in a backup"))?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        let mut sum = Summing { from, digest: Digest::new(&SHA256), done: self.done, progress };
        self.tar
            .append(&header, &mut sum)
            .with_context(|| format!("{name} cannot be written to the backup"))?;
        if sum.done - self.done != size {
            bail!("{name} became shorter while it was read");
        }
        self.done = sum.done;
        self.sums += &format!("{}  {name}\n", secret::hex(sum.digest.finish().as_ref()));
        Ok(())
    }

    /// Writes the sums and makes everything durable.
    pub(crate) fn finish(mut self) -> Result<()> {
        let sums = std::mem::take(&mut self.sums);
        self.put(SUMS, sums.len() as u64, sums.as_bytes(), &mut |_| ())?;
        let file = self.tar.into_inner().context("the backup cannot be written to its end")?;
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).context("the backup cannot be made durable")
    }
}

/// Sums up what is read through it.
struct Summing<'a, R> {
    from: R,
    digest: Digest,
    done: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Summing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.digest.update(&buffer[..count]);
        self.done += count as u64;
        (self.progress)(self.done);
        Ok(count)
    }
}

/// Unpacks an archive into an empty folder and checks every sum. What is in the folder after an error means nothing.
pub(crate) fn unpack(archive: &Path, into: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<About> {
    let file = File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let metadata = file.metadata().with_context(|| format!("cannot look at {}", archive.display()))?;
    if !metadata.is_file() {
        bail!("{} is no file", archive.display());
    }
    let mut reading =
        Reading { into, length: metadata.len(), sums: BTreeMap::new(), about: None, done: 0, progress };
    let mut tar = tar::Archive::new(BufReader::with_capacity(PORTION, file));
    // Raw: extensions for long names and sparse files are entries like any other, and refused as such.
    let entries = tar.entries().context("it cannot be read")?.raw(true);
    let mut claimed = None;
    for (number, entry) in entries.enumerate() {
        let mut entry = entry.context("it is cut off or is no backup")?;
        if claimed.is_some() {
            bail!("something follows its sums");
        }
        if number >= MOST_ENTRIES {
            bail!("it has more than {MOST_ENTRIES} files");
        }
        let size = entry.header().entry_size().context("it is cut off or is no backup")?;
        let name = std::str::from_utf8(&entry.header().path_bytes()).map(str::to_owned);
        let name = name.context("a name in it is not UTF-8")?;
        if !entry.header().entry_type().is_file() {
            bail!("{name:?} in it is no plain file");
        }
        if size > reading.length {
            bail!("{name:?} in it says that it is larger than the whole");
        }
        match (number, name.as_str()) {
            (0, ABOUT) => reading.about(&text(&mut entry, size)?)?,
            (0, _) => bail!("it does not begin with {ABOUT}: it is no backup of a collector"),
            (_, SUMS) => claimed = Some(text(&mut entry, size)?),
            _ => reading.file(&name, size, &mut entry)?,
        }
    }
    let claimed = claimed.context("its end is missing: it is cut off, or was never finished")?;
    reading.compare(&String::from_utf8_lossy(&claimed))?;
    reading.about.context("it is no backup of a collector")
}

struct Reading<'a> {
    into: &'a Path,
    length: u64,
    /// Name and sum of what was read.
    sums: BTreeMap<String, String>,
    about: Option<About>,
    done: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Reading<'_> {
    fn about(&mut self, text: &[u8]) -> Result<()> {
        /// What every form says.
        #[derive(Deserialize)]
        struct Form {
            format: u32,
            program: String,
        }
        let form: Form = serde_json::from_slice(text).context("it does not say what it is")?;
        if form.format != FORMAT {
            let program: String = form.program.chars().filter(|c| !c.is_control()).take(40).collect();
            bail!(
                "it has form {}, made by version {program}: install that version, then restore",
                form.format
            );
        }
        self.about = Some(serde_json::from_slice(text).context("it does not say what it is")?);
        self.sums.insert(ABOUT.to_owned(), secret::hex(&secret::digest(text)));
        Ok(())
    }

    fn file(&mut self, name: &str, size: u64, entry: &mut impl Read) -> Result<()> {
        check_name(name).map_err(|why| anyhow::anyhow!("{name:?} in it is refused: {why}"))?;
        if self.sums.contains_key(name) {
            bail!("{name:?} is in it twice");
        }
        let place: PathBuf = self.into.join(name);
        if let Some(folder) = place.parent() {
            private::create_folder(folder)?;
        }
        let mut file = private::open_new(&place)?;
        let (length, progress) = (self.length, &mut *self.progress);
        let mut sum = Summing {
            from: entry,
            digest: Digest::new(&SHA256),
            done: self.done,
            progress: &mut |done| progress(done, length),
        };
        std::io::copy(&mut sum, &mut file).with_context(|| format!("{name} cannot be restored"))?;
        let (done, digest) = (sum.done, sum.digest.finish());
        if done - self.done != size {
            bail!("it is cut off inside {name}");
        }
        file.flush()
            .and_then(|()| file.sync_all())
            .with_context(|| format!("{name} cannot be made durable"))?;
        self.done = done;
        self.sums.insert(name.to_owned(), secret::hex(digest.as_ref()));
        Ok(())
    }

    fn compare(&self, claimed: &str) -> Result<()> {
        let mut left = self.sums.clone();
        for line in claimed.lines() {
            let (sum, name) = line.split_once("  ").context("its sums cannot be read")?;
            match left.remove(name) {
                Some(found) if found == sum => {}
                Some(_) => bail!("{name:?} in it is damaged: its SHA-256 is not the one that was noted"),
                None => bail!("{name:?} is missing in it"),
            }
        }
        match left.pop_first() {
            Some((name, _)) => bail!("{name:?} in it has no sum"),
            None => Ok(()),
        }
    }
}

fn text(entry: &mut impl Read, size: u64) -> Result<Vec<u8>> {
    if size > LARGEST_TEXT {
        bail!("what it says of itself is too long");
    }
    let mut bytes = Vec::new();
    entry.take(LARGEST_TEXT).read_to_end(&mut bytes).context("it is cut off")?;
    if bytes.len() as u64 != size {
        bail!("it is cut off");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
