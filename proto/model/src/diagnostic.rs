//! Bounded, read-only tests that an agent runs when the collector asks for them.
//!
//! The list is closed: a request is one of these variants with these parameters, and there is no variant that
//! carries a command, a path to write or an address to fetch. Adding one means adding it here, on the wire and to
//! the wire's allow-list test.

use crate::{Timestamp, Value};

/// A test to run, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiagnosticRequest {
    /// The largest directories of a file system and what grew since the last look.
    LargestDirectories {
        /// Mount point of a file system that the agent itself reports.
        mount_point: String,
    },
    /// Asks the printer behind a queue directly, and lists the oldest job of the queue.
    Printer {
        /// The queue's name as the agent reports it.
        queue: String,
    },
    /// Link and address of every interface.
    Link,
    /// Echo requests and neighbour state of the default gateways.
    Gateway,
    /// The answer of each configured DNS server, one by one.
    DnsServers,
    /// The programs that use most memory and processor time.
    TopProcesses,
    /// State, exit code and last start of one service.
    Service {
        /// The unit's or service's name as the agent reports it.
        name: String,
    },
    /// Health of one drive, read again now.
    PhysicalDisk {
        /// The drive's component id as the agent reports it.
        id: String,
    },
    /// Recent kernel messages about drives and file systems, and error counters.
    KernelLog,
    /// What the flight recorder saw of a component in the minutes before.
    Recorder {
        /// The component: `filesystem//home`.
        component: String,
    },
}

impl DiagnosticRequest {
    /// The test's name in knowledge entries, on the command line and in tickets.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LargestDirectories { .. } => "largest_directories",
            Self::Printer { .. } => "printer",
            Self::Link => "link",
            Self::Gateway => "gateway",
            Self::DnsServers => "dns_servers",
            Self::TopProcesses => "top_processes",
            Self::Service { .. } => "service",
            Self::PhysicalDisk { .. } => "physical_disk",
            Self::KernelLog => "kernel_log",
            Self::Recorder { .. } => "recorder",
        }
    }

    /// Every test's name, with the name of its one text parameter if it takes one. A knowledge entry's `subject`
    /// fills the parameter from the component that the finding is about.
    pub const NAMES: &'static [(&'static str, Option<&'static str>)] = &[
        ("largest_directories", Some("mount_point")),
        ("printer", Some("queue")),
        ("link", None),
        ("gateway", None),
        ("dns_servers", None),
        ("top_processes", None),
        ("service", Some("name")),
        ("physical_disk", Some("id")),
        ("kernel_log", None),
        ("recorder", Some("component")),
    ];

    /// Builds the request called `name`; `subject` is its parameter where it takes one. `None` when there is no such test.
    pub fn from_name(name: &str, subject: &str) -> Option<Self> {
        Some(match name {
            "largest_directories" => Self::LargestDirectories { mount_point: subject.to_owned() },
            "printer" => Self::Printer { queue: subject.to_owned() },
            "link" => Self::Link,
            "gateway" => Self::Gateway,
            "dns_servers" => Self::DnsServers,
            "top_processes" => Self::TopProcesses,
            "service" => Self::Service { name: subject.to_owned() },
            "physical_disk" => Self::PhysicalDisk { id: subject.to_owned() },
            "kernel_log" => Self::KernelLog,
            "recorder" => Self::Recorder { component: subject.to_owned() },
            _ => return None,
        })
    }

    /// The parameter, empty where the test takes none.
    pub fn subject(&self) -> &str {
        match self {
            Self::LargestDirectories { mount_point } => mount_point,
            Self::Printer { queue } => queue,
            Self::Service { name } => name,
            Self::PhysicalDisk { id } => id,
            Self::Recorder { component } => component,
            Self::Link | Self::Gateway | Self::DnsServers | Self::TopProcesses | Self::KernelLog => "",
        }
    }
}

/// How a diagnostic ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiagnosticOutcome {
    /// What was tested is in order.
    Ok,
    /// What was tested is not in order.
    Problem,
    /// The test could not be made; nothing follows from it.
    CouldNotTell,
}

impl DiagnosticOutcome {
    /// The outcome as it is written in JSON and knowledge entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Problem => "problem",
            Self::CouldNotTell => "could_not_tell",
        }
    }
}

/// The result of one diagnostic.
#[derive(Debug, Clone, PartialEq)]
pub struct DiagnosticReport {
    /// The id under which the collector asked; empty when a person ran it at the machine.
    pub request_id: String,
    /// Which test.
    pub name: String,
    /// Its parameter, empty where it takes none.
    pub subject: String,
    /// How it ended.
    pub outcome: DiagnosticOutcome,
    /// One sentence for the ticket: what was tested and what came out.
    pub summary: String,
    /// What was measured, keyed by stable names that causes in knowledge entries refer to. A map.
    pub facts: Value,
    /// When it ended, by the device's clock.
    pub finished_at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_builds_its_request_and_back() {
        for (name, parameter) in DiagnosticRequest::NAMES {
            let request = DiagnosticRequest::from_name(name, "x").unwrap();
            assert_eq!(request.name(), *name);
            assert_eq!(request.subject(), if parameter.is_some() { "x" } else { "" });
        }
        assert!(DiagnosticRequest::from_name("run_command", "x").is_none());
    }
}
