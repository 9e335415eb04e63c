//! Windows itself: what it is, how long it runs, whether it needs a restart, its services, and what its event log says of
//! restarts, services and programs.

use crate::on_windows::event::{self, Event, Meaning};
use crate::on_windows::{Class, Half, Machine, Row, Since};
use crate::{Context, Due, ProbeError, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp, UnavailableReason, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SYSTEM: Class = Class::of_cimv2(
    "Win32_OperatingSystem",
    &["Caption", "Version", "BuildNumber", "OSArchitecture", "CSName"],
);
const COMPUTER: Class = Class::of_cimv2("Win32_ComputerSystem", &["Manufacturer", "Model"]);
const FIRMWARE: Class = Class::of_cimv2("Win32_BIOS", &["SerialNumber", "SMBIOSBIOSVersion"]);
const SERVICES: Class = Class {
    namespace: "cimv2",
    name: "Win32_Service",
    properties: &["Name", "DisplayName", "State", "StartMode", "ExitCode", "DelayedAutoStart"],
    condition: Some("StartMode = 'Auto'"),
};
const UPDATES: Class = Class::of_cimv2("Win32_QuickFixEngineering", &["HotFixID", "InstalledOn"]);
const UPDATE_KEY: &str =
    r"SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired";
const SERVICING_KEY: &str =
    r"SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending";

/// Services that begin late have until then.
const DELAYED_START: Duration = Duration::from_secs(600);
/// A service that is told to start when something happens ends with this when nothing did, or never ran.
const NEVER_STARTED: u64 = 1077;
const MAX_FOLLOWED: usize = 100;
/// The file in the agent's folder that holds how far the event log was read.
const READ_UP_TO: &str = "event-records";

/// Everything about the system.
#[derive(Debug)]
pub struct Source {
    inventory: Due,
    updates: Due,
    /// Services that failed once: they are reported for as long as they exist, so that their recovery is seen.
    followed: BTreeSet<String>,
    /// How often services ended unexpectedly, by the name that is shown.
    crashes: BTreeMap<String, u64>,
    /// The last record that was read of each channel.
    records: BTreeMap<String, u64>,
    records_read: bool,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            inventory: Due::every(Duration::from_secs(3600)),
            updates: Due::every(Duration::from_secs(6 * 3600)),
            followed: BTreeSet::new(),
            crashes: BTreeMap::new(),
            records: BTreeMap::new(),
            records_read: false,
        }
    }
}

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        if !context.steady {
            return;
        }
        let os = Component::only(ComponentKind::Os);
        let uptime = machine.uptime();
        match &uptime {
            Ok(uptime) => sink.sample(&os, semconv::UPTIME, Attributes::none(), uptime.as_secs_f64()),
            Err(error) => sink.failed(&os, semconv::UPTIME, error),
        }
        if self.inventory.is_due(context.now) {
            inventory(machine, &os, sink);
        }
        restart_needed(machine, &os, sink);
        if self.updates.is_due(context.now) {
            last_patched(machine, &os, context.now, sink);
            let why = "what Windows Update would offer is not asked";
            sink.unavailable(&os, semconv::OS_UPDATES_PENDING, UnavailableReason::Unsupported, why);
        }
        let uptime = uptime.unwrap_or(DELAYED_START);
        self.log(machine, context, uptime, &os, sink);
        if let Err(error) = self.services(machine, context, uptime, sink) {
            sink.failed(&os, semconv::SERVICE_STATE, &error);
        }
    }
}

impl Source {
    fn services(
        &mut self,
        machine: &dyn Machine,
        context: &Context,
        uptime: Duration,
        sink: &mut Sink,
    ) -> Result<(), ProbeError> {
        let rows = machine.rows(&SERVICES)?;
        let watched = |name: &str| {
            context.policy.watched_services.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
                || WATCHED.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        for row in &rows {
            let (Some(name), Some(state)) = (row.text("Name"), row.text("State")) else { continue };
            let has_failed = has_failed(row, state, uptime);
            if has_failed && self.followed.len() < MAX_FOLLOWED {
                self.followed.insert(name.to_owned());
            }
            if !self.followed.contains(name) && !watched(name) {
                continue;
            }
            let Ok(component) = Component::new(ComponentKind::Service, name) else { continue };
            let named = || Attributes::none().with(attribute::NAME, name);
            // The words of the Linux half.
            let word = match state {
                "Running" => "active",
                "Start Pending" | "Continue Pending" => "activating",
                "Stop Pending" | "Pause Pending" => "deactivating",
                _ if has_failed => "failed",
                _ => "inactive",
            };
            sink.sample(&component, semconv::SERVICE_STATE, named().with(attribute::STATE, word), 1.0);
            let shown = row.text("DisplayName").unwrap_or(name);
            if let Some(count) = self.crashes.get(shown) {
                sink.sample(&component, semconv::SERVICE_RESTARTS, named(), *count as f64);
            }
            let mut document = vec![("active_state", Value::from(word)), ("sub_state", Value::from(state))];
            document.push(("display_name", Value::from(shown)));
            document.extend(row.number("ExitCode").map(|code| ("exit_status", Value::from(code))));
            sink.state(&component, "service", Value::map(document));
        }
        Ok(())
    }

    fn log(
        &mut self,
        machine: &dyn Machine,
        context: &Context,
        uptime: Duration,
        os: &Component,
        sink: &mut Sink,
    ) {
        let file = context.state_dir.as_ref().map(|folder| folder.join(READ_UP_TO));
        if !std::mem::replace(&mut self.records_read, true) {
            let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
            let pairs = text.lines().filter_map(|line| line.split_once(' '));
            self.records = pairs.filter_map(|(name, at)| Some((name.to_owned(), at.parse().ok()?))).collect();
        }
        let before = self.records.clone();
        for (channel, ids, what) in [
            ("System", event::SYSTEM_IDS, semconv::OS_KERNEL_WARNING),
            ("Application", event::APPLICATION_IDS, semconv::APP_CRASHES),
        ] {
            // What happened before this start was told before it; the restart itself is written after it.
            let since = match self.records.get(channel) {
                Some(record) => Since::Record(*record),
                None => Since::Ago(uptime),
            };
            match machine.events(channel, ids, since) {
                Ok(events) => {
                    for event in events.iter().filter_map(|xml| Event::parse(xml).ok()) {
                        let last = self.records.entry(channel.to_owned()).or_default();
                        *last = event.record.max(*last);
                        self.report(&event, os, sink);
                    }
                }
                Err(error) => sink.failed(os, what, &error),
            }
        }
        if let Some(file) = file.filter(|_| self.records != before) {
            let lines: Vec<String> = self.records.iter().map(|(name, at)| format!("{name} {at}")).collect();
            if let Err(error) = std::fs::write(&file, lines.join("\n")) {
                tracing::warn!(path = %file.display(), %error, "how far the event log was read cannot be remembered");
            }
        }
    }

    fn report(&mut self, event: &Event, os: &Component, sink: &mut Sink) {
        let program = |program: &str, metric: &'static str, sink: &mut Sink| {
            if let Ok(component) = Component::new(ComponentKind::Application, program) {
                sink.event(&component, metric, Attributes::none().with(attribute::APP, program));
            }
        };
        match event::meaning(event) {
            Some(Meaning::UnexpectedRestart { cause, line }) => {
                let mut attributes = Attributes::none().with(attribute::CAUSE, cause);
                if let Some(line) = line {
                    attributes = attributes.with(attribute::LINE, line);
                }
                sink.event(os, semconv::OS_UNEXPECTED_RESTART, attributes);
            }
            Some(Meaning::ProgramCrash { program: name }) => program(&name, semconv::APP_CRASHES, sink),
            Some(Meaning::ProgramHang { program: name }) => program(&name, semconv::APP_HANGS, sink),
            Some(Meaning::ServiceCrash { display_name }) if self.crashes.len() < MAX_FOLLOWED => {
                *self.crashes.entry(display_name).or_default() += 1;
            }
            // Drives have a probe of their own that reads the log.
            Some(Meaning::ServiceCrash { .. } | Meaning::DriveError { .. }) | None => {}
        }
    }
}

/// Services whose loss somebody notices at once: printing, names, addresses, Wi-Fi, time, the firewall, the scanner.
const WATCHED: &[&str] =
    &["Spooler", "Dnscache", "Dhcp", "WlanSvc", "W32Time", "mpssvc", "WinDefend", "Netlogon", "EventLog"];

/// A service that Windows starts by itself, does not run, and ended with an error. Windows stops what is not needed
/// without one.
fn has_failed(row: &Row, state: &str, uptime: Duration) -> bool {
    let is_late = row.truth("DelayedAutoStart") == Some(true) && uptime < DELAYED_START;
    let code = row.whole("ExitCode").unwrap_or(0);
    state == "Stopped" && code != 0 && code != NEVER_STARTED && !is_late
}

fn inventory(machine: &dyn Machine, os: &Component, sink: &mut Sink) {
    let first = |class: &Class| machine.rows(class).map(|rows| rows.into_iter().next().unwrap_or_default());
    let system = match first(&SYSTEM) {
        Ok(row) => row,
        Err(error) => return sink.failed(os, "os", &error),
    };
    let (computer, firmware) = (first(&COMPUTER).unwrap_or_default(), first(&FIRMWARE).unwrap_or_default());
    let known = |pairs: Vec<(&'static str, Option<&str>)>| {
        Value::map(pairs.into_iter().filter_map(|(name, text)| Some((name, Value::from(text?)))))
    };
    let meaningful =
        |row: &'static str| move |text: &&str| super::parse::is_meaningful(text) && !row.is_empty();
    let version = system.text("Version");
    let document = known(vec![
        ("name", Some("Windows")),
        ("id", Some("windows")),
        ("version", version),
        ("description", system.text("Caption")),
        ("kernel", version),
        ("architecture", system.text("OSArchitecture")),
        ("hostname", system.text("CSName")),
    ]);
    sink.state(os, "os", document);
    let facts = known(vec![
        ("hostname", system.text("CSName")),
        ("os", Some("windows")),
        ("os_version", version),
        ("manufacturer", computer.text("Manufacturer").filter(meaningful("maker"))),
        ("model", computer.text("Model").filter(meaningful("model"))),
        ("serial", firmware.text("SerialNumber").filter(meaningful("serial"))),
        ("bios_version", firmware.text("SMBIOSBIOSVersion")),
    ]);
    sink.facts(os, facts);
}

/// Files that wait to be renamed are no reason by themselves: installers leave them all the time.
fn restart_needed(machine: &dyn Machine, os: &Component, sink: &mut Sink) {
    for (key, reason) in [(UPDATE_KEY, "windows_update"), (SERVICING_KEY, "component_servicing")] {
        match machine.has_key(key) {
            Ok(is_there) => {
                let attributes = Attributes::none().with(attribute::REASON, reason);
                sink.sample(os, semconv::REBOOT_REQUIRED, attributes, f64::from(u8::from(is_there)));
            }
            Err(error) => return sink.failed(os, semconv::REBOOT_REQUIRED, &error),
        }
    }
}

fn last_patched(machine: &dyn Machine, os: &Component, now: Timestamp, sink: &mut Sink) {
    let last = machine.rows(&UPDATES).and_then(|rows| {
        let days = rows.iter().filter_map(|row| day(row.text("InstalledOn")?)).filter(|day| *day <= now);
        days.max().ok_or_else(|| ProbeError::Unsupported("no update says when it was installed".to_owned()))
    });
    match last {
        Ok(day) => {
            sink.sample(os, semconv::OS_LAST_PATCHED_AGE, Attributes::none(), now.since(day).as_secs_f64());
        }
        Err(error) => sink.failed(os, semconv::OS_LAST_PATCHED_AGE, &error),
    }
}

/// `1/14/2026`: month first on every system, whatever its language.
fn day(text: &str) -> Option<Timestamp> {
    let mut parts = text.splitn(3, '/').map(|part| part.parse::<i64>().ok());
    let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
    Timestamp::from_date(year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_service_that_ended_with_an_error_has_failed() {
        let row = |code: u64, delayed: bool| {
            Row::new(json!({"ExitCode": code, "DelayedAutoStart": delayed})).unwrap_or_default()
        };
        let long = Duration::from_secs(3600);
        assert!(has_failed(&row(1067, false), "Stopped", long));
        assert!(!has_failed(&row(0, false), "Stopped", long), "started when needed");
        assert!(!has_failed(&row(NEVER_STARTED, false), "Stopped", long));
        assert!(!has_failed(&row(1067, false), "Running", long));
        assert!(!has_failed(&row(1067, true), "Stopped", Duration::from_secs(60)), "it starts late");
    }

    #[test]
    fn days_are_read_month_first() {
        assert_eq!(day("1/14/2026"), Timestamp::from_date(2026, 1, 14));
        for bad in ["", "14.01.2026", "13/41/2026", "1/2"] {
            assert_eq!(day(bad), None, "{bad}");
        }
    }
}
