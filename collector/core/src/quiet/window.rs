//! A maintenance window: when, for whom, for which rules.

use super::zone::{Day, Zone, day_of_month, weekday};
use crate::knowledge::{DeviceTraits, Scope};
use firstline_model::{RuleCode, Timestamp};

/// The next time of a window that is inverted is looked for this many days ahead: one in every month.
const LOOK_AHEAD: Day = 40;

/// A maintenance window.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Its number in the store.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// For whom; an empty scope is everybody.
    pub scope: Scope,
    /// For which rules; empty: for all. `net.` stands for all that begin so.
    pub rules: Vec<String>,
    /// When.
    pub when: When,
}

/// When a window is.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// Once.
    Once {
        /// From this moment.
        from: Timestamp,
        /// Until this moment, which is outside.
        until: Timestamp,
    },
    /// Again and again, by the clocks of a place.
    Recurring {
        /// On which days it begins.
        days: Days,
        /// The minute of the day at which it begins.
        from_minute: u16,
        /// The minute at which it ends; not after `from_minute`: on the next day.
        until_minute: u16,
        /// By which clocks.
        zone: Zone,
        /// The window is the time outside of this: business hours are given, and the rest is quiet.
        outside: bool,
    },
}

/// Days on which a window begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// Monday first.
    pub weekdays: [bool; 7],
    /// Only the first (1) to fifth such weekday of a month; `None`: every week.
    pub of_month: Option<u8>,
}

impl Days {
    fn has(self, day: Day) -> bool {
        let is_weekday = self.weekdays.get(usize::from(weekday(day))).copied().unwrap_or(false);
        is_weekday && self.of_month.is_none_or(|nth| (day_of_month(day) - 1) / 7 + 1 == nth)
    }
}

impl Window {
    /// Whether it holds breaches of this rule on this device back.
    pub fn concerns(&self, device: &DeviceTraits, rule: &RuleCode) -> bool {
        let is_meant = |meant: &String| {
            meant == rule.as_str() || (meant.ends_with('.') && rule.as_str().starts_with(meant.as_str()))
        };
        self.scope.matches(device) && (self.rules.is_empty() || self.rules.iter().any(is_meant))
    }

    /// When it ends, if it is now.
    pub fn until(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.when {
            When::Once { from, until } => (*from <= at && at < *until).then_some(*until),
            When::Recurring { days, from_minute, until_minute, zone, outside } => {
                let span = |day: Day| {
                    let end = if until_minute > from_minute { day } else { day + 1 };
                    (zone.moment(day, *from_minute), zone.moment(end, *until_minute))
                };
                let today = zone.day(at);
                // One that began yesterday may go on.
                let spans = (today - 1..=today).filter(|day| days.has(*day)).map(span);
                let inside =
                    spans.filter(|(from, until)| *from <= at && at < *until).map(|(_, until)| until).max();
                match (outside, inside) {
                    (false, inside) => inside,
                    (true, Some(_)) => None,
                    (true, None) => {
                        let coming = (today..=today + LOOK_AHEAD).filter(|day| days.has(*day)).map(span);
                        let next = coming.map(|(from, _)| from).find(|from| *from > at);
                        // Without a next time it is quiet for good, and looked at now and then.
                        Some(next.unwrap_or_else(|| zone.moment(today + LOOK_AHEAD, 0)))
                    }
                }
            }
        }
    }

    /// Whether it will never be again.
    pub fn is_over(&self, at: Timestamp) -> bool {
        match self.when {
            When::Once { until, .. } => until <= at,
            When::Recurring { .. } => false,
        }
    }
}
