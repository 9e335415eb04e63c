//! The protocol's own time: monotonic, because a wall clock that jumps must neither drop a connection nor hold one.

use std::time::Duration;

/// A moment on the caller's monotonic clock, in milliseconds since an origin that the caller chooses.
///
/// Only differences mean anything. Ticks of two processes cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// This moment moved later by `by` (whole milliseconds), saturating.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Tick(5).since(Tick(9)), Duration::ZERO);
        assert_eq!(Tick(u64::MAX).plus(Duration::from_secs(1)), Tick(u64::MAX));
        assert_eq!(Tick(5).plus(Duration::MAX), Tick(u64::MAX));
    }
}
