//! The walk itself: sizes on disk, one file system, bounded.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Folders waiting to be read; a tree that needs more is cut off.
const MAX_WAITING: usize = 200_000;
/// Names of this many folders are kept.
const MAX_NAMED: usize = 20_000;
const LOOK_AT_CLOCK_EVERY: u64 = 256;

/// How much a walk may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) entries: u64,
    pub(super) time: Duration,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Bytes of each folder with all below it, by its path below the top, down to the depth that names go.
    pub(super) directories: BTreeMap<String, u64>,
    /// Bytes of everything.
    pub(super) total: u64,
    pub(super) entries: u64,
    /// Folders that could not be read.
    pub(super) unreadable: u64,
    /// Whether everything was seen.
    pub(super) complete: bool,
    /// Whether the walk ended before it had seen what it was allowed to see, so that its sums are only lower bounds.
    pub(super) cut_off: bool,
}

/// A folder to be read, and the named folders that its bytes count for.
struct Waiting {
    path: PathBuf,
    /// Path below the top of the deepest folder that is named.
    named: String,
    depth: u8,
}

/// Walks everything below `top` that is on the same file system.
pub(super) fn walk(top: &Path, named_depth: u8, budget: Budget) -> io::Result<Walk> {
    let metadata = fs::symlink_metadata(top)?;
    if !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
    }
    let device = device(&metadata);
    let begun = Instant::now();
    let mut walk = Walk { complete: true, total: size(&metadata), ..Walk::default() };
    let mut linked = HashSet::new();
    let mut waiting = vec![Waiting { path: top.to_owned(), named: String::new(), depth: 0 }];
    while let Some(folder) = waiting.pop() {
        let entries = match fs::read_dir(&folder.path) {
            Ok(entries) => entries,
            // What was deleted in between is not there any more; what is refused is missing from the sums.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => {
                walk.unreadable += 1;
                walk.complete = false;
                continue;
            }
        };
        for entry in entries {
            walk.entries += 1;
            let out_of_time =
                walk.entries.is_multiple_of(LOOK_AT_CLOCK_EVERY) && begun.elapsed() >= budget.time;
            if walk.entries > budget.entries || out_of_time {
                (walk.complete, walk.cut_off) = (false, true);
                return Ok(walk);
            }
            // The metadata of an entry is that of the link itself, never of what it points to.
            let Ok(entry) = entry else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            if self::device(&metadata) != device {
                continue;
            }
            if metadata.is_dir() {
                let below = folder.depth.saturating_add(1);
                let named = if below <= named_depth && walk.directories.len() < MAX_NAMED {
                    format!("{}/{}", folder.named, entry.file_name().to_string_lossy())
                } else {
                    folder.named.clone()
                };
                walk.directories.entry(named.clone()).or_insert(0);
                add(&mut walk, &named, size(&metadata));
                if waiting.len() < MAX_WAITING {
                    waiting.push(Waiting { path: entry.path(), named, depth: below });
                } else {
                    (walk.complete, walk.cut_off) = (false, true);
                }
            } else if !counted_before(&metadata, &mut linked) {
                add(&mut walk, &folder.named, size(&metadata));
            }
        }
    }
    walk.directories.remove("");
    Ok(walk)
}

/// Adds bytes to a named folder and to all named folders above it.
fn add(walk: &mut Walk, named: &str, bytes: u64) {
    walk.total = walk.total.saturating_add(bytes);
    let mut path = named;
    while !path.is_empty() {
        if let Some(sum) = walk.directories.get_mut(path) {
            *sum = sum.saturating_add(bytes);
        }
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
}

#[cfg(unix)]
fn device(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::dev(metadata)
}

#[cfg(not(unix))]
fn device(_: &Metadata) -> u64 {
    0
}

/// Bytes on disk: sparse files take less than their length.
#[cfg(unix)]
fn size(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata).saturating_mul(512)
}

#[cfg(not(unix))]
fn size(metadata: &Metadata) -> u64 {
    metadata.len()
}

#[cfg(unix)]
fn counted_before(metadata: &Metadata, linked: &mut HashSet<u64>) -> bool {
    /// Files with several names are remembered so that they count once; beyond this many they may count again.
    const MAX_LINKED: usize = 200_000;
    use std::os::unix::fs::MetadataExt;
    metadata.nlink() > 1 && linked.len() < MAX_LINKED && !linked.insert(metadata.ino())
}

#[cfg(not(unix))]
fn counted_before(_: &Metadata, _: &mut HashSet<u64>) -> bool {
    false
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Budget = Budget { entries: 1_000_000, time: Duration::from_secs(60) };

    fn write(path: &Path, bytes: usize) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![1; bytes]).unwrap();
    }

    #[test]
    fn links_are_neither_followed_nor_counted_twice() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        write(&outside.path().join("big"), 5_000_000);
        write(&dir.path().join("a/file"), 1_000_000);
        std::os::unix::fs::symlink(outside.path(), dir.path().join("a/link")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        fs::hard_link(dir.path().join("a/file"), dir.path().join("a/again")).unwrap();
        let walk = walk(dir.path(), 3, WIDE).unwrap();
        let bytes = walk.directories["/a"];
        assert!((1_000_000..1_100_000).contains(&bytes), "{bytes}");
        assert!(walk.complete && walk.total >= bytes);
    }

    #[test]
    fn an_empty_budget_gives_a_partial_answer() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..10 {
            write(&dir.path().join(format!("f{n}")), 10);
        }
        let few = walk(dir.path(), 2, Budget { entries: 5, ..WIDE }).unwrap();
        assert!(!few.complete && few.cut_off);
        assert_eq!(few.entries, 6);
        assert!(walk(&dir.path().join("f1"), 2, WIDE).is_err(), "a file was walked");
    }

    #[test]
    fn bytes_below_the_named_depth_count_for_their_parents() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("a/b/c/d/file"), 500_000);
        let walk = walk(dir.path(), 1, WIDE).unwrap();
        assert_eq!(walk.directories.keys().collect::<Vec<_>>(), ["/a"]);
        assert!(walk.directories["/a"] >= 500_000);
    }
}
