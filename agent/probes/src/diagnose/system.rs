//! Tests of one service, of one drive, and of the kernel's log.

use crate::diagnose::{Examined, facts};
use crate::exec::{self, Limits, Program};
use crate::kernel_log::{self, classify::Message, classify::classify};
use crate::os::services::{self, Unit};
use crate::physical_disk::PhysicalDisk;
use crate::{Context, Probe, ProbeError, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Body, ComponentKind, DiagnosticOutcome, Observation, Value, order};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts,\
ExecMainStartTimestamp,ExecMainExitTimestamp";
const SYSTEMCTL: Limits = Limits { time: Duration::from_secs(10), output: 64 << 10 };
/// Kinds of units that a name may end in; anything else gets `.service`.
const UNIT_KINDS: &[&str] = &["service", "socket", "timer", "mount", "path", "target", "device", "swap"];
const SHOWN_LINES: usize = 15;
const MAX_DEVICES: usize = 16;

/// State, exit status and last start of one service.
pub(super) fn service(context: &Context, name: &str) -> Examined {
    let with_kind = name.rsplit_once('.').is_some_and(|(_, kind)| UNIT_KINDS.contains(&kind));
    let unit = if with_kind { name.to_owned() } else { format!("{name}.service") };
    if name.is_empty() || name.starts_with('-') || !services::is_unit_name(&unit) {
        return Examined::could_not_tell("That is not the name of a service.");
    }
    if !context.root.exists("/run/systemd/system") {
        return Examined::could_not_tell("Services of this computer are not run by systemd.");
    }
    let arguments = ["show", "--no-pager", PROPERTIES, "--", &unit];
    match exec::run(&context.root, Program::Systemctl, &arguments, SYSTEMCTL) {
        Ok(finished) => {
            let text = String::from_utf8_lossy(&finished.stdout).into_owned();
            match services::shown(&text).into_iter().next() {
                Some(unit) => judge_unit(&unit, &text),
                None => Examined::could_not_tell(format!("The state of {unit} could not be read.")),
            }
        }
        Err(error) => {
            Examined::could_not_tell(format!("The state of {unit} could not be read ({}).", error.detail()))
        }
    }
}

fn judge_unit(unit: &Unit, text: &str) -> Examined {
    let property = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?.trim();
        (!value.is_empty() && value != "n/a").then(|| Value::from(value))
    };
    let name = unit.name();
    let exit = unit.exit_status.filter(|status| *status != 0);
    let exit = exit.map(|status| format!(", exit status {status}")).unwrap_or_default();
    let (outcome, summary) = match (unit.load_state.as_str(), unit.active_state.as_str()) {
        ("not-found", _) => (DiagnosticOutcome::Problem, format!("The service {name} is not installed.")),
        ("masked", _) => {
            (DiagnosticOutcome::Problem, format!("The service {name} is masked: it cannot start."))
        }
        (_, "active" | "reloading") => (DiagnosticOutcome::Ok, format!("The service {name} runs.")),
        (_, "activating") => {
            (DiagnosticOutcome::Problem, format!("The service {name} does not get past its start."))
        }
        (_, "failed") => {
            let result = &unit.result;
            (DiagnosticOutcome::Problem, format!("The service {name} has failed ({result}{exit})."))
        }
        (_, state) => (DiagnosticOutcome::Problem, format!("The service {name} is {state}{exit}.")),
    };
    let facts = facts([
        ("active_state", Some(Value::from(unit.active_state.as_str()))),
        ("sub_state", Some(Value::from(unit.sub_state.as_str()))),
        ("load_state", Some(Value::from(unit.load_state.as_str()))),
        ("result", Some(Value::from(unit.result.as_str()))),
        ("exit_status", unit.exit_status.map(|status| Value::from(status as f64))),
        ("restarts", unit.restarts.map(|restarts| Value::from(restarts as f64))),
        ("started_at", property("ExecMainStartTimestamp")),
        ("ended_at", property("ExecMainExitTimestamp")),
    ]);
    Examined::new(outcome, summary, facts)
}

/// Health of one drive, read by a fresh run of the probe.
pub(super) fn physical_disk(context: &Context, id: &str) -> Examined {
    let mut sink = Sink::new(context.now);
    PhysicalDisk::default().collect(context, &mut sink);
    let about = |observation: &Observation| {
        observation.component.kind == ComponentKind::PhysicalDisk && observation.component.id() == id
    };
    let observations: Vec<Observation> = sink.into_parts().0.into_iter().filter(about).collect();
    if observations.is_empty() {
        return Examined::could_not_tell("This computer has no such drive, or its drives could not be read.");
    }
    judge_drive(id, &observations)
}

fn judge_drive(id: &str, observations: &[Observation]) -> Examined {
    let (mut status, mut temperature, mut endurance, mut document) = (None, None, None, None);
    let (mut smart, mut errors, mut warnings) = (BTreeMap::new(), 0.0, Vec::new());
    let mut unavailable = Vec::new();
    for observation in observations {
        if let Body::Sample { metric, attributes, value } = &observation.body {
            match metric.as_ref() {
                semconv::HW_STATUS if *value == 1.0 => {
                    status = attributes.get(attribute::HW_STATE).map(str::to_owned);
                }
                semconv::HW_TEMPERATURE => temperature = Some(*value),
                semconv::PHYSICAL_DISK_ENDURANCE => endurance = Some(*value),
                semconv::HW_ERRORS => errors += *value,
                semconv::NVME_CRITICAL_WARNING if *value == 1.0 => {
                    warnings.extend(attributes.get(attribute::BIT).map(str::to_owned));
                }
                semconv::PHYSICAL_DISK_SMART => {
                    if let Some(number) = attributes.get(attribute::SMART_ATTRIBUTE) {
                        smart.insert(number.to_owned(), *value);
                    }
                }
                _ => {}
            }
        } else if let Body::State { document: said, .. } = &observation.body {
            document = Some(said.clone());
        } else if let Body::Unavailable { what, detail, .. } = &observation.body {
            unavailable.push(format!("{what}: {detail}"));
        }
    }
    let (outcome, summary) = match status.as_deref() {
        Some("ok") => {
            (DiagnosticOutcome::Ok, format!("Drive {id} calls itself well, which does not prove that it is."))
        }
        Some("failed") => (DiagnosticOutcome::Problem, format!("Drive {id} says that it has failed.")),
        Some("predicted_failure") => {
            (DiagnosticOutcome::Problem, format!("Drive {id} says that it is going to fail."))
        }
        Some(other) => (DiagnosticOutcome::Problem, format!("Drive {id} calls itself {other}.")),
        None => (DiagnosticOutcome::CouldNotTell, format!("Drive {id} does not tell its health.")),
    };
    let smart = smart.into_iter().map(|(number, value)| (number, Value::from(value)));
    let facts = facts([
        ("status", status.map(Value::from)),
        ("temperature_cel", temperature.map(Value::from)),
        ("endurance_left", endurance.map(Value::from)),
        ("errors", Some(Value::from(errors))),
        ("critical_warnings", Some(Value::texts(warnings))),
        ("smart", Some(Value::map(smart))),
        ("unavailable", Some(Value::texts(unavailable))),
        ("drive", document),
    ]);
    Examined::new(outcome, summary, facts)
}

/// Errors of drives and file systems as far back as the kernel's log reaches.
pub(super) fn kernel_log(context: &Context) -> Examined {
    let mut log = Log::default();
    match kernel_log::whole(&context.root, |line| log.take(line)) {
        Ok(()) => log.judge(),
        Err(error @ ProbeError::NotPermitted(_)) => {
            Examined::could_not_tell(format!("The kernel's log may not be read ({}).", error.detail()))
        }
        Err(error) => {
            Examined::could_not_tell(format!("The kernel's log could not be read ({}).", error.detail()))
        }
    }
}

#[derive(Debug, Default)]
struct Log {
    read: usize,
    io_errors: usize,
    stopped: usize,
    /// Drives with errors.
    devices: BTreeSet<String>,
    /// Those whose file system stopped.
    stopped_devices: BTreeSet<String>,
    /// The newest lines that matter.
    lines: std::collections::VecDeque<String>,
}

impl Log {
    fn take(&mut self, line: &str) {
        self.read += 1;
        let (devices, device) = match classify(line) {
            Some(Message::DiskError { device, .. }) => {
                self.io_errors += 1;
                (&mut self.devices, device)
            }
            Some(Message::FilesystemStopped { device }) => {
                self.stopped += 1;
                (&mut self.stopped_devices, device)
            }
            Some(
                Message::OutOfMemory { .. }
                | Message::FilesystemWritable { .. }
                | Message::ApplicationCrash { .. }
                | Message::UsbDisconnected { .. }
                | Message::UsbConnected { .. }
                | Message::UsbFault { .. }
                | Message::GraphicsFault { .. }
                | Message::KernelFault { .. },
            )
            | None => return,
        };
        if devices.len() < MAX_DEVICES {
            devices.insert(device);
        }
        if self.lines.len() == SHOWN_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.chars().filter(|c| !c.is_control()).take(300).collect());
    }

    fn judge(self) -> Examined {
        let list = |devices: &BTreeSet<String>| devices.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut sentences = Vec::new();
        if self.io_errors > 0 {
            let (errors, of) = (self.io_errors, list(&self.devices));
            sentences.push(format!("The kernel's log holds {errors} read or write errors, of {of}."));
        }
        if self.stopped > 0 {
            let on = list(&self.stopped_devices);
            sentences.push(format!("A file system stopped accepting writes, on {on}."));
        }
        let (outcome, summary) = if sentences.is_empty() {
            (DiagnosticOutcome::Ok, "The kernel's log holds no error of a drive or file system.".to_owned())
        } else {
            (DiagnosticOutcome::Problem, sentences.join(" "))
        };
        let devices = order::set(self.devices.union(&self.stopped_devices).cloned());
        let facts = facts([
            ("io_errors", Some(Value::from(self.io_errors as f64))),
            ("filesystems_stopped", Some(Value::from(self.stopped as f64))),
            ("devices", Some(Value::texts(devices))),
            ("lines", Some(Value::texts(self.lines))),
            ("lines_read", Some(Value::from(self.read as f64))),
        ]);
        Examined::new(outcome, summary, facts)
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use firstline_model::Timestamp;
    use std::path::Path;

    fn captured(probe: &str, situation: &str) -> Context {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(probe).join(situation);
        Context::new(Root::at(folder), Timestamp::from_millis(0))
    }

    #[test]
    fn a_service_is_judged_by_what_systemd_says() {
        let unit = |load: &str, active: &str| Unit {
            id: "cups.service".to_owned(),
            load_state: load.to_owned(),
            active_state: active.to_owned(),
            result: "exit-code".to_owned(),
            exit_status: Some(3),
            ..Unit::default()
        };
        for (load, active, outcome, words) in [
            ("loaded", "active", DiagnosticOutcome::Ok, "runs"),
            ("loaded", "failed", DiagnosticOutcome::Problem, "failed (exit-code, exit status 3)"),
            ("loaded", "inactive", DiagnosticOutcome::Problem, "inactive"),
            ("not-found", "inactive", DiagnosticOutcome::Problem, "not installed"),
        ] {
            let examined =
                judge_unit(&unit(load, active), "ExecMainStartTimestamp=Mon 2026-01-05 08:00:00 UTC\n");
            assert_eq!(examined.outcome, outcome);
            assert!(examined.summary.contains(words), "{}", examined.summary);
            assert!(examined.facts.get("started_at").is_some());
        }
    }

    #[test]
    fn names_that_are_no_units_never_reach_systemctl() {
        let context = captured("os", "failed_service_and_crash");
        for name in ["", "-H evil", "--version", "a b", "../x", "a;b", "cups\n", &"x".repeat(300)] {
            let examined = service(&context, name);
            assert_eq!(examined.outcome, DiagnosticOutcome::CouldNotTell, "{name:?}");
            assert!(examined.summary.contains("not the name"), "{name:?}: {}", examined.summary);
        }
    }

    #[test]
    fn a_failing_drive_is_read_again() {
        let context = captured("physical_disk", "failing_hdd");
        let examined = physical_disk(&context, "WL1A2B3C");
        assert_eq!(examined.outcome, DiagnosticOutcome::Problem, "{}", examined.summary);
        assert_eq!(examined.facts.get("status").and_then(Value::as_text), Some("predicted_failure"));
        assert_eq!(physical_disk(&context, "nothing").outcome, DiagnosticOutcome::CouldNotTell);
    }

    #[test]
    fn errors_of_drives_in_the_log_are_counted_and_the_newest_lines_kept() {
        let mut log = Log::default();
        log.take("usb 1-1: new device");
        assert_eq!(std::mem::take(&mut log).judge().outcome, DiagnosticOutcome::Ok);
        for n in 0..40 {
            log.take(&format!(
                "I/O error, dev sda, sector {n} op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"
            ));
        }
        let examined = log.judge();
        assert_eq!(examined.outcome, DiagnosticOutcome::Problem);
        assert_eq!(examined.facts.get("io_errors").and_then(Value::as_number), Some(40.0));
        let Some(Value::List(lines)) = examined.facts.get("lines") else { panic!() };
        assert_eq!(lines.len(), SHOWN_LINES);
        assert!(lines[SHOWN_LINES - 1].as_text().unwrap().contains("sector 39"));
    }

    #[test]
    fn a_file_system_that_stopped_is_not_called_a_read_error() {
        let mut log = Log::default();
        log.take("EXT4-fs (loop0): Remounting filesystem read-only");
        let examined = log.judge();
        assert_eq!(examined.outcome, DiagnosticOutcome::Problem);
        assert_eq!(examined.summary, "A file system stopped accepting writes, on loop0.");
    }
}
