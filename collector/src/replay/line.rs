//! Pure: one line of a trace becomes one observation of one device.
//!
//! Names are borrowed from the line or from the list of known metrics wherever possible: a trace of a fleet has
//! hundreds of millions of lines, and most of them say nothing new.

use firstline_model::{
    Attributes, Body, Component, ComponentKind, DeviceId, Observation, Presence, Timestamp,
    UnavailableReason, Value, semconv,
};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// A line as it is written. Keys that are not listed here are left to whoever made the trace.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    t: Cow<'a, str>,
    #[serde(borrow)]
    device: Cow<'a, str>,
    #[serde(borrow, default)]
    component: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    metric: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    state: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    presence: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    unavailable: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    attrs: Pairs<'a>,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    doc: Option<serde_json::Value>,
    #[serde(default)]
    facts: Option<serde_json::Value>,
}

/// The attributes, in the order of the line. Numbers and truth values become their text.
#[derive(Default)]
struct Pairs<'a>(Vec<(Cow<'a, str>, Text<'a>)>);

struct Text<'a>(Cow<'a, str>);

/// The attributes that most samples carry: their names are not copied for each line.
const ATTRIBUTES: &[&str] = {
    use semconv::attribute as a;
    &[
        a::CPU_MODE,
        a::RESOURCE,
        a::KIND,
        a::WINDOW,
        a::FILESYSTEM_STATE,
        a::FILESYSTEM_TYPE,
        a::HW_TYPE,
        a::HW_STATE,
        a::SMART_ATTRIBUTE,
        a::ERROR_TYPE,
        a::DEVICE,
        a::NAME,
        a::STATE,
        a::DIRECTION,
        a::TARGET,
        a::SERVER,
        a::RCODE,
        a::PRINTER,
        a::KEYWORD,
        a::SEVERITY,
        a::SUPPLY,
        a::SOURCE,
    ]
};

/// Attributes that the catalogue writes short, or does not name: metric, what may be written, what it means.
const SHORT: &[(&str, &str, &str)] = {
    use semconv::attribute as a;
    &[
        (semconv::FILESYSTEM_USAGE, a::STATE, a::FILESYSTEM_STATE),
        (semconv::NETWORK_DUPLEX, "duplex", a::STATE),
        (semconv::NETWORK_CONNECTIVITY, "connectivity", a::STATE),
        (semconv::PHYSICAL_DISK_ENDURANCE, "hw.physical_disk.state", a::STATE),
    ]
};

/// Reads lines, and remembers the names that all of them share.
pub(super) struct Reader {
    metrics: HashMap<&'static str, &'static str>,
    attributes: HashMap<&'static str, &'static str>,
}

/// What a line says.
pub(super) struct Seen<'d> {
    pub(super) device: Cow<'d, str>,
    pub(super) observation: Observation,
}

impl Reader {
    pub(super) fn new() -> Self {
        let known = semconv::METRICS.iter().map(|metric| (metric.name, metric.name)).collect();
        let attributes = ATTRIBUTES.iter().map(|name| (*name, *name)).collect();
        Self { metrics: known, attributes }
    }

    /// Reads one line; the error is for a person.
    pub(super) fn read<'d>(&self, line: &'d [u8]) -> Result<Seen<'d>, String> {
        let line: Line<'d> = serde_json::from_slice(line).map_err(|error| describe(&error))?;
        let observed_at = timestamp(&line.t)?;
        let body = self.body(&line)?;
        let component = match (&line.component, &body) {
            (Some(text), _) => {
                text.parse().map_err(|invalid: firstline_model::Invalid| invalid.to_string())?
            }
            (None, Body::Presence(_) | Body::Facts(_)) => Component::only(ComponentKind::Os),
            (None, _) => return Err("it names no `component`, such as \"filesystem/C:\"".to_owned()),
        };
        Ok(Seen { device: line.device, observation: Observation { component, observed_at, body } })
    }

    fn body(&self, line: &Line<'_>) -> Result<Body, String> {
        let given = [
            line.metric.is_some(),
            line.event.is_some(),
            line.state.is_some(),
            line.presence.is_some(),
            line.facts.is_some(),
        ];
        if given.iter().filter(|one| **one).count() != 1 {
            return Err("exactly one of `metric`, `event`, `state`, `presence`, `facts` belongs into a line"
                .to_owned());
        }
        if let Some(metric) = &line.metric {
            let metric = self.name(metric);
            return match (line.value, &line.unavailable) {
                // RFC 3805 says below zero that a supply's level is not known.
                (Some(value), None) if value < 0.0 && metric == semconv::PRINTER_SUPPLY_LEVEL => {
                    unavailable(metric, "unsupported")
                }
                (Some(value), None) if !value.is_nan() => {
                    let attributes = self.attributes(&metric, &line.attrs)?;
                    Ok(Body::Sample { metric, attributes, value })
                }
                (_, Some(reason)) => unavailable(metric, reason),
                // A value that could not be read is no value, and no fault either.
                (_, None) => unavailable(metric, line.reason.as_deref().unwrap_or("unsupported")),
            };
        }
        if let Some(event) = &line.event {
            let attributes = self.attributes(event, &line.attrs)?;
            return Ok(Body::Event { name: self.name(event), attributes });
        }
        if let Some(state) = &line.state {
            let Some(doc) = &line.doc else { return Err("a `state` needs its document in `doc`".to_owned()) };
            let document = value(doc, Value::MAX_DEPTH)?;
            if document.as_text().is_some() || document.as_number().is_some() {
                return Err("`doc` must be an object".to_owned());
            }
            return Ok(Body::State { name: state.clone().into_owned().into(), document });
        }
        if let Some(presence) = &line.presence {
            // The words of the desk have blanks: "shut down", "off network".
            let presence = presence.trim().to_ascii_lowercase().replace([' ', '-'], "_");
            let presence: Presence =
                presence.parse().map_err(|invalid: firstline_model::Invalid| invalid.to_string())?;
            return Ok(Body::Presence(presence));
        }
        match &line.facts {
            Some(facts @ serde_json::Value::Object(_)) => Ok(Body::Facts(value(facts, Value::MAX_DEPTH)?)),
            Some(_) | None => Err("`facts` must be an object".to_owned()),
        }
    }

    fn name(&self, name: &str) -> Cow<'static, str> {
        match self.metrics.get(name) {
            Some(known) => Cow::Borrowed(known),
            None => Cow::Owned(name.to_owned()),
        }
    }

    fn attributes(&self, of: &str, pairs: &Pairs<'_>) -> Result<Attributes, String> {
        let mut found = Attributes::none();
        for (name, text) in &pairs.0 {
            let short = SHORT.iter().find(|(metric, short, _)| *metric == of && short == name);
            let name = short.map_or(&**name, |(_, _, meant)| *meant);
            let name = match self.attributes.get(name) {
                Some(known) => Cow::Borrowed(*known),
                None => Cow::Owned(name.to_owned()),
            };
            found = found.with(name, text.0.clone().into_owned());
        }
        Ok(found)
    }
}

/// The device's id, checked.
pub(super) fn device_id(text: &str) -> Result<DeviceId, String> {
    DeviceId::new(text).map_err(|invalid| invalid.to_string())
}

fn unavailable(what: Cow<'static, str>, reason: &str) -> Result<Body, String> {
    let reason: UnavailableReason =
        reason.parse().map_err(|invalid: firstline_model::Invalid| invalid.to_string())?;
    Ok(Body::Unavailable { what, reason, detail: String::new() })
}

/// RFC 3339. The usual form (UTC, whole seconds or a fraction) is read by hand, every other one by the library.
fn timestamp(text: &str) -> Result<Timestamp, String> {
    if let Some(millis) = utc(text.as_bytes()) {
        return Ok(Timestamp::from_millis(millis));
    }
    let parsed: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("`t` is {text:?}, which is not a time like \"2026-01-05T08:55:00Z\""))?;
    Ok(Timestamp::from_millis(parsed.as_millisecond()))
}

/// `2026-01-05T08:55:00Z`, with or without a fraction; `None` for anything else, also for dates that do not exist.
fn utc(text: &[u8]) -> Option<i64> {
    let number = |from: usize, to: usize| {
        text.get(from..to)?.iter().try_fold(0_i64, |so_far, digit| {
            digit.is_ascii_digit().then(|| so_far * 10 + i64::from(digit - b'0'))
        })
    };
    let is = |at: usize, what: u8| text.get(at) == Some(&what);
    if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':')) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let millis = match text.get(19..)? {
        b"Z" => 0,
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            let mut millis = 0;
            for place in 0..3 {
                let digit = digits.get(place).copied().unwrap_or(b'0');
                if !digit.is_ascii_digit() {
                    return None;
                }
                millis = millis * 10 + i64::from(digit - b'0');
            }
            digits.iter().all(u8::is_ascii_digit).then_some(millis)?
        }
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let midnight = Timestamp::from_date(year, month, day)?.as_millis();
    Some(midnight + ((hour * 60 + minute) * 60 + second) * 1000 + millis)
}

fn value(json: &serde_json::Value, depth: usize) -> Result<Value, String> {
    let deeper = |json| {
        let Some(left) = depth.checked_sub(1) else {
            return Err(format!("it nests deeper than {} levels", Value::MAX_DEPTH));
        };
        value(json, left)
    };
    Ok(match json {
        serde_json::Value::Null => Value::Text(String::new()),
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(deeper).collect::<Result<_, _>>()?),
        serde_json::Value::Object(map) => Value::Map(
            map.iter()
                .filter(|(_, item)| !item.is_null())
                .map(|(name, item)| Ok((Cow::Owned(name.clone()), deeper(item)?)))
                .collect::<Result<_, String>>()?,
        ),
    })
}

/// The library's message without its own idea of lines: the whole line is one document.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    format!("{text} (column {})", error.column())
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Borrowed(name), text)) = map.next_entry::<Borrowed<'de>, Text<'de>>()? {
                    pairs.push((name, text));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a truth value")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_bool<E>(self, truth: bool) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(if truth { "true" } else { "false" })))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// A text that stays in the line when it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(String, Observation), String> {
        Reader::new().read(line.as_bytes()).map(|seen| (seen.device.into_owned(), seen.observation))
    }

    #[test]
    fn times_are_those_of_the_library() {
        for text in [
            "2026-01-05T08:55:00Z",
            "2024-02-29T23:59:59.999Z",
            "2000-03-01T00:00:00.5Z",
            "1969-12-31T23:59:59Z",
            "2026-01-05T09:55:00.123456+01:00",
        ] {
            let expected: jiff::Timestamp = text.parse().unwrap();
            assert_eq!(timestamp(text).unwrap().as_millis(), expected.as_millisecond(), "{text}");
        }
        for bad in ["", "2026-02-29T00:00:00Z", "2026-01-05", "2026-13-01T00:00:00Z", "yesterday"] {
            assert!(timestamp(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_kind_of_line_of_a_trace_is_read() {
        let at = r#""t":"2026-01-05T08:55:00Z","device":"pc-017""#;
        let (device, seen) = read(&format!(
            r#"{{{at},"metric":"system.filesystem.utilization","component":"filesystem/C:","attrs":{{"system.filesystem.type":"ntfs"}},"value":0.97}}"#
        ))
        .unwrap();
        assert_eq!((device.as_str(), seen.component.to_string().as_str()), ("pc-017", "filesystem/C:"));
        let attributes = Attributes::none().with("system.filesystem.type", "ntfs");
        assert_eq!(
            seen.body,
            Body::Sample { metric: semconv::FILESYSTEM_UTILIZATION.into(), attributes, value: 0.97 }
        );
        let (_, seen) =
            read(&format!(r#"{{{at},"event":"os.bugcheck","component":"os/0","attrs":{{"code":122}}}}"#))
                .unwrap();
        let code = Attributes::none().with("code", "122");
        assert_eq!(seen.body, Body::Event { name: "os.bugcheck".into(), attributes: code });
        let (_, seen) = read(&format!(
            r#"{{{at},"state":"printer","component":"printer/finance-2","doc":{{"printer_state_reasons":["media-jam-error"]}}}}"#
        ))
        .unwrap();
        let document = Value::map([("printer_state_reasons", Value::texts(["media-jam-error"]))]);
        assert_eq!(seen.body, Body::State { name: "printer".into(), document });
        let (_, seen) = read(&format!(r#"{{{at},"presence":"asleep"}}"#)).unwrap();
        assert_eq!(seen.body, Body::Presence(Presence::Asleep));
        let (_, seen) =
            read(&format!(r#"{{{at},"facts":{{"site":"oslo","drivers":{{"a":"1"}}}}}}"#)).unwrap();
        let drivers = Value::map([("a", Value::from("1"))]);
        assert_eq!(seen.body, Body::Facts(Value::map([("site", Value::from("oslo")), ("drivers", drivers)])));
    }

    #[test]
    fn a_line_that_says_nothing_clear_is_refused_with_the_reason() {
        for (line, why) in [
            (r#"{"t":"2026-01-05T08:55:00Z"}"#, "missing field `device`"),
            (r#"{"t":"2026-01-05T08:55:00Z","device":"a"}"#, "exactly one of"),
            (r#"{"t":"x","device":"a","presence":"asleep"}"#, "not a time"),
            (r#"{"t":"2026-01-05T08:55:00Z","device":"a","presence":"drowsy"}"#, "drowsy"),
            (r#"{"t":"2026-01-05T08:55:00Z","device":"a","metric":"m","value":1}"#, "no `component`"),
            (
                r#"{"t":"2026-01-05T08:55:00Z","device":"a","metric":"m","component":"cup/0","value":1}"#,
                "cup",
            ),
            ("not json", "column 2"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn a_value_that_could_not_be_read_is_unavailable() {
        let line = r#"{"t":"2026-01-05T08:55:00Z","device":"a","metric":"hw.status","component":"physical_disk/s","value":null,"reason":"not_permitted"}"#;
        let (_, seen) = read(line).unwrap();
        assert!(matches!(seen.body, Body::Unavailable { reason: UnavailableReason::NotPermitted, .. }));
    }
}
