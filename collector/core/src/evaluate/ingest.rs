//! Remembers an observation: the newest sample of its series, what its counter grew by, its document.
//!
//! Sizes are bounded, because a broken or hostile device may report any number of series.

use crate::finding::{DeviceState, LatestSample, LatestState, Rhythm, SeriesKey, shared_attributes};
use crate::knowledge::{KnowledgeIndex, MetricUse};
use crate::peers::Beside;
use crate::quiet::{Cause, settle};
use firstline_model::{Attributes, Component, Presence, Timestamp, Value, semconv};
use std::time::Duration;

/// More series than any real device has; further ones are not remembered.
const MAX_SERIES: usize = 8192;
/// More documents than any real device has.
const MAX_DOCUMENTS: usize = 1024;
/// A window with more amounts adds the oldest two together.
const MAX_WINDOW: usize = 256;
/// So many values are kept for a forecast.
const MAX_HISTORY: u32 = 24;
/// The key under which a document names the part; another value is another part.
pub(crate) const SERIAL: &str = "serial";
/// Documents with more values are kept only when a rule looks into them.
const MAX_UNUSED_DOCUMENT: usize = 256;
/// Counters are not judged for so long after the device came back.
const QUIET: Duration = Duration::from_secs(120);
/// What arrives this soon after "asleep" was on its way already; later, the device is evidently awake.
const STILL_AWAKE: Duration = Duration::from_secs(30);
/// What a series that was interrupted is trusted to keep to at first.
const BROKEN: Duration = Duration::from_secs(60);
/// Probes look twice a day at least; one longer gap must not make a series look slow for ever.
const MAX_SPACING: Duration = Duration::from_secs(12 * 3600);

/// Takes note of a change of presence; `false` when it is none, or older than the last.
pub(crate) fn presence(state: &mut DeviceState, presence: Presence, at: Timestamp) -> bool {
    if state.presence_since.is_some_and(|since| at < since) || state.presence == Some(presence) {
        return false;
    }
    if let (Some(before), Some(since)) = (state.presence, state.presence_since)
        && !before.is_powered_on()
    {
        state.away = state.away.saturating_add(at.since(since));
        if presence.is_powered_on() {
            state.quiet_until = Some(at.plus(QUIET));
            if let Some(cause) = Cause::of_return(before) {
                settle::begin(state, cause, at);
            }
        }
    }
    state.presence = Some(presence);
    state.presence_since = Some(at);
    true
}

/// A device that reports samples is awake, even when the news of its waking was lost.
pub(crate) fn wake(state: &mut DeviceState, at: Timestamp) {
    let asleep = match state.presence {
        Some(Presence::Asleep | Presence::ShutDown | Presence::Crashed) => true,
        Some(Presence::Online | Presence::OffNetwork | Presence::Retired) | None => false,
    };
    if asleep && state.presence_since.is_some_and(|since| at > since.plus(STILL_AWAKE)) {
        presence(state, Presence::Online, at);
    }
}

/// Remembers a sample. `false` when it is older than what is known and changes nothing.
pub(crate) fn sample(
    state: &mut DeviceState,
    used: &MetricUse,
    component: &Component,
    metric: &str,
    attributes: &Attributes,
    value: f64,
    at: Timestamp,
) -> bool {
    if attributes.get(semconv::attribute::KEYWORD) == Some(NO_REASON) && value != 0.0 {
        for ended in other_reasons(state, component, metric, at) {
            sample(state, used, component, metric, &ended, 0.0, at);
        }
    }
    let powered = state.powered(at);
    let quiet = state.quiet_until.is_some_and(|until| at < until);
    let names_it = |name: &str| !semconv::STATE_ATTRIBUTES.contains(&name);
    let full = state.samples.len() >= MAX_SERIES;
    let Some(known) = state.samples.selected_mut(component, metric, attributes, names_it) else {
        if full {
            return false;
        }
        let key = series_key(component, metric, attributes, names_it);
        let rhythm = Rhythm { powered_at: powered, spacing: Duration::ZERO, unbroken_since: powered };
        state.samples.insert(key, LatestSample::new(at, value, attributes.clone(), rhythm));
        expect(state, used, at);
        return true;
    };
    if at < known.observed_at {
        return false;
    }
    if let Some(over) = used.history {
        keep_value(&mut known.history_mut().window, at, value, over);
    } else if let Some(window) = used.window {
        // A counter that went down was reset and counts from zero. What a device counts while it wakes up is not
        // judged: it becomes part of the baseline.
        let grown = if value < known.value { value.max(0.0) } else { value - known.value };
        if grown > 0.0 && !quiet {
            add_amount(&mut known.history_mut().window, at, grown);
        }
        if !known.history().window.is_empty() {
            forget(&mut known.history_mut().window, at.minus(window));
        }
    }
    if at > known.observed_at {
        if used.depth > 1 {
            let states = known.attributes.iter().filter(|(name, _)| semconv::STATE_ATTRIBUTES.contains(name));
            let states = states.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            let value = known.value;
            known.history_mut().replaced(value, states, used.depth - 1);
        }
        follow(&mut known.rhythm, powered);
    }
    let differs = known.attributes != *attributes;
    if used.changes && (known.value != value || differs) {
        known.history_mut().changed_at = Some(at);
    }
    known.observed_at = at;
    known.value = value;
    if differs {
        known.attributes = shared_attributes(attributes);
    }
    if known.history().unavailable.is_some() {
        known.history_mut().unavailable = None;
    }
    known.tidy();
    expect(state, used, at);
    true
}

/// Keeps what other devices measure beside the newest sample of a series.
pub(crate) fn stands_beside(
    state: &mut DeviceState,
    component: &Component,
    metric: &str,
    attributes: &Attributes,
    beside: Vec<Beside>,
) {
    let names_it = |name: &str| !semconv::STATE_ATTRIBUTES.contains(&name);
    if let Some(known) = state.samples.selected_mut(component, metric, attributes, names_it) {
        known.history_mut().beside = beside;
        known.tidy();
    }
}

/// The next one of this series is expected.
fn expect(state: &mut DeviceState, used: &MetricUse, at: Timestamp) {
    if let Some(after) = used.absent {
        let overdue = at.plus(after);
        state.overdue_at = Some(state.overdue_at.map_or(overdue, |known| known.min(overdue)));
    }
}

/// The keyword that excludes all others (RFC 8011, 5.4.12): whoever says it says that every other reason is over.
const NO_REASON: &str = "none";

/// The attributes of the reasons that were given before. Those that were taken back are taken back again, so that the
/// news that they are over stays recent.
fn other_reasons(state: &DeviceState, component: &Component, metric: &str, at: Timestamp) -> Vec<Attributes> {
    state
        .samples
        .of(component, metric)
        .filter(|(_, sample)| sample.observed_at < at)
        .map(|(_, sample)| sample.attributes.clone())
        .filter(|attributes| attributes.get(semconv::attribute::KEYWORD).is_some_and(|k| k != NO_REASON))
        .collect()
}

/// Moves the rhythm on to the next sample. The usual spacing rises at once and falls slowly, because samples that are
/// sent on change come in bursts between regular ones.
fn follow(rhythm: &mut Rhythm, powered: Timestamp) {
    let gap = powered.since(rhythm.powered_at);
    let blended = rhythm.spacing.saturating_mul(3).saturating_add(gap) / 4;
    let spacing = if rhythm.spacing > Duration::ZERO && gap > rhythm.tolerance() {
        rhythm.unbroken_since = powered;
        // A gap is no new rhythm, unless it comes again.
        gap.min(rhythm.spacing.saturating_mul(2).max(BROKEN))
    } else {
        gap.max(blended)
    };
    rhythm.spacing = spacing.min(MAX_SPACING);
    rhythm.powered_at = rhythm.powered_at.max(powered);
}

/// Remembers an event. Events are kept apart only by the attributes that rules select by.
pub(crate) fn event(
    state: &mut DeviceState,
    used: &MetricUse,
    component: &Component,
    name: &str,
    attributes: &Attributes,
    at: Timestamp,
) -> bool {
    let Some(window) = used.window else { return false };
    let powered = state.powered(at);
    let key = series_key(component, name, attributes, |name| used.selected.contains(name));
    if !state.samples.contains_key(&key) && state.samples.len() >= MAX_SERIES {
        return false;
    }
    expect(state, used, at);
    if !state.samples.contains_key(&key) {
        let first = LatestSample::new(at, 1.0, attributes.clone(), Rhythm::default());
        state.samples.insert(key.clone(), first);
    }
    let Some(known) = state.samples.get_mut(&key) else { return false };
    if at >= known.observed_at {
        known.observed_at = at;
        known.rhythm.powered_at = powered;
        known.attributes = attributes.clone();
    }
    let newest = known.observed_at;
    let counted = &mut known.history_mut().window;
    add_amount(counted, at, 1.0);
    forget(counted, newest.minus(window));
    known.tidy();
    true
}

/// Remembers a document. `false` when it is older than the known one, or of no interest.
pub(crate) fn document(
    state: &mut DeviceState,
    component: &Component,
    name: &str,
    document: &Value,
    index: &KnowledgeIndex,
    used: bool,
    at: Timestamp,
) -> bool {
    if !used && values(document) > MAX_UNUSED_DOCUMENT {
        return false;
    }
    let key = (component.clone(), name.to_owned());
    let known = state.states.get(&key);
    if known.is_some_and(|known| at < known.observed_at)
        || (!state.states.contains_key(&key) && state.states.len() >= MAX_DOCUMENTS)
    {
        return false;
    }
    let mut changed = known.map(|known| known.changed.clone()).unwrap_or_default();
    if let Some(known) = known {
        for path in index.watched(name).chain([SERIAL]) {
            if let (Some(before), Some(after)) = (within(&known.document, path), within(document, path))
                && before != after
            {
                changed.insert(path.to_owned(), at);
            }
        }
    }
    state.states.insert(key, LatestState { observed_at: at, document: document.clone(), changed });
    true
}

/// Notes that a metric could not be read. `false` when newer samples are known.
pub(crate) fn unavailable(
    state: &mut DeviceState,
    component: &Component,
    metric: &str,
    why: &str,
    at: Timestamp,
) -> bool {
    let mut changed = false;
    for sample in state.samples.of_mut(component, metric) {
        let known = sample.history().unavailable.as_ref();
        if at >= sample.observed_at && known.is_none_or(|(since, _)| *since < at) {
            sample.history_mut().unavailable = Some((at, why.to_owned()));
            changed = true;
        }
    }
    changed
}

/// The value under keys joined by dots.
fn within<'v>(document: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(document, |value, key| value.get(key))
}

fn series_key(
    component: &Component,
    metric: &str,
    attributes: &Attributes,
    keep: impl Fn(&str) -> bool,
) -> SeriesKey {
    let attributes = if attributes.iter().all(|(name, _)| keep(name)) {
        attributes.clone()
    } else {
        attributes.iter().filter(|(name, _)| keep(name)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    };
    SeriesKey { component: component.clone(), metric: metric.into(), attributes }
}

/// Keeps a value in reach of a forecast, no closer to the last one than is needed to see a slope.
fn keep_value(history: &mut Vec<(Timestamp, f64)>, at: Timestamp, value: f64, over: Duration) {
    if history.last().is_none_or(|(then, _)| at.since(*then) >= over / MAX_HISTORY) {
        history.push((at, value));
    }
    forget(history, at.minus(over));
}

/// Forgets what is no newer than `until`, and the room that it took when most of that is free.
fn forget(window: &mut Vec<(Timestamp, f64)>, until: Timestamp) {
    window.retain(|(then, _)| *then > until);
    if window.capacity() > 2 * window.len() + 4 {
        window.shrink_to(window.len() + 2);
    }
}

fn add_amount(window: &mut Vec<(Timestamp, f64)>, at: Timestamp, amount: f64) {
    let place = window.partition_point(|(then, _)| *then <= at);
    window.insert(place, (at, amount));
    if window.len() > MAX_WINDOW {
        let (_, oldest) = window.remove(0);
        window[0].1 += oldest;
    }
}

fn values(value: &Value) -> usize {
    match value {
        Value::Bool(_) | Value::Number(_) | Value::Text(_) => 1,
        Value::List(items) => 1 + items.iter().map(values).sum::<usize>(),
        Value::Map(map) => 1 + map.values().map(values).sum::<usize>(),
    }
}
