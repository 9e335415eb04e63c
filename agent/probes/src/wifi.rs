//! The Wi-Fi association: how strong the signal is, how much of it has to be repeated, how busy the channel is, and whether
//! the access point changes.
//!
//! Asked of the kernel's nl80211 (`linux/nl80211.h`), which needs no privilege and starts nothing. Roams and losses are
//! seen between two looks: what comes and goes within one interval is not.

#[cfg(target_os = "linux")]
#[path = "wifi/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "wifi/other.rs"]
mod imp;
mod message;

use crate::{Context, Descriptor, Due, Probe, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Value};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Retries of fewer frames than this say nothing.
const FEWEST_FRAMES: u64 = 100;
/// More radios than this are not looked at.
const MAX_INTERFACES: usize = 8;
/// Strength that a radio can have, in dBm; drivers without a measurement say 0.
const SIGNALS: std::ops::RangeInclusive<i32> = -120..=-1;

/// Signal, retries, channel and roaming of each association.
#[derive(Debug)]
pub struct Wifi {
    before: BTreeMap<String, Look>,
    slow: Due,
}

impl Default for Wifi {
    fn default() -> Self {
        Self { before: BTreeMap::new(), slow: Due::every(Duration::from_secs(3600)) }
    }
}

/// One radio at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Look {
    interface: String,
    /// None while there is no association.
    bssid: Option<String>,
    ssid: Option<String>,
    frequency_mhz: Option<u32>,
    signal_dbm: Option<i32>,
    noise_dbm: Option<i32>,
    /// Counters of the association.
    frames: Option<u64>,
    retries: Option<u64>,
    /// Counters of the channel.
    active_ms: Option<u64>,
    busy_ms: Option<u64>,
}

impl Probe for Wifi {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "wifi",
            interval: Duration::from_secs(60),
            trigger_interval: Some(Duration::from_secs(30)),
            time_limit: Duration::from_secs(10),
            cpu_budget: Duration::from_millis(2),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let slow = self.slow.is_due(context.now);
        let looks =
            if context.root.is_system() { imp::looks(&context.root) } else { captured(&context.root) };
        match looks {
            Ok(looks) => {
                for look in looks.into_iter().take(MAX_INTERFACES) {
                    let before = self.before.remove(&look.interface).unwrap_or_default();
                    report(&before, &look, sink);
                    self.before.insert(look.interface.clone(), look);
                }
            }
            Err(error) if slow => {
                sink.failed(&Component::only(ComponentKind::Wifi), semconv::WIFI_RSSI, &error);
            }
            Err(_) => {}
        }
    }
}

/// A captured machine's answer: `nl80211.json`, a list of looks.
fn captured(root: &Root) -> Result<Vec<Look>, ProbeError> {
    let text = root.read_text("/nl80211.json").map_err(|error| match error {
        ProbeError::NotPresent(_) => no_radio(),
        ProbeError::Unsupported(_)
        | ProbeError::NotPermitted(_)
        | ProbeError::TimedOut(_)
        | ProbeError::Malformed(_) => error,
    })?;
    serde_json::from_str(&text).map_err(|error| ProbeError::Malformed(format!("nl80211.json: {error}")))
}

fn no_radio() -> ProbeError {
    ProbeError::NotPresent("this machine has no Wi-Fi interface".to_owned())
}

fn report(before: &Look, now: &Look, sink: &mut Sink) {
    let Ok(component) = Component::new(ComponentKind::Wifi, now.interface.as_str()) else { return };
    let none = Attributes::none;
    match (&before.bssid, &now.bssid) {
        (Some(_), None) => {
            sink.event(&component, semconv::WIFI_DISCONNECTS, none().with(attribute::REASON, "lost"));
        }
        (Some(old), Some(new)) if old != new && before.ssid == now.ssid => {
            sink.event(&component, semconv::WIFI_ROAMS, none());
        }
        (Some(_) | None, Some(_)) | (None, None) => {}
    }
    let Some(bssid) = &now.bssid else { return };
    let signal = now.signal_dbm.filter(|signal| SIGNALS.contains(signal));
    if let Some(signal) = signal {
        sink.sample(&component, semconv::WIFI_RSSI, none(), f64::from(signal));
        if let Some(noise) = now.noise_dbm.filter(|noise| SIGNALS.contains(noise)) {
            sink.sample(&component, semconv::WIFI_SNR, none(), f64::from(signal - noise));
        }
    } else {
        let error = ProbeError::Unsupported("the driver does not measure the signal".to_owned());
        sink.failed(&component, semconv::WIFI_RSSI, &error);
    }
    // Counters begin anew with each association and each channel.
    if before.bssid == now.bssid {
        if let Some(ratio) = retry_ratio(before, now) {
            sink.sample(&component, semconv::WIFI_RETRY_RATIO, none(), ratio);
        }
        if let Some(busy) = channel_busy(before, now) {
            sink.sample(&component, semconv::WIFI_CHANNEL_BUSY, none(), busy);
        }
    }
    let mut document = vec![("bssid", Value::from(bssid.clone()))];
    document.extend(now.ssid.clone().map(|ssid| ("ssid", Value::from(ssid))));
    document.extend(now.frequency_mhz.map(|mhz| ("frequency_mhz", Value::from(f64::from(mhz)))));
    sink.state(&component, "association", Value::map(document));
    sink.facts(&component, Value::map([("bssid", Value::from(bssid.clone()))]));
}

/// The share of frames that were sent more than once.
fn retry_ratio(before: &Look, now: &Look) -> Option<f64> {
    let frames = now.frames?.checked_sub(before.frames?)?;
    let retries = now.retries?.checked_sub(before.retries?)?;
    (frames >= FEWEST_FRAMES).then(|| whole_percents(retries as f64 / (frames + retries) as f64))
}

fn channel_busy(before: &Look, now: &Look) -> Option<f64> {
    let same = before.frequency_mhz == now.frequency_mhz;
    let active = now.active_ms?.checked_sub(before.active_ms?)?;
    let busy = now.busy_ms?.checked_sub(before.busy_ms?)?;
    (same && active > 0 && busy <= active).then(|| whole_percents(busy as f64 / active as f64))
}

/// The last digits are chance, and would make each value another one.
fn whole_percents(share: f64) -> f64 {
    (share * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::{Body, Timestamp};

    fn look(bssid: Option<&str>, frames: u64, retries: u64) -> Look {
        Look {
            interface: "wlan0".to_owned(),
            bssid: bssid.map(str::to_owned),
            ssid: Some("office".to_owned()),
            signal_dbm: Some(-64),
            frames: Some(frames),
            retries: Some(retries),
            ..Look::default()
        }
    }

    fn events(before: &Look, now: &Look) -> Vec<String> {
        let mut sink = Sink::new(Timestamp::from_millis(0));
        report(before, now, &mut sink);
        let name =
            |body: Body| if let Body::Event { name, .. } = body { Some(name.into_owned()) } else { None };
        sink.into_parts().0.into_iter().filter_map(|observation| name(observation.body)).collect()
    }

    #[test]
    fn another_access_point_is_a_roam_and_none_is_a_loss() {
        let (one, two, none) = (look(Some("aa"), 0, 0), look(Some("bb"), 0, 0), look(None, 0, 0));
        assert_eq!(events(&one, &two), [semconv::WIFI_ROAMS]);
        assert_eq!(events(&one, &none), [semconv::WIFI_DISCONNECTS]);
        assert!(events(&none, &one).is_empty() && events(&Look::default(), &one).is_empty());
        let elsewhere = Look { ssid: Some("home".to_owned()), ..two };
        assert!(events(&one, &elsewhere).is_empty());
    }

    #[test]
    fn retries_are_judged_over_enough_frames_and_never_backwards() {
        let old = look(Some("aa"), 1000, 100);
        assert_eq!(retry_ratio(&old, &look(Some("aa"), 1300, 200)), Some(0.25));
        assert_eq!(retry_ratio(&old, &look(Some("aa"), 1050, 150)), None);
        assert_eq!(retry_ratio(&old, &look(Some("aa"), 10, 1)), None);
    }
}
