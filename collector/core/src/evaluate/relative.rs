//! Conditions that compare with something else than a fixed number: a limit that the hardware publishes, what is usual
//! for this component, or another counter.

use super::condition::{Decider, Moment, Truth, Verdict, any, grown, matching};
use crate::finding::{LatestSample, SeriesKey};
use crate::knowledge::{Compare, Reference, SeriesMatch};
use firstline_model::Timestamp;
use std::time::Duration;

/// Evaluates one such condition.
pub(super) fn evaluate(
    series: &SeriesMatch,
    compare: Compare,
    to: &Reference,
    moment: Moment<'_>,
) -> Verdict {
    if let Reference::ShareOf { .. } = to {
        return share(series, compare, to, moment);
    }
    let verdicts = matching(moment, series).map(|(key, sample)| {
        let level = match to {
            Reference::Other { series: other, plus } => {
                let newest = matching(moment, other).max_by_key(|(_, sample)| sample.observed_at);
                newest.filter(|(_, other)| !other.is_unreadable()).map(|(_, other)| other.value + plus)
            }
            Reference::Usual { times, spreads, of } => {
                usual(sample, *of).map(|usual| usual.far_off(compare, *times, *spreads))
            }
            Reference::Peers { times, spreads, same, within, at_least } => {
                let beside = sample.history().beside.iter().find(|beside| beside.answers(same, *within));
                let enough = usize::try_from(*at_least).unwrap_or(usize::MAX).max(2);
                beside.filter(|beside| beside.count >= enough).map(|beside| {
                    let usually = Usually { median: beside.median, spread: beside.spread };
                    usually.far_off(compare, *times, *spreads)
                })
            }
            Reference::Reached { level, within, over } => {
                return forecast(key, sample, compare, *level, *within, *over);
            }
            Reference::ShareOf { .. } => None,
        };
        judged(key, sample, compare, sample.value, level)
    });
    any(verdicts).unwrap_or_else(Verdict::unknown)
}

fn judged(
    key: &SeriesKey,
    sample: &LatestSample,
    compare: Compare,
    value: f64,
    level: Option<f64>,
) -> Verdict {
    let truth = match level {
        Some(level) if !sample.is_unreadable() => {
            if compare.holds(value, level) {
                Truth::True
            } else {
                Truth::False
            }
        }
        // Without a limit the number alone says nothing.
        Some(_) | None => Truth::Unknown,
    };
    Verdict {
        truth,
        decider: Some(Decider {
            metric: key.metric.clone(),
            value: Some(value),
            threshold: level,
            attributes: sample.attributes.clone(),
            observed_at: sample.observed_at,
        }),
        fresh_until: sample.rhythm.fresh_until(),
        unbroken_since: sample.rhythm.unbroken_since,
        changes_at: None,
    }
}

/// Whether the series will compare so with `level` within a time, at its rate of the last `over`.
fn forecast(
    key: &SeriesKey,
    sample: &LatestSample,
    compare: Compare,
    level: f64,
    within: Duration,
    over: Duration,
) -> Verdict {
    let ahead = slope(sample, over).map(|per_second| sample.value + per_second * within.as_secs_f64());
    let truth = match ahead {
        Some(_) if sample.is_unreadable() => Truth::Unknown,
        Some(ahead) if compare.holds(ahead, level) => Truth::True,
        Some(_) => Truth::False,
        None => Truth::Unknown,
    };
    let verdict = judged(key, sample, compare, sample.value, Some(level));
    Verdict { truth, ..verdict }
}

/// The trend per second: zero when there is none that can be trusted, `None` while too little is known.
fn slope(sample: &LatestSample, over: Duration) -> Option<f64> {
    let newest = (sample.observed_at, sample.value);
    let points: Vec<(Timestamp, f64)> =
        sample.history().window.iter().copied().filter(|(at, _)| *at < newest.0).chain([newest]).collect();
    let first = points.first()?;
    if points.len() < 4 || newest.0.since(first.0) < over / 2 {
        return None;
    }
    let mut slopes: Vec<f64> = Vec::with_capacity(points.len() * points.len() / 2);
    for (n, (later, value)) in points.iter().enumerate() {
        for (earlier, before) in &points[..n] {
            let seconds = later.since(*earlier).as_secs_f64();
            if seconds > 0.0 {
                slopes.push((value - before) / seconds);
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    let median = *slopes.get(slopes.len() / 2)?;
    // The quarter of the slopes that is furthest behind must go the same way.
    let behind = if median > 0.0 { slopes[slopes.len() / 4] } else { slopes[slopes.len() * 3 / 4] };
    Some(if behind * median > 0.0 && behind.abs() * 2.0 >= median.abs() { median } else { 0.0 })
}

/// What values usually are: those before the newest one, or those of other devices.
struct Usually {
    median: f64,
    spread: f64,
}

impl Usually {
    /// Where it begins to be unusual: both so many times the median and so many spreads from it.
    fn far_off(&self, compare: Compare, times: f64, spreads: f64) -> f64 {
        let far = spreads * self.spread;
        match compare {
            Compare::Below | Compare::AtMost => (self.median * times).min(self.median - far),
            Compare::Above | Compare::AtLeast | Compare::Equals => {
                (self.median * times).max(self.median + far)
            }
        }
    }
}

/// A median absolute deviation times this is the standard deviation of what is distributed normally.
const NORMAL: f64 = 1.4826;

/// `None` when fewer than half of the values that are asked for are known.
fn usual(sample: &LatestSample, of: u32) -> Option<Usually> {
    let of = usize::try_from(of).unwrap_or(usize::MAX);
    let mut known: Vec<f64> = sample.history().before.iter().copied().take(of).collect();
    if known.len() * 2 < of {
        return None;
    }
    let median = median(&mut known)?;
    known.iter_mut().for_each(|value| *value = (*value - median).abs());
    Some(Usually { median, spread: NORMAL * self::median(&mut known)? })
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { (values[middle - 1] + upper) / 2.0 })
}

/// What share of one counter's growth another one is.
fn share(series: &SeriesMatch, compare: Compare, to: &Reference, moment: Moment<'_>) -> Verdict {
    let Reference::ShareOf { whole, level, within, at_least } = to else { return Verdict::unknown() };
    if let Some(until) = moment.state.quiet_until.filter(|until| moment.at < *until) {
        return Verdict { changes_at: Some(until), ..Verdict::unknown() };
    }
    let (Some((part, _, _)), Some((all, key, sample))) =
        (grown(moment, series, *within), grown(moment, whole, *within))
    else {
        return Verdict::unknown();
    };
    // A share of a handful says nothing, so it is known not to be a fault.
    let share = if all > 0.0 && all >= *at_least { part / all } else { 0.0 };
    let verdict = judged(key, sample, compare, share, Some(*level));
    let decider = verdict.decider.map(|decider| Decider { metric: series.metric.as_str().into(), ..decider });
    Verdict { decider, ..verdict }
}
