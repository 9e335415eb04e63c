//! The only place that starts programs.
//!
//! A program is one of a closed list, found at a fixed absolute path, and refused unless it and every folder above it
//! belongs to root and is writable by nobody else. It gets no environment but `LC_ALL=C`, no input, no shell, a limit
//! on its output and a limit on its time, after which its whole process group is killed.
//! With a captured machine ([`Root::at`]) the program is `DIR/bin/<name>` instead, without the check of ownership.

#[cfg(not(unix))]
#[path = "exec/other.rs"]
mod end;
#[cfg(unix)]
#[path = "exec/unix.rs"]
mod end;

use crate::{ProbeError, Root};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

/// More programs than one run of each probe starts.
const MOST_REMEMBERED: usize = 1024;

/// Processor time of all programs that were started and have ended, in microseconds.
static SPENT: AtomicU64 = AtomicU64::new(0);

/// The same by the thread that started them, until it asks.
static SPENT_HERE: Mutex<Vec<(ThreadId, Duration)>> = Mutex::new(Vec::new());

/// Processor time of all programs that were started and have ended.
pub fn spent() -> Duration {
    Duration::from_micros(SPENT.load(Ordering::Relaxed))
}

/// Processor time of the programs that this thread started since the last call.
pub(crate) fn take_spent_here() -> Duration {
    let mut all = SPENT_HERE.lock().unwrap_or_else(PoisonError::into_inner);
    let here = std::thread::current().id();
    let spent = all.iter().filter(|(thread, _)| *thread == here).map(|(_, spent)| *spent).sum();
    all.retain(|(thread, _)| *thread != here);
    spent
}

/// Collects the exit status, and notes the time.
fn reap(child: Child) -> std::io::Result<std::process::ExitStatus> {
    let (status, spent) = end::wait(child)?;
    SPENT.fetch_add(u64::try_from(spent.as_micros()).unwrap_or(0), Ordering::Relaxed);
    let mut all = SPENT_HERE.lock().unwrap_or_else(PoisonError::into_inner);
    // Whoever never asks is not remembered for ever.
    if all.len() < MOST_REMEMBERED {
        all.push((std::thread::current().id(), spent));
    }
    Ok(status)
}

/// A program that the agent may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Drive health, from smartmontools.
    Smartctl,
    /// State of services.
    Systemctl,
    /// Rules of the packet filter.
    Nft,
    /// Values of the kernel of macOS.
    Sysctl,
    /// Memory of macOS.
    VmStat,
    /// The registry of devices of macOS.
    Ioreg,
    /// The inventory of macOS.
    SystemProfiler,
    /// Disk encryption of macOS.
    Fdesetup,
    /// The application firewall of macOS.
    Socketfilterfw,
    /// Network interfaces of macOS.
    Ifconfig,
    /// Counters of interfaces, and routes, of macOS.
    Netstat,
}

impl Program {
    /// The file name, also below `DIR/bin` of a captured machine.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smartctl => "smartctl",
            Self::Systemctl => "systemctl",
            Self::Nft => "nft",
            Self::Sysctl => "sysctl",
            Self::VmStat => "vm_stat",
            Self::Ioreg => "ioreg",
            Self::SystemProfiler => "system_profiler",
            Self::Fdesetup => "fdesetup",
            Self::Socketfilterfw => "socketfilterfw",
            Self::Ifconfig => "ifconfig",
            Self::Netstat => "netstat",
        }
    }

    /// Where it may lie, in order of preference.
    pub const fn places(self) -> &'static [&'static str] {
        match self {
            Self::Smartctl => &["/usr/sbin/smartctl", "/usr/bin/smartctl"],
            Self::Systemctl => &["/usr/bin/systemctl", "/bin/systemctl"],
            Self::Nft => &["/usr/sbin/nft", "/sbin/nft"],
            Self::Sysctl => &["/usr/sbin/sysctl"],
            Self::VmStat => &["/usr/bin/vm_stat"],
            Self::Ioreg => &["/usr/sbin/ioreg"],
            Self::SystemProfiler => &["/usr/sbin/system_profiler"],
            Self::Fdesetup => &["/usr/bin/fdesetup"],
            Self::Socketfilterfw => &["/usr/libexec/ApplicationFirewall/socketfilterfw"],
            Self::Ifconfig => &["/sbin/ifconfig"],
            Self::Netstat => &["/usr/sbin/netstat"],
        }
    }
}

/// Limits of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// After this long the program is killed.
    pub time: Duration,
    /// Output beyond this many bytes is an error.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(10), output: 4 << 20 }
    }
}

/// A program that ended by itself in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub exit_code: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
}

/// Whether `program` is installed, trusted or not.
pub fn is_installed(root: &Root, program: Program) -> bool {
    candidates(root, program).iter().any(|path| path.is_file())
}

/// Runs `program` to its end. Fails with not present when it is not installed, not permitted when it is not to be
/// trusted, timed out when it had to be killed, malformed when it wrote too much.
pub fn run(
    root: &Root,
    program: Program,
    arguments: &[&str],
    limits: Limits,
) -> Result<Finished, ProbeError> {
    let path = candidates(root, program)
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| ProbeError::NotPresent(format!("{} is not installed", program.name())))?;
    let file = if root.is_system() { trusted(&path)? } else { path.clone() };
    let mut child = start(&file, arguments).map_err(|error| ProbeError::from_io(&file, &error))?;
    let Some(stdout) = child.stdout.take() else {
        end(child);
        return Err(ProbeError::Malformed(format!("{} has no output", path.display())));
    };
    wait(child, stdout, &path, limits)
}

fn candidates(root: &Root, program: Program) -> Vec<PathBuf> {
    match root.base() {
        Some(base) => vec![base.join("bin").join(program.name())],
        None => program.places().iter().map(PathBuf::from).collect(),
    }
}

fn start(file: &Path, arguments: &[&str]) -> std::io::Result<Child> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that the rule points to")]
    let mut command = Command::new(file);
    command.args(arguments).env_clear().env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn()
}

fn wait(child: Child, stdout: ChildStdout, path: &Path, limits: Limits) -> Result<Finished, ProbeError> {
    let id = child.id();
    let (sender, ended) = mpsc::sync_channel(1);
    let reading = std::thread::Builder::new()
        .name("probe-exec".to_owned())
        .stack_size(128 << 10)
        .spawn(move || drop(sender.send(read_to_exit(stdout, id, limits.output))));
    if let Err(error) = reading {
        end(child);
        return Err(ProbeError::from_io(path, &error));
    }
    let read = ended.recv_timeout(limits.time);
    let output = match read {
        Ok(output) => output,
        Err(_) => {
            end(child);
            return Err(ProbeError::TimedOut(format!(
                "{} did not end within {} ms",
                path.display(),
                limits.time.as_millis()
            )));
        }
    };
    let status = reap(child).map_err(|error| ProbeError::from_io(path, &error))?;
    let stdout = output.map_err(|error| ProbeError::from_io(path, &error))?;
    if stdout.len() > limits.output {
        return Err(ProbeError::Malformed(format!(
            "{} wrote more than {} bytes",
            path.display(),
            limits.output
        )));
    }
    Ok(Finished { exit_code: status.code(), stdout })
}

/// Reads what the program writes, then waits until it has exited without collecting its exit status: until the caller
/// does that, the process id stays taken, so a kill at the time limit cannot meet another process.
fn read_to_exit(stdout: ChildStdout, id: u32, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut output = Vec::new();
    let read = stdout.take(limit as u64 + 1).read_to_end(&mut output);
    exited(id);
    read.map(|_| output)
}

#[cfg(unix)]
fn exited(id: u32) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else { return };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(rustix::io::Errno::INTR)) {}
}

#[cfg(not(unix))]
fn exited(_id: u32) {}

/// Kills the program and what it started, and collects its exit status.
fn end(mut child: Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // An error means that nothing of the group is left, which is what is wanted.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = reap(child);
}

/// The real file behind `path`, when it and all that leads to it can be changed by root only.
#[cfg(unix)]
fn trusted(path: &Path) -> Result<PathBuf, ProbeError> {
    let real = std::fs::canonicalize(path).map_err(|error| ProbeError::from_io(path, &error))?;
    for way in [path, real.as_path()] {
        for part in way.ancestors() {
            let metadata =
                std::fs::symlink_metadata(part).map_err(|error| ProbeError::from_io(part, &error))?;
            if let Some(why) = distrust(&metadata) {
                let detail = format!("{} is not started because {} {why}", path.display(), part.display());
                return Err(ProbeError::NotPermitted(detail));
            }
        }
    }
    Ok(real)
}

#[cfg(unix)]
fn distrust(metadata: &std::fs::Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    if metadata.uid() != 0 {
        return Some("does not belong to root");
    }
    // A symbolic link has no permissions of its own; the folder that holds it is checked.
    (!metadata.is_symlink() && metadata.mode() & 0o022 != 0).then_some("can be changed by others than root")
}

#[cfg(not(unix))]
fn trusted(path: &Path) -> Result<PathBuf, ProbeError> {
    Err(ProbeError::Unsupported(format!("{} is not started on this operating system", path.display())))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::UnavailableReason;
    use std::os::unix::fs::PermissionsExt;

    fn captured(script: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let file = bin.join("smartctl");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let root = Root::at(dir.path());
        (dir, root)
    }

    #[test]
    fn a_program_gets_a_clean_environment_the_root_folder_and_no_input() {
        let (_dir, root) = captured(r#"read line; echo "$LC_ALL|$HOME|$(pwd)|$line|$1"; exit 3"#);
        let finished = run(&root, Program::Smartctl, &["a b;c"], Limits::default()).unwrap();
        assert_eq!(finished.exit_code, Some(3));
        assert_eq!(String::from_utf8(finished.stdout).unwrap(), "C||/||a b;c\n");
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_its_children() {
        // Both shells wait for a line that never comes on a pipe that nobody else writes to.
        let (dir, root) =
            captured(r#"d=$(dirname "$0"); mkfifo "$d/p"; (read x <>"$d/p") & echo $! > "$d/pid"; wait"#);
        // Long enough for the shells to begin on a machine that is busy with other tests.
        let limits = Limits { time: Duration::from_secs(4), ..Limits::default() };
        let error = run(&root, Program::Smartctl, &[], limits).unwrap_err();
        assert_eq!(error.reason(), UnavailableReason::TimedOut);
        let pid = std::fs::read_to_string(dir.path().join("bin/pid")).unwrap();
        // The signal is sent; the kernel ends the process when it next runs, which nobody reports to this one.
        let begin = std::time::Instant::now();
        loop {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") || state.contains(") X ") {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "the child still runs: {state}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_processor_time_of_a_program_is_noted_with_the_thread_that_started_it() {
        let (_dir, root) = captured("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
        let (all, _) = (spent(), take_spent_here());
        run(&root, Program::Smartctl, &[], Limits::default()).unwrap();
        let here = take_spent_here();
        assert!(here > Duration::ZERO && spent() >= all + here, "{here:?}");
        assert_eq!(take_spent_here(), Duration::ZERO);
    }

    #[test]
    fn a_program_that_writes_too_much_is_an_error() {
        let (_dir, root) = captured("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done");
        let limits = Limits { output: 4096, ..Limits::default() };
        let error = run(&root, Program::Smartctl, &[], limits).unwrap_err();
        assert_eq!(error.reason(), UnavailableReason::Malformed);
    }

    #[test]
    fn a_program_that_is_not_installed_is_not_present() {
        let (_dir, root) = captured("");
        let error = run(&root, Program::Systemctl, &[], Limits::default()).unwrap_err();
        assert_eq!(error.reason(), UnavailableReason::NotPresent);
    }

    #[test]
    fn a_file_that_others_can_change_is_not_trusted() {
        let (dir, _root) = captured("");
        let file = dir.path().join("bin/smartctl");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o775)).unwrap();
        // Temporary folders are writable by everybody, so this holds for root and for others alike.
        assert_eq!(trusted(&file).unwrap_err().reason(), UnavailableReason::NotPermitted);
        assert!(trusted(Path::new("/bin/sh")).is_ok(), "the system's own shell is refused");
    }
}
