//! Thin pools of the device mapper: how full their data and their metadata are. File systems on a thin pool show free space
//! that the pool may no longer have, and when it is full, writing fails on all of them at once.
//!
//! Which devices there are is read in `/sys/block`, so a machine without any costs one listing. The state of a pool is
//! asked of the kernel (`DM_TABLE_STATUS`, `linux/dm-ioctl.h`) as `dmsetup status --noflush` does: nothing is started and
//! nothing is written. That needs the administrator's rights. A captured machine has the answers in `DIR/dmsetup/<name>`.

#[cfg(target_os = "linux")]
#[path = "lvm/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "lvm/other.rs"]
mod imp;
pub mod pool;

use crate::{Context, Descriptor, Due, Probe, ProbeError, Root, Sink};
use firstline_model::semconv;
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason, Value};
use pool::{Pool, State, Target};
use std::time::Duration;

/// More devices than this are not asked.
const MAX_DEVICES: usize = 256;

/// How full each pool is.
#[derive(Debug)]
pub struct Lvm {
    slow: Due,
}

impl Default for Lvm {
    fn default() -> Self {
        Self { slow: Due::every(Duration::from_secs(3600)) }
    }
}

impl Probe for Lvm {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "lvm",
            interval: Duration::from_secs(300),
            trigger_interval: None,
            time_limit: Duration::from_secs(10),
            cpu_budget: Duration::from_millis(5),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let slow = self.slow.is_due(context.now);
        let all = Component::only(ComponentKind::LogicalDisk);
        if !context.reads_linux() {
            if slow {
                let reason = UnavailableReason::Unsupported;
                sink.unavailable(&all, semconv::LVM_DATA_UTILIZATION, reason, "only Linux has thin pools");
            }
            return;
        }
        match pools(&context.root, sink) {
            Ok(true) => {}
            Ok(false) if slow => {
                let error = ProbeError::NotPresent("this machine has no thin pool".to_owned());
                sink.failed(&all, semconv::LVM_DATA_UTILIZATION, &error);
            }
            Ok(false) => {}
            // It stays so until the agent gets other rights: once an hour is enough.
            Err(ProbeError::NotPermitted(_)) if !slow => {}
            Err(error) => sink.failed(&all, semconv::LVM_DATA_UTILIZATION, &error),
        }
    }
}

/// Reports every pool; whether there was any.
fn pools(root: &Root, sink: &mut Sink) -> Result<bool, ProbeError> {
    let devices = root.list("/sys/block")?;
    let mut any = false;
    for device in devices.iter().filter(|name| name.starts_with("dm-")).take(MAX_DEVICES) {
        let read = |file: &str| root.read_value(&format!("/sys/block/{device}/dm/{file}"));
        let Some(name) = read("name") else { continue };
        if !pool::may_be_one(&read("uuid").unwrap_or_default()) {
            continue;
        }
        let targets = match status(root, &name) {
            // It was removed meanwhile.
            Err(ProbeError::NotPresent(_)) => continue,
            answered => answered?,
        };
        for target in targets.iter().filter(|target| target.kind == pool::KIND) {
            any = true;
            report(&name, &target.status, sink);
        }
    }
    Ok(any)
}

fn status(root: &Root, name: &str) -> Result<Vec<Target>, ProbeError> {
    if root.is_system() {
        imp::status(name)
    } else {
        Ok(pool::listed(&root.read_text(&format!("/dmsetup/{name}"))?))
    }
}

fn report(name: &str, status: &str, sink: &mut Sink) {
    let Ok(component) = Component::new(ComponentKind::LogicalDisk, pool::readable(name)) else { return };
    let state = match pool::read(status) {
        Some(Pool { data, metadata, state }) => {
            for (metric, share) in
                [(semconv::LVM_DATA_UTILIZATION, data), (semconv::LVM_METADATA_UTILIZATION, metadata)]
            {
                sink.sample(&component, metric, Attributes::none(), share);
            }
            state
        }
        None if pool::has_failed(status) => {
            let why = "the pool has failed, so the kernel does not tell how full it is";
            let reason = UnavailableReason::NotPresent;
            sink.unavailable(&component, semconv::LVM_DATA_UTILIZATION, reason, why);
            State::Failed
        }
        None => {
            let why = format!("the kernel describes the pool as {status:?}, which is not understood");
            let reason = UnavailableReason::Malformed;
            return sink.unavailable(&component, semconv::LVM_DATA_UTILIZATION, reason, why);
        }
    };
    sink.state(&component, "thin_pool", Value::map([("state", Value::from(state.as_str()))]));
}
