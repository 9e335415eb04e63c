//! What the engine remembers of a device, as it is stored. Findings are not part of it: they have their own table.

use super::value::{Exact, StoredAttributes, StoredValue};
use super::{Shape, millis, time};
use firstline_collector_core::finding::{DeviceState, LatestSample, LatestState, SeriesKey};
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
    away_seconds: u64,
    away_nanos: u32,
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
    window: Vec<(i64, Exact)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unavailable: Option<(i64, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredState {
    component: String,
    name: String,
    observed_at: i64,
    document: StoredValue,
}

impl Shape for StoredDeviceState {
    type Model = DeviceState;

    fn of(model: &DeviceState) -> Self {
        let samples = model.samples.iter().map(|(key, sample)| StoredSeries {
            component: key.component.to_string(),
            metric: key.metric.clone(),
            series: StoredAttributes::of(&key.attributes),
            observed_at: sample.observed_at.as_millis(),
            value: Exact(sample.value),
            attributes: StoredAttributes::of(&sample.attributes),
            before: sample.before.iter().copied().map(Exact).collect(),
            window: sample.window.iter().map(|&(at, amount)| (at.as_millis(), Exact(amount))).collect(),
            unavailable: sample.unavailable.as_ref().map(|(at, why)| (at.as_millis(), why.clone())),
        });
        let states = model.states.iter().map(|((component, name), state)| StoredState {
            component: component.to_string(),
            name: name.clone(),
            observed_at: state.observed_at.as_millis(),
            document: StoredValue::of(&state.document),
        });
        Self {
            samples: samples.collect(),
            states: states.collect(),
            presence: model.presence.map(|presence| presence.as_str().to_owned()),
            presence_since: millis(model.presence_since),
            away_seconds: model.away.as_secs(),
            away_nanos: model.away.subsec_nanos(),
        }
    }

    fn into_model(self) -> Result<DeviceState, Invalid> {
        Ok(DeviceState {
            samples: self.samples.into_iter().map(StoredSeries::into_entry).collect::<Result<_, _>>()?,
            states: self.states.into_iter().map(StoredState::into_entry).collect::<Result<_, _>>()?,
            findings: BTreeMap::new(),
            presence: self.presence.map(|text| text.parse()).transpose()?,
            presence_since: time(self.presence_since),
            away: Duration::from_secs(self.away_seconds)
                .saturating_add(Duration::from_nanos(u64::from(self.away_nanos))),
        })
    }
}

impl StoredSeries {
    fn into_entry(self) -> Result<(SeriesKey, LatestSample), Invalid> {
        let key = SeriesKey {
            component: self.component.parse()?,
            metric: self.metric,
            attributes: self.series.into_model()?,
        };
        let sample = LatestSample {
            observed_at: Timestamp::from_millis(self.observed_at),
            value: self.value.0,
            attributes: self.attributes.into_model()?,
            before: self.before.into_iter().map(|number| number.0).collect(),
            window: self
                .window
                .into_iter()
                .map(|(at, amount)| (Timestamp::from_millis(at), amount.0))
                .collect(),
            unavailable: self.unavailable.map(|(at, why)| (Timestamp::from_millis(at), why)),
        };
        Ok((key, sample))
    }
}

impl StoredState {
    fn into_entry(self) -> Result<((firstline_model::Component, String), LatestState), Invalid> {
        let state = LatestState {
            observed_at: Timestamp::from_millis(self.observed_at),
            document: self.document.into_model()?,
        };
        Ok(((self.component.parse()?, self.name), state))
    }
}
