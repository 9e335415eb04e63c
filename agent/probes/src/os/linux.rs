//! The operating system on Linux: `/etc/os-release`, `/proc`, the firmware's tables, systemd, the kernel's log.

use super::services::{self, Unit};
use super::{crash, parse};
use crate::exec::{self, Limits, Program};
use crate::kernel_log::KernelLog;
use crate::kernel_log::classify::{Message, classify};
use crate::{Context, Due, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Value};
use std::collections::BTreeSet;
use std::time::Duration;

/// More units than this are not asked for by one run.
const MAX_UNITS: usize = 100;
const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts";

#[derive(Debug)]
pub(super) struct Source {
    log: KernelLog,
    state: Due,
    inventory: Due,
    crash_sought: bool,
    failed_before: BTreeSet<String>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            log: KernelLog::default(),
            state: Due::every(Duration::from_secs(55)),
            inventory: Due::every(Duration::from_secs(3600)),
            crash_sought: false,
            failed_before: BTreeSet::new(),
        }
    }
}

impl Source {
    pub(super) fn collect(&mut self, context: &Context, os: &Component, sink: &mut Sink) {
        let state = self.state.is_due(context.now);
        let log = self.kernel_log(&context.root, os, sink);
        if let Some(error) = log.err().filter(|_| state) {
            sink.failed(os, semconv::OS_KERNEL_WARNING, &error);
        }
        if !std::mem::replace(&mut self.crash_sought, true) {
            crash::collect(context, os, sink);
        }
        if self.inventory.is_due(context.now) {
            inventory(&context.root, os, sink);
        }
        if state {
            uptime(&context.root, os, sink);
            reboot_required(&context.root, os, sink);
            if let Err(error) = self.services(context, sink) {
                sink.failed(os, semconv::SERVICE_STATE, &error);
            }
        }
    }

    fn kernel_log(&mut self, root: &Root, os: &Component, sink: &mut Sink) -> Result<(), ProbeError> {
        self.log.read(root, |line| match classify(line) {
            Some(Message::OutOfMemory { pid, process, in_group }) => {
                let memory = Component::only(ComponentKind::Memory);
                let killed = [
                    ("process", Value::from(process)),
                    ("pid", Value::from(f64::from(pid))),
                    ("limit_of_group", Value::from(in_group)),
                ];
                sink.state(&memory, "oom", Value::map(killed));
            }
            Some(Message::ApplicationCrash { application }) => {
                if let Ok(component) = Component::new(ComponentKind::Application, application.as_str()) {
                    let attributes = Attributes::none().with(attribute::APP, application);
                    sink.event(&component, semconv::APP_CRASHES, attributes);
                }
            }
            Some(Message::KernelFault { kind, line }) => {
                let attributes =
                    Attributes::none().with(attribute::TYPE, kind.as_str()).with(attribute::LINE, line);
                sink.event(os, semconv::OS_KERNEL_WARNING, attributes);
            }
            // Drives and file systems have probes of their own that read the log.
            Some(
                Message::DiskError { .. }
                | Message::FilesystemStopped { .. }
                | Message::FilesystemWritable { .. },
            )
            | None => {}
        })?;
        Ok(())
    }

    fn services(&mut self, context: &Context, sink: &mut Sink) -> Result<(), ProbeError> {
        if !context.root.exists("/run/systemd/system") {
            return Err(ProbeError::Unsupported("systemd does not run this machine's services".to_owned()));
        }
        let list = [
            "list-units",
            "--all",
            "--state=failed",
            "--output=json",
            "--plain",
            "--no-legend",
            "--no-pager",
        ];
        let failed = services::listed(&systemctl(&context.root, &list)?).map_err(ProbeError::Malformed)?;
        let watched = context.policy.watched_services.iter().map(|name| format!("{name}.service"));
        let wanted: BTreeSet<String> = failed
            .iter()
            .cloned()
            .chain(self.failed_before.iter().cloned())
            .chain(watched)
            .filter(|name| services::is_unit_name(name))
            .take(MAX_UNITS)
            .collect();
        let mut show = vec!["show", "--no-pager", PROPERTIES, "--"];
        show.extend(wanted.iter().map(String::as_str));
        let mut reported = BTreeSet::new();
        for unit in services::shown(&systemctl(&context.root, &show)?) {
            // Several names may lead to one unit; what is not installed has no state worth knowing, unless it had
            // failed before it was removed.
            let known = unit.load_state == "loaded" || self.failed_before.contains(&unit.id);
            if known && reported.insert(unit.id.clone()) {
                report_unit(&unit, sink);
            }
        }
        self.failed_before = failed.into_iter().collect();
        Ok(())
    }
}

fn systemctl(root: &Root, arguments: &[&str]) -> Result<String, ProbeError> {
    let limits = Limits { time: Duration::from_secs(10), output: 1 << 20 };
    let finished = exec::run(root, Program::Systemctl, arguments, limits)?;
    if finished.exit_code != Some(0) {
        let code =
            finished.exit_code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
        return Err(ProbeError::Malformed(format!("systemctl {} ended with {code}", arguments[0])));
    }
    Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
}

fn report_unit(unit: &Unit, sink: &mut Sink) {
    let Ok(component) = Component::new(ComponentKind::Service, unit.name()) else { return };
    let named = || Attributes::none().with(attribute::NAME, unit.name());
    sink.sample(
        &component,
        semconv::SERVICE_STATE,
        named().with(attribute::STATE, unit.active_state.as_str()),
        1.0,
    );
    if let Some(restarts) = unit.restarts {
        sink.sample(&component, semconv::SERVICE_RESTARTS, named(), restarts as f64);
    }
    let mut document = vec![
        ("active_state", Value::from(unit.active_state.as_str())),
        ("sub_state", Value::from(unit.sub_state.as_str())),
        ("result", Value::from(unit.result.as_str())),
    ];
    if let Some(status) = unit.exit_status {
        document.push(("exit_status", Value::from(status as f64)));
    }
    sink.state(&component, "service", Value::map(document));
}

fn uptime(root: &Root, os: &Component, sink: &mut Sink) {
    let read = root.read_text("/proc/uptime").and_then(|text| {
        parse::uptime(&text)
            .ok_or_else(|| ProbeError::Malformed("/proc/uptime has no number of seconds".to_owned()))
    });
    match read {
        Ok(seconds) => sink.sample(os, semconv::UPTIME, Attributes::none(), seconds),
        Err(error) => sink.failed(os, semconv::UPTIME, &error),
    }
}

/// Debian and its descendants leave a file when packages need a restart; others are not read yet.
fn reboot_required(root: &Root, os: &Component, sink: &mut Sink) {
    if !root.exists("/var/lib/dpkg/status") {
        let error = ProbeError::Unsupported("this distribution leaves no sign that is read yet".to_owned());
        return sink.failed(os, semconv::REBOOT_REQUIRED, &error);
    }
    let required = root.exists("/run/reboot-required") || root.exists("/var/run/reboot-required");
    let attributes = Attributes::none().with(attribute::REASON, "packages");
    sink.sample(os, semconv::REBOOT_REQUIRED, attributes, if required { 1.0 } else { 0.0 });
}

fn inventory(root: &Root, os: &Component, sink: &mut Sink) {
    let release = root.read_text("/etc/os-release").or_else(|_| root.read_text("/usr/lib/os-release"));
    let release = match &release {
        Ok(text) => parse::os_release(text),
        Err(error) => {
            sink.failed(os, "os", error);
            Default::default()
        }
    };
    let from_release = |key: &str| release.get(key).cloned();
    let kernel = |name: &str| root.read_value(&format!("/proc/sys/kernel/{name}"));
    let firmware = |name: &str| {
        root.read_value(&format!("/sys/class/dmi/id/{name}")).filter(|text| parse::is_meaningful(text))
    };
    let version = from_release("PRETTY_NAME").or_else(|| from_release("VERSION_ID"));
    let architecture = kernel("arch").or_else(|| root.is_system().then(|| std::env::consts::ARCH.to_owned()));
    let document = [
        ("name", from_release("NAME")),
        ("id", from_release("ID")),
        ("version", from_release("VERSION_ID")),
        ("description", from_release("PRETTY_NAME")),
        ("kernel", kernel("osrelease")),
        ("architecture", architecture),
        ("hostname", kernel("hostname")),
    ];
    sink.state(os, "os", known(document));
    let facts = [
        ("hostname", kernel("hostname")),
        ("os", Some("linux".to_owned())),
        ("os_version", version),
        ("manufacturer", firmware("sys_vendor")),
        ("model", firmware("product_name")),
        ("serial", firmware("product_serial")),
        ("bios_version", firmware("bios_version")),
    ];
    sink.facts(os, known(facts));
}

/// A document of what is known; an empty text is not.
fn known<const N: usize>(entries: [(&'static str, Option<String>); N]) -> Value {
    let known = |value: Option<String>| value.filter(|text| !text.trim().is_empty()).map(Value::from);
    Value::map(entries.into_iter().filter_map(|(name, value)| Some((name, known(value)?))))
}
