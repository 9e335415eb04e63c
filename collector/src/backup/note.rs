//! When the last backup was made, for `doctor`: a small file in the data folder, which is not part of backups itself.

use crate::private;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Its name inside the data folder.
pub(crate) const FILE_NAME: &str = "last-backup.json";

/// The last backup that became whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub taken_at_ms: i64,
    /// Where it was put.
    pub file: String,
    pub bytes: u64,
}

impl Note {
    /// `None` when there was no backup yet.
    pub(crate) fn read(data: &Path) -> Result<Option<Self>> {
        let path = data.join(FILE_NAME);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is damaged; the next backup replaces it", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(crate) fn write(&self, data: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).context("the note cannot be written")?;
        private::replace_file(&data.join(FILE_NAME), &text)
    }
}
