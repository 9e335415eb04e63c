//! A time zone as data: since when it has been how far from UTC. Whoever knows time zones fills it in; reading it needs no
//! files, so a decision is the same wherever it is made.

use firstline_model::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zone {
    /// Its name: `Europe/Oslo`.
    pub name: String,
    /// Seconds ahead of UTC before the first change.
    pub first_offset_s: i32,
    /// When the distance changes, and to how many seconds; oldest first.
    pub changes: Vec<(Timestamp, i32)>,
}

/// A day of the calendar, counted from 1970-01-01.
pub(super) type Day = i64;

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), ..Self::default() }
    }

    fn offset_ms(&self, at: Timestamp) -> i64 {
        let passed = self.changes.partition_point(|(change, _)| *change <= at);
        let offset = passed.checked_sub(1).and_then(|last| self.changes.get(last)).map(|(_, offset)| *offset);
        i64::from(offset.unwrap_or(self.first_offset_s)) * 1000
    }

    /// Which day it is there.
    pub(super) fn day(&self, at: Timestamp) -> Day {
        at.as_millis().saturating_add(self.offset_ms(at)).div_euclid(DAY_MS)
    }

    /// The moment at which clocks there show this minute of this day. When they are put forward over it, the moment as if
    /// they had not been; when they show it twice, the first time.
    pub(super) fn moment(&self, day: Day, minute: u16) -> Timestamp {
        let shown = day.saturating_mul(DAY_MS).saturating_add(i64::from(minute) * 60_000);
        // No zone changes twice within two days.
        let before = self.offset_ms(Timestamp::from_millis(shown.saturating_sub(DAY_MS)));
        let after = self.offset_ms(Timestamp::from_millis(shown.saturating_add(DAY_MS)));
        let candidate = |offset: i64| Timestamp::from_millis(shown.saturating_sub(offset));
        let is_shown = |offset: i64| self.offset_ms(candidate(offset)) == offset;
        match (is_shown(before), is_shown(after)) {
            (true, true) => candidate(before).min(candidate(after)),
            (false, true) => candidate(after),
            (true, false) | (false, false) => candidate(before),
        }
    }
}

/// The day of the week: 0 is Monday.
pub(super) fn weekday(day: Day) -> u8 {
    // 1970-01-01 was a Thursday.
    u8::try_from((day + 3).rem_euclid(7)).unwrap_or(0)
}

/// The day of the month, from 1 (the well-known era arithmetic: 400 years are 146,097 days).
pub(super) fn day_of_month(day: Day) -> u8 {
    let day_of_era = (day + 719_468).rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    u8::try_from(day_of_year - (153 * month + 2) / 5 + 1).unwrap_or(1)
}
