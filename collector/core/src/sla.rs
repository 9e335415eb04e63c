//! The SLA clock: how soon a ticket must be taken and resolved, on which calendar, and what stops the clock.
//!
//! Due times are always computed anew from when the ticket was opened, its priority and its pauses, so a change of
//! priority or a resume needs no bookkeeping of its own.

use crate::ticket::{Pause, Priority};
use firstline_model::Timestamp;
use std::time::Duration;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Business hours, from midnight local time.
const OPENS: i64 = 8 * HOUR;
const CLOSES: i64 = 18 * HOUR;

/// Working hours: Monday to Friday, 08:00 to 18:00, at a fixed offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calendar {
    /// Minutes that local time is ahead of UTC; negative west of Greenwich.
    pub utc_offset_minutes: i32,
}

/// What is promised for a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// A person has taken it after this.
    pub response: Duration,
    /// It is resolved after this.
    pub resolution: Duration,
    /// Whether the clock runs around the clock instead of in business hours.
    pub around_the_clock: bool,
}

/// When a ticket must have been taken and resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Taken.
    pub response: Timestamp,
    /// Resolved.
    pub resolution: Timestamp,
}

impl Priority {
    /// The priority of an impact (1 widest to 3) and an urgency (1 most urgent to 3), as ServiceNow ships the matrix.
    pub fn of(impact: u8, urgency: u8) -> Self {
        Self(impact.clamp(1, 3) + urgency.clamp(1, 3) - 1)
    }
}

/// The targets of a priority.
pub fn targets(priority: Priority) -> Targets {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let (response, resolution, around_the_clock) = match priority.0 {
        0 | 1 => (15, 4 * 60, true),
        2 => (30, 8 * 60, true),
        3 => (2 * 60, 24 * 60, false),
        4 => (4 * 60, 40 * 60, false),
        _ => (8 * 60, 80 * 60, false),
    };
    Targets { response: minutes(response), resolution: minutes(resolution), around_the_clock }
}

/// When a ticket opened at `opened_at` is due. A pause that still lasts does not count yet: it moves the due times
/// when it ends.
pub fn due(opened_at: Timestamp, priority: Priority, pauses: &[Pause], calendar: Calendar) -> Due {
    let targets = targets(priority);
    let after = |target: Duration| {
        let start = add(calendar, targets.around_the_clock, opened_at, target);
        pauses.iter().fold(start, |due, pause| match pause.until {
            Some(until) if pause.from < due => {
                let stood = between(calendar, targets.around_the_clock, pause.from, until);
                add(calendar, targets.around_the_clock, due, stood)
            }
            Some(_) | None => due,
        })
    };
    Due { response: after(targets.response), resolution: after(targets.resolution) }
}

fn add(calendar: Calendar, around_the_clock: bool, from: Timestamp, time: Duration) -> Timestamp {
    if around_the_clock { from.plus(time) } else { calendar.add(from, time) }
}

fn between(calendar: Calendar, around_the_clock: bool, from: Timestamp, until: Timestamp) -> Duration {
    if around_the_clock { until.since(from) } else { calendar.between(from, until) }
}

impl Calendar {
    /// The moment when `time` of business time has passed since `from`.
    pub fn add(&self, from: Timestamp, time: Duration) -> Timestamp {
        let mut left = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let mut local = self.local(from);
        if left == 0 {
            return from;
        }
        // Whole weeks at once, so that an absurd duration does not loop for long.
        let week = 5 * (CLOSES - OPENS);
        let weeks = (left - 1).div_euclid(week);
        local = local.saturating_add(weeks.saturating_mul(7 * DAY));
        left -= weeks * week;
        loop {
            let (opens, closes) = day_of(local);
            let begin = local.max(opens);
            let open = (closes - begin).max(0);
            if is_weekday(local) && left <= open {
                return self.utc(begin + left);
            }
            if is_weekday(local) {
                left -= open;
            }
            local = local.div_euclid(DAY) * DAY + DAY;
        }
    }

    /// How much business time lies between two moments.
    pub fn between(&self, from: Timestamp, until: Timestamp) -> Duration {
        let (from, until) = (self.local(from), self.local(until));
        if until <= from {
            return Duration::ZERO;
        }
        let week = 5 * (CLOSES - OPENS);
        let weeks = (until - from).div_euclid(7 * DAY);
        let mut total = weeks * week;
        let mut local = from + weeks * 7 * DAY;
        while local < until {
            let (opens, closes) = day_of(local);
            if is_weekday(local) {
                total += (until.min(closes) - local.max(opens)).max(0);
            }
            local = local.div_euclid(DAY) * DAY + DAY;
        }
        Duration::from_millis(u64::try_from(total).unwrap_or(0))
    }

    fn local(&self, at: Timestamp) -> i64 {
        at.as_millis().saturating_add(i64::from(self.utc_offset_minutes) * MINUTE)
    }

    fn utc(&self, local: i64) -> Timestamp {
        Timestamp::from_millis(local.saturating_sub(i64::from(self.utc_offset_minutes) * MINUTE))
    }
}

fn day_of(local: i64) -> (i64, i64) {
    let midnight = local.div_euclid(DAY) * DAY;
    (midnight + OPENS, midnight + CLOSES)
}

/// 1970-01-01 was a Thursday.
fn is_weekday(local: i64) -> bool {
    (local.div_euclid(DAY) + 3).rem_euclid(7) < 5
}

#[cfg(test)]
mod tests;
