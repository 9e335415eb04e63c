//! Systems on which the service has no local socket yet.

use super::{Connection, Peer};
use std::io;
use std::path::Path;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Listener;

impl Listener {
    pub(super) fn bind(_path: &Path) -> io::Result<Self> {
        Err(unsupported())
    }

    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Connection>, Peer)> {
        std::future::pending().await
    }
}

pub(super) fn ask(_path: &Path, _line: &str, _limit: Duration) -> io::Result<String> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the agent has no local socket on this operating system")
}
