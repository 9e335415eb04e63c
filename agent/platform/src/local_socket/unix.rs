//! Sockets in the file system.

use super::{Connection, Peer};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixListener;

/// Longest answer that is read.
const MOST_ANSWER: u64 = 256 << 10;

#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else has its name")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let socket = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok(Self { socket, path: path.to_path_buf() })
    }

    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Connection>, Peer)> {
        let (stream, _) = self.socket.accept().await?;
        let user = stream.peer_cred()?.uid();
        let is_trusted = user == 0 || user == rustix::process::geteuid().as_raw();
        Ok((Box::new(stream), Peer { user, is_trusted }))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The next process replaces it if it stays.
        let _ = std::fs::remove_file(&self.path);
    }
}

pub(super) fn ask(path: &Path, line: &str, limit: Duration) -> io::Result<String> {
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(MOST_ANSWER).read_to_string(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}
