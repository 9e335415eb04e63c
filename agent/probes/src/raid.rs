//! Arrays of drives made by the kernel (`md`): whether one lost a member, and how far its repair is.
//!
//! Read from `/sys/block/md*/md` (the kernel's `admin-guide/md`), which needs no privilege and starts nothing. An
//! array that lost a drive works on, so nobody notices until the second drive fails.

use crate::{Context, Descriptor, Due, Probe, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason, Value};
use std::time::Duration;

/// More arrays and members than this are not read.
const MAX_ARRAYS: usize = 32;
const MAX_MEMBERS: usize = 64;

/// The state of each array.
#[derive(Debug)]
pub struct Raid {
    slow: Due,
}

impl Default for Raid {
    fn default() -> Self {
        Self { slow: Due::every(Duration::from_secs(3600)) }
    }
}

impl Probe for Raid {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "raid",
            interval: Duration::from_secs(60),
            trigger_interval: None,
            time_limit: Duration::from_secs(10),
            cpu_budget: Duration::from_millis(5),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let slow = self.slow.is_due(context.now);
        let all = Component::only(ComponentKind::LogicalDisk);
        if !context.reads_linux() {
            let reason = UnavailableReason::Unsupported;
            return sink.unavailable(
                &all,
                semconv::HW_STATUS,
                reason,
                "not read on this operating system yet",
            );
        }
        let arrays = match context.root.list("/sys/block") {
            Ok(names) => names,
            Err(error) => return sink.failed(&all, semconv::HW_STATUS, &error),
        };
        let mut any = false;
        for name in arrays.iter().filter(|name| name.starts_with("md")).take(MAX_ARRAYS) {
            any |= array(&context.root, name, slow, sink).is_some();
        }
        if !any && slow {
            let error = ProbeError::NotPresent("this machine has no array of drives".to_owned());
            sink.failed(&all, semconv::HW_STATUS, &error);
        }
    }
}

/// The verdict on an array: `array_state` and the number of members that it lacks. `None` for a state that the kernel
/// does not document.
pub fn verdict(array_state: &str, degraded: u64) -> Option<&'static str> {
    match array_state {
        "broken" | "inactive" | "suspended" => Some("failed"),
        "readonly" | "read-auto" | "clean" | "active" | "write-pending" | "active-idle" => {
            Some(if degraded > 0 { "degraded" } else { "ok" })
        }
        _ => None,
    }
}

/// How far a repair is (`sync_completed`: `1024 / 4096`, or `none`), as a share.
pub fn progress(sync_completed: &str) -> Option<f64> {
    let (done, all) = sync_completed.split_once('/')?;
    let (done, all): (u64, u64) = (done.trim().parse().ok()?, all.trim().parse().ok()?);
    (all > 0 && done <= all).then(|| done as f64 / all as f64)
}

/// `None` when it is no array, or an empty container of other arrays.
fn array(root: &Root, name: &str, slow: bool, sink: &mut Sink) -> Option<()> {
    let read = |file: &str| root.read_value(&format!("/sys/block/{name}/md/{file}"));
    let state = read("array_state").filter(|state| state != "clear")?;
    let level = read("level").filter(|level| level != "container")?;
    let component = Component::new(ComponentKind::LogicalDisk, name).ok()?;
    // Arrays without redundancy have no such file: they are whole or broken.
    let degraded = match read("degraded").map(|text| text.parse::<u64>()) {
        None => 0,
        Some(Ok(count)) => count,
        Some(Err(_)) => {
            let detail = format!("/sys/block/{name}/md/degraded holds no number");
            sink.unavailable(&component, semconv::HW_STATUS, UnavailableReason::Malformed, detail);
            return Some(());
        }
    };
    let Some(verdict) = verdict(&state, degraded) else {
        let detail = format!("/sys/block/{name}/md/array_state holds no state that is known");
        sink.unavailable(&component, semconv::HW_STATUS, UnavailableReason::Malformed, detail);
        return Some(());
    };
    let attributes =
        Attributes::none().with(attribute::HW_TYPE, "logical_disk").with(attribute::HW_STATE, verdict);
    sink.sample(&component, semconv::HW_STATUS, attributes, 1.0);
    let action = read("sync_action").unwrap_or_else(|| "idle".to_owned());
    if slow || verdict != "ok" || action != "idle" {
        let mut document = vec![
            ("verdict", Value::from(verdict)),
            ("array_state", Value::from(state)),
            ("level", Value::from(level)),
            ("missing", Value::from(degraded as f64)),
            ("action", Value::from(action)),
            ("members", Value::map(members(root, name))),
        ];
        document.extend(
            read("raid_disks")
                .and_then(|n| n.parse::<u32>().ok())
                .map(|n| ("drives", Value::from(f64::from(n)))),
        );
        // Whole percents, so that the document is not another one each time.
        let done = read("sync_completed").as_deref().and_then(progress);
        document.extend(done.map(|share| ("progress", Value::from((share * 100.0).floor() / 100.0))));
        sink.state(&component, "array", Value::map(document));
    }
    Some(())
}

fn members(root: &Root, name: &str) -> Vec<(String, Value)> {
    let folder = format!("/sys/block/{name}/md");
    let files = root.list(&folder).unwrap_or_default();
    let members = files.iter().filter_map(|file| file.strip_prefix("dev-")).take(MAX_MEMBERS);
    members
        .filter_map(|member| {
            let state = root.read_value(&format!("{folder}/dev-{member}/state"))?;
            Some((member.to_owned(), Value::from(state)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_that_lacks_a_member_is_degraded_and_one_that_stopped_has_failed() {
        assert_eq!(verdict("clean", 0), Some("ok"));
        assert_eq!(verdict("active-idle", 1), Some("degraded"));
        assert_eq!(verdict("broken", 0), Some("failed"));
        assert_eq!(verdict("inactive", 2), Some("failed"));
        assert_eq!(verdict("\u{fffd}", 0), None);
    }

    #[test]
    fn progress_is_a_share_or_nothing() {
        assert_eq!(progress("1024 / 4096"), Some(0.25));
        for none in ["none", "delayed", "5 / 0", "9 / 4", "/"] {
            assert_eq!(progress(none), None, "{none}");
        }
    }
}
