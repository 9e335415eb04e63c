//! Observations as JSON, in the shape of trace lines: what `probe NAME --json` prints and what fixtures expect.

use firstline_model::{Attributes, Body, DiagnosticReport, Observation, Value};
use serde_json::{Map, Number, Value as Json, json};

/// One observation as one object: `component`, `t`, and `metric`, `state`, `event`, `unavailable`, `presence`,
/// `diagnostic`, `facts` or `gap` with what belongs to it.
pub fn observation(observation: &Observation) -> Json {
    let mut line = Map::new();
    line.insert("component".to_owned(), Json::String(observation.component.to_string()));
    line.insert("t".to_owned(), Json::String(observation.observed_at.to_string()));
    let mut put = |name: &str, value: Json| drop(line.insert(name.to_owned(), value));
    match &observation.body {
        Body::Sample { metric, attributes: attrs, value } => {
            put("metric", Json::String(metric.to_string()));
            put("attrs", attributes(attrs));
            put("value", number(*value));
        }
        Body::State { name, document } => {
            put("state", Json::String(name.to_string()));
            put("doc", value(document));
        }
        Body::Event { name, attributes: attrs } => {
            put("event", Json::String(name.to_string()));
            put("attrs", attributes(attrs));
        }
        Body::Unavailable { what, reason, detail } => {
            put("unavailable", Json::String(what.to_string()));
            put("reason", Json::String(reason.as_str().to_owned()));
            put("detail", Json::String(detail.clone()));
        }
        Body::Presence(presence) => put("presence", Json::String(presence.as_str().to_owned())),
        Body::Diagnostic(report) => put("diagnostic", diagnostic(report)),
        Body::Facts(facts) => put("facts", value(facts)),
        Body::Gap { epoch, first, last, reason } => {
            put("gap", json!({"epoch": epoch.to_string(), "first": first, "last": last, "reason": reason}));
        }
    }
    Json::Object(line)
}

/// A diagnostic's report as one object.
pub fn diagnostic(report: &DiagnosticReport) -> Json {
    json!({
        "request_id": report.request_id,
        "name": report.name,
        "subject": report.subject,
        "outcome": report.outcome.as_str(),
        "summary": report.summary,
        "facts": value(&report.facts),
        "finished_at": report.finished_at.to_string(),
        "took_ms": report.took_ms,
    })
}

/// A value of a document.
pub fn value(from: &Value) -> Json {
    match from {
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Number(value) => number(*value),
        Value::Text(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(value).collect()),
        Value::Map(entries) => {
            let mut object = Map::new();
            object.extend(entries.iter().map(|(name, item)| (name.to_string(), value(item))));
            Json::Object(object)
        }
    }
}

fn attributes(from: &Attributes) -> Json {
    let mut object = Map::new();
    object.extend(from.iter().map(|(name, value)| (name.to_owned(), Json::String(value.to_owned()))));
    Json::Object(object)
}

/// Whole numbers are written without a fraction, because a reader sees `3` as a count and `3.0` as a measurement.
fn number(value: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53, so the cast is exact")]
        return Json::Number(Number::from(value as i64));
    }
    Number::from_f64(value).map_or(Json::Null, Json::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::{Component, Timestamp, UnavailableReason};

    #[test]
    fn observations_have_the_shape_of_trace_lines() {
        let component: Component = "filesystem//".parse().unwrap();
        let observed_at = Timestamp::from_millis(1_767_603_300_000);
        let line =
            |body| observation(&Observation { component: component.clone(), observed_at, body }).to_string();
        let attributes = Attributes::none().with("system.filesystem.type", "ext4");
        assert_eq!(
            line(Body::Sample { metric: "system.filesystem.utilization".into(), attributes, value: 0.97 }),
            r#"{"attrs":{"system.filesystem.type":"ext4"},"component":"filesystem//","metric":"system.filesystem.utilization","t":"2026-01-05T08:55:00.000Z","value":0.97}"#
        );
        let reason = UnavailableReason::NotPermitted;
        assert_eq!(
            line(Body::Unavailable { what: "m".into(), reason, detail: "d".to_owned() }),
            r#"{"component":"filesystem//","detail":"d","reason":"not_permitted","t":"2026-01-05T08:55:00.000Z","unavailable":"m"}"#
        );
        let document = Value::map([("n", Value::Number(3.0)), ("f", Value::Number(0.5))]);
        assert_eq!(
            line(Body::State { name: "s".into(), document }),
            r#"{"component":"filesystem//","doc":{"f":0.5,"n":3},"state":"s","t":"2026-01-05T08:55:00.000Z"}"#
        );
    }
}
