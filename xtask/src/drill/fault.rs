//! What a fault is to a drill: how to set the stage, how to break it, how to mend it. A fault is one file in this
//! folder and one line in `FAULTS`.

use std::path::Path;

use anyhow::Result;

use super::cleanup::Cleanup;
use super::disk_full::DiskFull;
use super::dns_dead::DnsDead;
use super::printer_stopped::PrinterStopped;
use super::service_failed::ServiceFailed;
use crate::install::Package;
use crate::interrupt::Interrupt;

/// A name on the command line and how to make the fault.
pub(super) struct Entry {
    pub name: &'static str,
    pub make: fn() -> Box<dyn Fault>,
}

pub(super) const FAULTS: &[Entry] = &[
    Entry { name: "disk-full", make: || Box::new(DiskFull::default()) },
    Entry { name: "printer-stopped", make: || Box::new(PrinterStopped::default()) },
    Entry { name: "dns-dead", make: || Box::new(DnsDead::default()) },
    Entry { name: "service-failed", make: || Box::new(ServiceFailed::default()) },
];

/// What is known of a fault before anything is done.
pub(super) struct Plan {
    /// The check id of the rule that must open the ticket.
    pub rule: &'static str,
    /// The override's keys below `override = "RULE"`.
    pub overrides: &'static str,
    /// Hold time and clear time that the override sets.
    pub hold_s: u64,
    pub clear_s: u64,
    /// What must be installed.
    pub packages: &'static [Package],
    /// Whether only root can do it, with the reason.
    pub needs_root: Option<&'static str>,
}

/// What the stage asks of the drill.
#[derive(Default)]
pub(super) struct Stage {
    /// Lines of the agent's configuration file.
    pub agent_config: String,
    /// Further arguments of `firstline-agent run`.
    pub agent_args: Vec<String>,
    /// The component of the ticket: kind, and id where it is known before.
    pub component: (&'static str, Option<String>),
    /// The component (kind and id) that the collector must have heard of before the fault comes.
    pub baseline: (&'static str, Option<String>),
    /// What it must have heard of it, where several probes report the same component.
    pub baseline_name: Option<&'static str>,
    /// What a person should know about the stage.
    pub notes: Vec<String>,
}

/// What the fault needs while it works.
pub(super) struct Surroundings<'a> {
    /// The drill's own folder.
    pub folder: &'a Path,
    pub interrupt: &'a Interrupt,
}

pub(super) trait Fault {
    fn plan(&self) -> Plan;

    /// Sets the stage, healthy. What it makes is pushed to `cleanup` at once.
    fn prepare(&mut self, around: &Surroundings<'_>, cleanup: &mut Cleanup) -> Result<Stage>;

    /// Breaks it; says what was done.
    fn inject(&mut self) -> Result<String>;

    /// Mends it; says what was done. Mending what is whole does nothing.
    fn undo(&mut self) -> Result<String>;
}
