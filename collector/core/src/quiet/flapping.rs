//! A finding that comes and goes: from the fourth time within an hour on it has to hold for five minutes before it is
//! worth a ticket again, then for ten, and so on.

use super::Held;
use firstline_model::Timestamp;
use std::time::Duration;

/// How reasons begin.
pub(super) const PREFIX: &str = "flapping: ";
/// Within this time ...
const WITHIN: Duration = Duration::from_secs(3600);
/// ... so often is no flapping.
const FREE: usize = 3;
/// How long the next one has to hold; twice as long for each further one.
const FIRST_DELAY: Duration = Duration::from_secs(300);
/// Longer than that nothing has to hold.
const LONGEST_DELAY: Duration = Duration::from_secs(2 * 3600);
/// So many are remembered: the delay does not grow any more by then.
const REMEMBERED: usize = 9;

/// Notes that a finding fires at `at`.
pub(crate) fn note(fires: &mut Vec<Timestamp>, at: Timestamp) {
    fires.retain(|then| at.since(*then) < WITHIN);
    fires.push(at);
    let surplus = fires.len().saturating_sub(REMEMBERED);
    fires.drain(..surplus);
}

/// Why a finding that fired at these times opens nothing at `at`.
pub(super) fn held(fires: &[Timestamp], at: Timestamp) -> Option<Held> {
    let last = *fires.last()?;
    let times = fires.iter().filter(|then| last.since(**then) < WITHIN).count();
    let beyond = u32::try_from(times.checked_sub(FREE + 1)?).unwrap_or(u32::MAX);
    let delay = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(beyond)).min(LONGEST_DELAY);
    let until = last.plus(delay);
    let minutes = delay.as_secs() / 60;
    (at < until).then(|| Held {
        reason: format!("{PREFIX}{times} times within an hour, has to hold for {minutes} minutes"),
        until: Some(until),
    })
}
