//! Time of a trace: seconds since Monday, 5 January 2026, 00:00 UTC, and how lines write them.

/// The first second of every trace, since 1970.
pub(super) const EPOCH: i64 = 1_767_571_200;
pub(super) const MINUTE: u32 = 60;
pub(super) const HOUR: u32 = 3600;
pub(super) const DAY: u32 = 24 * HOUR;

/// Days of the week, Monday first.
pub(super) fn is_weekend(day: u32) -> bool {
    day % 7 >= 5
}

pub(super) fn is_patch_day(day: u32) -> bool {
    day % 7 == 1
}

/// `2026-01-05T08:55:00Z`.
pub(super) fn text(second: u32) -> String {
    let days = i64::from(second / DAY) + EPOCH / i64::from(DAY);
    let (year, month, day) = civil(days);
    let rest = second % DAY;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / HOUR, rest / MINUTE % 60, rest % 60)
}

/// Seconds since the beginning of the trace; `None` for what is not written as [`text`] writes it, or is earlier.
pub(super) fn parse(text: &str) -> Option<f64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute) = (number(11, 13)?, number(14, 16)?);
    let seconds: f64 = text.get(17..)?.strip_suffix('Z')?.parse().ok()?;
    let days = days_of(year, month, day) - EPOCH / i64::from(DAY);
    let whole = days * i64::from(DAY) + hour * i64::from(HOUR) + minute * i64::from(MINUTE);
    Some(whole as f64 + seconds).filter(|second| *second >= 0.0)
}

/// Days since 1970 as a date, by the usual arithmetic of eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted_month = (month + 9) % 12;
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_begins_on_a_monday_and_times_are_read_as_they_are_written() {
        assert_eq!(text(0), "2026-01-05T00:00:00Z");
        assert_eq!(text(13 * DAY + 3 * HOUR + 61), "2026-01-18T03:01:01Z");
        assert_eq!(text(60 * DAY), "2026-03-06T00:00:00Z");
        for second in [0, 59, DAY - 1, 27 * DAY + 12_345, 400 * DAY] {
            assert_eq!(parse(&text(second)), Some(f64::from(second)));
        }
        assert_eq!(parse("2026-01-05T00:00:01.500Z"), Some(1.5));
        assert_eq!(parse("2026-01-04T23:59:59Z"), None);
        assert_eq!(parse("yesterday"), None);
    }
}
