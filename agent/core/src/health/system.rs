//! The operating system: restarts and updates that are due, services, crashes, its start, its clock.

use super::view::{View, line};
use super::wording::{count, counted, duration, id, shown};
use super::{Domain, Level, Line};
use firstline_model::semconv::{self, attribute};
use std::collections::BTreeMap;

const DOMAIN: Domain = Domain::System;
const DAY: f64 = 86_400.0;

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines = updates(view);
    lines.extend(services(view));
    lines.extend(crashes(view));
    lines.extend(start_and_clock(view));
    lines
}

fn updates(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for reboot in view.samples(semconv::REBOOT_REQUIRED).iter().filter(|sample| sample.value > 0.0) {
        let up = view.value_of(reboot.component, semconv::UPTIME);
        let up =
            up.map(|seconds| format!("; the last restart was {} ago", duration(seconds))).unwrap_or_default();
        let text = format!("Updates wait for a restart{up}.");
        let advice = "Restart the computer when it suits you.";
        lines.push(reboot.line(Level::Warning, DOMAIN, "os.pending_reboot", text, advice));
    }
    let age = view.samples(semconv::OS_LAST_PATCHED_AGE).first().map(|sample| sample.value);
    for pending in view.samples(semconv::OS_UPDATES_PENDING).iter().filter(|sample| sample.value > 0.0) {
        let is_security = pending.is(attribute::SECURITY, "true");
        let number = counted(pending.value, if is_security { "security update" } else { "update" });
        let verb = if pending.value == 1.0 { "waits" } else { "wait" };
        let last = age
            .map(|age| format!("; the last ones were installed {} ago", duration(age)))
            .unwrap_or_default();
        let level =
            if is_security && age.is_some_and(|age| age > 14.0 * DAY) { Level::Warning } else { Level::Note };
        let text = format!("{number} {verb} to be installed{last}.");
        lines.push(pending.line(level, DOMAIN, "os.updates_pending", text, "Install the updates."));
    }
    lines
}

fn services(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for service in view.samples(semconv::SERVICE_STATE) {
        if service.is(attribute::STATE, "failed") && service.value > 0.0 {
            let name = id(service.component);
            let is_spooler = name == "cups";
            let text = if is_spooler {
                "The print service (cups) has stopped and did not restart: nothing prints.".to_owned()
            } else {
                format!("The service {name} has stopped and did not restart.")
            };
            let advice = "Restart the computer; if it happens again, call the helpdesk.";
            let check = if is_spooler { "prn.spooler" } else { "svc.failed" };
            lines.push(service.line(Level::Warning, DOMAIN, check, text, advice));
        }
    }
    for restarts in view.samples(semconv::SERVICE_RESTARTS).iter().filter(|sample| sample.value >= 3.0) {
        let text = format!(
            "The service {} had to be restarted {} times since this machine started.",
            id(restarts.component),
            count(restarts.value)
        );
        lines.push(restarts.line(Level::Note, DOMAIN, "svc.flapping", text, ""));
    }
    lines
}

fn crashes(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (component, attributes) in view.events(semconv::OS_UNEXPECTED_RESTART) {
        let cause = attributes.get(attribute::CAUSE).unwrap_or("unknown");
        let said =
            attributes.get(attribute::LINE).map(|line| format!(": {}", shown(line))).unwrap_or_default();
        let text = if cause == "panic" {
            format!("The system crashed before its last start{said}.")
        } else {
            format!(
                "The system stopped without being shut down before its last start (cause: {}){said}.",
                shown(cause)
            )
        };
        let advice = "If nobody switched it off and it happens again, call the helpdesk.";
        lines.push(line(Level::Warning, DOMAIN, "os.crash", component, text, advice));
    }
    let mut faults = BTreeMap::new();
    for (component, attributes) in view.events(semconv::OS_KERNEL_WARNING) {
        let kind = attributes.get(attribute::TYPE).unwrap_or("fault");
        faults.entry(kind).or_insert((component, 0.0)).1 += 1.0;
    }
    for (kind, (component, number)) in faults {
        let (level, what) = match kind {
            "hung_task" if number < 3.0 => (Level::Note, "a task stood still for minutes".to_owned()),
            "hung_task" => (Level::Warning, "tasks stood still for minutes".to_owned()),
            "lockup" => (Level::Warning, "a processor stood still".to_owned()),
            "bug" | "oops" => (Level::Warning, "a fault in itself".to_owned()),
            other => (Level::Warning, shown(other)),
        };
        let often = if number == 1.0 { "once".to_owned() } else { format!("{} times", count(number)) };
        let text = format!("The kernel reports since its start: {what} ({often}).");
        let advice = "If programs or the machine stand still, restart it and call the helpdesk.";
        lines.push(line(level, DOMAIN, "os.hung_task", component, text, advice));
    }
    lines
}

fn start_and_clock(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for boot in view.samples(semconv::BOOT_DURATION).iter().filter(|sample| sample.value > 120.0) {
        let text = format!("The last start of the system took {}.", duration(boot.value));
        lines.push(boot.line(
            Level::Note,
            DOMAIN,
            "boot.slow",
            text,
            "See which programs start with the system.",
        ));
    }
    for sign_in in view.samples(semconv::LOGIN_DURATION).iter().filter(|sample| sample.value > 60.0) {
        let text = format!("The sign-in of {} took {}.", id(sign_in.component), duration(sign_in.value));
        let advice =
            "See which programs start with the desktop; if a network drive waits, call the helpdesk.";
        lines.push(sign_in.line(Level::Note, DOMAIN, "login.slow", text, advice));
    }
    // A clock needs a while after the start until it is steered.
    const SETTLING: f64 = 17.0 * 60.0;
    for clock in view.samples(semconv::TIME_SYNCHRONIZED).iter().filter(|sample| sample.value == 0.0) {
        let up = view.value_of(clock.component, semconv::UPTIME);
        if up.is_some_and(|up| up < SETTLING) {
            continue;
        }
        let text = "The clock is not synchronised with a time server, so it drifts.".to_owned();
        let advice = "Switch automatic time on; sign-in and certificates fail when the clock is minutes off.";
        lines.push(clock.line(Level::Warning, DOMAIN, "time.offset", text, advice));
    }
    lines
}
