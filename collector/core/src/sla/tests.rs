//! The clock across nights, weekends, offsets and pauses.

use super::{Calendar, due, targets};
use crate::fixture::{at, secs};
use crate::ticket::{Pause, Priority};
use firstline_model::Timestamp;
use proptest::prelude::*;

/// Minutes after Monday 2026-01-05 08:00 UTC.
fn min(minutes: i64) -> Timestamp {
    at(minutes * 60)
}

const DAY: i64 = 24 * 60;
const UTC: Calendar = Calendar { utc_offset_minutes: 0 };

#[test]
fn priority_follows_the_matrix() {
    let matrix = [[1, 2, 3], [2, 3, 4], [3, 4, 5]];
    for (impact, row) in (1..).zip(matrix) {
        for (urgency, expected) in (1..).zip(row) {
            assert_eq!(Priority::of(impact, urgency), Priority(expected));
        }
    }
    assert_eq!(Priority::of(0, 9), Priority(3), "what is out of range is bounded");
}

#[test]
fn business_time_skips_nights_and_weekends() {
    for (from, hours, expected) in [
        (0, 2, 2 * 60),
        (9 * 60 + 50, 2, DAY + 110),
        (4 * DAY + 9 * 60 + 50, 2, 7 * DAY + 110),
        (5 * DAY, 2, 7 * DAY + 120),
        (-60, 2, 120),
        (0, 10, 10 * 60),
        (0, 24, 2 * DAY + 4 * 60),
        (0, 50, 4 * DAY + 10 * 60),
        (0, 80, 9 * DAY + 10 * 60),
        (11 * 60, 10, DAY + 10 * 60),
    ] {
        assert_eq!(UTC.add(min(from), secs(hours * 3600)), min(expected), "{hours} h from minute {from}");
    }
}

#[test]
fn the_offset_moves_the_business_day() {
    let oslo = Calendar { utc_offset_minutes: 60 };
    // 17:50 local on Friday; two hours later is Monday 09:50 local.
    assert_eq!(oslo.add(min(4 * DAY + 8 * 60 + 50), secs(7200)), min(7 * DAY + 50));
    let new_york = Calendar { utc_offset_minutes: -300 };
    assert_eq!(new_york.add(min(0), secs(3600)), min(6 * 60));
}

#[test]
fn the_highest_priorities_ignore_the_calendar() {
    let friday_night = 4 * DAY + 14 * 60;
    let due = due(min(friday_night), Priority(1), &[], UTC);
    assert_eq!((due.response, due.resolution), (min(friday_night + 15), min(friday_night + 240)));
    let later = super::due(min(friday_night), Priority(3), &[], UTC);
    assert_eq!((later.response, later.resolution), (min(7 * DAY + 120), min(9 * DAY + 4 * 60)));
}

#[test]
fn a_pause_moves_what_is_due_by_the_business_time_that_it_took() {
    let pause = |from, until: i64| Pause { from: min(from), until: Some(min(until)) };
    let of = |pauses: &[Pause]| due(min(0), Priority(4), pauses, UTC).resolution;
    let undisturbed = of(&[]);
    assert_eq!(undisturbed, min(3 * DAY + 10 * 60));
    // From 17:00 to 09:00 the next morning are two business hours.
    assert_eq!(of(&[pause(9 * 60, DAY + 60)]), min(4 * DAY + 120));
    assert_eq!(
        of(&[pause(4 * DAY + 660, 7 * DAY - 60)]),
        undisturbed,
        "a pause after it was due changes nothing"
    );
    assert_eq!(of(&[Pause { from: min(60), until: None }]), undisturbed, "a pause counts when it ends");
}

#[test]
fn every_priority_has_targets_and_lower_ones_have_longer_ones() {
    for priority in 1..5 {
        let (higher, lower) = (targets(Priority(priority)), targets(Priority(priority + 1)));
        assert!(higher.response < lower.response && higher.resolution < lower.resolution);
    }
}

proptest! {
    #[test]
    fn business_time_added_is_business_time_between(
        from in -20_000i64..20_000, minutes in 0u64..20_000, offset in -720i32..840,
    ) {
        let calendar = Calendar { utc_offset_minutes: offset };
        let until = calendar.add(min(from), secs(minutes * 60));
        prop_assert_eq!(calendar.between(min(from), until), secs(minutes * 60));
        // The naive way: every minute by itself.
        let mut counted = 0;
        let mut at = min(from);
        while at < until {
            counted += u64::from(calendar.between(at, at.plus(secs(60))) == secs(60));
            at = at.plus(secs(60));
        }
        prop_assert_eq!(counted, minutes);
    }
}
