//! What the engine remembers of a device, as it is stored. Findings are not part of it: they have their own table.

use super::value::{Exact, StoredAttributes, StoredValue};
use super::{Shape, millis, time};
use firstline_collector_core::finding::{DeviceState, History, LatestSample, LatestState, Rhythm, SeriesKey};
use firstline_collector_core::quiet::Cause;
use firstline_model::{Invalid, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// See [`DeviceState`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredDeviceState {
    samples: Vec<StoredSeries>,
    states: Vec<StoredState>,
    presence: Option<String>,
    presence_since: Option<i64>,
    away: StoredDuration,
    quiet_until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settling: Option<(i64, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredSeries {
    component: String,
    metric: String,
    series: StoredAttributes,
    observed_at: i64,
    value: Exact,
    attributes: StoredAttributes,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    before: Vec<Exact>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    before_states: Vec<StoredAttributes>,
    rhythm: StoredRhythm,
    /// Left out by earlier versions.
    #[serde(default)]
    first_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    window: Vec<(i64, Exact)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unavailable: Option<(i64, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRhythm {
    powered_at: i64,
    spacing: StoredDuration,
    unbroken_since: i64,
}

/// Whole seconds and the nanoseconds beyond them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct StoredDuration(u64, u32);

#[derive(Debug, Serialize, Deserialize)]
struct StoredState {
    component: String,
    name: String,
    observed_at: i64,
    document: StoredValue,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    changed: BTreeMap<String, i64>,
}

impl Shape for StoredDeviceState {
    type Model = DeviceState;

    fn of(model: &DeviceState) -> Self {
        let samples = model.samples.iter().map(|(key, sample)| StoredSeries {
            component: key.component.to_string(),
            metric: key.metric.to_string(),
            series: StoredAttributes::of(&key.attributes),
            observed_at: sample.observed_at.as_millis(),
            value: Exact(sample.value),
            attributes: StoredAttributes::of(&sample.attributes),
            before: sample.history().before.iter().copied().map(Exact).collect(),
            before_states: sample.history().before_states.iter().map(StoredAttributes::of).collect(),
            rhythm: StoredRhythm::of(&sample.rhythm),
            first_at: Some(sample.first_at.as_millis()),
            changed_at: millis(sample.history().changed_at),
            window: sample
                .history()
                .window
                .iter()
                .map(|&(at, amount)| (at.as_millis(), Exact(amount)))
                .collect(),
            unavailable: sample.history().unavailable.as_ref().map(|(at, why)| (at.as_millis(), why.clone())),
        });
        let states = model.states.iter().map(|((component, name), state)| StoredState {
            component: component.to_string(),
            name: name.clone(),
            observed_at: state.observed_at.as_millis(),
            document: StoredValue::of(&state.document),
            changed: state.changed.iter().map(|(path, at)| (path.clone(), at.as_millis())).collect(),
        });
        Self {
            samples: samples.collect(),
            states: states.collect(),
            presence: model.presence.map(|presence| presence.as_str().to_owned()),
            presence_since: millis(model.presence_since),
            away: StoredDuration::of(model.away),
            quiet_until: millis(model.quiet_until),
            settling: model.settling.map(|(until, cause)| (until.as_millis(), cause.as_str().to_owned())),
        }
    }

    fn into_model(self) -> Result<DeviceState, Invalid> {
        Ok(DeviceState {
            samples: self.samples.into_iter().map(StoredSeries::into_entry).collect::<Result<_, _>>()?,
            states: self.states.into_iter().map(StoredState::into_entry).collect::<Result<_, _>>()?,
            findings: BTreeMap::new(),
            presence: self.presence.map(|text| text.parse()).transpose()?,
            presence_since: time(self.presence_since),
            away: self.away.into_model(),
            quiet_until: time(self.quiet_until),
            judged: BTreeMap::new(),
            heard: None,
            overdue_at: None,
            settling: self.settling.and_then(|(until, text)| {
                let cause = Cause::ALL.iter().find(|cause| cause.as_str() == text)?;
                Some((Timestamp::from_millis(until), *cause))
            }),
        })
    }
}

impl StoredSeries {
    fn into_entry(self) -> Result<(SeriesKey, LatestSample), Invalid> {
        let key = SeriesKey {
            component: self.component.parse()?,
            metric: self.metric.into(),
            attributes: self.series.into_model()?,
        };
        let observed_at = Timestamp::from_millis(self.observed_at);
        let attributes = self.attributes.into_model()?;
        let newest = LatestSample::new(observed_at, self.value.0, attributes, self.rhythm.into_model());
        let history = History {
            before: self.before.into_iter().map(|number| number.0).collect(),
            before_states: self
                .before_states
                .into_iter()
                .map(StoredAttributes::into_model)
                .collect::<Result<_, _>>()?,
            changed_at: time(self.changed_at),
            window: self
                .window
                .into_iter()
                .map(|(at, amount)| (Timestamp::from_millis(at), amount.0))
                .collect(),
            unavailable: self.unavailable.map(|(at, why)| (Timestamp::from_millis(at), why)),
            beside: Vec::new(),
        };
        let first_at = Timestamp::from_millis(self.first_at.unwrap_or(self.observed_at));
        Ok((key, newest.with_history(history).first_seen(first_at)))
    }
}

impl StoredState {
    fn into_entry(self) -> Result<((firstline_model::Component, String), LatestState), Invalid> {
        let state = LatestState {
            observed_at: Timestamp::from_millis(self.observed_at),
            document: self.document.into_model()?,
            changed: self.changed.into_iter().map(|(path, at)| (path, Timestamp::from_millis(at))).collect(),
        };
        Ok(((self.component.parse()?, self.name), state))
    }
}

impl StoredRhythm {
    fn of(model: &Rhythm) -> Self {
        Self {
            powered_at: model.powered_at.as_millis(),
            spacing: StoredDuration::of(model.spacing),
            unbroken_since: model.unbroken_since.as_millis(),
        }
    }

    fn into_model(self) -> Rhythm {
        Rhythm {
            powered_at: Timestamp::from_millis(self.powered_at),
            spacing: self.spacing.into_model(),
            unbroken_since: Timestamp::from_millis(self.unbroken_since),
        }
    }
}

impl StoredDuration {
    fn of(model: Duration) -> Self {
        Self(model.as_secs(), model.subsec_nanos())
    }

    fn into_model(self) -> Duration {
        Duration::from_secs(self.0).saturating_add(Duration::from_nanos(u64::from(self.1)))
    }
}
