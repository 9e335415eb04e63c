//! macOS itself: what it is, since when it runs, and the reports that it writes of crashes, hangs and panics.

use crate::on_macos::{Half, Machine, Question, section};
use crate::{Context, Due, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp, UnavailableReason, Value};
use std::collections::BTreeSet;
use std::time::Duration;

const REPORTS: &str = "/Library/Logs/DiagnosticReports";
/// The file in the agent's folder that names the reports that were told.
const REMEMBERED: &str = "diagnostic-reports";
/// More new reports than this at once are not told one by one.
const MAX_NEW: usize = 50;

/// Everything about the system.
#[derive(Debug)]
pub struct Source {
    inventory: Due,
    /// The names of the reports that are known; `None` before the first look.
    known: Option<BTreeSet<String>>,
}

impl Default for Source {
    fn default() -> Self {
        Self { inventory: Due::every(Duration::from_secs(3600)), known: None }
    }
}

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        let os = Component::only(ComponentKind::Os);
        let uptime = machine.answer(Question::Sysctl).and_then(|text| {
            let began = began(&text).filter(|began| *began <= context.now);
            began.ok_or_else(|| ProbeError::Malformed("kern.boottime is no time in the past".to_owned()))
        });
        match uptime {
            Ok(began) => {
                let seconds = context.now.since(began).as_secs_f64();
                sink.sample(&os, semconv::UPTIME, Attributes::none(), seconds);
            }
            Err(error) => sink.failed(&os, semconv::UPTIME, &error),
        }
        if self.inventory.is_due(context.now) {
            inventory(machine, &os, sink);
            for (what, why) in [
                (semconv::REBOOT_REQUIRED, "macOS leaves no sign that a restart is due"),
                (semconv::OS_UPDATES_PENDING, "asking for updates would ask Apple's servers"),
                (semconv::SERVICE_STATE, "the services of macOS are not read yet"),
            ] {
                sink.unavailable(&os, what, UnavailableReason::Unsupported, why);
            }
        }
        self.reports(machine.root(), context, &os, sink);
    }
}

impl Source {
    fn reports(&mut self, root: &Root, context: &Context, os: &Component, sink: &mut Sink) {
        let names = match root.list(REPORTS) {
            Ok(names) => names,
            Err(ProbeError::NotPresent(_)) => Vec::new(),
            Err(error) => return sink.failed(os, semconv::APP_CRASHES, &error),
        };
        let file = context.state_dir.as_ref().map(|folder| folder.join(REMEMBERED));
        if self.known.is_none() {
            let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
            self.known = text.map(|text| text.lines().map(str::to_owned).collect());
        }
        let now: BTreeSet<String> = names.into_iter().filter(|name| is_report(name)).collect();
        // At the very first look, what lies there is history.
        let known = self.known.get_or_insert_with(|| now.clone());
        for name in now.difference(known).take(MAX_NEW) {
            if let Ok(text) = root.read_text(&format!("{REPORTS}/{name}"))
                && let Some(report) = Report::parse(&text)
            {
                tell(&report, os, sink);
            }
        }
        if *known != now {
            *known = now;
            let text: Vec<&str> = known.iter().map(String::as_str).collect();
            if let Some(file) = file
                && let Err(error) = std::fs::write(&file, text.join("\n"))
            {
                tracing::warn!(path = %file.display(), %error, "reports that were told cannot be remembered");
            }
        }
    }
}

fn is_report(name: &str) -> bool {
    [".ips", ".diag", ".panic", ".hang", ".spin"].iter().any(|suffix| name.ends_with(suffix))
}

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// A program ended unexpectedly.
    Crash,
    /// A program stopped responding.
    Hang,
    /// The kernel gave up.
    Panic,
    /// The kernel ended programs for lack of memory.
    OutOfMemory,
}

/// A report, as far as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it is about.
    pub kind: ReportKind,
    /// The program's name; of a panic, its first line.
    pub subject: String,
}

impl Report {
    /// Reads the first line of an `.ips` file (JSON), or the lines `Event:` and `Command:` of a `.diag` file.
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.lines().next()?;
        if let Ok(header) = serde_json::from_str::<serde_json::Value>(first) {
            let field = |name: &str| header.get(name).and_then(serde_json::Value::as_str);
            let kind = match field("bug_type")? {
                "109" | "309" | "385" => ReportKind::Crash,
                "210" => ReportKind::Panic,
                "288" => ReportKind::Hang,
                "298" => ReportKind::OutOfMemory,
                _ => return None,
            };
            let subject = match kind {
                ReportKind::Panic => panic_line(text).unwrap_or_else(|| "kernel panic".to_owned()),
                ReportKind::OutOfMemory => "memory".to_owned(),
                ReportKind::Crash | ReportKind::Hang => {
                    field("app_name").or_else(|| field("name")).map(short).filter(|name| !name.is_empty())?
                }
            };
            return Some(Self { kind, subject });
        }
        let line = |name: &str| {
            let found = text.lines().take(100).find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.map(str::trim).filter(|value| !value.is_empty())
        };
        (line("Event")? == "hang").then_some(())?;
        Some(Self { kind: ReportKind::Hang, subject: short(line("Command")?) })
    }
}

fn panic_line(text: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(text.split_once('\n')?.1).ok()?;
    body.get("panicString")?.as_str()?.lines().next().map(short)
}

fn short(text: &str) -> String {
    text[..text.floor_char_boundary(200)].trim().to_owned()
}

fn tell(report: &Report, os: &Component, sink: &mut Sink) {
    let subject = report.subject.as_str();
    match report.kind {
        ReportKind::Panic => {
            let attributes =
                Attributes::none().with(attribute::CAUSE, "panic").with(attribute::LINE, subject);
            sink.event(os, semconv::OS_UNEXPECTED_RESTART, attributes);
        }
        ReportKind::OutOfMemory => {
            let memory = Component::only(ComponentKind::Memory);
            let document =
                Value::map([("process", Value::from("several")), ("limit_of_group", Value::from(false))]);
            sink.state(&memory, "oom", document);
        }
        ReportKind::Crash | ReportKind::Hang => {
            let metric =
                if report.kind == ReportKind::Crash { semconv::APP_CRASHES } else { semconv::APP_HANGS };
            if let Ok(component) = Component::new(ComponentKind::Application, subject) {
                sink.event(&component, metric, Attributes::none().with(attribute::APP, subject));
            }
        }
    }
}

/// When the system began: `kern.boottime: { sec = 1767000000, usec = 0 } Mon Dec 29 ...`.
pub fn began(sysctl: &str) -> Option<Timestamp> {
    let line = sysctl.lines().find_map(|line| line.strip_prefix("kern.boottime:"))?;
    let seconds: i64 = line.split("sec = ").nth(1)?.split(',').next()?.trim().parse().ok()?;
    Some(Timestamp::from_millis(seconds.checked_mul(1000)?)).filter(|_| seconds > 0)
}

fn inventory(machine: &dyn Machine, os: &Component, sink: &mut Sink) {
    let first = |question| section(machine, question).map(|rows| rows.into_iter().next().unwrap_or_default());
    let system = match first(Question::System) {
        Ok(row) => row,
        Err(error) => return sink.failed(os, "os", &error),
    };
    let hardware = first(Question::Hardware).unwrap_or_default();
    let known = |pairs: Vec<(&'static str, Option<&str>)>| {
        Value::map(pairs.into_iter().filter_map(|(name, text)| Some((name, Value::from(text?)))))
    };
    let description = system.text("os_version");
    let hostname = system.text("local_host_name");
    // `macOS 15.1 (24B83)`
    let version = description.and_then(|text| text.split(' ').nth(1));
    sink.state(
        os,
        "os",
        known(vec![
            ("name", Some("macOS")),
            ("id", Some("macos")),
            ("version", version),
            ("description", description),
            ("kernel", system.text("kernel_version")),
            ("hostname", hostname),
        ]),
    );
    sink.facts(
        os,
        known(vec![
            ("hostname", hostname),
            ("os", Some("macos")),
            ("os_version", version),
            ("manufacturer", Some("Apple")),
            ("model", hardware.text("machine_model")),
            ("serial", hardware.text("serial_number")),
            ("bios_version", hardware.text("boot_rom_version")),
        ]),
    );
}
