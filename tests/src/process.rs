//! Child processes: their logs are read line by line, they end with their guard, and an unexpected error in a log
//! fails the test.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a process may take to end when it is asked to.
const STOP: Duration = Duration::from_secs(10);
/// How many lines of a log a failed test shows.
const SHOWN: usize = 60;

/// A command for `program`.
#[expect(clippy::disallowed_methods, reason = "the harness starts what it tests")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// One of the two binaries: they lie beside the test executable.
///
/// # Panics
/// When it was not built.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it lies");
    let file =
        test.parent().and_then(|deps| deps.parent()).expect("tests lie in target/PROFILE/deps").join(name);
    assert!(
        file.is_file(),
        "{} is missing: `cargo xtask test` builds it before it runs the tests",
        file.display()
    );
    file
}

/// Runs a command to its end, with `input` on its standard input.
///
/// # Panics
/// When it cannot be started.
pub fn run_with_input(mut command: Command, input: &str) -> Output {
    let name = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
    // A program that does not read its input may be gone already.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    child.wait_with_output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a command that must succeed and gives its standard output.
///
/// # Panics
/// When it fails.
pub fn succeed(command: Command) -> String {
    let name = format!("{command:?}");
    let output = run_with_input(command, "");
    assert!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a process writes, line by line.
#[derive(Debug, Default)]
pub struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    grown: Condvar,
}

impl Log {
    fn follow(stream: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut bytes = Vec::new();
            while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
                writer.lock().0.push(String::from_utf8_lossy(&bytes).trim_end().to_owned());
                bytes.clear();
                writer.grown.notify_all();
            }
            writer.lock().1 = true;
            writer.grown.notify_all();
        });
        log
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<String>, bool)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().0.clone()
    }

    /// Waits for a line in which `find` finds something.
    ///
    /// # Panics
    /// After `limit`, or when the process ended without such a line.
    pub fn wait<T>(&self, what: &str, limit: Duration, find: impl Fn(&str) -> Option<T>) -> T {
        let started = Instant::now();
        let mut seen = 0;
        let mut guard = self.lock();
        loop {
            if let Some(found) = guard.0[seen..].iter().find_map(|line| find(line)) {
                return found;
            }
            seen = guard.0.len();
            let left = limit.saturating_sub(started.elapsed());
            assert!(!guard.1, "the process ended without this: {what}. It wrote:\n{}", tail(&guard.0));
            assert!(
                !left.is_zero(),
                "waited {} s in vain: {what}. It wrote:\n{}",
                limit.as_secs(),
                tail(&guard.0)
            );
            guard = self.grown.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_for_end(&self) {
        let mut guard = self.lock();
        let started = Instant::now();
        // A grandchild may keep the pipe open.
        while !guard.1 && started.elapsed() < Duration::from_secs(1) {
            guard = self
                .grown
                .wait_timeout(guard, Duration::from_millis(200))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

fn tail(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

/// A running process. Dropping it kills it and judges its log.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// What it says of its work.
    pub log: Arc<Log>,
    /// What it answers.
    pub answers: Arc<Log>,
    expected: Vec<String>,
}

impl Process {
    /// Starts it. Errors in its log that contain one of `expected` are part of the test.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, expected: &[String]) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let log = Log::follow(child.stderr.take().expect("stderr was asked for"));
        let answers = Log::follow(child.stdout.take().expect("stdout was asked for"));
        Self { name: name.to_owned(), child, log, answers, expected: expected.to_vec() }
    }

    /// Ends it as a power cut would, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it where it stands and waits until each of its threads does: then it neither writes nor answers any more.
    ///
    /// # Panics
    /// When it is gone.
    pub fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("the process runs");
        crate::wait::until("every thread stands still", STOP, || {
            // A thread inside of a system call ends that first.
            let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the process runs");
            let state =
                |stat: &str| stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
            threads
                .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok())
                .all(|stat| state(&stat) == Some('T'))
                .then_some(())
        });
    }

    /// The memory that it has now, in bytes.
    ///
    /// # Panics
    /// When it is gone.
    pub fn memory(&self) -> u64 {
        memory_of(self.pid())
    }

    /// Lets it go on after [`Self::freeze`].
    ///
    /// # Panics
    /// When it is gone.
    pub fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("the process runs");
    }

    /// Asks it to end.
    ///
    /// # Panics
    /// When it does not, or ends with a failure.
    pub fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)
            .unwrap_or_else(|error| panic!("{} is gone already: {error}", self.name));
        let status = crate::wait::until(&format!("{} ends when it is asked to", self.name), STOP, || {
            self.child.try_wait().ok().flatten()
        });
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, tail(&self.log.lines()));
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log.wait_for_end();
    }

    fn unexpected(&self) -> Vec<String> {
        // Not what stands in quotes: that somebody else may have said.
        let is_error = |line: &str| line.split('"').next().is_some_and(|own| own.contains(" ERROR "));
        let is_bad = |line: &str| is_error(line) || line.contains("panicked at");
        let lines = self.log.lines().into_iter();
        lines.filter(|line| is_bad(line) && !self.expected.iter().any(|part| line.contains(part))).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            say(&format!("--- the end of the log of {}:\n{}", self.name, tail(&self.log.lines())));
        } else {
            let unexpected = self.unexpected();
            assert!(unexpected.is_empty(), "{} logged errors:\n{}", self.name, unexpected.join("\n"));
        }
    }
}

#[expect(clippy::print_stderr, reason = "the test runner shows the logs of a failed test")]
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// The memory that a process has now, in bytes.
///
/// # Panics
/// When it is gone.
pub fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}
