//! Files and folders that only the collector's own user may read. The collector is a unix program; this is the one file
//! that says so.

use crate::secret;
use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes a folder (and its parents) that only this user may enter.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// What this process holds in memory (keys, passwords that are being checked) is not left behind in a file when it crashes.
/// One byte and not none: no file begins so small, and Linux hands a core to a program that collects cores whatever the
/// limit is, unless it is exactly one. Who started this may have set none at all, which cannot be raised.
pub(crate) fn forbid_core_files() -> Result<()> {
    let most = getrlimit(Resource::Core).maximum.map_or(1, |most| most.min(1));
    setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) })
        .context("core files cannot be forbidden")
}

/// Writes a new file that only this user may read, whole and durable, or none. Refuses a name that is taken.
pub(crate) fn create_file(path: &Path, text: &str) -> Result<()> {
    let fresh = write_beside(path, text.as_bytes())?;
    // A link, because a rename would replace what somebody else has put there meanwhile.
    let linked =
        std::fs::hard_link(&fresh, path).with_context(|| format!("cannot create {}", path.display()));
    // What is left behind is as closed as the file itself.
    let _ = std::fs::remove_file(&fresh);
    linked.and_then(|()| sync_folder_of(path))
}

/// Writes a new file that only this user may read. Whoever calls this makes it durable with what it is a part of.
pub(crate) fn create_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = open_new(path)?;
    file.write_all(bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Replaces a file by one that only this user may read: at every moment the old or the new one is there, whole.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = write_beside(path, bytes)?;
    std::fs::rename(&fresh, path).with_context(|| format!("cannot replace {}", path.display()))?;
    sync_folder_of(path)
}

/// Opens a file for writing that only this user may read and that is not there yet.
pub(crate) fn open_new(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))
}

fn write_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let fresh = beside(path)?;
    let mut file = open_new(&fresh)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // The name is ours alone, so nothing of anybody else's is deleted.
        let _ = std::fs::remove_file(&fresh);
    }
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fresh)
}

/// A name in the same folder that nobody else uses, for a file that takes its own name when it is whole.
pub(crate) fn beside(path: &Path) -> Result<PathBuf> {
    let mut bytes = [0; 8];
    secret::fill(&mut bytes)?;
    let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
    Ok(path.with_file_name(format!(".{}.new-{}", name.to_string_lossy(), secret::hex(&bytes))))
}

/// Makes the names in a file's folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot make {} durable", path.display()))
}

/// Refuses what others may read or change, with the command that mends it.
pub(crate) fn check_closed(path: &Path) -> Result<()> {
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!("{0} may be read by others (mode {mode:o}); run: chmod go= {0}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_read_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_file(&path, "secret").unwrap();
        check_closed(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = check_closed(&path).unwrap_err().to_string();
        assert!(error.contains("chmod go="), "{error}");
        assert!(create_file(&path, "again").is_err(), "an existing file was overwritten");
    }
}
