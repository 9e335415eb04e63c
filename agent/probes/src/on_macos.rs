//! What macOS tells, behind one interface, so that all that reads it is compiled and tested on every operating system.
//!
//! Apple's own programs are asked, at their fixed places below `/usr` (see [`crate::exec`]): their JSON and property lists
//! are documented, and the frameworks behind them are not. Nothing of it runs more often than once a minute.

mod captured;
#[cfg(target_os = "macos")]
mod live;
pub mod plist;

pub use captured::Captured;
#[cfg(target_os = "macos")]
pub(crate) use live::{Live, OnMacos};

use crate::exec::Program;
use crate::row::Row;
use crate::{Context, ProbeError, Root, Sink};
use serde_json::Value;

/// A question, with everything that is passed to the program: nothing that a machine says becomes part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Sizes of memory and swap, time of start.
    Sysctl,
    /// Pages of memory by use.
    VmStat,
    /// The battery, as a property list.
    Battery,
    /// Model, serial number, firmware.
    Hardware,
    /// Version and name.
    System,
    /// Volumes and the drives below them.
    Storage,
    /// NVMe drives.
    Nvme,
    /// SATA drives.
    Sata,
    /// Programs.
    Applications,
    /// Encryption of the system's volume.
    FileVault,
    /// The application firewall.
    Firewall,
    /// Network interfaces with their addresses.
    Interfaces,
    /// What they received and sent.
    Counters,
    /// Routes.
    Routes,
}

impl Question {
    /// Every question, for those who capture a machine.
    pub const ALL: &[Self] = &[
        Self::Sysctl,
        Self::VmStat,
        Self::Battery,
        Self::Hardware,
        Self::System,
        Self::Storage,
        Self::Nvme,
        Self::Sata,
        Self::Applications,
        Self::FileVault,
        Self::Firewall,
        Self::Interfaces,
        Self::Counters,
        Self::Routes,
    ];

    /// The program.
    pub const fn program(self) -> Program {
        match self {
            Self::Sysctl => Program::Sysctl,
            Self::VmStat => Program::VmStat,
            Self::Battery => Program::Ioreg,
            Self::Hardware | Self::System | Self::Storage | Self::Nvme | Self::Sata | Self::Applications => {
                Program::SystemProfiler
            }
            Self::FileVault => Program::Fdesetup,
            Self::Firewall => Program::Socketfilterfw,
            Self::Interfaces => Program::Ifconfig,
            Self::Counters | Self::Routes => Program::Netstat,
        }
    }

    /// What the program is told.
    pub const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Sysctl => &["hw.memsize", "vm.swapusage", "kern.boottime"],
            Self::VmStat => &[],
            Self::Battery => &["-a", "-r", "-c", "AppleSmartBattery"],
            Self::Hardware => &["-json", "SPHardwareDataType"],
            Self::System => &["-json", "SPSoftwareDataType"],
            Self::Storage => &["-json", "SPStorageDataType"],
            Self::Nvme => &["-json", "SPNVMeDataType"],
            Self::Sata => &["-json", "SPSerialATADataType"],
            Self::Applications => &["-json", "SPApplicationsDataType"],
            Self::FileVault => &["status"],
            Self::Firewall => &["--getglobalstate"],
            Self::Interfaces => &["-a"],
            Self::Counters => &["-ibdn"],
            Self::Routes => &["-rn"],
        }
    }

    /// The file that holds its answer in a captured machine.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Sysctl => "sysctl.txt",
            Self::VmStat => "vm_stat.txt",
            Self::Battery => "battery.plist",
            Self::Hardware => "hardware.json",
            Self::System => "system.json",
            Self::Storage => "storage.json",
            Self::Nvme => "nvme.json",
            Self::Sata => "sata.json",
            Self::Applications => "applications.json",
            Self::FileVault => "filevault.txt",
            Self::Firewall => "firewall.txt",
            Self::Interfaces => "ifconfig.txt",
            Self::Counters => "netstat_interfaces.txt",
            Self::Routes => "netstat_routes.txt",
        }
    }
}

/// A machine that runs macOS, or what was captured of one.
pub trait Machine {
    /// Processor time since the start by mode (user, system, idle, nice), in hundredths of a second of all processors
    /// together. The counters begin anew at 2^32 (`host_statistics`, which starts no program).
    fn processor_ticks(&self) -> Result<[u32; 4], ProbeError>;
    /// What the program answers, as text.
    fn answer(&self, question: Question) -> Result<String, ProbeError>;
    /// Where its files lie.
    fn root(&self) -> &Root;
}

/// The entries of one section of `system_profiler -json`; entries that hold further ones are followed by these.
pub(crate) fn section(machine: &dyn Machine, question: Question) -> Result<Vec<Row>, ProbeError> {
    let text = machine.answer(question)?;
    let malformed = |why: &str| ProbeError::Malformed(format!("system_profiler: {why}"));
    let answer: Value = serde_json::from_str(&text).map_err(|error| malformed(&error.to_string()))?;
    let Value::Object(sections) = answer else { return Err(malformed("its answer is no object")) };
    let Some(Value::Array(entries)) = sections.into_iter().map(|(_, entries)| entries).next() else {
        return Err(malformed("its answer has no section"));
    };
    let mut rows = Vec::new();
    for mut entry in entries {
        let below = entry.get_mut("_items").map(Value::take);
        rows.extend(Row::new(entry));
        if let Some(Value::Array(below)) = below {
            rows.extend(below.into_iter().filter_map(Row::new));
        }
    }
    rows.truncate(MAX_ENTRIES);
    Ok(rows)
}

/// More entries of one section than this are not taken.
const MAX_ENTRIES: usize = 5000;

/// The half of a probe that speaks to macOS.
pub trait Half: std::fmt::Debug + Send {
    /// Looks once and reports.
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink);
}

/// The macOS half of the probe called `name`. Printers need none: macOS runs CUPS. That of `network` stands inside the probe.
pub fn half(name: &str) -> Option<Box<dyn Half>> {
    Some(match name {
        "cpu" => Box::new(crate::cpu::on_macos::Source::default()),
        "memory" => Box::new(crate::memory::on_macos::Source),
        "filesystem" => Box::new(crate::filesystem::on_macos::Source::default()),
        "os" => Box::new(crate::os::on_macos::Source::default()),
        "physical_disk" => Box::new(crate::physical_disk::on_macos::Source::default()),
        "power" => Box::new(crate::power::on_macos::Source::default()),
        "security" => Box::new(crate::security::on_macos::Source),
        "software" => Box::new(crate::software::on_macos::Source),
        _ => return None,
    })
}
