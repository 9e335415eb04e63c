//! Three-valued evaluation of one condition over what is remembered of one component.
//!
//! Each verdict says not only whether the condition holds, but what decided it, how long the samples behind it speak
//! for the present, and when it will change although nothing is observed (a window that runs out).

use super::{expected, relative};
use crate::finding::{DeviceState, LatestSample, SeriesKey};
use crate::knowledge::{Condition, SeriesMatch, TextMatch};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp, Value, semconv};
use std::sync::Arc;
use std::time::Duration;

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    pub(super) fn of(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }
}

/// What decided a verdict.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decider {
    pub(crate) metric: Arc<str>,
    pub(crate) value: Option<f64>,
    pub(crate) threshold: Option<f64>,
    pub(crate) attributes: Attributes,
    pub(crate) observed_at: Timestamp,
}

/// The outcome of evaluating a condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) truth: Truth,
    pub(crate) decider: Option<Decider>,
    /// Until when the samples behind it speak for the present, in powered-on time.
    pub(crate) fresh_until: Timestamp,
    /// Since when they came without a gap, in powered-on time.
    pub(crate) unbroken_since: Timestamp,
    /// When it changes by itself, in the device's time.
    pub(crate) changes_at: Option<Timestamp>,
}

const EARLIEST: Timestamp = Timestamp::from_millis(i64::MIN);
const LATEST: Timestamp = Timestamp::from_millis(i64::MAX);

impl Verdict {
    /// A verdict that does not depend on how recent a sample is: documents and counted events hold until replaced.
    pub(crate) fn lasting(truth: Truth, decider: Option<Decider>) -> Self {
        Self { truth, decider, fresh_until: LATEST, unbroken_since: EARLIEST, changes_at: None }
    }

    pub(crate) fn unknown() -> Self {
        Self::lasting(Truth::Unknown, None)
    }
}

/// Where and when a condition is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) state: &'a DeviceState,
    pub(crate) component: &'a Component,
    pub(crate) at: Timestamp,
}

/// Whether a condition holds, by samples that speak for the moment.
pub(crate) fn holds_now(condition: &Condition, moment: Moment<'_>) -> bool {
    let verdict = evaluate(condition, moment);
    verdict.truth == Truth::True && verdict.fresh_until >= moment.state.powered(moment.at)
}

/// Evaluates `condition`.
pub(crate) fn evaluate(condition: &Condition, moment: Moment<'_>) -> Verdict {
    match condition {
        Condition::Sample { series, compare, level, at_least, of } => {
            let verdicts = matching(moment, series).map(|(key, sample)| {
                let passes = |value: f64, states: Option<&Attributes>| {
                    compare.holds(value, *level) && state_matches(series, states, &sample.attributes)
                };
                let mut passed = u32::from(passes(sample.value, None));
                let mut known = 1;
                for (at, value) in
                    sample.history().before.iter().enumerate().take(of.saturating_sub(1) as usize)
                {
                    known += 1;
                    passed += u32::from(passes(
                        *value,
                        Some(sample.history().before_states.get(at).unwrap_or(&NO_ATTRIBUTES)),
                    ));
                }
                let truth = if sample.is_unreadable() {
                    Truth::Unknown
                } else if passed >= *at_least {
                    Truth::True
                } else if passed + of.saturating_sub(known) >= *at_least {
                    // With the samples still to come it could be either.
                    Truth::Unknown
                } else {
                    Truth::False
                };
                Verdict {
                    truth,
                    decider: Some(decider(key, sample, Some(sample.value), Some(*level))),
                    fresh_until: sample.rhythm.fresh_until(),
                    unbroken_since: sample.rhythm.unbroken_since,
                    changes_at: None,
                }
            });
            any(verdicts).unwrap_or_else(Verdict::unknown)
        }
        Condition::Relative { series, compare, to } => relative::evaluate(series, *compare, to, moment),
        Condition::Increase { series, by, within } => {
            if let Some(until) = moment.state.quiet_until.filter(|until| moment.at < *until) {
                return Verdict { changes_at: Some(until), ..Verdict::unknown() };
            }
            match count(moment, series, *by, *within) {
                None => Verdict::unknown(),
                // That a counter stands still is known only while it is read.
                Some(verdict) if verdict.truth == Truth::False => read_lately(moment, series, verdict),
                Some(verdict) => verdict,
            }
        }
        Condition::Event { series, count: needed, within } => {
            // An event that never came is known not to have happened: devices report events, not their absence.
            count(moment, series, f64::from(*needed), *within)
                .unwrap_or_else(|| Verdict::lasting(Truth::False, None))
        }
        Condition::State { name, path, matches } => document(moment, name, path, matches),
        Condition::Absent { series, after } => expected::absent(series, *after, moment),
        Condition::Changed { what, within } => expected::changed(what, *within, moment),
        Condition::All(parts) => all(parts.iter().map(|part| evaluate(part, moment)))
            .unwrap_or_else(|| Verdict::lasting(Truth::True, None)),
        Condition::Any(parts) => any(parts.iter().map(|part| evaluate(part, moment)))
            .unwrap_or_else(|| Verdict::lasting(Truth::False, None)),
        Condition::Not(part) => negate(evaluate(part, moment)),
        Condition::Known(part) => match evaluate(part, moment) {
            // Nothing is known, so nothing has to be recent either.
            Verdict { truth: Truth::Unknown, changes_at, .. } => {
                Verdict { changes_at, ..Verdict::lasting(Truth::False, None) }
            }
            known => known,
        },
        Condition::EveryComponent(part) => every_component(part, moment),
        Condition::AnyComponent { kind, part } => any_component(*kind, part, moment),
        Condition::On(text) => Verdict::lasting(Truth::of(text.matches(&moment.component.to_string())), None),
    }
}

/// Looks at the components of another kind. What holds there must be recent, like everything that raises.
fn any_component(kind: ComponentKind, part: &Condition, moment: Moment<'_>) -> Verdict {
    let mut components: Vec<&Component> =
        moment.state.samples.keys().map(|key| &key.component).filter(|c| c.kind == kind).collect();
    components.dedup();
    let now = moment.state.powered(moment.at);
    let verdicts = components.into_iter().map(|component| evaluate(part, Moment { component, ..moment }));
    let recent = verdicts.filter(|verdict| verdict.fresh_until >= now);
    // The finding is about its own component: what is measured elsewhere does not become its value.
    any(recent).map_or_else(Verdict::unknown, |verdict| Verdict { decider: None, ..verdict })
}

/// Looks at every component of the kind that was observed lately. One that is no longer reported (a DNS server of the
/// last network) has no say.
fn every_component(part: &Condition, moment: Moment<'_>) -> Verdict {
    let mut components: Vec<&Component> = moment
        .state
        .samples
        .keys()
        .map(|key| &key.component)
        .filter(|c| c.kind == moment.component.kind)
        .collect();
    components.dedup();
    let now = moment.state.powered(moment.at);
    let own = evaluate(part, moment);
    let others = components.into_iter().filter(|component| *component != moment.component);
    let others = others.map(|component| evaluate(part, Moment { component, ..moment }));
    let recent = others.filter(|verdict| verdict.fresh_until >= now);
    all(std::iter::once(own.clone()).chain(recent))
        .map(|verdict| Verdict { decider: own.decider, ..verdict })
        .unwrap_or_else(Verdict::unknown)
}

static NO_ATTRIBUTES: Attributes = Attributes::none();

/// Both at once: false wins over unknown.
pub(crate) fn all(verdicts: impl Iterator<Item = Verdict>) -> Option<Verdict> {
    verdicts.reduce(|one, other| combine(one, other, Truth::False, Truth::True))
}

/// One of them: true wins over unknown.
pub(crate) fn any(verdicts: impl Iterator<Item = Verdict>) -> Option<Verdict> {
    verdicts.reduce(|one, other| combine(one, other, Truth::True, Truth::False))
}

/// The opposite; unknown stays unknown.
pub(crate) fn negate(verdict: Verdict) -> Verdict {
    let truth = match verdict.truth {
        Truth::True => Truth::False,
        Truth::False => Truth::True,
        Truth::Unknown => Truth::Unknown,
    };
    Verdict { truth, ..verdict }
}

/// `strong` is the truth that settles the combination by itself; `weak` needs both.
fn combine(one: Verdict, other: Verdict, strong: Truth, weak: Truth) -> Verdict {
    let changes_at = match (one.changes_at, other.changes_at) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let combined = match (one.truth == strong, other.truth == strong) {
        // Either would be enough, so the one that lasts longest counts; the first names the value.
        (true, true) => Verdict {
            truth: strong,
            decider: one.decider.or(other.decider),
            fresh_until: one.fresh_until.max(other.fresh_until),
            unbroken_since: one.unbroken_since.min(other.unbroken_since),
            changes_at,
        },
        (true, false) => one,
        (false, true) => other,
        // All are needed, so the one that fails first counts.
        (false, false) => {
            let decided = one.truth == weak && other.truth == weak;
            Verdict {
                truth: if decided { weak } else { Truth::Unknown },
                decider: prefer_number(one.decider, other.decider),
                fresh_until: one.fresh_until.min(other.fresh_until),
                unbroken_since: one.unbroken_since.max(other.unbroken_since),
                changes_at,
            }
        }
    };
    Verdict { changes_at, ..combined }
}

/// The first decider with a number, else the first: a ticket says "97 %" rather than "the type is ext4".
fn prefer_number(one: Option<Decider>, other: Option<Decider>) -> Option<Decider> {
    match (one, other) {
        (Some(one), Some(other)) if one.value.is_none() && other.value.is_some() => Some(other),
        (one, other) => one.or(other),
    }
}

/// All series of the moment's component that `series` selects; state attributes are not looked at.
pub(crate) fn matching<'a>(
    moment: Moment<'a>,
    series: &'a SeriesMatch,
) -> impl Iterator<Item = (&'a SeriesKey, &'a LatestSample)> {
    moment.state.samples.of(moment.component, &series.metric).filter(move |(key, _)| {
        series.attributes.iter().all(|(name, text)| {
            (semconv::STATE_ATTRIBUTES.contains(&name.as_str()) && key.attributes.get(name).is_none())
                || attribute_matches(text, key.attributes.get(name))
        })
    })
}

/// Whether the state attributes match. Those of an earlier sample are kept apart; without them the newest are meant.
pub(super) fn state_matches(series: &SeriesMatch, earlier: Option<&Attributes>, newest: &Attributes) -> bool {
    let attributes = earlier.unwrap_or(newest);
    series
        .attributes
        .iter()
        .filter(|(name, _)| semconv::STATE_ATTRIBUTES.contains(&name.as_str()))
        .all(|(name, text)| attribute_matches(text, attributes.get(name)))
}

/// An attribute that is not there is none of any texts, and not one of any either.
fn attribute_matches(text: &TextMatch, value: Option<&str>) -> bool {
    match value {
        Some(value) => text.matches(value),
        None => match text {
            TextMatch::NoneOf(_) => true,
            TextMatch::OneOf(_) | TextMatch::StartsWith(_) => false,
        },
    }
}

/// What the counters grew by within the window, and the newest of them.
pub(super) fn grown<'a>(
    moment: Moment<'a>,
    series: &'a SeriesMatch,
    within: Duration,
) -> Option<(f64, &'a SeriesKey, &'a LatestSample)> {
    let oldest = moment.at.minus(within);
    let mut total = 0.0;
    let mut newest: Option<(&SeriesKey, &LatestSample)> = None;
    for (key, sample) in matching(moment, series) {
        total += sample
            .history()
            .window
            .iter()
            .filter(|(at, _)| *at > oldest)
            .map(|(_, amount)| amount)
            .sum::<f64>();
        if newest.is_none_or(|(_, known)| known.observed_at < sample.observed_at) {
            newest = Some((key, sample));
        }
    }
    newest.map(|(key, sample)| (total, key, sample))
}

/// Adds what was counted within the window, over all series; `None` when there is none.
fn count(moment: Moment<'_>, series: &SeriesMatch, needed: f64, within: Duration) -> Option<Verdict> {
    let oldest = moment.at.minus(within);
    let mut amounts: Vec<(Timestamp, f64)> = Vec::new();
    let mut newest: Option<(&SeriesKey, &LatestSample)> = None;
    let mut unreadable = false;
    for (key, sample) in matching(moment, series) {
        if !state_matches(series, None, &sample.attributes) {
            continue;
        }
        amounts.extend(sample.history().window.iter().filter(|(at, _)| *at > oldest));
        unreadable |= sample.is_unreadable();
        if newest.is_none_or(|(_, known)| known.observed_at < sample.observed_at) {
            newest = Some((key, sample));
        }
    }
    let (key, sample) = newest?;
    amounts.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let total: f64 = amounts.iter().map(|(_, amount)| amount).sum();
    let mut changes_at = None;
    let mut so_far = 0.0;
    for (at, amount) in &amounts {
        so_far += amount;
        if so_far >= needed {
            changes_at = Some(at.plus(within));
            break;
        }
    }
    let truth = match (total >= needed, unreadable) {
        (true, _) => Truth::True,
        (false, true) => Truth::Unknown,
        (false, false) => Truth::False,
    };
    let decider = decider(key, sample, Some(total), Some(needed));
    Some(Verdict { changes_at, ..Verdict::lasting(truth, Some(decider)) })
}

/// The verdict with the freshness of the newest sample of the series.
fn read_lately(moment: Moment<'_>, series: &SeriesMatch, verdict: Verdict) -> Verdict {
    match matching(moment, series).max_by_key(|(_, sample)| sample.observed_at) {
        None => verdict,
        Some((_, sample)) => Verdict {
            fresh_until: sample.rhythm.fresh_until(),
            unbroken_since: sample.rhythm.unbroken_since,
            ..verdict
        },
    }
}

fn document(moment: Moment<'_>, name: &str, path: &[String], matches: &TextMatch) -> Verdict {
    let Some(latest) = moment.state.states.get(&(moment.component.clone(), name.to_owned())) else {
        return Verdict::unknown();
    };
    let found = path.iter().try_fold(&latest.document, |value, key| value.get(key));
    let Some(truth) = found.and_then(|value| value_matches(matches, value)) else {
        return Verdict::unknown();
    };
    let decider = Decider {
        metric: name.into(),
        value: found.and_then(Value::as_number),
        threshold: None,
        attributes: Attributes::none(),
        observed_at: latest.observed_at,
    };
    Verdict::lasting(Truth::of(truth), Some(decider))
}

/// Whether a value of a document or of a test's facts matches. Of a list one item must be (or begin with) one of the
/// texts; to be none of them, no item may be one. A map cannot be compared.
pub(crate) fn value_matches(matches: &TextMatch, value: &Value) -> Option<bool> {
    match value {
        Value::Text(text) => Some(matches.matches(text)),
        Value::Bool(truth) => Some(matches.matches(if *truth { "true" } else { "false" })),
        Value::Number(number) => Some(matches.matches(&number.to_string())),
        Value::List(items) => {
            let mut verdicts = items.iter().filter_map(|item| value_matches(matches, item));
            Some(match matches {
                TextMatch::NoneOf(_) => verdicts.all(|one| one),
                TextMatch::OneOf(_) | TextMatch::StartsWith(_) => verdicts.any(|one| one),
            })
        }
        Value::Map(_) => None,
    }
}

pub(super) fn decider(
    key: &SeriesKey,
    sample: &LatestSample,
    value: Option<f64>,
    threshold: Option<f64>,
) -> Decider {
    Decider {
        metric: key.metric.clone(),
        value,
        threshold,
        attributes: sample.attributes.clone(),
        observed_at: sample.observed_at,
    }
}
