//! What Linux says of a process: memory and processor time.

use std::time::Duration;

use anyhow::{Context, Result};

/// Linux counts processor time in hundredths of a second for every program that does not ask otherwise.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory in MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    resident(&text).with_context(|| format!("{path} has no VmRSS"))
}

/// Processor time since the start, user and system.
pub(super) fn processor_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    ticks(&text)
        .map(|ticks| Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
        .with_context(|| format!("{path} is not as expected"))
}

fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? / 1024.0)
}

/// Fields 14 and 15, counted behind the program's name, which may hold spaces and brackets.
fn ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_a_hostile_name() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 5 0 1 2 3";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    8644 kB\n"), Some(8644.0 / 1024.0));
        assert_eq!(ticks("nonsense"), None);
    }
}
