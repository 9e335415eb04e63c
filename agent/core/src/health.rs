//! This machine's health in plain words, for the person who sits at it and has no collector at hand.
//!
//! These are a few fixed levels over one reading, with no memory: what the collector judges over time with its
//! knowledge entries is judged here at a glance. The texts name what is wrong and what to do.

use firstline_model::{Body, ComponentKind, Observation, UnavailableReason, deceptive, semconv};
use std::fmt;

/// How a line of the report is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// In order.
    Healthy,
    /// Could not be seen; neither good nor bad.
    Unknown,
    /// Should be looked at.
    Warning,
    /// Is broken, or will be soon.
    Problem,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it is meant.
    pub level: Level,
    /// The domain: `disk`, `memory`, `network`, `printer`, `system`.
    pub domain: &'static str,
    /// What is the case.
    pub text: String,
    /// What to do about it; empty when nothing is.
    pub advice: String,
}

/// Judges one reading of all probes, worst first.
pub fn assess(observations: &[Observation]) -> Vec<Line> {
    let mut lines: Vec<Line> = observations.iter().filter_map(judge).collect();
    lines.extend(no_network(observations));
    for (domain, text) in [
        ("disk", "Disks and file systems are in order."),
        ("memory", "There is enough memory."),
        ("network", "The network answers."),
        ("printer", "Printers are ready."),
        ("system", "The operating system and its services are in order."),
    ] {
        let has_bad_news = lines.iter().any(|line| line.domain == domain && line.level > Level::Unknown);
        let was_seen = observations.iter().any(|o| domain_of(o.component.kind) == domain && is_value(o));
        if has_bad_news || !was_seen {
            continue;
        }
        let is_partly_unknown = lines.iter().any(|line| line.domain == domain)
            || (domain == "system" && !has_sample(observations, semconv::SERVICE_STATE));
        let text = if is_partly_unknown { "What could be seen of it is in order." } else { text };
        lines.push(Line { level: Level::Healthy, domain, text: text.to_owned(), advice: String::new() });
    }
    lines.sort_by(|a, b| b.level.cmp(&a.level).then(a.domain.cmp(b.domain)).then(a.text.cmp(&b.text)));
    lines.dedup();
    lines
}

/// A machine whose interfaces were seen but that knows no router has no network, however healthy its parts are.
fn no_network(observations: &[Observation]) -> Option<Line> {
    let has_interfaces = has_sample(observations, semconv::NETWORK_UP);
    let has_gateway = observations.iter().any(|o| o.component.kind == ComponentKind::Gateway);
    (has_interfaces && !has_gateway).then(|| Line {
        level: Level::Problem,
        domain: "network",
        text: "This machine has no connection to a network: no router is known.".to_owned(),
        advice: "Check the network cable or the Wi-Fi connection.".to_owned(),
    })
}

fn has_sample(observations: &[Observation], name: &str) -> bool {
    observations.iter().any(|o| matches!(&o.body, Body::Sample { metric, .. } if metric == name))
}

/// The worst level of a report.
pub fn worst(lines: &[Line]) -> Level {
    lines.iter().map(|line| line.level).max().unwrap_or(Level::Unknown)
}

fn is_value(observation: &Observation) -> bool {
    matches!(observation.body, Body::Sample { .. } | Body::State { .. })
}

fn domain_of(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Filesystem | ComponentKind::PhysicalDisk | ComponentKind::LogicalDisk => "disk",
        ComponentKind::Memory => "memory",
        ComponentKind::Network
        | ComponentKind::NetworkInterface
        | ComponentKind::Gateway
        | ComponentKind::DnsServer
        | ComponentKind::Vpn
        | ComponentKind::Wifi
        | ComponentKind::Endpoint => "network",
        ComponentKind::Printer => "printer",
        ComponentKind::Cpu
        | ComponentKind::Os
        | ComponentKind::Battery
        | ComponentKind::Sensor
        | ComponentKind::Fan
        | ComponentKind::Gpu
        | ComponentKind::Service
        | ComponentKind::Application
        | ComponentKind::Process
        | ComponentKind::Security
        | ComponentKind::Device
        | ComponentKind::User
        | ComponentKind::Agent
        | ComponentKind::Site => "system",
    }
}

fn judge(observation: &Observation) -> Option<Line> {
    let domain = domain_of(observation.component.kind);
    let id = shown(observation.component.id());
    let line =
        |level, text: String, advice: &str| Some(Line { level, domain, text, advice: advice.to_owned() });
    match &observation.body {
        Body::Sample { metric, attributes, value } => match metric.as_ref() {
            semconv::FILESYSTEM_UTILIZATION if *value > 0.98 => line(
                Level::Problem,
                format!("The drive {id} is full: {} is used.", percent(*value)),
                "Empty the trash and downloads, or move large files elsewhere.",
            ),
            semconv::FILESYSTEM_UTILIZATION if *value > 0.90 => line(
                Level::Warning,
                format!("The drive {id} is nearly full: {} is used.", percent(*value)),
                "Empty the trash and downloads, or move large files elsewhere.",
            ),
            semconv::FILESYSTEM_INODES_UTILIZATION if *value > 0.90 => line(
                Level::Warning,
                format!(
                    "The drive {id} can hold few more files: {} of its file entries are used.",
                    percent(*value)
                ),
                "Look for a folder with very many small files.",
            ),
            semconv::FILESYSTEM_READONLY_UNEXPECTED if *value > 0.0 => line(
                Level::Problem,
                format!(
                    "The drive {id} has switched to read-only because of errors: nothing can be saved there."
                ),
                "Save open work elsewhere and call the helpdesk.",
            ),
            semconv::MEMORY_UTILIZATION if *value > 0.95 => line(
                Level::Warning,
                format!("Memory is nearly used up: {} is in use.", percent(*value)),
                "Close programs that are not needed.",
            ),
            semconv::PRESSURE_STALL
                if *value > 0.10
                    && attributes.get(semconv::attribute::RESOURCE) == Some("memory")
                    && attributes.get(semconv::attribute::KIND) == Some("full") =>
            {
                line(
                    Level::Warning,
                    format!("Programs wait for memory {} of the time.", percent(*value)),
                    "Close programs that are not needed.",
                )
            }
            semconv::HW_STATUS
                if attributes.get(semconv::attribute::HW_STATE) == Some("predicted_failure") =>
            {
                line(
                    Level::Problem,
                    format!("The disk {id} says that it is about to fail."),
                    "Back up now and have it replaced.",
                )
            }
            semconv::GATEWAY_REACHABLE if *value == 0.0 => line(
                Level::Problem,
                format!("The router {id} does not answer."),
                "Check the network cable or the Wi-Fi connection.",
            ),
            semconv::DNS_LOOKUP_DURATION
                if !matches!(attributes.get(semconv::attribute::RCODE), Some("noerror" | "nxdomain")) =>
            {
                line(
                    Level::Problem,
                    format!("The DNS server {id} does not look names up."),
                    "If web pages do not open either, reconnect the network or call the helpdesk.",
                )
            }
            semconv::PRINTER_STATE if *value == 5.0 => line(
                Level::Warning,
                format!("The printer {id} is stopped."),
                "See what its display says, then resume it in the print settings.",
            ),
            semconv::PRINTER_REACHABLE if *value == 0.0 => line(
                Level::Warning,
                format!("The printer {id} does not answer."),
                "Check that it is switched on and connected.",
            ),
            semconv::PRINTER_STATE_REASON
                if *value > 0.0
                    && matches!(attributes.get(semconv::attribute::SEVERITY), Some("error" | "warning"))
                    && attributes.get(semconv::attribute::KEYWORD) != Some("none") =>
            {
                let keyword = shown(attributes.get(semconv::attribute::KEYWORD).unwrap_or("a fault"));
                line(
                    Level::Warning,
                    format!("The printer {id} reports {}.", keyword.replace('-', " ")),
                    "See what its display says.",
                )
            }
            semconv::SERVICE_STATE if attributes.get(semconv::attribute::STATE) == Some("failed") => line(
                Level::Warning,
                format!("The service {id} has stopped and did not restart."),
                "Restart the computer; if it happens again, call the helpdesk.",
            ),
            semconv::REBOOT_REQUIRED if *value > 0.0 => line(
                Level::Warning,
                "Updates wait for a restart.".to_owned(),
                "Restart the computer when it suits you.",
            ),
            _ => None,
        },
        Body::Unavailable { what, reason: UnavailableReason::NotPermitted, detail } => line(
            Level::Unknown,
            format!(
                "{what} of {} cannot be seen: {}.",
                shown(&observation.component.to_string()),
                shown(detail)
            ),
            "Run this command as administrator to see it.",
        ),
        Body::Unavailable {
            what,
            reason: reason @ (UnavailableReason::TimedOut | UnavailableReason::Malformed),
            detail,
        } => line(
            Level::Unknown,
            format!(
                "{what} of {} is unknown ({reason}): {}.",
                shown(&observation.component.to_string()),
                shown(detail)
            ),
            "",
        ),
        Body::Unavailable { .. }
        | Body::State { .. }
        | Body::Event { .. }
        | Body::Presence(_)
        | Body::Diagnostic(_)
        | Body::Facts(_)
        | Body::Gap { .. } => None,
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Names come from devices and are read in a terminal.
fn shown(name: &str) -> String {
    deceptive::one_line(name).chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::{Attributes, Timestamp};

    fn sample(metric: &'static str, component: &str, attributes: Attributes, value: f64) -> Observation {
        Observation {
            component: component.parse().unwrap(),
            observed_at: Timestamp::from_millis(0),
            body: Body::Sample { metric: metric.into(), attributes, value },
        }
    }

    #[test]
    fn the_worst_comes_first_and_a_domain_in_order_gets_one_line() {
        let lines = assess(&[
            sample(semconv::FILESYSTEM_UTILIZATION, "filesystem//home", Attributes::none(), 0.93),
            sample(semconv::FILESYSTEM_UTILIZATION, "filesystem//", Attributes::none(), 0.99),
            sample(semconv::MEMORY_UTILIZATION, "memory/0", Attributes::none(), 0.4),
        ]);
        let levels: Vec<Level> = lines.iter().map(|line| line.level).collect();
        assert_eq!(levels, [Level::Problem, Level::Warning, Level::Healthy]);
        assert_eq!(worst(&lines), Level::Problem);
    }

    #[test]
    fn what_could_not_be_seen_is_neither_good_nor_bad() {
        let lines = assess(&[Observation {
            component: "physical_disk/sda".parse().unwrap(),
            observed_at: Timestamp::from_millis(0),
            body: Body::Unavailable {
                what: semconv::HW_STATUS.into(),
                reason: UnavailableReason::NotPermitted,
                detail: "cannot open /dev/sda".to_owned(),
            },
        }]);
        assert_eq!(worst(&lines), Level::Unknown);
        assert!(lines[0].advice.contains("administrator"), "{lines:?}");
    }

    #[test]
    fn a_machine_without_a_router_is_not_called_healthy() {
        let lines = assess(&[sample(semconv::NETWORK_UP, "network_interface/eth0", Attributes::none(), 0.0)]);
        assert_eq!(worst(&lines), Level::Problem);
        assert!(lines.iter().all(|line| line.text != "The network answers."), "{lines:?}");
    }

    #[test]
    fn services_are_not_called_in_order_when_they_were_not_seen() {
        let lines = assess(&[sample(semconv::UPTIME, "os/0", Attributes::none(), 60.0)]);
        assert!(lines.iter().all(|line| !line.text.contains("services")), "{lines:?}");
    }

    #[test]
    fn control_characters_of_device_names_do_not_reach_the_terminal() {
        let name = "filesystem/\u{1b}[2Jhome";
        let lines = assess(&[sample(semconv::FILESYSTEM_UTILIZATION, name, Attributes::none(), 0.99)]);
        assert!(!lines[0].text.contains('\u{1b}'), "{lines:?}");
    }
}
