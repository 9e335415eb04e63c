//! What Linux says of a process and of everything it started: memory, processor time, disk writes, file handles.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

/// Linux counts processor time in hundredths of a second for every program that does not ask otherwise.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process together with its children and theirs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Footprint {
    /// Resident memory, KiB; pages that several processes share are counted in each.
    pub resident: u64,
    /// Resident memory with shared pages counted by share, KiB.
    pub proportional: u64,
    /// Since the start, children that ended and were waited for included.
    pub processor: Duration,
    /// Bytes that it caused to be written to disks, less those that were given up before.
    pub written: i64,
    pub processes: u32,
    pub threads: u32,
    pub handles: u64,
}

/// Resident memory in MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    let text = read(&format!("/proc/{pid}/status"))?;
    field(&text, "VmRSS:")
        .map(|kib| kib as f64 / 1024.0)
        .with_context(|| format!("process {pid} has no VmRSS"))
}

/// Processor time since the start, user and system.
pub(super) fn processor_time(pid: u32) -> Result<Duration> {
    let text = read(&format!("/proc/{pid}/stat"))?;
    ticks(&text, 2)
        .map(|ticks| Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
        .with_context(|| format!("/proc/{pid}/stat is not as expected"))
}

/// Processor time of this process's children that have ended.
pub(super) fn children_time() -> Result<Duration> {
    let text = read("/proc/self/stat")?;
    let both = ticks(&text, 4).context("/proc/self/stat is not as expected")?;
    let own = ticks(&text, 2).unwrap_or(0.0);
    Ok(Duration::from_secs_f64((both - own) / TICKS_PER_SECOND))
}

/// What the process and its descendants use now. A descendant that ends meanwhile is left out; the process itself must be
/// there.
pub(super) fn footprint(root: u32) -> Result<Footprint> {
    let mut sum = Footprint::default();
    for pid in family(root)? {
        match add(&mut sum, pid) {
            Ok(()) => {}
            Err(error) if pid == root => return Err(error),
            Err(_) => {}
        }
    }
    Ok(sum)
}

fn add(sum: &mut Footprint, pid: u32) -> Result<()> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    let rollup = read(&format!("/proc/{pid}/smaps_rollup"))?;
    let io = read(&format!("/proc/{pid}/io"))?;
    let handles = std::fs::read_dir(format!("/proc/{pid}/fd")).context("no file handles are told")?.count();
    sum.resident += field(&rollup, "Rss:").context("no Rss")?;
    sum.proportional += field(&rollup, "Pss:").context("no Pss")?;
    sum.processor += Duration::from_secs_f64(ticks(&stat, 4).context("no times")? / TICKS_PER_SECOND);
    let written = field(&io, "write_bytes:").context("no write_bytes")?;
    let given_up = field(&io, "cancelled_write_bytes:").unwrap_or(0);
    sum.written += i64::try_from(written)? - i64::try_from(given_up)?;
    sum.processes += 1;
    sum.threads += after_name(&stat).and_then(|mut rest| rest.nth(17)?.parse().ok()).unwrap_or(0);
    sum.handles += handles as u64;
    Ok(())
}

/// The process and all whose chain of parents leads to it.
fn family(root: u32) -> Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")? {
        let Some(pid) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        let parent = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| after_name(&stat)?.nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.get(pid).into_iter().flatten().copied().collect::<Vec<_>>());
        next += 1;
    }
    Ok(found)
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// The fields behind the program's name, which may hold spaces and brackets; the first one is the state.
fn after_name(stat: &str) -> Option<std::str::SplitWhitespace<'_>> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace())
}

/// Fields 14 and following: user and system time of the process, then those of its children.
fn ticks(stat: &str, fields: usize) -> Option<f64> {
    let times: Vec<f64> =
        after_name(stat)?.skip(11).take(fields).map(str::parse).collect::<Result<_, _>>().ok()?;
    (times.len() == fields).then(|| times.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_a_hostile_name() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 1 0 0 0 250 50 7 3 20 0 5 0 1 2 3";
        assert_eq!(ticks(stat, 2), Some(300.0));
        assert_eq!(ticks(stat, 4), Some(310.0));
        assert_eq!(after_name(stat).and_then(|mut rest| rest.nth(17)), Some("5"));
        assert_eq!(field("Name:\tx\nVmRSS:\t    8644 kB\n", "VmRSS:"), Some(8644));
        assert_eq!(ticks("nonsense", 2), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_and_its_child_are_one_family() {
        let dir = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let before = footprint(std::process::id()).unwrap();
        let mut child = crate::process::Process::new("sleep").quiet().arg("60").start(log).unwrap();
        let family = family(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(family.contains(&child.id()), "{family:?}");
        assert!(before.resident > 0 && before.handles > 0 && before.threads > 0, "{before:?}");
    }
}
