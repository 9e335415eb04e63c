//! Heat: what the machine's sensors and fans say, and how long the processors were slowed down because of it.
//!
//! Everything is read from files of the kernel, so nothing is started and no drive is woken. Temperatures are whole
//! degrees: a tenth more or less is noise. Their limits hardly ever change and are repeated once an hour.

pub mod hwmon;
mod throttle;

use crate::{Context, Descriptor, Due, Probe, Sink};
use firstline_model::{Component, ComponentKind, UnavailableReason, semconv};
use std::time::Duration;

/// Temperatures, fans and throttling.
#[derive(Debug)]
pub struct Sensor {
    slow: Due,
    turning: hwmon::Turning,
}

/// The file of the agent's folder that names the fans which turned once.
const REMEMBERED: &str = "fans-that-turned";

impl Default for Sensor {
    fn default() -> Self {
        Self { slow: Due::every(Duration::from_secs(3600)), turning: hwmon::Turning::default() }
    }
}

impl Probe for Sensor {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "sensor",
            interval: Duration::from_secs(120),
            trigger_interval: None,
            time_limit: Duration::from_secs(20),
            cpu_budget: Duration::from_millis(10),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let slow = self.slow.is_due(context.now);
        let sensor = Component::only(ComponentKind::Sensor);
        if !context.reads_linux() {
            for what in [semconv::HW_TEMPERATURE, semconv::FAN_SPEED, semconv::CPU_THROTTLED_TIME] {
                let reason = UnavailableReason::Unsupported;
                sink.unavailable(&sensor, what, reason, "not read on this operating system yet");
            }
            return;
        }
        let file = context.state_dir.as_ref().map(|folder| folder.join(REMEMBERED));
        self.turning.recall(file.as_deref());
        hwmon::collect(&context.root, &mut self.turning, slow, sink);
        self.turning.keep(file.as_deref());
        throttle::collect(&context.root, slow, sink);
    }
}
