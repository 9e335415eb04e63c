//! The operating system on Linux: `/etc/os-release`, `/proc`, the firmware's tables, systemd, the kernel's log.

use super::services::{self, Unit};
use super::systemd::{Systemd, systemctl};
use super::usb::Ports;
use super::{boot, crash, parse, updates};
use crate::kernel_log::KernelLog;
use crate::kernel_log::classify::{Message, classify};
use crate::{Context, Due, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Value, order};
use std::collections::BTreeSet;
use std::time::Duration;

/// More units than this are not followed, and not more than this watched.
const MAX_UNITS: usize = 100;
/// The file in the agent's folder that names the units that failed once.
const FOLLOWED: &str = "failed-services";

#[derive(Debug)]
pub(super) struct Source {
    log: KernelLog,
    ports: Ports,
    inventory: Due,
    updates: Due,
    /// When services are asked for with a program.
    program: Due,
    /// When the duration of the system's start is asked for, until it is known.
    boot: Due,
    start: boot::Start,
    crash_sought: bool,
    /// Units that failed once: they are reported for as long as they exist, so that their recovery is seen.
    followed: BTreeSet<String>,
    followed_read: bool,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            log: KernelLog::default(),
            ports: Ports::default(),
            inventory: Due::every(Duration::from_secs(3600)),
            updates: Due::every(Duration::from_secs(6 * 3600)),
            program: Due::every(Duration::from_secs(300)),
            boot: Due::every(Duration::from_secs(300)),
            start: boot::Start::default(),
            crash_sought: false,
            followed: BTreeSet::new(),
            followed_read: false,
        }
    }
}

impl Source {
    pub(super) fn collect(&mut self, context: &Context, os: &Component, sink: &mut Sink) {
        let state = context.steady;
        let log = self.kernel_log(&context.root, os, sink);
        if let Some(error) = log.err().filter(|_| state) {
            sink.failed(os, semconv::OS_KERNEL_WARNING, &error);
        }
        if !std::mem::replace(&mut self.crash_sought, true) {
            crash::collect(context, os, sink);
        }
        if state && self.inventory.is_due(context.now) {
            inventory(&context.root, os, sink);
            // Programs that wait for a device for minutes are told as hung tasks of the kernel's log.
            let why = "the desktops of Linux tell nobody that a window does not respond";
            let error = ProbeError::Unsupported(why.to_owned());
            sink.failed(&Component::only(ComponentKind::Application), semconv::APP_HANGS, &error);
        }
        if state {
            self.ports.report(sink);
            uptime(&context.root, os, sink);
            reboot_required(&context.root, os, sink);
            if self.updates.is_due(context.now) {
                updates::collect(context, os, sink);
            }
            // A start that never ends must not cost a process every minute.
            let is_asked = !context.root.is_system() || self.boot.is_due(context.now);
            if is_asked && context.root.exists("/run/systemd/system") {
                let show = ["show", "--no-pager", boot::PROPERTIES];
                boot::collect(&mut self.start, context, os, sink, || systemctl(&context.root, &show).ok());
            }
            if let Err(error) = self.services(context, sink) {
                sink.failed(os, semconv::SERVICE_STATE, &error);
            }
        }
    }

    fn kernel_log(&mut self, root: &Root, os: &Component, sink: &mut Sink) -> Result<(), ProbeError> {
        let ports = &mut self.ports;
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
            Some(Message::UsbDisconnected { port }) => {
                ports.works(&port, sink);
                ports.disconnected(&port, sink);
            }
            Some(Message::UsbConnected { port }) => ports.works(&port, sink),
            Some(Message::UsbFault { port, fault }) => ports.fails(port, fault),
            // Drives, file systems and graphics have probes of their own that read the log.
            Some(
                Message::DiskError { .. }
                | Message::GraphicsFault { .. }
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
        let mut systemd = Systemd::of(&context.root);
        // A program costs more than the rest of this probe: on the running system it is not for every minute.
        let is_costly = matches!(systemd, Systemd::Program(_)) && context.root.is_system();
        if is_costly && !self.program.is_due(context.now) {
            return Ok(());
        }
        let failed = systemd.failed()?;
        let remembered = context.state_dir.as_ref().map(|dir| dir.join(FOLLOWED));
        if !std::mem::replace(&mut self.followed_read, true) {
            let names =
                remembered.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
            let names = names.lines().filter(|name| services::is_unit_name(name)).take(MAX_UNITS);
            self.followed.extend(names.map(str::to_owned));
        }
        let before = self.followed.clone();
        let room = MAX_UNITS.saturating_sub(self.followed.len());
        self.followed.extend(failed.into_iter().take(room));
        let watched = context.policy.watched_services.iter().map(|name| format!("{name}.service"));
        let watched = watched.filter(|name| services::is_unit_name(name)).take(MAX_UNITS);
        let wanted = order::set(self.followed.iter().cloned().chain(watched));
        let wanted: Vec<String> = wanted.into_iter().collect();
        let mut reported = BTreeSet::new();
        for unit in systemd.units(&wanted)? {
            // Several names may lead to one unit. What is not installed has no state worth knowing, unless it was
            // removed after it had failed: then its end is reported once.
            let removed = unit.load_state == "not-found";
            let known = !removed || self.followed.remove(&unit.id);
            if known && reported.insert(unit.id.clone()) {
                report_unit(&unit, sink);
            }
        }
        if let Some(path) = remembered.filter(|_| self.followed != before) {
            let names: Vec<&str> = self.followed.iter().map(String::as_str).collect();
            if let Err(error) = std::fs::write(&path, names.join("\n")) {
                tracing::warn!(path = %path.display(), %error, "services that failed cannot be remembered");
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use std::os::unix::fs::PermissionsExt;

    /// A machine whose systemctl lists `failed` and shows broken.service as `state`.
    fn answer(machine: &std::path::Path, failed: &str, state: &str) {
        std::fs::create_dir_all(machine.join("bin")).unwrap();
        std::fs::create_dir_all(machine.join("run/systemd/system")).unwrap();
        let show = format!("Id=broken.service\nLoadState=loaded\nActiveState={state}\nSubState=x\n");
        let script = format!(
            "#!/bin/sh\ncase \"$1\" in\nlist-units) echo '{failed}' ;;\nshow) case \"$*\" in *broken*) echo '{show}' ;; esac ;;\nesac\n"
        );
        let file = machine.join("bin/systemctl");
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn states(source: &mut Source, context: &Context) -> Vec<String> {
        let mut sink = Sink::new(context.now);
        source.services(context, &mut sink).unwrap();
        let lines = sink.into_parts().0;
        let state = |line: serde_json::Value| Some(line.pointer("/attrs/state")?.as_str()?.to_owned());
        lines.iter().filter_map(|observation| state(json::observation(observation))).collect()
    }

    #[test]
    fn the_recovery_of_a_failed_service_is_seen_even_after_a_restart_of_the_agent() {
        let (machine, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut context = Context::new(Root::at(machine.path()), firstline_model::Timestamp::from_millis(0));
        context.state_dir = Some(folder.path().to_owned());
        let mut source = Source::default();
        answer(machine.path(), r#"[{"unit":"broken.service"}]"#, "failed");
        assert_eq!(states(&mut source, &context), ["failed"]);
        answer(machine.path(), "[]", "active");
        assert_eq!(states(&mut source, &context), ["active"]);
        assert_eq!(states(&mut source, &context), ["active"]);
        assert_eq!(states(&mut Source::default(), &context), ["active"]);
        context.state_dir = None;
        assert_eq!(states(&mut Source::default(), &context), Vec::<String>::new());
    }
}
