//! Maintenance windows as people write them: JSON with times of a place, checked in words, and turned into what the engine
//! understands.

use anyhow::{Context, Result, bail, ensure};
use firstline_collector_core::knowledge::Scope;
use firstline_collector_core::quiet::{Days, When, Window, Zone};
use firstline_collector_store::quiet::MaintenanceWindow;
use firstline_model::{DeviceId, Timestamp};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::path::Path;
use utoipa::ToSchema;

/// Most rules that one window names.
const MOST_RULES: usize = 64;
/// Longest name.
const NAME_CHARS: usize = 100;
/// Changes of a time zone are noted from 2020 ...
const ZONES_FROM: i64 = 1_577_836_800;
/// ... until 2100.
const ZONES_UNTIL: i64 = 4_102_444_800;

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// When breaches make no tickets, for whom, and of which rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    /// What people call it; it stands in the reason of what it holds back.
    #[schema(example = "patch night")]
    pub(crate) name: String,
    /// For whom; each part that is given must fit. Everybody when nothing is given.
    #[serde(default)]
    pub(crate) scope: ScopeJson,
    /// For which rules; all when empty. `net.` stands for every rule that begins so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["net.", "fs.space"]))]
    pub(crate) rules: Vec<String>,
    /// Once. Either this or `recurring`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) once: Option<Once>,
    /// Again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recurring: Option<Recurring>,
}

/// Some devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScopeJson {
    /// Of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) site: Option<String>,
    /// With this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    /// Of this class: `laptop`, `desktop`, `server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device_class: Option<String>,
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
}

/// From one moment until another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Once {
    /// RFC 3339.
    #[schema(example = "2026-01-05T20:00:00Z")]
    pub(crate) from: String,
    /// RFC 3339; this moment is outside.
    pub(crate) until: String,
}

/// By the clocks of a place, summer time included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recurring {
    /// The days on which it begins: `mon` to `sun`; every day when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) days: Vec<String>,
    /// Only the first (1) to fifth such day of a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) week_of_month: Option<u8>,
    /// `22:00`
    #[schema(example = "22:00")]
    pub(crate) from: String,
    /// `04:00`; when it is not after `from`, on the next day.
    #[schema(example = "04:00")]
    pub(crate) until: String,
    /// A name of the IANA time zone database.
    #[schema(example = "Europe/Oslo")]
    pub(crate) time_zone: String,
    /// The window is the time outside of this: give business hours, and the rest is quiet.
    #[serde(default)]
    pub(crate) outside: bool,
}

impl Definition {
    /// What is kept, after it was checked.
    pub(crate) fn text(&self) -> Result<String> {
        serde_json::to_string(self).context("the window cannot be written as JSON")
    }

    /// As the engine understands it, or what is wrong with it.
    pub(crate) fn window(&self, id: u64) -> Result<Window> {
        let name = self.name.trim();
        ensure!(
            !name.is_empty() && name.chars().count() <= NAME_CHARS && !name.chars().any(char::is_control),
            "name must be one line of 1 to {NAME_CHARS} characters"
        );
        ensure!(self.rules.len() <= MOST_RULES, "rules: at most {MOST_RULES}");
        ensure!(
            self.rules.iter().all(|rule| !rule.is_empty() && rule.len() <= 64),
            "rules: 1 to 64 characters each"
        );
        let when = match (&self.once, &self.recurring) {
            (Some(once), None) => once.when()?,
            (None, Some(recurring)) => recurring.when()?,
            (Some(_), Some(_)) | (None, None) => bail!("give either once or recurring"),
        };
        let device = self.scope.device.as_deref().map(DeviceId::new).transpose();
        let scope = Scope {
            site: self.scope.site.clone(),
            tag: self.scope.tag.clone(),
            device_class: self.scope.device_class.clone(),
            device: device.context("scope.device")?,
        };
        Ok(Window { id, name: name.to_owned(), scope, rules: self.rules.clone(), when })
    }
}

impl Once {
    fn when(&self) -> Result<When> {
        let read = |what: &str, text: &str| -> Result<Timestamp> {
            let at: jiff::Timestamp = text.parse().ok().with_context(|| {
                format!("once.{what} {text:?} is not a moment as in 2026-01-05T20:00:00Z")
            })?;
            Ok(Timestamp::from_millis(at.as_millisecond()))
        };
        let (from, until) = (read("from", &self.from)?, read("until", &self.until)?);
        ensure!(from < until, "once.until must be after once.from");
        Ok(When::Once { from, until })
    }
}

impl Recurring {
    fn when(&self) -> Result<When> {
        let mut weekdays = [self.days.is_empty(); 7];
        for day in &self.days {
            let place = WEEKDAYS.iter().position(|known| known == day);
            let place = place
                .with_context(|| format!("recurring.days: {day:?} is none of {}", WEEKDAYS.join(", ")))?;
            weekdays[place] = true;
        }
        if let Some(nth) = self.week_of_month {
            ensure!((1..=5).contains(&nth), "recurring.week_of_month must be 1 to 5");
        }
        Ok(When::Recurring {
            days: Days { weekdays, of_month: self.week_of_month },
            from_minute: minute("from", &self.from)?,
            until_minute: minute("until", &self.until)?,
            zone: zone(&self.time_zone)?,
            outside: self.outside,
        })
    }
}

/// `22:00` as a minute of the day.
fn minute(what: &str, text: &str) -> Result<u16> {
    let wrong = || format!("recurring.{what} {text:?} is not a time of day as in 22:00");
    let (hour, minute) = text.split_once(':').with_context(wrong)?;
    let two = |part: &str| (part.len() == 2).then(|| part.parse::<u16>().ok()).flatten();
    match (two(hour), two(minute)) {
        (Some(hour @ 0..24), Some(minute @ 0..60)) => Ok(hour * 60 + minute),
        _ => bail!(wrong()),
    }
}

/// A time zone as data.
fn zone(name: &str) -> Result<Zone> {
    let known = TimeZone::get(name);
    let known = known.ok().with_context(|| {
        format!("recurring.time_zone {name:?} is not in the time zone database; write it as in Europe/Oslo")
    })?;
    let start = jiff::Timestamp::from_second(ZONES_FROM).context("2020 is not a time")?;
    let changes = known
        .following(start)
        .take_while(|change| change.timestamp().as_second() < ZONES_UNTIL)
        .map(|change| {
            (Timestamp::from_millis(change.timestamp().as_millisecond()), change.offset().seconds())
        })
        .collect();
    Ok(Zone { name: name.to_owned(), first_offset_s: known.to_offset(start).seconds(), changes })
}

/// Windows of a file: a JSON array of definitions.
pub(crate) fn read(file: &Path) -> Result<Vec<Window>> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let all: Vec<Definition> =
        serde_json::from_str(&text).with_context(|| format!("{name} is no list of maintenance windows"))?;
    (1..)
        .zip(&all)
        .map(|(id, one)| one.window(id).with_context(|| format!("window {id} of {name}")))
        .collect()
}

/// What the store holds, as the engine understands it. A window that cannot be read holds nothing back.
pub(crate) fn in_force(kept: &[MaintenanceWindow]) -> Vec<Window> {
    let read = |one: &MaintenanceWindow| {
        let read = serde_json::from_str::<Definition>(&one.definition)
            .map_err(anyhow::Error::from)
            .and_then(|definition| definition.window(one.id));
        read.inspect_err(|error| {
            tracing::warn!(
                window = one.id,
                error = format!("{error:#}"),
                "a maintenance window cannot be read"
            );
        })
        .ok()
    };
    kept.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn window(json: &str) -> Result<Window> {
        let named = json.replacen('{', "{\"name\": \"night\", ", 1).replace(", }", "}");
        serde_json::from_str::<Definition>(&named).map_err(anyhow::Error::from).and_then(|d| d.window(1))
    }

    fn until(window: &Window, text: &str) -> Option<String> {
        window.until(at(text)).map(|at| at.to_string())
    }

    #[test]
    fn a_night_in_oslo_is_by_oslos_clocks_over_both_changes_of_a_year() {
        let night =
            window(r#"{"recurring": {"from": "22:00", "until": "04:00", "time_zone": "Europe/Oslo"}}"#)
                .unwrap();
        // Winter, the night of the change to summer time, summer, the night of the change back.
        for (within, end) in [
            ("2027-01-10T21:00:00Z", "2027-01-11T03:00:00.000Z"),
            ("2027-03-27T21:00:00Z", "2027-03-28T02:00:00.000Z"),
            ("2027-06-10T20:00:00Z", "2027-06-11T02:00:00.000Z"),
            ("2027-10-30T20:00:00Z", "2027-10-31T03:00:00.000Z"),
        ] {
            assert_eq!(until(&night, within).as_deref(), Some(end));
            let before = at(within).minus(std::time::Duration::from_millis(1));
            assert_eq!(night.until(before), None, "{within}");
            assert_eq!(until(&night, end), None);
        }
    }

    #[test]
    fn the_engines_reading_of_zones_is_jiffs() {
        for name in
            ["Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo"]
        {
            let zone = TimeZone::get(name).unwrap();
            for day in 0..800 {
                let date = jiff::civil::date(2026, 1, 1).checked_add(jiff::Span::new().days(day)).unwrap();
                for minute in [0_u16, 90, 119, 120, 150, 180, 1439] {
                    let time = jiff::civil::time(
                        i8::try_from(minute / 60).unwrap(),
                        i8::try_from(minute % 60).unwrap(),
                        0,
                        0,
                    );
                    let expected = zone.to_timestamp(date.to_datetime(time)).unwrap().as_millisecond();
                    let window = window(&format!(
                        r#"{{"recurring": {{"from": "{:02}:{:02}", "until": "{:02}:{:02}", "time_zone": "{name}"}}}}"#,
                        minute / 60,
                        minute % 60,
                        minute / 60,
                        minute % 60
                    ))
                    .unwrap();
                    // A window of a whole day ends when the next one begins, at this very minute.
                    let just_before = Timestamp::from_millis(expected - 1);
                    let ends = window.until(just_before).unwrap();
                    assert!(ends.as_millis() >= expected, "{name} {date} {minute}: {ends}");
                    assert!(
                        window.until(Timestamp::from_millis(expected)).unwrap() > ends,
                        "{name} {date} {minute}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (json, said) in [
            ("{}", "either once or recurring"),
            (r#"{"once": {"from": "monday", "until": "2026-01-05T20:00:00Z"}}"#, "once.from \"monday\""),
            (
                r#"{"once": {"from": "2026-01-05T20:00:00Z", "until": "2026-01-05T20:00:00Z"}}"#,
                "after once.from",
            ),
            (r#"{"recurring": {"from": "22", "until": "04:00", "time_zone": "UTC"}}"#, "22:00"),
            (r#"{"recurring": {"from": "24:00", "until": "04:00", "time_zone": "UTC"}}"#, "22:00"),
            (
                r#"{"recurring": {"from": "22:00", "until": "04:00", "time_zone": "Mars/Olympus"}}"#,
                "Europe/Oslo",
            ),
            (
                r#"{"recurring": {"days": ["monday"], "from": "22:00", "until": "04:00", "time_zone": "UTC"}}"#,
                "mon",
            ),
            (
                r#"{"recurring": {"week_of_month": 6, "from": "22:00", "until": "04:00", "time_zone": "UTC"}}"#,
                "1 to 5",
            ),
            (r#"{"onse": {}}"#, "onse"),
        ] {
            let error = format!("{:#}", window(json).unwrap_err());
            assert!(error.contains(said), "{json}: {error}");
        }
    }
}
