//! A folder beside a place in which something is put together that takes its name there when it is whole. It is closed to
//! others. What a process that was killed has left is removed by the next one for the same place.

use crate::private;
use anyhow::{Context, Result};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Removed with this value, unless it has been renamed.
pub(crate) struct Staging {
    pub path: PathBuf,
    /// Held as long as somebody works in the folder.
    _lock: File,
}

impl Staging {
    pub(crate) fn beside(place: &Path) -> Result<Self> {
        sweep(place);
        let path = private::beside(place)?;
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        let lock = File::open(&path).and_then(|folder| folder.lock().map(|()| folder));
        let lock = lock.with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays is of no use to anybody, and the next one for this place removes it.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes what processes that are gone have left.
fn sweep(place: &Path) {
    let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else { return };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let prefix = format!(".{}.new-", name.to_string_lossy());
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(&prefix)
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_ours && File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
