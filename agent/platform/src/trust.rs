//! Whether others than the service could change what the service relies on: its program, its configuration, its data.
//!
//! A service that runs as root and reads or starts what somebody else may write hands its rights to them. So at each
//! start every file that matters is looked at, with every folder above it up to the root, under its name and under
//! the name that its symbolic links lead to. Only the owner and root may be able to change any of it.
//!
//! A folder in which everybody may write is accepted above a file only when it belongs to root and is sticky, as
//! `/tmp` is: there nobody can replace what belongs to others, and what lies directly below is looked at as well.
//!
//! On Windows nothing is looked at: access lists are set by the installer, and [`LOOKS`] says so to `doctor`.

use std::path::{Path, PathBuf};
use thiserror::Error;

#[cfg(unix)]
#[path = "trust/unix.rs"]
mod imp;

#[cfg(not(unix))]
#[path = "trust/other.rs"]
mod imp;

/// Whether this operating system's answer means anything.
pub const LOOKS: bool = imp::LOOKS;

/// Something that others could change or read.
#[derive(Debug, Error)]
pub enum Distrust {
    /// It cannot be looked at.
    #[error("cannot look at {}", path.display())]
    Unseen {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It belongs to another user.
    #[error("{} belongs to user {owner}, who could change it; run: chown {wanted} {}", path.display(), path.display())]
    Owner {
        /// What.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        wanted: u32,
    },
    /// Others may write to it, or read what is private.
    #[error("{} is open to others (mode {mode:o}); run: chmod {remedy} {}", path.display(), path.display())]
    Open {
        /// What.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What `chmod` should be told.
        remedy: &'static str,
    },
    /// It is not what it should be, such as a symbolic link in place of a private file.
    #[error("{} is {found}, where {wanted} should be; remove it", path.display())]
    Kind {
        /// What.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

/// Makes sure that only this user and root can change `path`. Of one that is yet to be made, the folders in which it
/// will lie are looked at.
pub fn only_ours(path: &Path) -> Result<(), Distrust> {
    imp::only_ours(path)
}

/// The same for a folder that is private: nobody else may even look into it, and each file in it is private too.
/// Files whose name is in `readable` may be read by others, such as a configuration that a person edits.
pub fn private_folder(path: &Path, readable: &[&str]) -> Result<(), Distrust> {
    imp::private_folder(path, readable)
}
