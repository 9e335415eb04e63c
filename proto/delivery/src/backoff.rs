//! When to connect again: exponential backoff with full jitter, so that a thousand agents that lost one collector
//! in the same second do not return in the same second.

use std::time::Duration;

use crate::Tick;

/// The wait before the first retry is at most this.
const BASE: Duration = Duration::from_secs(1);
/// The wait before any retry is at most this.
const CAP: Duration = Duration::from_secs(300);
/// A connection that held this long was healthy: the next failure starts from the base again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// A cap above this is taken for a mistake of unit.
const LONGEST_CAP: Duration = Duration::from_secs(24 * 3600);

/// Why a [`Backoff`] cannot be made from the offered durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBackoff {
    /// The base is below one millisecond, so retries would never spread.
    #[error("the backoff base is below 1 ms; use at least that")]
    BaseTooShort,
    /// The cap is below the base.
    #[error("the backoff cap is below its base; raise the cap or lower the base")]
    CapBelowBase,
    /// The cap is longer than a day.
    #[error("the backoff cap is longer than a day; use a shorter one")]
    CapTooLong,
}

/// Full jitter: the wait before retry `n` is `random * min(cap, base * 2^n)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    healthy_after: Duration,
    failures: u32,
    connected_at: Option<Tick>,
}

impl Default for Backoff {
    /// Base 1 s, cap 5 min, healthy after 60 s.
    fn default() -> Self {
        Self { base: BASE, cap: CAP, healthy_after: HEALTHY_AFTER, failures: 0, connected_at: None }
    }
}

impl Backoff {
    /// A backoff from `base` up to `cap` that starts anew after a connection that held for `healthy_after`.
    pub fn try_new(base: Duration, cap: Duration, healthy_after: Duration) -> Result<Self, InvalidBackoff> {
        if base < Duration::from_millis(1) {
            return Err(InvalidBackoff::BaseTooShort);
        }
        if cap < base {
            return Err(InvalidBackoff::CapBelowBase);
        }
        if cap > LONGEST_CAP {
            return Err(InvalidBackoff::CapTooLong);
        }
        Ok(Self { base, cap, healthy_after, failures: 0, connected_at: None })
    }

    /// A connection was established.
    pub fn handle_connected(&mut self, now: Tick) {
        self.connected_at = Some(now);
    }

    /// A connection ended or could not be made; returns how long to wait before the next try. `random` is uniform
    /// in 0..1; what lies outside is clamped, and what is not a number counts as one half.
    pub fn handle_disconnected(&mut self, now: Tick, random: f64) -> Duration {
        if self.connected_at.take().is_some_and(|since| now.since(since) >= self.healthy_after) {
            self.failures = 0;
        }
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        let random = if random.is_nan() { 0.5 } else { random.clamp(0.0, 1.0) };
        ceiling.mul_f64(random)
    }

    /// The longest wait that the next failure may lead to.
    pub fn ceiling(&self) -> Duration {
        // Beyond 2^30 every base has reached every cap that is allowed.
        let factor = 1_u32 << self.failures.min(30);
        self.base.saturating_mul(factor).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn refuses_nonsense() {
        for (base, cap, why) in [
            (Duration::ZERO, S(1), InvalidBackoff::BaseTooShort),
            (Duration::from_micros(999), S(1), InvalidBackoff::BaseTooShort),
            (S(2), S(1), InvalidBackoff::CapBelowBase),
            (S(1), S(86_401), InvalidBackoff::CapTooLong),
        ] {
            assert_eq!(Backoff::try_new(base, cap, S(60)), Err(why));
        }
        assert!(Backoff::try_new(S(1), S(1), Duration::ZERO).is_ok());
    }

    #[test]
    fn doubles_up_to_the_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..11).map(|_| backoff.handle_disconnected(Tick(0), 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        for _ in 0..100 {
            backoff.handle_disconnected(Tick(0), 1.0);
        }
        assert_eq!(backoff.ceiling(), S(300));
    }

    #[test]
    fn f12_a_backoff_is_full_jitter_and_never_longer_than_five_minutes() {
        const PARTS: u64 = 1_000;
        let mut failed = Backoff::default();
        for ceiling in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300].map(S) {
            let mut total = Duration::ZERO;
            let mut longest = Duration::ZERO;
            for part in 0..PARTS {
                let random = part as f64 / (PARTS - 1) as f64;
                let wait = failed.clone().handle_disconnected(Tick(0), random);
                // From nothing at all up to the ceiling, in equal steps: nobody's wait has a fixed share.
                assert!(wait.abs_diff(ceiling.mul_f64(random)) <= Duration::from_micros(1), "{wait:?}");
                total += wait;
                longest = longest.max(wait);
            }
            assert_eq!(longest, ceiling);
            assert!(longest <= S(300));
            let mean = total / PARTS as u32;
            assert!(mean.abs_diff(ceiling / 2) <= Duration::from_millis(1), "{mean:?} of {ceiling:?}");
            failed.handle_disconnected(Tick(0), 0.0);
        }
    }

    #[test]
    fn survives_a_broken_source_of_randomness() {
        for (random, wait) in [(f64::NAN, 500), (-3.0, 0), (f64::INFINITY, 1000), (7.0, 1000)] {
            assert_eq!(Backoff::default().handle_disconnected(Tick(0), random).as_millis(), wait);
        }
    }

    #[test]
    fn starts_anew_only_after_a_connection_that_held() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.handle_disconnected(Tick(0), 1.0);
        }
        backoff.handle_connected(Tick(1_000));
        assert_eq!(backoff.handle_disconnected(Tick(60_999), 1.0), S(32), "59.999 s are not healthy");
        backoff.handle_connected(Tick(100_000));
        assert_eq!(backoff.handle_disconnected(Tick(160_000), 1.0), S(1));
        assert_eq!(
            backoff.handle_disconnected(Tick(999_000), 1.0),
            S(2),
            "no connection was made in between"
        );
    }
}
