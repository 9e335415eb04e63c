//! Conditions about what did not come, and about what is not as it was.

use super::condition::{Decider, Moment, Truth, Verdict, any, decider, matching, state_matches};
use crate::knowledge::{SeriesMatch, Watched};
use firstline_model::{Attributes, Timestamp};
use std::time::Duration;

/// Whether a series that was observed has stopped coming although its device is heard.
pub(super) fn absent(series: &SeriesMatch, after: Duration, moment: Moment<'_>) -> Verdict {
    let Some(heard) = moment.state.heard else { return Verdict::unknown() };
    let heard = moment.state.powered(heard.min(moment.at));
    let verdicts = matching(moment, series).map(|(key, sample)| {
        let due = sample.rhythm.powered_at.plus(after);
        let missing = heard.since(sample.rhythm.powered_at).as_secs_f64();
        let truth = match (sample.is_unreadable(), heard >= due) {
            // It was looked for: that it cannot be read is another matter.
            (true, _) => Truth::Unknown,
            (false, is_missing) => Truth::of(is_missing),
        };
        let decider = decider(key, sample, Some(missing), Some(after.as_secs_f64()));
        Verdict { changes_at: next(moment.state.wall(due), moment), ..Verdict::lasting(truth, Some(decider)) }
    });
    any(verdicts).unwrap_or_else(Verdict::unknown)
}

/// Whether a value differs from the one before, since lately.
pub(super) fn changed(what: &Watched, within: Duration, moment: Moment<'_>) -> Verdict {
    match what {
        Watched::Series(series) => {
            let verdicts = matching(moment, series).map(|(key, sample)| {
                let (truth, changes_at) = since(sample.history().changed_at, within, moment);
                let truth = match truth {
                    Truth::True if !state_matches(series, None, &sample.attributes) => Truth::False,
                    truth @ (Truth::True | Truth::False | Truth::Unknown) => truth,
                };
                let decider = decider(key, sample, Some(sample.value), None);
                Verdict { changes_at, ..Verdict::lasting(truth, Some(decider)) }
            });
            any(verdicts).unwrap_or_else(Verdict::unknown)
        }
        Watched::Document { name, path } => {
            let key = (moment.component.clone(), name.clone());
            let Some(latest) = moment.state.states.get(&key) else { return Verdict::unknown() };
            let (truth, changes_at) = since(latest.changed.get(path).copied(), within, moment);
            let decider = Decider {
                metric: name.as_str().into(),
                value: None,
                threshold: None,
                attributes: Attributes::none(),
                observed_at: latest.observed_at,
            };
            Verdict { changes_at, ..Verdict::lasting(truth, Some(decider)) }
        }
    }
}

fn since(changed: Option<Timestamp>, within: Duration, moment: Moment<'_>) -> (Truth, Option<Timestamp>) {
    match changed.map(|changed| changed.plus(within)) {
        Some(until) if moment.at < until => (Truth::True, Some(until)),
        Some(_) | None => (Truth::False, None),
    }
}

/// A time that is still to come.
fn next(at: Option<Timestamp>, moment: Moment<'_>) -> Option<Timestamp> {
    at.filter(|at| *at > moment.at)
}
