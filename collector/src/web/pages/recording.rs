//! The minutes around a breach, as the device's flight recorder saw them: a small chart and a line of figures a series.
//!
//! What a device sent is hostile: numbers are bounded and drawn here, texts are shown like any other text of a device.

use crate::web::shown::Shown;
use crate::web::units;
use firstline_collector_core::ticket::Tested;
use firstline_model::Value;

/// Most series and points that are drawn, whatever a device sends.
const MOST_SERIES: usize = 24;
const MOST_POINTS: usize = 240;
/// The size of a chart, in units of its own.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 36.0;

/// One series.
pub(super) struct Recorded {
    pub(super) label: Shown,
    /// What tells it from the others of the recording.
    pub(super) series: Shown,
    /// It had the same value in every look.
    pub(super) is_steady: bool,
    /// The points of the line.
    pub(super) line: String,
    pub(super) lowest: Shown,
    pub(super) highest: Shown,
    pub(super) last: Shown,
    /// For who cannot see the chart.
    pub(super) words: String,
}

/// Whether a test asked for a recording.
pub(super) fn is_recording(tested: &Tested) -> bool {
    tested.diagnostic == "recorder"
}

/// The series of the newest recording that was answered; those that moved come first.
pub(super) fn recorded(tested: &[Tested]) -> Vec<Recorded> {
    let mut newest =
        tested.iter().filter(|tested| is_recording(tested)).filter_map(|one| one.result.as_ref());
    let Some(Value::List(series)) = newest.next_back().and_then(|result| result.facts.get("series")) else {
        return Vec::new();
    };
    let attributes = |one: &Value| -> Vec<String> {
        let text = one.get("attributes").and_then(Value::as_text).unwrap_or_default();
        text.split(", ").map(str::to_owned).collect()
    };
    // What is the same in every series tells none of them apart.
    let mut common = series.first().map(attributes).unwrap_or_default();
    common.retain(|part| series.iter().all(|one| attributes(one).contains(part)));
    let own = |one: &Value| {
        attributes(one).into_iter().filter(|part| !common.contains(part)).collect::<Vec<_>>().join(", ")
    };
    let mut drawn: Vec<Recorded> =
        series.iter().take(MOST_SERIES).filter_map(|one| Recorded::of(one, &own(one))).collect();
    drawn.sort_by_key(|one| one.is_steady);
    drawn
}

impl Recorded {
    fn of(series: &Value, own: &str) -> Option<Self> {
        let metric = series.get("metric")?.as_text()?;
        let Value::List(points) = series.get("points")? else { return None };
        let points: Vec<(f64, f64)> = points.iter().take(MOST_POINTS).filter_map(point).collect();
        let (first, last) = (points.first()?, points.last()?);
        let number = |name: &str| series.get(name).and_then(Value::as_number).filter(|n| n.is_finite());
        let lowest = points.iter().map(|(_, value)| *value).fold(number("lowest")?, f64::min);
        let highest = points.iter().map(|(_, value)| *value).fold(number("highest")?, f64::max);
        let measured = |value: f64| units::measured(metric, value);
        Some(Self {
            label: units::label(metric),
            series: Shown::line(own),
            is_steady: lowest >= highest,
            line: line(&points, lowest, highest),
            words: format!(
                "{} points over {} min, from {} to {}, at last {}",
                points.len(),
                ((first.0 - last.0) / 60.0).abs().round(),
                measured(lowest),
                measured(highest),
                measured(last.1)
            ),
            lowest: Shown::line(&measured(lowest)),
            highest: Shown::line(&measured(highest)),
            last: Shown::line(&measured(last.1)),
        })
    }
}

/// Seconds before the question, and the value.
fn point(pair: &Value) -> Option<(f64, f64)> {
    let Value::List(pair) = pair else { return None };
    let [age, value] = pair.as_slice() else { return None };
    let (age, value) = (age.as_number()?, value.as_number()?);
    (age.is_finite() && value.is_finite()).then_some((age, value))
}

/// The points of a line from the oldest to the newest, the lowest value at the bottom.
fn line(points: &[(f64, f64)], lowest: f64, highest: f64) -> String {
    let ages = points.iter().map(|(age, _)| *age);
    let (newest, oldest) = (ages.clone().fold(f64::MAX, f64::min), ages.fold(f64::MIN, f64::max));
    let share = |value: f64, from: f64, to: f64| {
        let span = to - from;
        if span > 0.0 && span.is_finite() { ((value - from) / span).clamp(0.0, 1.0) } else { 0.5 }
    };
    let place = |(age, value): &(f64, f64)| {
        let x = WIDTH * (1.0 - share(*age, newest, oldest));
        let y = HEIGHT * (1.0 - share(*value, lowest, highest));
        format!("{x:.1},{y:.1}")
    };
    points.iter().map(place).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_collector_core::ticket::TestResult;
    use firstline_model::{DiagnosticOutcome, Timestamp};

    fn tested(points: Vec<Value>) -> Tested {
        let series = Value::map([
            ("metric", Value::from("system.memory.utilization")),
            ("attributes", Value::from("<script>")),
            ("lowest", Value::from(0.25)),
            ("highest", Value::from(0.75)),
            ("points", Value::List(points)),
        ]);
        let at = Timestamp::from_millis(0);
        Tested {
            request_id: "1-1".to_owned(),
            diagnostic: "recorder".to_owned(),
            subject: "memory/0".to_owned(),
            asked_at: at,
            result: Some(TestResult {
                outcome: DiagnosticOutcome::Ok,
                summary: String::new(),
                facts: Value::map([("series", Value::List(vec![series]))]),
                finished_at: at,
            }),
        }
    }

    fn point(age: f64, value: f64) -> Value {
        Value::List(vec![Value::from(age), Value::from(value)])
    }

    #[test]
    fn a_line_runs_from_the_oldest_to_the_newest_and_from_the_lowest_to_the_highest() {
        let drawn = recorded(&[tested(vec![point(600.0, 0.25), point(300.0, 0.5), point(0.0, 0.75)])]);
        assert_eq!(drawn[0].line, "0.0,36.0 120.0,18.0 240.0,0.0");
        assert!(drawn[0].words.starts_with("3 points over 10 min"), "{}", drawn[0].words);
    }

    #[test]
    fn series_that_moved_come_first_and_what_all_have_in_common_is_not_said() {
        let series = |attributes: &str, to: f64| {
            let points = vec![point(60.0, 0.25), point(0.0, to)];
            Value::map([
                ("metric", Value::from("system.filesystem.usage")),
                ("attributes", Value::from(attributes)),
                ("lowest", Value::from(0.25)),
                ("highest", Value::from(to)),
                ("points", Value::List(points)),
            ])
        };
        let mut test = tested(Vec::new());
        let list = vec![series("state=free, type=ext4", 0.25), series("state=used, type=ext4", 0.75)];
        if let Some(result) = &mut test.result {
            result.facts = Value::map([("series", Value::List(list))]);
        }
        let drawn = recorded(&[test]);
        let said: Vec<_> = drawn.iter().map(|one| (one.series.to_string(), one.is_steady)).collect();
        assert_eq!(said, [("state=used".to_owned(), false), ("state=free".to_owned(), true)]);
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        let odd = vec![
            point(f64::INFINITY, 0.5),
            Value::from("x"),
            Value::List(Vec::new()),
            point(1.0, f64::NEG_INFINITY),
            point(5.0, 0.5),
        ];
        assert_eq!(recorded(&[tested(odd)])[0].line, "120.0,18.0");
        assert!(recorded(&[tested(Vec::new())]).is_empty());
        let many = (0..10_000).map(|age| point(f64::from(age), 0.5)).collect();
        assert_eq!(recorded(&[tested(many)])[0].line.split(' ').count(), MOST_POINTS);
        assert!(recorded(&[Tested { result: None, ..tested(Vec::new()) }]).is_empty());
    }
}
