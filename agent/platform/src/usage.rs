//! What this process uses: processor time and memory.

use std::time::Duration;

/// Processor time of this process since it started. Zero where the system does not tell.
#[cfg(unix)]
pub fn processor_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// Processor time of this process since it started. Zero where the system does not tell.
#[cfg(not(unix))]
pub fn processor_time() -> Duration {
    Duration::ZERO
}

/// Bytes of memory that this process occupies; `None` where that is not known.
pub fn resident() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    vm_rss(&text)
}

fn vm_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_size_is_read_from_its_line() {
        assert_eq!(vm_rss("Name:\tx\nVmRSS:\t    8644 kB\nThreads:\t7\n"), Some(8644 * 1024));
        assert_eq!(vm_rss("Name:\tVmRSS:\t1 kB\n"), None);
        assert_eq!(vm_rss("VmRSS:\tmany kB\n"), None);
    }
}
