//! What the collector makes of a device's clock: how far it is off, and what the device's times mean in the collector's.
//!
//! A batch brings two readings of the moment in which it was sent: one of the agent's steady time, in which all its
//! observations are (it does not jump while the machine runs), and one of the clock that everything else on the device
//! sees. The first corrects the observations' times when it is off by more than [`SUSPECT`], so holds are measured as if the
//! clock were right; the second is judged. Order and duplicates are a matter of (epoch, sequence number) alone.

use firstline_model::Timestamp;
use std::time::Duration;

/// A clock that is off by more than this is suspect, and times are corrected.
pub const SUSPECT: Duration = Duration::from_secs(300);
/// A correction stays as it is while the next one would differ by less: the way here takes now longer and now shorter.
const JITTER: Duration = Duration::from_secs(60);
/// The worst that was seen speaks for so long: a clock that jumps is not right because it was right once.
const REMEMBERED: Duration = Duration::from_secs(300);
/// A smaller difference is the way here, and not worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(30);
/// How often it is said.
const SAY: Duration = Duration::from_secs(10);

/// What is known of one device's clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceClock {
    correction_ms: i64,
    ahead_ms: i64,
    off_ms: i64,
    /// When it was worst lately, and by how much.
    worst: Option<(Timestamp, i64)>,
    said_at: Option<Timestamp>,
}

impl DeviceClock {
    /// A batch was received at `received` (the collector's time) that was sent at `sent` of the agent's steady time, when the
    /// device's clock said `clock`.
    pub fn heard(&mut self, sent: Timestamp, clock: Timestamp, received: Timestamp) {
        let needed = received.as_millis().saturating_sub(sent.as_millis());
        if is_within(needed, SUSPECT) {
            self.correction_ms = 0;
        } else if self.correction_ms == 0 || !is_within(needed.saturating_sub(self.correction_ms), JITTER) {
            self.correction_ms = needed;
        }
        self.ahead_ms = self.correction_ms.saturating_sub(needed);
        self.off_ms = clock.as_millis().saturating_sub(received.as_millis());
        let is_worse = |(at, worst): (Timestamp, i64)| {
            self.off_ms.unsigned_abs() >= worst.unsigned_abs()
                || received.since(at) >= REMEMBERED
                || at > received
        };
        if self.worst.is_none_or(is_worse) {
            self.worst = Some((received, self.off_ms));
        }
    }

    /// What a time of the device's observations is by the collector's clock, give or take [`SUSPECT`].
    pub fn corrected(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().saturating_add(self.correction_ms))
    }

    /// How far corrected times are ahead of the collector's, in milliseconds.
    pub fn ahead_ms(&self) -> i64 {
        self.ahead_ms
    }

    /// Whether the clock was off by more than [`SUSPECT`] when the last batch was sent.
    pub fn is_suspect(&self) -> bool {
        !is_within(self.off_ms, SUSPECT)
    }

    /// How far the clock is off, in seconds (ahead is positive), when that is worth telling the rules at `now`: when it is
    /// off, and afterwards (`is_followed`) until they have seen that it is right.
    pub fn offset_to_say(&mut self, now: Timestamp, is_followed: bool) -> Option<f64> {
        let (_, worst) = self.worst?;
        let is_off = !is_within(worst, WORTH_A_WORD);
        if !is_off && !is_followed {
            return None;
        }
        if self.said_at.is_some_and(|at| at <= now && now.since(at) < SAY) {
            return None;
        }
        self.said_at = Some(now);
        #[expect(clippy::cast_precision_loss, reason = "seconds of a clock's error")]
        let seconds = (worst / 1000) as f64;
        Some(if is_off { seconds } else { 0.0 })
    }
}

fn is_within(ms: i64, bound: Duration) -> bool {
    u128::from(ms.unsigned_abs()) <= bound.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const TEN_YEARS: Duration = Duration::from_secs(3652 * 24 * 3600);

    #[test]
    fn r20_times_of_a_device_that_is_years_off_keep_their_distances_and_land_in_the_collectors_time() {
        for off in [TEN_YEARS, S(0)] {
            let mut clock = DeviceClock::default();
            for second in (0..600).step_by(60) {
                let received = START.plus(S(second));
                // The way here takes up to three seconds.
                let sent = received.minus(off).minus(S(second % 7 % 3));
                clock.heard(sent, sent, received);
                assert_eq!(clock.is_suspect(), off > S(0));
                let corrected = clock.corrected(sent.minus(S(20)));
                assert!(received.since(corrected) >= S(20) && received.since(corrected) <= S(25), "{second}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_off_by_five_minutes_is_not_suspect_and_corrects_nothing() {
        let mut clock = DeviceClock::default();
        let sent = START.plus(S(300));
        clock.heard(sent, sent, START);
        assert!(!clock.is_suspect());
        assert_eq!((clock.corrected(sent), clock.ahead_ms()), (sent, 300_000));
        let sent = sent.plus(Duration::from_millis(1));
        clock.heard(sent, sent, START);
        assert!(clock.is_suspect());
        assert_eq!((clock.corrected(sent), clock.ahead_ms()), (START, 0));
    }

    #[test]
    fn r20_a_clock_that_jumps_is_off_although_it_is_right_now_and_then() {
        let mut clock = DeviceClock::default();
        let mut said = Vec::new();
        for second in (0..1200).step_by(10) {
            let received = START.plus(S(second));
            let jumps = second < 600 && second % 30 == 10;
            clock.heard(received, if jumps { received.plus(TEN_YEARS) } else { received }, received);
            assert_eq!(clock.is_suspect(), jumps);
            said.extend(clock.offset_to_say(received, true));
        }
        assert_eq!(said.first(), Some(&0.0));
        assert!(said[1..=60].iter().all(|seconds| *seconds > 1e8), "it is off all the while");
        assert_eq!(said.last(), Some(&0.0), "five minutes after the last jump it is right again");
    }

    #[test]
    fn a_clock_that_is_right_is_not_worth_a_word() {
        let mut clock = DeviceClock::default();
        clock.heard(START, START, START.plus(S(20)));
        assert_eq!(clock.offset_to_say(START.plus(S(20)), false), None);
        assert_eq!(clock.offset_to_say(START.plus(S(20)), true), Some(0.0));
        assert_eq!(clock.offset_to_say(START.plus(S(25)), true), None, "it was said just now");
    }
}
