//! How much space the file system of a file has.

use std::path::Path;

/// Space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What this process may still use.
    pub free: u64,
}

impl Space {
    /// What the agent leaves to others: 5 %, or 1 GiB where that is less.
    pub fn reserve(&self) -> u64 {
        (self.total / 20).min(1 << 30)
    }
}

/// The space of the file system with this folder; `None` where the system does not tell.
pub fn space(folder: &Path) -> Option<Space> {
    #[cfg(unix)]
    {
        let seen = rustix::fs::statvfs(folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
        Some(Space { total: bytes(seen.f_blocks), free: bytes(seen.f_bavail) })
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}
