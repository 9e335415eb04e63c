//! How long processors were slowed down because of heat: `/sys/devices/system/cpu/cpu*/thermal_throttle`, which Intel
//! processors have. The kernel advises to watch the total time, because short throttling is normal.

use crate::{Root, Sink};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason, semconv};

const FOLDER: &str = "/sys/devices/system/cpu";
const FILES: [&str; 2] = ["core_throttle_total_time_ms", "package_throttle_total_time_ms"];
/// More processors than this are not read; those of a package are slowed down together.
const MAX_PROCESSORS: usize = 64;

/// Reports the time of the processor that was slowed down longest, which is what a person feels, and comparable with
/// time on the wall.
pub(super) fn collect(root: &Root, slow: bool, sink: &mut Sink) {
    let cpu = Component::only(ComponentKind::Cpu);
    // Without the first processor's counters there are none, and the others need not be asked.
    let has_counters = root.exists(&format!("{FOLDER}/cpu0/thermal_throttle"));
    let longest = has_counters.then(|| longest(root)).flatten();
    match longest {
        Some(milliseconds) => {
            sink.sample(&cpu, semconv::CPU_THROTTLED_TIME, Attributes::none(), milliseconds as f64 / 1000.0);
        }
        None if slow => sink.unavailable(
            &cpu,
            semconv::CPU_THROTTLED_TIME,
            UnavailableReason::Unsupported,
            "this processor or kernel does not count the time of throttling",
        ),
        None => {}
    }
}

fn longest(root: &Root) -> Option<u64> {
    let names = root.list(FOLDER).ok()?;
    names
        .iter()
        .filter(|name| name.strip_prefix("cpu").is_some_and(|n| n.parse::<u32>().is_ok()))
        .take(MAX_PROCESSORS)
        .flat_map(|name| {
            FILES
                .iter()
                .filter_map(move |file| root.read_number(&format!("{FOLDER}/{name}/thermal_throttle/{file}")))
        })
        .max()
}
