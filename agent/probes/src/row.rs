//! One object as WMI and `system_profiler` describe things: properties by name. Those who fill them in put numbers of 64
//! bits into texts and leave out what they do not know.

use firstline_model::Timestamp;
use serde_json::{Map, Value};
use std::time::Duration;

/// A longer text is no property of a machine.
const MAX_TEXT_BYTES: usize = 4096;

/// A row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row(Map<String, Value>);

impl Row {
    /// Takes an object; anything else is no row.
    pub fn new(value: Value) -> Option<Self> {
        match value {
            Value::Object(properties) => Some(Self(properties)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
        }
    }

    /// A property. WMI does not tell names of different case apart, and providers write them as they like.
    fn get(&self, name: &str) -> Option<&Value> {
        let as_written = self.0.get(name);
        as_written.or_else(|| Some(self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1))
    }

    /// A text without the white space around it, when there is any.
    pub fn text(&self, name: &str) -> Option<&str> {
        text(self.get(name)?)
    }

    /// A number that is finite.
    pub fn number(&self, name: &str) -> Option<f64> {
        let value = self.get(name)?;
        let number = value.as_f64().or_else(|| text(value)?.parse().ok());
        number.filter(|number| number.is_finite())
    }

    /// A whole number that is not negative.
    pub fn whole(&self, name: &str) -> Option<u64> {
        let value = self.get(name)?;
        value.as_u64().or_else(|| text(value)?.parse().ok())
    }

    /// Yes or no.
    pub fn truth(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    /// An object inside of this one.
    pub fn inner(&self, name: &str) -> Option<Self> {
        Self::new(self.get(name)?.clone())
    }

    /// The texts of a list; a single text counts as one.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(text).collect(),
            Some(other) => text(other).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// A time in CIM's form, `20260105081500.000000+060`: local time with its distance from UTC in minutes.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        cim_time(self.text(name)?)
    }
}

fn text(value: &Value) -> Option<&str> {
    let text = value.as_str()?;
    let text = text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
        .trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then_some(text)
}

fn cim_time(text: &str) -> Option<Timestamp> {
    if text.len() != 25 || !text.is_ascii() || text.as_bytes()[14] != b'.' {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let day = Timestamp::from_date(number(0, 4)?, number(4, 6)?, number(6, 8)?)?;
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    let in_day = u64::try_from(hour * 3600 + minute * 60 + second).ok()?;
    let local = day.plus(Duration::from_secs(in_day));
    let distance = Duration::from_secs(u64::try_from(number(22, 25)?).ok()? * 60);
    match text.as_bytes()[21] {
        b'+' => Some(local.minus(distance)),
        b'-' => Some(local.plus(distance)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn properties_are_understood_in_the_forms_that_providers_use() {
        let row = Row::new(
            json!({"Size": "255060860928", "Free": 17, "Name": "  C: \u{0}", "Empty": "  ", "List": ["a", 5, "b"]}),
        );
        let row = row.unwrap();
        assert_eq!((row.whole("Size"), row.number("Free")), (Some(255_060_860_928), Some(17.0)));
        assert_eq!((row.text("Name"), row.text("Empty"), row.text("None")), (Some("C:"), None, None));
        assert_eq!((row.texts("List"), row.texts("Name")), (vec!["a", "b"], vec!["C:"]));
        assert_eq!(row.number("Name"), None);
        assert_eq!(row.text("NAME"), Some("C:"), "names of properties have no case");
        assert_eq!(Row::new(json!([1])), None);
    }

    #[test]
    fn a_local_time_becomes_one_of_the_world() {
        let eight_utc = Timestamp::from_date(2026, 1, 5).unwrap().plus(Duration::from_secs(8 * 3600));
        assert_eq!(cim_time("20260105090000.000000+060"), Some(eight_utc));
        assert_eq!(cim_time("20260105020000.500000-360"), Some(eight_utc));
        for bad in [
            "",
            "20260105090000.000000",
            "20261305090000.000000+060",
            "********000000.000000+000",
            "20260105990000.000000+000",
        ] {
            assert_eq!(cim_time(bad), None, "{bad}");
        }
    }
}
