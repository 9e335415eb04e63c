//! Where files are read from: the running system, or a captured machine in a folder.
//!
//! Every read is bounded, refuses what is not a regular file (a device or a pipe could be endless or block), and
//! turns bytes that are not UTF-8 into replacement characters, because kernels and devices put any bytes anywhere.

use crate::ProbeError;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component as PathPart, Path, PathBuf};

/// The root of all files that probes read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    base: Option<PathBuf>,
}

impl Root {
    /// The most that [`Root::read_text`] takes; files of the kernel are far smaller.
    pub const TEXT_LIMIT: usize = 1 << 20;

    /// The most entries that [`Root::list`] takes from one folder.
    pub const LIST_LIMIT: usize = 4096;

    /// The running system.
    pub const fn system() -> Self {
        Self { base: None }
    }

    /// A captured machine: `dir/proc`, `dir/sys`, `dir/etc`, `dir/run`, `dir/bin` ...
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self { base: Some(std::path::absolute(&dir).unwrap_or(dir)) }
    }

    /// Whether this is the running system, so that asking the kernel by other means than files makes sense.
    pub const fn is_system(&self) -> bool {
        self.base.is_none()
    }

    /// The folder of the captured machine, if this is one.
    pub fn base(&self) -> Option<&Path> {
        self.base.as_deref()
    }

    /// Where `absolute` (written with a leading slash) lies. Parts that would lead upwards are left out, so the
    /// result is always below the root.
    pub fn path(&self, absolute: &str) -> PathBuf {
        let mut path = self.base.clone().unwrap_or_else(|| PathBuf::from("/"));
        for part in Path::new(absolute).components() {
            if let PathPart::Normal(name) = part {
                path.push(name);
            }
        }
        path
    }

    /// Opens a regular file for reading without ever waiting for a writer.
    pub fn open(&self, absolute: &str) -> Result<File, ProbeError> {
        let path = self.path(absolute);
        let file = open_without_waiting(&path).map_err(|error| ProbeError::from_io(&path, &error))?;
        let metadata = file.metadata().map_err(|error| ProbeError::from_io(&path, &error))?;
        if !metadata.is_file() {
            return Err(ProbeError::Malformed(format!("{} is not a regular file", path.display())));
        }
        Ok(file)
    }

    /// Reads at most `limit` bytes into `buffer`, replacing what it holds; a longer file is refused.
    pub fn read_into(&self, absolute: &str, limit: usize, buffer: &mut Vec<u8>) -> Result<(), ProbeError> {
        buffer.clear();
        let mut bounded = self.open(absolute)?.take(limit as u64 + 1);
        bounded.read_to_end(buffer).map_err(|error| ProbeError::from_io(&self.path(absolute), &error))?;
        if buffer.len() > limit {
            buffer.clear();
            return Err(ProbeError::Malformed(format!(
                "{} is longer than {limit} bytes",
                self.path(absolute).display()
            )));
        }
        Ok(())
    }

    /// Reads a file as text.
    pub fn read_text(&self, absolute: &str) -> Result<String, ProbeError> {
        let mut bytes = Vec::new();
        self.read_into(absolute, Self::TEXT_LIMIT, &mut bytes)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(refused) => String::from_utf8_lossy(refused.as_bytes()).into_owned(),
        })
    }

    /// Reads a file of one value, without the white space around it; `None` when it is empty or cannot be read.
    pub fn read_value(&self, absolute: &str) -> Option<String> {
        let text = self.read_text(absolute).ok()?;
        let value = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Reads a file of one whole number; `None` when it is not one or cannot be read.
    pub fn read_number(&self, absolute: &str) -> Option<u64> {
        self.read_value(absolute)?.parse().ok()
    }

    /// The names in a folder, sorted, at most [`Self::LIST_LIMIT`] of them.
    pub fn list(&self, absolute: &str) -> Result<Vec<String>, ProbeError> {
        let path = self.path(absolute);
        let entries = std::fs::read_dir(&path).map_err(|error| ProbeError::from_io(&path, &error))?;
        let mut names: Vec<String> = entries
            .take(Self::LIST_LIMIT)
            .filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Whether something is there.
    pub fn exists(&self, absolute: &str) -> bool {
        self.path(absolute).exists()
    }
}

#[cfg(unix)]
fn open_without_waiting(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let descriptor = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )?;
    Ok(File::from(descriptor))
}

#[cfg(not(unix))]
fn open_without_waiting(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::UnavailableReason;

    fn captured(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), bytes).unwrap();
        let root = Root::at(dir.path());
        (dir, root)
    }

    #[test]
    fn a_path_never_leaves_the_root() {
        let root = Root::at("/captured");
        assert_eq!(root.path("/proc/stat"), Path::new("/captured/proc/stat"));
        assert_eq!(root.path("/../../etc/shadow"), Path::new("/captured/etc/shadow"));
    }

    #[test]
    fn a_file_longer_than_the_limit_is_refused_and_one_at_the_limit_is_read() {
        let (_dir, root) = captured("f", b"12345");
        let mut buffer = Vec::new();
        assert!(root.read_into("/f", 5, &mut buffer).is_ok());
        assert_eq!(root.read_into("/f", 4, &mut buffer).unwrap_err().reason(), UnavailableReason::Malformed);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        let (_dir, root) = captured("f", b"a\xffb\n");
        assert_eq!(root.read_value("/f").as_deref(), Some("a\u{fffd}b"));
    }

    #[test]
    fn a_missing_file_is_not_present() {
        let (_dir, root) = captured("f", b"");
        assert_eq!(root.read_text("/none").unwrap_err().reason(), UnavailableReason::NotPresent);
        assert_eq!(root.read_text("/f/below").unwrap_err().reason(), UnavailableReason::NotPresent);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_pipes_and_folders_are_refused_without_waiting() {
        for endless in ["/dev/zero", "/dev", "/dev/ptmx"] {
            assert_eq!(Root::system().read_text(endless).unwrap_err().reason(), UnavailableReason::Malformed);
        }
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        assert_eq!(
            Root::at(dir.path()).read_text("/pipe").unwrap_err().reason(),
            UnavailableReason::Malformed
        );
    }
}
