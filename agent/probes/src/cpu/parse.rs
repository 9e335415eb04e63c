//! Counters of processor time: the first line of `/proc/stat` (proc_stat(5)), in ticks since boot.

/// The modes in the order of the line, by their OpenTelemetry names. The guest modes that follow in the line are
/// contained in user and nice already.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "interrupt", "softirq", "steal"];
const IDLE: usize = 3;
const IOWAIT: usize = 4;

/// Ticks by mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks([u64; 8]);

impl Ticks {
    /// The counters at boot.
    pub const ZERO: Self = Self([0; 8]);

    /// Counters of a system that knows four modes.
    pub const fn of_four(user: u64, nice: u64, system: u64, idle: u64) -> Self {
        Self([user, nice, system, idle, 0, 0, 0, 0])
    }

    /// Counters of a system that knows three modes.
    pub const fn of(user: u64, system: u64, idle: u64) -> Self {
        Self([user, 0, system, idle, 0, 0, 0, 0])
    }
}

/// Shares of the time between two readings.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// Share that was not idle and did not wait for a drive.
    pub busy: f64,
    /// Share of each mode.
    pub by_mode: [(&'static str, f64); 8],
}

/// The counters of all processors together. The first four must be there; old kernels lack later ones.
pub fn ticks(stat: &[u8]) -> Option<Ticks> {
    let line = stat.split(|&byte| byte == b'\n').find(|line| line.starts_with(b"cpu "))?;
    let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace().skip(1);
    let mut ticks = [0; 8];
    for (at, tick) in ticks.iter_mut().enumerate() {
        match fields.next() {
            Some(field) => *tick = field.parse().ok()?,
            None if at > IDLE => break,
            None => return None,
        }
    }
    Some(Ticks(ticks))
}

/// The shares between two readings; `None` when no time passed. A counter that went back (idle and iowait do, on
/// some kernels, when a processor is switched off) counts as unchanged.
pub fn shares(earlier: &Ticks, later: &Ticks) -> Option<Shares> {
    let mut spent = [0_u64; 8];
    for ((spent, later), earlier) in spent.iter_mut().zip(later.0).zip(earlier.0) {
        *spent = later.saturating_sub(earlier);
    }
    let total: u128 = spent.iter().map(|&ticks| u128::from(ticks)).sum();
    if total == 0 {
        return None;
    }
    let share = |ticks: u64| ticks as f64 / total as f64;
    let mut by_mode = [("", 0.0); 8];
    for (at, entry) in by_mode.iter_mut().enumerate() {
        *entry = (MODES[at], share(spent[at]));
    }
    let idle = u128::from(spent[IDLE]) + u128::from(spent[IOWAIT]);
    Some(Shares { busy: (total - idle) as f64 / total as f64, by_mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_differences_between_two_readings() {
        let earlier = ticks(b"cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\n").unwrap();
        let later = ticks(b"cpu  150 0 70 820 60 0 0 0 0 0\n").unwrap();
        let shares = shares(&earlier, &later).unwrap();
        assert!((shares.busy - 0.7).abs() < 1e-9, "{}", shares.busy);
        assert_eq!(shares.by_mode[0], ("user", 0.5));
    }

    #[test]
    fn counters_that_went_back_or_stood_still_give_no_nonsense() {
        let earlier = ticks(b"cpu 100 0 50 800 50 0 0 0\n").unwrap();
        assert_eq!(shares(&earlier, &earlier), None);
        let later = ticks(b"cpu 110 0 50 700 50 0 0 0\n").unwrap();
        assert!((shares(&earlier, &later).unwrap().busy - 1.0).abs() < 1e-9);
    }

    #[test]
    fn lines_that_are_cut_or_no_numbers_are_refused() {
        for bad in [
            &b""[..],
            b"cpu  1 2 3",
            b"cpu  1 2 x 4",
            b"cpu0 1 2 3 4 5",
            b"cpu  1 2 3 99999999999999999999",
            b"cpu \xff",
        ] {
            assert_eq!(ticks(bad), None, "{}", String::from_utf8_lossy(bad));
        }
        assert!(ticks(b"cpu  1 2 3 4").is_some());
    }
}
