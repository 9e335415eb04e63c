//! The collector's own time when its machine's clock cannot be trusted: it follows that clock while it is plausible, never
//! goes back, and counts on by itself when the clock jumps.
//!
//! Deadlines, expiries, retention and TLS all use it, so a clock that is off by years neither fires a deadline nor lets one
//! wait, deletes nothing, and ends no certificate. A small difference is made up for by running at half or one and a half
//! times the speed. A clock that went ahead by hours or days and stays there is followed: the machine was suspended or paused.
//! One that went ahead further, or back, is not: nobody can tell which of both is wrong, and time that went back would let
//! everything that was planned wait. A start believes the clock unless it is behind the newest time that was kept, or more
//! than a year ahead of it.

use firstline_model::Timestamp;
use std::time::Duration;

/// No build of this program is older: 2026-01-01T00:00:00Z.
const NOT_BEFORE: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// Differences up to this are made up for by running slower or faster.
const SMALL: Duration = Duration::from_secs(300);
/// A clock that is ahead by up to this is followed, once it stayed there ...
const SUSPENDED: Duration = Duration::from_secs(7 * 24 * 3600);
/// ... for so long.
const STAYED: Duration = Duration::from_secs(60);
/// Ahead by the same amount, give or take this.
const SAME: Duration = Duration::from_secs(5);
/// A collector that was off for longer than this has to be told that the clock is right.
const LONGEST_OFF: Duration = Duration::from_secs(366 * 24 * 3600);

/// See the module.
#[derive(Debug, Clone)]
pub struct ServerTime {
    /// Nanoseconds since 1970, so that frequent readings lose nothing.
    last: i128,
    /// The steady reading that belongs to `last`.
    ran: Duration,
    /// Since when the clock is ahead, by the steady reading, and by how many milliseconds.
    ahead: Option<(Duration, i64)>,
}

impl ServerTime {
    /// Begins when the machine's clock says `system`; `kept` is the newest time that an earlier process noted. `ran` is any
    /// reading that only moves forward.
    pub fn start(system: Timestamp, kept: Option<Timestamp>, ran: Duration) -> Self {
        let oldest = kept.unwrap_or(NOT_BEFORE).max(NOT_BEFORE);
        let is_plausible = system >= oldest && kept.is_none_or(|kept| system.since(kept) <= LONGEST_OFF);
        let begin = if is_plausible { system } else { oldest };
        Self { last: nanos(begin), ran, ahead: None }
    }

    /// Now, when the machine's clock says `system` and the steady reading is `ran`. Never less than before.
    pub fn read(&mut self, system: Timestamp, ran: Duration) -> Timestamp {
        let passed = ran.saturating_sub(self.ran);
        let expected = self.last + i128::try_from(passed.as_nanos()).unwrap_or(i128::MAX / 2);
        let off = nanos(system) - expected;
        let off_ms = i64::try_from(off / 1_000_000).unwrap_or(i64::MAX);
        self.last = if off.unsigned_abs() <= SMALL.as_nanos() {
            self.ahead = None;
            let most = i128::try_from(passed.as_nanos() / 2).unwrap_or(0);
            expected + off.clamp(-most, most)
        } else if off > 0 && off.unsigned_abs() <= SUSPENDED.as_nanos() {
            let (since, before) = *self.ahead.get_or_insert((ran, off_ms));
            if u128::from(off_ms.abs_diff(before)) > SAME.as_millis() {
                self.ahead = Some((ran, off_ms));
                expected
            } else if ran.saturating_sub(since) >= STAYED {
                self.ahead = None;
                nanos(system)
            } else {
                expected
            }
        } else {
            self.ahead = None;
            expected
        };
        self.ran = ran;
        self.now()
    }

    /// What [`Self::read`] said last.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.last / 1_000_000).unwrap_or(i64::MAX))
    }

    /// How far the machine's clock is from this time, when that is more than can be made up for.
    pub fn doubt(&self, system: Timestamp) -> Option<Duration> {
        let off = Duration::from_millis(system.as_millis().abs_diff(self.now().as_millis()));
        (off > SMALL).then_some(off)
    }
}

fn nanos(at: Timestamp) -> i128 {
    i128::from(at.as_millis()) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const TEN_YEARS: Duration = Duration::from_secs(3652 * 24 * 3600);

    #[test]
    fn r20_a_clock_that_jumps_by_ten_years_every_ten_seconds_is_as_if_it_did_not() {
        let mut time = ServerTime::start(START, Some(START), S(0));
        for second in 1..=600 {
            let right = START.plus(S(second));
            let system = match second / 10 % 3 {
                0 => right,
                1 => right.plus(TEN_YEARS),
                _ => right.minus(TEN_YEARS),
            };
            assert_eq!(time.read(system, S(second)), right, "second {second}");
            assert_eq!(time.doubt(system).is_some(), system != right);
        }
    }

    #[test]
    fn r20_a_start_with_a_wrong_clock_goes_on_from_the_newest_time_that_was_kept() {
        let start = |system, kept| ServerTime::start(system, kept, S(5)).now();
        assert_eq!(start(START.plus(TEN_YEARS), Some(START)), START);
        assert_eq!(start(START.minus(TEN_YEARS), Some(START)), START);
        assert_eq!(start(START.plus(S(86_400 * 60)), Some(START)), START.plus(S(86_400 * 60)), "it was off");
        assert_eq!(start(START, None), START, "the first start");
        assert_eq!(start(Timestamp::from_millis(0), None), NOT_BEFORE, "an empty clock battery");
    }

    #[test]
    fn r20_a_clock_that_is_a_little_off_is_approached_without_a_jump() {
        let mut time = ServerTime::start(START, None, S(0));
        // Set back by two minutes: from now on slower, until both agree.
        let mut last = time.now();
        for second in 1..=300 {
            let system = START.plus(S(second)).minus(S(120));
            let now = time.read(system, S(second));
            assert!(now >= last.plus(Duration::from_millis(499)), "second {second}");
            last = now;
        }
        assert_eq!(last, START.plus(S(180)));
    }

    #[test]
    fn a_machine_that_was_suspended_is_followed_after_a_minute() {
        let mut time = ServerTime::start(START, None, S(0));
        let night = S(8 * 3600);
        let at = |second| START.plus(night).plus(S(second));
        assert_eq!(time.read(at(1), S(1)), START.plus(S(1)));
        assert_eq!(time.read(at(60), S(60)), START.plus(S(60)));
        assert_eq!(time.read(at(61), S(61)), at(61));
        assert_eq!(time.read(at(62), S(62)), at(62));
    }

    proptest! {
        #[test]
        fn r20_server_time_never_goes_back(
            steps in prop::collection::vec((0_u64..100_000, any::<i64>().prop_map(|ms| ms / 4)), 1..60),
        ) {
            let mut time = ServerTime::start(START, Some(START), S(0));
            let (mut ran, mut last) = (Duration::ZERO, time.now());
            for (passed, system) in steps {
                ran += Duration::from_millis(passed);
                let now = time.read(Timestamp::from_millis(system), ran);
                prop_assert!(now >= last);
                last = now;
            }
        }
    }
}
