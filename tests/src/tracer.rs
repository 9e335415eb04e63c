//! Watches the system calls of a program that runs, and makes some of them fail, by `strace`.

use crate::process::{self, Process};
use crate::wait::seconds;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// A tracer; the program goes on untraced when this value ends.
#[derive(Debug)]
pub struct Tracer {
    // The order is that of dropping.
    _process: Process,
    folder: TempDir,
}

impl Tracer {
    /// Watches these calls of all threads of a process. `injection` is strace's, such as `fdatasync:error=EIO:when=3..9`.
    ///
    /// # Panics
    /// When the process cannot be traced.
    pub fn of(pid: u32, calls: &str, injection: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = process::command("strace");
        command.args(["-f", "-p", &pid.to_string(), "-e", &format!("trace={calls}")]);
        if let Some(injection) = injection {
            command.args(["-e", &format!("inject={injection}")]);
        }
        command.arg("-o").arg(folder.path().join("calls"));
        let process = Process::start("strace", command, &[]);
        process.log.wait("strace is attached", seconds(15), |line| line.contains("attached").then_some(()));
        Self { _process: process, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    /// The calls so far.
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read(self.file()).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// The calls so far that contain this.
    pub fn count(&self, part: &str) -> usize {
        let text = std::fs::read(self.file()).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().filter(|line| line.contains(part)).count()
    }

    /// Waits until there are so many.
    ///
    /// # Panics
    /// After `limit`.
    pub fn wait_for(&self, part: &str, count: usize, limit: Duration) {
        crate::wait::until_ok(&format!("{count} calls with {part:?}"), limit, || {
            let found = self.count(part);
            if found >= count { Ok(()) } else { Err(format!("there are {found}")) }
        });
    }
}
