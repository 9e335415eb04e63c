//! Slows down guessing of passwords: counts failed sign-ins per name and address, in memory and bounded.

use firstline_model::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Failures of one name from one address within the window.
struct Failures {
    count: u32,
    window_started: Timestamp,
}

/// Who tries: the name as typed (cut) and the address, where it is known.
pub(super) type Attempt = (String, Option<IpAddr>);

/// Counts failures and says when a further attempt is refused.
pub(super) struct Throttle {
    seen: Mutex<HashMap<Attempt, Failures>>,
}

impl Throttle {
    /// So many failures of one name from one address ...
    pub(super) const MAX_FAILURES: u32 = 10;
    /// ... within this time stop further attempts until it is over.
    pub(super) const WINDOW: Duration = Duration::from_mins(10);
    /// So many pairs are remembered; then the oldest is forgotten.
    const MAX_ENTRIES: usize = 10_000;

    pub(super) fn new() -> Self {
        Self { seen: Mutex::new(HashMap::new()) }
    }

    /// The key of an attempt. Long names are cut, so that memory stays bounded whatever is sent.
    pub(super) fn attempt(name: &str, address: Option<IpAddr>) -> Attempt {
        (name.chars().take(64).flat_map(char::to_lowercase).collect(), address)
    }

    /// `Some(seconds to wait)` when the attempt must not be made.
    pub(super) fn refused(&self, attempt: &Attempt, now: Timestamp) -> Option<u64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = seen.get(attempt)?;
        let elapsed = now.since(failures.window_started);
        if failures.count < Self::MAX_FAILURES || elapsed >= Self::WINDOW {
            return None;
        }
        Some((Self::WINDOW - elapsed).as_secs().max(1))
    }

    /// Counts an attempt before its password is looked at, so that attempts made at the same time are all counted.
    pub(super) fn count(&self, attempt: Attempt, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= Self::MAX_ENTRIES && !seen.contains_key(&attempt) {
            seen.retain(|_, failures| now.since(failures.window_started) < Self::WINDOW);
            if seen.len() >= Self::MAX_ENTRIES {
                let oldest = seen
                    .iter()
                    .min_by_key(|(_, failures)| failures.window_started)
                    .map(|(key, _)| key.clone());
                if let Some(oldest) = oldest {
                    seen.remove(&oldest);
                }
            }
        }
        let failures = seen.entry(attempt).or_insert(Failures { count: 0, window_started: now });
        if now.since(failures.window_started) >= Self::WINDOW {
            *failures = Failures { count: 0, window_started: now };
        }
        failures.count += 1;
    }

    /// Forgets the failures after a right password.
    pub(super) fn succeeded(&self, attempt: &Attempt) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_stop_further_attempts_until_the_window_is_over() {
        let (throttle, start) = (Throttle::new(), Timestamp::from_millis(1_000_000));
        let attempt = Throttle::attempt("Ada", None);
        for _ in 0..10 {
            assert_eq!(throttle.refused(&attempt, start), None);
            throttle.count(attempt.clone(), start);
        }
        assert_eq!(throttle.refused(&attempt, start), Some(600));
        assert_eq!(
            throttle.refused(&Throttle::attempt("ADA", None), start),
            Some(600),
            "case makes no difference"
        );
        assert_eq!(throttle.refused(&Throttle::attempt("bob", None), start), None);
        assert_eq!(throttle.refused(&attempt, start.plus(Throttle::WINDOW)), None);
        throttle.succeeded(&attempt);
        assert_eq!(throttle.refused(&attempt, start), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (throttle, start) = (Throttle::new(), Timestamp::from_millis(0));
        for number in 0..Throttle::MAX_ENTRIES + 50 {
            throttle.count(Throttle::attempt(&number.to_string(), None), start);
        }
        assert_eq!(throttle.seen.lock().unwrap().len(), Throttle::MAX_ENTRIES);
    }
}
