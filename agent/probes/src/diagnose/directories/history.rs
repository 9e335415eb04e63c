//! The sizes of the last look, in one small file of the agent's own folder.

use crate::diagnose::directories::walk::Walk;
use firstline_model::{Timestamp, order};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

const FILE: &str = "directories.json";
const MAX_FILE_BYTES: u64 = 512 << 10;
const MAX_MOUNTS: usize = 8;
const MAX_DIRECTORIES: usize = 200;
const MAX_PATH_BYTES: usize = 256;

/// What one look at a file system saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Look {
    at_ms: i64,
    /// The smallest folder that is listed: what is not listed was not larger.
    smallest: u64,
    sizes: BTreeMap<String, u64>,
}

impl Look {
    /// Keeps the largest folders of a walk that was not cut off.
    pub(super) fn new(now: Timestamp, walk: &Walk) -> Self {
        let mut all: Vec<(&String, u64)> =
            walk.directories.iter().map(|(path, &bytes)| (path, bytes)).collect();
        order::sort_by_key(&mut all, |(_, bytes)| std::cmp::Reverse(*bytes));
        let cut = all.len() > MAX_DIRECTORIES;
        all.truncate(MAX_DIRECTORIES);
        let smallest = if cut { all.last().map_or(0, |(_, bytes)| *bytes) } else { 0 };
        let sizes = all
            .into_iter()
            .filter(|(path, _)| path.len() <= MAX_PATH_BYTES)
            .map(|(path, bytes)| (path.clone(), bytes));
        Self { at_ms: now.as_millis(), smallest, sizes: order::map(sizes) }
    }

    /// When it was.
    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.at_ms)
    }

    /// How much a folder has grown since. A folder that is not listed was at most as large as the smallest listed one,
    /// so it has grown by at least the difference.
    pub(super) fn growth(&self, path: &str, bytes: u64) -> Option<f64> {
        match self.sizes.get(path) {
            Some(&before) => Some(bytes as f64 - before as f64),
            None if path.len() <= MAX_PATH_BYTES && bytes > self.smallest => {
                Some((bytes - self.smallest) as f64)
            }
            None => None,
        }
    }
}

/// The last look at a file system. A file that is missing, damaged or too long counts as none.
pub(super) fn load(dir: &Path, mount_point: &str) -> Option<Look> {
    load_all(dir).remove(mount_point)
}

fn load_all(dir: &Path) -> BTreeMap<String, Look> {
    let Ok(file) = fs::File::open(dir.join(FILE)) else { return BTreeMap::new() };
    let mut text = String::new();
    match file.take(MAX_FILE_BYTES).read_to_string(&mut text) {
        Ok(_) => serde_json::from_str(&text).unwrap_or_default(),
        Err(_) => BTreeMap::new(),
    }
}

/// Keeps a look in place of the last one of the same file system.
pub(super) fn save(dir: &Path, mount_point: &str, look: Look) -> io::Result<()> {
    let mut all = load_all(dir);
    all.insert(mount_point.to_owned(), look);
    while all.len() > MAX_MOUNTS {
        let oldest = all.iter().min_by_key(|(_, look)| look.at_ms).map(|(mount, _)| mount.clone());
        all.remove(&oldest.unwrap_or_default());
    }
    let text = serde_json::to_vec(&all).map_err(io::Error::other)?;
    // A reader sees the old file or the new one; losing both at a power failure only costs one comparison.
    let fresh = dir.join(format!("{FILE}.new"));
    fs::write(&fresh, text)?;
    fs::rename(&fresh, dir.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: i64, sizes: &[(&str, u64)]) -> Look {
        let walk = Walk {
            directories: sizes.iter().map(|(path, bytes)| ((*path).to_owned(), *bytes)).collect(),
            ..Walk::default()
        };
        Look::new(Timestamp::from_millis(at), &walk)
    }

    #[test]
    fn growth_is_known_only_where_the_last_look_allows_it() {
        let mut look = look(5, &[("/a", 10)]);
        assert_eq!(look.growth("/a", 25), Some(15.0));
        assert_eq!(look.growth("/a", 5), Some(-5.0));
        assert_eq!(look.growth("/new", 7), Some(7.0));
        look.smallest = 7;
        assert_eq!(look.growth("/new", 7), None);
    }

    #[test]
    fn only_the_largest_folders_and_the_latest_file_systems_are_kept() {
        let many: Vec<(String, u64)> = (0..500).map(|n| (format!("/{n}"), n)).collect();
        let borrowed: Vec<(&str, u64)> = many.iter().map(|(path, bytes)| (path.as_str(), *bytes)).collect();
        let kept = look(0, &borrowed);
        assert_eq!((kept.sizes.len(), kept.smallest), (MAX_DIRECTORIES, 300));
        let dir = tempfile::tempdir().unwrap();
        for n in 0..20 {
            save(dir.path(), &format!("/mnt{n}"), look(n, &[("/a", 1)])).unwrap();
        }
        assert!(load(dir.path(), "/mnt19").is_some());
        assert!(load(dir.path(), "/mnt11").is_none());
        assert_eq!(load_all(dir.path()).len(), MAX_MOUNTS);
    }

    #[test]
    fn a_damaged_file_counts_as_no_look() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", "\u{0}"] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert!(load(dir.path(), "/").is_none());
        }
    }
}
