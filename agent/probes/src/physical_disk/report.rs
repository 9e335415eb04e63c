//! What a drive says of itself, as observations; the same for every way in which it was asked.

use super::health::Health;
use super::nvme;
use crate::Sink;
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, Value};

/// The numbers of a drive. `rotational` holds where the drive does not say it.
pub(super) fn health(component: &Component, rotational: bool, health: &Health, sink: &mut Sink) {
    if let Some(verdict) = health.verdict {
        let attributes = typed().with(attribute::HW_STATE, verdict.as_str());
        sink.sample(component, semconv::HW_STATUS, attributes, 1.0);
    }
    for (id, raw) in health.counted(health.rotational.unwrap_or(rotational)) {
        let attributes = Attributes::none().with(attribute::SMART_ATTRIBUTE, id.to_string());
        sink.sample(component, semconv::PHYSICAL_DISK_SMART, attributes, raw as f64);
    }
    if let Some(remaining) = health.endurance_remaining {
        let attributes = Attributes::none().with(attribute::STATE, "remaining");
        sink.sample(component, semconv::PHYSICAL_DISK_ENDURANCE, attributes, remaining);
    }
    if let Some(celsius) = health.temperature {
        sink.sample(component, semconv::HW_TEMPERATURE, typed(), celsius);
    }
    let Some(log) = &health.nvme else { return };
    for bit in 0..nvme::WARNING_BITS {
        let attributes = Attributes::none().with(attribute::BIT, bit.to_string());
        let set = log.critical_warning >> bit & 1;
        sink.sample(component, semconv::NVME_CRITICAL_WARNING, attributes, f64::from(set));
    }
    let percent = |percent: u8| f64::from(percent) / 100.0;
    sink.sample(component, semconv::NVME_AVAILABLE_SPARE, Attributes::none(), percent(log.available_spare));
    let threshold = percent(log.available_spare_threshold);
    sink.sample(component, semconv::NVME_AVAILABLE_SPARE_THRESHOLD, Attributes::none(), threshold);
    sink.sample(
        component,
        semconv::HW_ERRORS,
        typed().with(attribute::ERROR_TYPE, "media"),
        log.media_errors,
    );
}

/// What its document says beside its name.
pub(super) fn extend(document: &mut Vec<(&'static str, Value)>, health: &Health) {
    let texts = [("model", &health.model), ("serial", &health.serial), ("firmware", &health.firmware)];
    document.extend(texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text.clone()?)))));
    document.extend(health.verdict.map(|verdict| ("verdict", Value::from(verdict.as_str()))));
    document.extend(health.rotational.map(|rotational| ("rotational", Value::from(rotational))));
    document.extend(health.power_on_hours.map(|hours| ("power_on_hours", Value::from(hours))));
    if let Some(log) = &health.nvme {
        document.push(("percentage_used", Value::from(f64::from(log.percentage_used))));
        document.push(("power_cycles", Value::from(log.power_cycles)));
        document.push(("unsafe_shutdowns", Value::from(log.unsafe_shutdowns)));
    }
    if !health.attributes.is_empty() {
        let rows = health.attributes.iter().map(|row| {
            let values =
                [("value", row.value as f64), ("raw", row.raw as f64)].map(|(k, v)| (k, Value::from(v)));
            let mut values = Vec::from(values);
            if row.failing_now {
                values.push(("failing_now", Value::from(true)));
            }
            (format!("{} {}", row.id, row.name), Value::map(values))
        });
        document.push(("attributes", Value::map(rows)));
    }
}

/// The attribute of all that concerns a drive.
pub(super) fn typed() -> Attributes {
    Attributes::none().with(attribute::HW_TYPE, "physical_disk")
}
