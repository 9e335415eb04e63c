//! What Windows tells, behind one interface, so that all that reads it is compiled and tested on every operating system.
//!
//! [`Machine`] is what a running Windows answers (`live.rs`, the only file that needs it): rows of WMI classes in the form
//! that the library hands out, values of the registry, events as XML, and three numbers that are asked every few seconds
//! and must not cost a query. [`Captured`] answers the same out of a folder. The files `on_windows.rs` of the probes turn
//! the answers into observations with the metrics, units and words of the Linux half.

mod captured;
pub mod event;

#[cfg(windows)]
mod live;

pub use crate::row::Row;
pub use captured::Captured;
#[cfg(windows)]
pub(crate) use live::{Live, OnWindows};

use crate::{Context, ProbeError, Sink};
use std::time::Duration;

/// A query for rows: everything in it is a constant, so nothing that a machine says can become part of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// The namespace below `root`, with backslashes.
    pub namespace: &'static str,
    /// The class.
    pub name: &'static str,
    /// The properties that are needed; asking for all of them makes some providers wake devices.
    pub properties: &'static [&'static str],
    /// What rows have to fulfil, in WQL.
    pub condition: Option<&'static str>,
}

impl Class {
    /// A class of `root\cimv2`.
    pub const fn of_cimv2(name: &'static str, properties: &'static [&'static str]) -> Self {
        Self { namespace: "cimv2", name, properties, condition: None }
    }

    /// The query in WQL.
    pub fn query(&self) -> String {
        let condition = self.condition.map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        format!("SELECT {} FROM {}{condition}", self.properties.join(","), self.name)
    }
}

/// A value of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryValue {
    /// `REG_SZ`, `REG_EXPAND_SZ`.
    Text(String),
    /// `REG_DWORD`, `REG_QWORD`.
    Number(u64),
    /// `REG_MULTI_SZ`.
    Texts(Vec<String>),
}

impl RegistryValue {
    /// The text, when it is one.
    pub fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Texts(_) => None,
        }
    }

    /// The number, when it is one.
    pub const fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::Texts(_) => None,
        }
    }
}

/// Where reading a channel of the event log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Behind this record.
    Record(u64),
    /// With what happened so long ago.
    Ago(Duration),
}

/// Processor time since the start in 100 ns, of all processors together; `kernel` holds `idle` (`GetSystemTimes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessorTimes {
    /// Nothing to do.
    pub idle: u64,
    /// The system, and nothing to do.
    pub kernel: u64,
    /// Programs.
    pub user: u64,
}

/// Memory in bytes (`GlobalMemoryStatusEx`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryStatus {
    /// All memory.
    pub total: u64,
    /// What programs can get at once.
    pub available: u64,
}

/// A machine that runs Windows, or what was captured of one. Keys of the registry are below `HKEY_LOCAL_MACHINE`.
pub trait Machine {
    /// The rows of a class. Not present where the class or its namespace does not exist.
    fn rows(&self, class: &Class) -> Result<Vec<Row>, ProbeError>;
    /// A value of the registry. Not present where the key or the value does not exist.
    fn registry(&self, key: &str, name: &str) -> Result<RegistryValue, ProbeError>;
    /// The keys below a key.
    fn subkeys(&self, key: &str) -> Result<Vec<String>, ProbeError>;
    /// Whether a key exists.
    fn has_key(&self, key: &str) -> Result<bool, ProbeError>;
    /// Events of a channel with these numbers, oldest first, each as the XML that the log renders.
    fn events(&self, channel: &'static str, ids: &[u32], since: Since) -> Result<Vec<String>, ProbeError>;
    /// Processor time.
    fn processor_times(&self) -> Result<ProcessorTimes, ProbeError>;
    /// Memory.
    fn memory_status(&self) -> Result<MemoryStatus, ProbeError>;
    /// Time since the start.
    fn uptime(&self) -> Result<Duration, ProbeError>;
}

/// More rows of one class than this are not taken.
pub const MAX_ROWS: usize = 2000;
/// More events of one query than this are not taken.
pub const MAX_EVENTS: usize = 500;

/// The half of a probe that speaks to Windows.
pub trait Half: std::fmt::Debug + Send {
    /// Looks once and reports.
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink);
}

/// The Windows half of the probe called `name`; those of `network` and `printer` stand inside these probes, which do more
/// than read.
pub fn half(name: &str) -> Option<Box<dyn Half>> {
    Some(match name {
        "account" => Box::new(crate::account::on_windows::Source::default()),
        "cpu" => Box::new(crate::cpu::on_windows::Source::default()),
        "memory" => Box::new(crate::memory::on_windows::Source),
        "disk_io" => Box::new(crate::disk_io::on_windows::Source::default()),
        "filesystem" => Box::new(crate::filesystem::on_windows::Source),
        "os" => Box::new(crate::os::on_windows::Source::default()),
        "physical_disk" => Box::new(crate::physical_disk::on_windows::Source::default()),
        "power" => Box::new(crate::power::on_windows::Source::default()),
        "security" => Box::new(crate::security::on_windows::Source),
        "software" => Box::new(crate::software::on_windows::Source),
        _ => return None,
    })
}
