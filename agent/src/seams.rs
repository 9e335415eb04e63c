//! What the loop takes from outside of itself: time, randomness, the network and the disk.
//!
//! Each is a constructor argument, so that the whole-system simulation (`tests/sim`) runs the very loop, spool and uplink
//! of the program on its own time, network and disk. [`Seams::system`] is this machine.

use crate::identity::Identity;
use crate::uplink;
use anyhow::Result;
use firstline_agent_platform::clock::{self, Reading};
use firstline_agent_platform::private_file;
use firstline_model::Timestamp;
use rusqlite::{Connection, OpenFlags};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// The clocks of the device.
pub trait Clock: Send + Sync {
    /// What the device believes the time to be.
    fn wall(&self) -> Timestamp;
    /// Time awake and asleep; not disturbed by changes of the wall clock.
    fn read(&self) -> Reading;
}

/// Unpredictable bytes; an error when there are none.
pub type Random = Arc<dyn Fn() -> Result<[u8; 16]> + Send + Sync>;

/// Bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// A connection in the making.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// How the collector is reached.
pub trait Network: Send + Sync {
    /// Opens a byte stream to the collector on which this identity has been proven.
    fn connect<'a>(&'a self, identity: &'a Identity) -> Connecting<'a>;
}

/// Where the spool lies.
pub trait Disk: Send {
    /// The file, for messages.
    fn path(&self) -> &Path;
    /// Opens the file, creating it where there is none.
    fn open(&self) -> rusqlite::Result<Connection>;
    /// Moves a damaged file out of the way.
    fn set_aside(&self) -> io::Result<()>;
    /// The folder that the file lies in, where the spool may note things beside it and read a damaged file's bytes to mend
    /// it. A disk without one only sets a damaged file aside.
    fn folder(&self) -> Option<&Path> {
        None
    }
}

/// All of them.
pub struct Seams {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness: names of epochs, jitter.
    pub random: Random,
    /// The way to the collector.
    pub network: Arc<dyn Network>,
    /// The place of the spool.
    pub disk: Box<dyn Disk>,
}

impl Seams {
    /// This machine, with the spool in `data`.
    pub(crate) fn system(data: &Path) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(random_bytes),
            network: Arc::new(uplink::Tls),
            disk: Box::new(Folder { path: data.join("spool.db") }),
        }
    }
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        crate::collect::wall_clock()
    }

    fn read(&self) -> Reading {
        clock::read()
    }
}

/// Sixteen bytes of the operating system's.
pub(crate) fn random_bytes() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| anyhow::anyhow!("the operating system gives no random numbers"))?;
    Ok(bytes)
}

/// A file in a folder of this machine.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Disk for Folder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let refused = |code: i32, why: String| {
            rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(why))
        };
        // Closed to others from its first moment, and never made through a link that somebody put in its place; SQLite's
        // journals get the mode of the file. SQLite refuses links on the whole way, so it gets the real one.
        private_file::open(&self.path).map_err(|error| {
            let why = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
            // What the disk refuses may pass; a link in the file's place is for a person to remove.
            let passes = error.is_disk_trouble();
            refused(if passes { rusqlite::ffi::SQLITE_CANTOPEN } else { rusqlite::ffi::SQLITE_PERM }, why)
        })?;
        let path = self
            .path
            .canonicalize()
            .map_err(|error| refused(rusqlite::ffi::SQLITE_CANTOPEN, error.to_string()))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        Connection::open_with_flags(path, flags)
    }

    fn folder(&self) -> Option<&Path> {
        self.path.parent()
    }

    fn set_aside(&self) -> io::Result<()> {
        let place = (1..1000)
            .map(|n| self.path.with_file_name(format!("spool-damaged-{n}.db")))
            .find(|place| !place.exists())
            .unwrap_or_else(|| self.path.with_file_name("spool-damaged.db"));
        std::fs::rename(&self.path, place)?;
        for suffix in ["-wal", "-shm"] {
            let mut name = self.path.as_os_str().to_os_string();
            name.push(suffix);
            match std::fs::remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}
