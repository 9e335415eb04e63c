//! The collector's clock. What decides receives its reading as an argument; what runs by itself (sessions, the worker)
//! receives the clock when it is made, so that a simulation can turn it.
//!
//! A process has one: server time (see `collector/core/src/server_time.rs`), which the machine's clock leads and cannot
//! drag along. Its newest reading is kept in the data folder, so that the next process knows what cannot be.

use anyhow::{Context, Result};
use firstline_collector_core::server_time::ServerTime;
use firstline_model::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Tells the time, in UTC.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Where the newest reading is kept.
pub(crate) const FILE_NAME: &str = "clock";
/// How often the newest reading is kept.
const KEEP: Duration = Duration::from_secs(10);

/// Any moment of this process.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
static SERVER_TIME: LazyLock<Mutex<ServerTime>> =
    LazyLock::new(|| Mutex::new(ServerTime::start(machine(), None, ORIGIN.elapsed())));

/// Begins with what an earlier process kept in this data folder; `believe` takes the machine's clock for right instead.
pub(crate) fn open(data: &Path, believe: bool) {
    let kept = if believe { None } else { read(data) };
    let time = ServerTime::start(machine(), kept, ORIGIN.elapsed());
    *SERVER_TIME.lock().unwrap_or_else(PoisonError::into_inner) = time;
}

/// The collector's clock.
pub(crate) fn system() -> Clock {
    Arc::new(now)
}

/// Now, in UTC.
pub(crate) fn now() -> Timestamp {
    let mut time = SERVER_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    time.read(machine(), ORIGIN.elapsed())
}

/// How far the machine's clock is from the collector's, when it is too far to follow.
pub(crate) fn doubt() -> Option<Duration> {
    now();
    SERVER_TIME.lock().unwrap_or_else(PoisonError::into_inner).doubt(machine())
}

/// What the machine's clock says.
fn machine() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// TLS judges certificates by the collector's clock.
#[derive(Debug)]
pub(crate) struct ForTls;

impl TimeProvider for ForTls {
    fn current_time(&self) -> Option<UnixTime> {
        let millis = u64::try_from(now().as_millis()).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
    }
}

/// Keeps the newest reading and says when the machine's clock is not believed, until `stop`.
pub(crate) async fn follow(data: PathBuf, mut stop: watch::Receiver<bool>) {
    let mut doubted = false;
    loop {
        match (doubt(), doubted) {
            (Some(off), false) => tracing::warn!(
                off = format!("{off:?}"),
                time = %now(),
                "the clock of this machine jumped and is not followed; set it right, or start with --believe-clock if it is"
            ),
            (None, true) => tracing::info!("the clock of this machine is right again"),
            (Some(_), true) | (None, false) => {}
        }
        doubted = doubt().is_some();
        if let Err(error) = keep(&data) {
            tracing::warn!(error = format!("{error:#}"), "the time cannot be kept");
        }
        tokio::select! {
            () = tokio::time::sleep(KEEP) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

fn path(data: &Path) -> PathBuf {
    data.join(FILE_NAME)
}

/// A file that is missing or damaged says nothing: the machine's clock is believed then.
fn read(data: &Path) -> Option<Timestamp> {
    let text = std::fs::read_to_string(path(data)).ok()?;
    Some(Timestamp::from_millis(text.trim().parse().ok()?))
}

/// Replaced as a whole and not flushed to the disk: the reading before it is as good.
fn keep(data: &Path) -> Result<()> {
    let beside = data.join("clock.new");
    std::fs::write(&beside, format!("{}\n", now().as_millis()))
        .and_then(|()| std::fs::rename(&beside, path(data)))
        .with_context(|| format!("cannot write {}", path(data).display()))
}
