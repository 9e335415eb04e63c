//! Files that only the service itself may read: private keys, the spool, the state of probes.
//!
//! On unix the folder is 0700 and files are 0600 from the moment they exist. On Windows the folder under ProgramData
//! inherits its access list from the installer, which limits it to SYSTEM and Administrators.

use std::io::Write;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A private file or folder that is not as it must be.
#[derive(Debug, Error)]
pub enum PrivateFileError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Others may read or change it.
    #[error("{} may be read or changed by others (mode {mode:o}); run: chmod {wanted:o} {}", path.display(), path.display())]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What it should be.
        wanted: u32,
    },
}

impl PrivateFileError {
    /// Whether the disk refuses, which may pass, in contrast to a file that somebody has to put right.
    pub fn is_disk_trouble(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_disk_trouble(source),
            Self::TooOpen { .. } => false,
        }
    }
}

/// Whether the disk refuses: it is full, read-only, failing or gone, or the system is short of something.
pub fn is_disk_trouble(error: &std::io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let refusals = [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::ROFS,
            Errno::IO,
            Errno::NXIO,
            Errno::NODEV,
            Errno::STALE,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::TIMEDOUT,
        ];
        Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
    }
    #[cfg(not(unix))]
    {
        use std::io::ErrorKind as Kind;
        matches!(
            error.kind(),
            Kind::StorageFull
                | Kind::QuotaExceeded
                | Kind::ReadOnlyFilesystem
                | Kind::TimedOut
                | Kind::OutOfMemory
        )
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PrivateFileError {
    let path = path.to_path_buf();
    move |source| PrivateFileError::Io { action, path, source }
}

/// Makes the folder (and its parents) if it is missing, closed to others; refuses one that is open to others, that is
/// another user's, or that is a symbolic link, which somebody may have put there.
pub fn ensure_folder(path: &Path) -> Result<(), PrivateFileError> {
    #[cfg(unix)]
    let builder = {
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
    };
    #[cfg(not(unix))]
    let builder = std::fs::DirBuilder::new();
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        ensure_folder(parent)?;
    }
    match builder.create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("make the folder", path)(error)),
    }
    #[cfg(unix)]
    is_our_folder(path)?;
    check_mode(path, 0o700)
}

#[cfg(unix)]
fn is_our_folder(path: &Path) -> Result<(), PrivateFileError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path).map_err(failed("look at", path))?;
    let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if !metadata.is_dir() {
        return Err(failed("use", path)(std::io::Error::other("it is not a folder; remove it")));
    }
    if owner != us && owner != 0 {
        let why = format!("it belongs to user {owner}; remove it, or run: chown {us} {}", path.display());
        return Err(failed("use", path)(std::io::Error::other(why)));
    }
    Ok(())
}

/// Creates or opens a private file for writing, never through a symbolic link, and never one that is another user's, a
/// pipe or a device. Its content is kept.
pub fn open(path: &Path) -> Result<std::fs::File, PrivateFileError> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Without blocking, because opening a pipe would wait for its other end.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    let file = options.open(path).map_err(failed("open", path))?;
    let metadata = file.metadata().map_err(failed("look at", path))?;
    if !metadata.is_file() {
        return Err(failed("use", path)(std::io::Error::other("it is not a file; remove it")));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        if metadata.nlink() > 1 {
            let why = "it has another name elsewhere (a hard link); remove it";
            return Err(failed("use", path)(std::io::Error::other(why)));
        }
        if metadata.mode() & 0o077 != 0 {
            let private = std::fs::Permissions::from_mode(0o600);
            file.set_permissions(private).map_err(failed("close to others", path))?;
        }
    }
    Ok(file)
}

/// Takes the folder for this process, for as long as the returned file is open; `None` when another process has it. Where
/// the system allows it the folder itself is locked, so that a disk that is full or read-only is no hindrance.
pub fn lock(folder: &Path) -> Result<Option<std::fs::File>, PrivateFileError> {
    #[cfg(unix)]
    let file = std::fs::File::open(folder).map_err(failed("open", folder))?;
    #[cfg(not(unix))]
    let file = open(&folder.join("run.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(failed("lock", folder)(error)),
    }
}

/// Writes a new file beside the old one, makes it durable, and puts it in the old one's place: a crash leaves the old
/// content or the new, never a mixture.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), PrivateFileError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let temporary = path.with_file_name(name);
    match std::fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove", &temporary)(error)),
    }
    let mut options = std::fs::OpenOptions::new();
    // create_new never follows a link that somebody may have put there.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary).map_err(failed("create", &temporary))?;
    if let Err(error) = file.write_all(content).and_then(|()| file.sync_all()) {
        // On a full disk a half of it would keep the room that is missing.
        let _ = std::fs::remove_file(&temporary);
        return Err(failed("write", &temporary)(error));
    }
    std::fs::rename(&temporary, path).map_err(failed("replace", path))?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(failed("make durable", folder))?;
    }
    Ok(())
}

/// From now on, files that this process makes are closed to others, whoever makes them: libraries, probes.
pub fn close_new_files() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Lets everybody read a file that is no secret, in spite of [`close_new_files`].
pub fn open_to_readers(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Reads a private file; refuses one that others may read.
pub fn read(path: &Path) -> Result<Vec<u8>, PrivateFileError> {
    check_mode(path, 0o600)?;
    std::fs::read(path).map_err(failed("read", path))
}

/// Refuses a file or folder that others may read or change.
pub fn check_mode(path: &Path, wanted: u32) -> Result<(), PrivateFileError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_err(failed("look at", path))?.permissions().mode() & 0o7777;
        if mode & !wanted & 0o077 != 0 {
            return Err(PrivateFileError::TooOpen { path: path.to_path_buf(), mode, wanted });
        }
    }
    #[cfg(not(unix))]
    let _ = (path, wanted);
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_replaced_file_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        replace(&path, b"secret").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_link_in_place_of_the_temporary_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("key"), folder.path().join("victim"));
        std::fs::write(&victim, b"mine").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("key.new")).unwrap();
        replace(&path, b"secret").unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    }
}
