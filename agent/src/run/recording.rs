//! The answer to whoever asks what the flight recorder saw: the series of one component in the minutes before the question.
//!
//! It is evidence: a report like that of any diagnostic, bounded in size, delivered and stored like one, judged by nobody.

use crate::recorder::Recorder;
use firstline_agent_platform::clock;
use firstline_model::{Body, Component, DiagnosticOutcome, DiagnosticReport, Observation, Timestamp, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// So many minutes before the question are told: most findings hold for up to fifteen before they become a ticket, and what
/// led to them lies before that.
const WINDOW: Duration = Duration::from_secs(30 * 60);
/// Most series of an answer, and most points of each.
const MOST_SERIES: usize = 12;
const MOST_POINTS: usize = 60;

/// What is asked.
pub(super) struct Question<'q> {
    pub(super) component: &'q str,
    /// The question was asked so long ago, while the device was away.
    pub(super) asked_ago: Duration,
}

pub(super) fn answer(
    recorder: &Arc<Mutex<Recorder>>,
    question: &Question<'_>,
    now: Timestamp,
) -> DiagnosticReport {
    let asked = now.minus(question.asked_ago);
    let seen = question.component.parse().map_or_else(
        |_| Vec::new(),
        |component: Component| {
            let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
            recorder.window(&component, (asked.minus(WINDOW), asked), clock::read().awake)
        },
    );
    let (outcome, summary, facts) = told(&seen, asked);
    DiagnosticReport {
        request_id: String::new(),
        name: "recorder".to_owned(),
        subject: question.component.to_owned(),
        outcome,
        summary,
        facts,
        finished_at: now,
        took_ms: 0,
    }
}

fn told(seen: &[Observation], asked: Timestamp) -> (DiagnosticOutcome, String, Value) {
    let mut series: BTreeMap<(String, String), Vec<(f64, f64)>> = BTreeMap::new();
    for observation in seen {
        if let Body::Sample { metric, attributes, value } = &observation.body {
            let attributes: Vec<String> =
                attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let age = asked.since(observation.observed_at).as_secs_f64();
            let key = (metric.to_string(), attributes.join(", "));
            series.entry(key).or_default().push(((age * 10.0).round() / 10.0, *value));
        }
    }
    if series.is_empty() {
        let nothing = "The flight recorder has nothing of this part in that time.".to_owned();
        return (DiagnosticOutcome::CouldNotTell, nothing, Value::map::<&'static str>([]));
    }
    let looks = series.values().map(Vec::len).max().unwrap_or(0);
    let left_out = series.len().saturating_sub(MOST_SERIES);
    let plural = if looks == 1 { "" } else { "s" };
    let mut summary = format!("{looks} look{plural} in the {} min before.", WINDOW.as_secs() / 60);
    if left_out > 0 {
        summary.push_str(&format!(" {left_out} further series are left out."));
    }
    let series = series.into_iter().take(MOST_SERIES).map(|((metric, attributes), points)| {
        let extreme = |pick: fn(f64, f64) -> f64| points.iter().map(|(_, value)| *value).reduce(pick);
        Value::map([
            ("metric", Value::from(metric)),
            ("attributes", Value::from(attributes)),
            ("lowest", Value::from(extreme(f64::min).unwrap_or_default())),
            ("highest", Value::from(extreme(f64::max).unwrap_or_default())),
            ("looks", Value::from(points.len() as f64)),
            ("points", Value::List(thinned(&points))),
        ])
    });
    let facts = Value::map([("series", Value::List(series.collect()))]);
    (DiagnosticOutcome::Ok, summary, facts)
}

/// Seconds before the question, and the value; evenly spread when there are too many, the newest always among them.
fn thinned(points: &[(f64, f64)]) -> Vec<Value> {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let mut kept: Vec<_> = points.iter().rev().step_by(every).collect();
    kept.reverse();
    kept.into_iter().map(|(age, value)| Value::List(vec![Value::from(*age), Value::from(*value)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::Attributes;

    fn sample(second: u64, metric: &'static str, value: f64) -> Observation {
        Observation {
            component: "memory/0".parse().unwrap(),
            observed_at: Timestamp::from_millis(0).plus(Duration::from_secs(second)),
            body: Body::Sample { metric: metric.into(), attributes: Attributes::none(), value },
        }
    }

    #[test]
    fn an_answer_is_bounded_and_keeps_the_newest_point_and_the_extremes() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
        let mut seen = Vec::new();
        for second in 0..900 {
            let value = if second == 451 { 1e6 } else { 1.0 };
            seen.extend(names.iter().map(|metric| sample(second, metric, value)));
        }
        let asked = Timestamp::from_millis(900_000);
        let (outcome, summary, facts) = told(&seen, asked);
        assert_eq!(outcome, DiagnosticOutcome::Ok);
        assert!(summary.contains("900 looks") && summary.contains("2 further series"), "{summary}");
        let Some(Value::List(series)) = facts.get("series") else { panic!("{facts:?}") };
        assert_eq!(series.len(), MOST_SERIES);
        let Some(Value::List(points)) = series[0].get("points") else { panic!("{facts:?}") };
        assert_eq!(points.len(), MOST_POINTS);
        assert_eq!(points.last(), Some(&Value::List(vec![Value::from(1.0), Value::from(1.0)])));
        assert_eq!(series[0].get("highest").and_then(Value::as_number), Some(1e6));
    }

    #[test]
    fn nothing_recorded_is_said_and_no_verdict() {
        let (outcome, _, _) = told(&[], Timestamp::from_millis(0));
        assert_eq!(outcome, DiagnosticOutcome::CouldNotTell);
    }
}
