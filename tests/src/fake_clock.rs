//! A clock of a program's own that the test turns while the program runs, by libfaketime. Time that only passes (timers,
//! time-outs) is real.

use crate::needs;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

const LIBRARY: &str = "faketime/libfaketime.so.1";

/// A clock that is off by an amount. Cheap to copy; all copies are one clock.
#[derive(Debug, Clone)]
pub struct FakeClock {
    folder: Arc<TempDir>,
}

impl FakeClock {
    /// One that is right.
    ///
    /// # Panics
    /// When there is no room for its file.
    pub fn right() -> Self {
        let clock = Self { folder: Arc::new(tempfile::tempdir().expect("a temporary folder")) };
        clock.turn(0);
        clock
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// Sets it to so many days ahead of the right time.
    ///
    /// # Panics
    /// When its file cannot be replaced.
    pub fn turn(&self, days: i64) {
        let fresh = self.folder.path().join("offset.new");
        std::fs::write(&fresh, format!("{days:+}d\n")).expect("the clock's file can be written");
        std::fs::rename(fresh, self.file()).expect("the clock's file can be replaced");
    }

    /// What a program has to find in its environment to have this clock.
    ///
    /// # Panics
    /// When libfaketime is not installed; to be looked for with [`library`] before.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let library = library().expect("libfaketime is installed");
        let one = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        vec![
            ("LD_PRELOAD".into(), library.into()),
            ("FAKETIME_TIMESTAMP_FILE".into(), self.file().into()),
            one("FAKETIME_NO_CACHE", "1"),
            one("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            one("FAKETIME_DONT_RESET", "1"),
            one("NO_FAKE_STAT", "1"),
        ]
    }

    /// Turns it through these offsets again and again, until the value is dropped; then it is right.
    #[must_use]
    pub fn jumping(&self, every: Duration, days: &'static [i64]) -> Jumping {
        let (clock, stop) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let turning = std::thread::spawn(move || {
            for days in days.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                clock.turn(*days);
                std::thread::park_timeout(every);
            }
            clock.turn(0);
        });
        Jumping { stop, turning: Some(turning) }
    }
}

/// A clock that jumps for as long as this lives.
#[derive(Debug)]
pub struct Jumping {
    stop: Arc<AtomicBool>,
    turning: Option<JoinHandle<()>>,
}

impl Drop for Jumping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(turning) = self.turning.take() {
            turning.thread().unpark();
            // A panic there has failed the test's clock, which the test notices.
            let _ = turning.join();
        }
    }
}

/// Where the library lies, if it is installed.
pub fn library() -> Option<PathBuf> {
    let machine = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    [machine.as_str(), "/usr/lib", "/usr/lib64"]
        .iter()
        .map(|folder| PathBuf::from(folder).join(LIBRARY))
        .find(|file| file.is_file())
}

/// Whether a test can turn clocks here.
#[must_use]
pub fn is_there() -> bool {
    needs::met(&[needs::Need::Program("faketime")]) && library().is_some()
}
