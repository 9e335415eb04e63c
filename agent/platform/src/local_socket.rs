//! A way for programs of this machine to ask the service something, without a network port.
//!
//! On unix it is a socket in the file system, mode 0660, and the kernel tells who is at the other end. On Windows it
//! would be a named pipe with an access list; that is not made yet, and asking says so.

use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(unix)]
#[path = "local_socket/unix.rs"]
mod imp;

#[cfg(not(unix))]
#[path = "local_socket/other.rs"]
mod imp;

/// Who is at the other end, as the operating system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user's number.
    pub user: u32,
    /// Whether it is root or the user that this process runs as.
    pub is_trusted: bool,
}

/// Bytes both ways.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// A socket that waits for programs of this machine. Its file goes with it.
#[derive(Debug)]
pub struct Listener(imp::Listener);

impl Listener {
    /// Begins to listen at `path`, in a folder that only this user can change. A socket that an earlier process left
    /// there is replaced; anything else there is refused. Needs a runtime.
    pub fn bind(path: &Path) -> io::Result<Self> {
        imp::Listener::bind(path).map(Self)
    }

    /// The next connection, with who made it. An error concerns that connection only.
    pub async fn accept(&self) -> io::Result<(Box<dyn Connection>, Peer)> {
        self.0.accept().await
    }
}

/// Sends one line to the socket at `path` and gives the one line that comes back.
pub fn ask(path: &Path, line: &str, limit: Duration) -> io::Result<String> {
    imp::ask(path, line, limit)
}
