//! The kernel's log: lines since the last look, and what they mean.
//!
//! Each probe that reads the log has its own [`KernelLog`] and so its own place in it. A place starts at the end of
//! the log, because what was logged before the agent began is history; of a captured machine (`DIR/dev/kmsg`) all
//! lines are read, once.

pub mod classify;
#[cfg(target_os = "linux")]
#[path = "kernel_log/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "kernel_log/other.rs"]
mod imp;
pub mod machine_check;

use crate::{ProbeError, Root};

/// A place in the kernel's log.
#[derive(Debug, Default)]
pub struct KernelLog {
    system: Option<imp::Follower>,
    capture_read: bool,
}

impl KernelLog {
    /// The most lines taken at one look; the rest waits for the next one.
    pub const LINES_PER_LOOK: usize = 2000;

    /// Gives each line that the kernel logged since the last look to `each`, without prefix and without line end.
    /// Lines that were overwritten before they were read are counted in the result.
    pub fn read(&mut self, root: &Root, mut each: impl FnMut(&str)) -> Result<u64, ProbeError> {
        if !root.is_system() {
            if !std::mem::replace(&mut self.capture_read, true) {
                let captured = root.read_text("/dev/kmsg")?;
                captured.lines().filter_map(classify::message).take(Self::LINES_PER_LOOK).for_each(each);
            }
            return Ok(0);
        }
        let follower = match &mut self.system {
            Some(follower) => follower,
            None => self.system.insert(imp::Follower::at_end()?),
        };
        follower.read(Self::LINES_PER_LOOK, |record| {
            if let Some(message) = String::from_utf8_lossy(record).lines().next().and_then(classify::message)
            {
                each(message);
            }
        })
    }
}

/// Gives every line that the log still holds to `each`, the oldest first, without moving anybody's place in it.
pub fn whole(root: &Root, mut each: impl FnMut(&str)) -> Result<(), ProbeError> {
    /// More lines than the kernel's buffer holds unless it was made larger.
    const LINES: usize = 50_000;
    if !root.is_system() {
        return KernelLog::default().read(root, each).map(drop);
    }
    imp::Follower::at_oldest()?.read(LINES, |record| {
        if let Some(message) = String::from_utf8_lossy(record).lines().next().and_then(classify::message) {
            each(message);
        }
    })?;
    Ok(())
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_log_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dev")).unwrap();
        std::fs::write(dir.path().join("dev/kmsg"), "6,1,5,-;one\n SUBSYSTEM=x\n3,2,6,-;two\n").unwrap();
        let mut log = KernelLog::default();
        let mut seen = Vec::new();
        for _ in 0..2 {
            log.read(&Root::at(dir.path()), |line| seen.push(line.to_owned())).unwrap();
        }
        assert_eq!(seen, ["one", "two"]);
    }

    #[test]
    fn the_systems_log_is_followed_from_its_end() {
        let mark = |which: &str| format!("firstline test mark {which} {}", std::process::id());
        let write = |which: &str| std::fs::write("/dev/kmsg", format!("<6>{}\n", mark(which)));
        if let Err(error) = write("early") {
            return eprintln!("skipped: the kernel log cannot be written: {error}");
        }
        let mut log = KernelLog::default();
        let mut seen = Vec::new();
        log.read(&Root::system(), |line| seen.push(line.to_owned())).unwrap();
        write("late").unwrap();
        for _ in 0..2 {
            log.read(&Root::system(), |line| seen.push(line.to_owned())).unwrap();
        }
        // Other lines may come from the machine itself at any time.
        seen.retain(|line| *line == mark("early") || *line == mark("late"));
        assert_eq!(seen, [mark("late")]);
    }
}
