//! `/proc/meminfo` and `/proc/vmstat` (proc_meminfo(5), proc_vmstat(5)).

/// What is needed of `/proc/meminfo`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUsage {
    /// All memory; never zero.
    pub total: u64,
    /// What programs can get without swapping; at most `total`.
    pub available: u64,
    /// All swap; zero when there is none.
    pub swap_total: u64,
    /// Unused swap.
    pub swap_free: u64,
    /// Pages retired as faulty; `None` when the kernel does not count them.
    pub hardware_corrupted: Option<u64>,
}

/// Reads `/proc/meminfo`. The error says what is wrong with it.
pub fn meminfo(text: &[u8]) -> Result<MemoryUsage, String> {
    let need = |name: &str| kibibytes(text, name).ok_or_else(|| format!("/proc/meminfo has no valid {name}"));
    let total = need("MemTotal")?;
    let available = need("MemAvailable")?;
    if total == 0 || available > total {
        return Err(format!("/proc/meminfo says that {available} of {total} bytes are available"));
    }
    Ok(MemoryUsage {
        total,
        available,
        swap_total: kibibytes(text, "SwapTotal").unwrap_or(0),
        swap_free: kibibytes(text, "SwapFree").unwrap_or(0),
        hardware_corrupted: kibibytes(text, "HardwareCorrupted"),
    })
}

/// How many processes the kernel killed for lack of memory since boot; `None` when it does not count them.
pub fn oom_kills(vmstat: &[u8]) -> Result<Option<u64>, String> {
    let Some(count) = lines(vmstat).find_map(|line| line.strip_prefix(b"oom_kill ")) else { return Ok(None) };
    number(count).map(Some).ok_or_else(|| "/proc/vmstat has an oom_kill that is no count".to_owned())
}

fn kibibytes(text: &[u8], name: &str) -> Option<u64> {
    let value = lines(text).find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    number(value.trim_ascii().strip_suffix(b"kB")?)?.checked_mul(1024)
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bytes() {
        let text = b"MemTotal:       2000 kB\nMemFree: 1 kB\nMemAvailable:    500 kB\nSwapTotal: 100 kB\nSwapFree: 25 kB\nHardwareCorrupted:     4 kB\n";
        let expected = MemoryUsage {
            total: 2_048_000,
            available: 512_000,
            swap_total: 102_400,
            swap_free: 25_600,
            hardware_corrupted: Some(4096),
        };
        assert_eq!(meminfo(text), Ok(expected));
    }

    #[test]
    fn absurd_or_cut_files_are_refused() {
        for bad in [
            &b""[..],
            b"MemTotal: 10 kB\n",
            b"MemTotal: 0 kB\nMemAvailable: 0 kB\n",
            b"MemTotal: 10 kB\nMemAvailable: 11 kB\n",
            b"MemTotal: 99999999999999999999 kB\nMemAvailable: 1 kB\n",
            b"MemTotal: 18446744073709551615 kB\nMemAvailable: 1 kB\n",
            b"MemTotal: \xff\xfe kB\nMemAvailable: 1 kB\n",
        ] {
            assert!(meminfo(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn kills_are_not_confused_with_names_that_begin_alike() {
        assert_eq!(oom_kills(b"oom_killer 9\noom_kill 2\n"), Ok(Some(2)));
        assert_eq!(oom_kills(b"pgfault 1\n"), Ok(None));
        assert!(oom_kills(b"oom_kill -1\n").is_err());
    }
}
