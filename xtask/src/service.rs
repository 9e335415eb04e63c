//! A program that runs beside a task: its output goes to a file, it is stopped politely, and it does not outlive the
//! task where the system can see to that.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Process, find_program};

/// How long a program may take to end after SIGTERM before it is killed.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Service {
    name: String,
    /// None after it was stopped.
    child: Option<Child>,
    log: PathBuf,
}

impl Service {
    /// Starts the program with both outputs in `log`, which is begun anew and closed to others.
    pub(crate) fn start(name: &str, program: Command, log: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = program.into_process().start(file)?;
        Ok(Self { name: name.to_owned(), child: Some(child), log: log.to_path_buf() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).with_context(|| format!("the {} was stopped", self.name))
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Its last lines, without what would confuse a terminal.
    pub(crate) fn tail(&self, lines: usize) -> Vec<String> {
        let mut last = VecDeque::new();
        let Ok(file) = std::fs::File::open(&self.log) else { return Vec::new() };
        for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
            last.push_back(printable(&String::from_utf8_lossy(&line)));
            if last.len() > lines {
                last.pop_front();
            }
        }
        last.into()
    }

    /// Fails with its last lines when it has ended although nobody stopped it.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        let ended = child.try_wait().with_context(|| format!("cannot watch the {}", self.name))?;
        match ended {
            None => Ok(()),
            Some(status) => bail!(self.obituary(status)),
        }
    }

    fn obituary(&self, status: ExitStatus) -> String {
        let tail: String = self.tail(15).iter().map(|line| format!("\n    | {line}")).collect();
        format!(
            "the {} has ended by itself ({status}); its last lines in {}:{tail}",
            self.name,
            self.log.display()
        )
    }

    /// Asks it to end, waits, and kills it when it does not. Stopping twice does nothing.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return Ok(());
        }
        if !terminate(child.id()) {
            child.kill().with_context(|| format!("cannot stop the {}", self.name))?;
        }
        let id = child.id();
        let (sender, ended) = mpsc::channel();
        // `Child` has no wait with a limit: another thread waits, this one limits.
        let waiting = std::thread::spawn(move || drop(sender.send(child.wait())));
        let in_time = ended.recv_timeout(PATIENCE);
        if in_time.is_err() {
            let _ = Process::new("sh")
                .quiet()
                .apart()
                .args(["-c", "kill -KILL \"$1\"", "sh", &id.to_string()])
                .finish();
        }
        let _ = waiting.join();
        match in_time {
            Ok(status) => status.map(drop).with_context(|| format!("cannot wait for the {}", self.name)),
            Err(_) => bail!("the {} did not end within {} s and was killed", self.name, PATIENCE.as_secs()),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Only reached when a task failed before it took over the stopping; there is nobody to tell.
        let _ = self.stop();
    }
}

/// Sends SIGTERM; false where there are no signals.
fn terminate(id: u32) -> bool {
    cfg!(unix)
        && Process::new("sh")
            .quiet()
            .apart()
            .args(["-c", "kill -TERM \"$1\"", "sh", &id.to_string()])
            .succeeds()
}

/// A program to start as a service, wrapped so that the kernel ends it when this process dies without a word.
pub(crate) struct Command {
    process: Process,
}

impl Command {
    pub(crate) fn new(program: &Path) -> Self {
        let process = match setpriv() {
            Some(setpriv) => Process::new(setpriv).args(["--pdeathsig", "TERM", "--"]).arg(program),
            None => Process::new(program),
        };
        Self { process: process.quiet().apart() }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.process = self.process.arg(arg);
        self
    }

    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(mut self, args: I) -> Self {
        self.process = self.process.args(args);
        self
    }

    fn into_process(self) -> Process {
        self.process
    }
}

/// util-linux's setpriv, if it knows the option; other systems have no such thing, and there a killed task leaves its
/// programs behind.
fn setpriv() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            find_program("setpriv")
                .filter(|path| Process::new(path).args(["--pdeathsig", "TERM", "--", "true"]).succeeds())
        })
        .as_deref()
}

/// Text from elsewhere, made harmless for a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(dir: &Path, script: &str) -> Service {
        let command = Command::new(&find_program("sh").unwrap()).args(["-c", script]);
        Service::start("test program", command, &dir.join("log")).unwrap()
    }

    fn wait_for(service: &Service, text: &str) {
        let begun = std::time::Instant::now();
        while !service.output().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{text} was not written");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_program_is_stopped_politely_and_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut service =
            shell(dir.path(), "trap 'kill $!; echo bye; exit 0' TERM; sleep 60 & echo up; wait");
        wait_for(&service, "up");
        service.check_alive().unwrap();
        service.stop().unwrap();
        assert_eq!(service.output(), "up\nbye\n");
        service.stop().unwrap();
    }

    #[test]
    fn an_early_death_is_told_with_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let mut service = shell(dir.path(), "echo one; printf 'two\\033[2J\\n' >&2; exit 3");
        let begun = std::time::Instant::now();
        let error = loop {
            if let Err(error) = service.check_alive() {
                break error.to_string();
            }
            assert!(begun.elapsed() < Duration::from_secs(30));
            std::thread::yield_now();
        };
        assert!(
            error.contains("exit status: 3") && error.contains("| one") && error.contains("| two?[2J"),
            "{error}"
        );
    }
}
