//! Reads the machine and decides nothing.
//!
//! A probe turns one part of the machine into observations. To add one: write `<name>.rs` (with `<name>/parse.rs`
//! for the pure part and one file per operating system for the acquisition), then add its `mod` line and its entry
//! in [`PROBES`]. Parsers are compiled and tested on every operating system; only acquisition is behind `cfg`.
//!
//! What holds for every probe: it reads and never writes (but for the file system's write probe in the agent's own
//! folder), it starts programs only through [`exec`], a value that cannot be read is reported as unavailable with
//! its reason, and it runs isolated (see [`isolate`]), so that a panic or a hang costs that probe only.
#![warn(missing_docs)]

pub mod account;
mod ber;
pub mod bus;
pub mod certificate;
pub mod connectivity;
mod context;
pub mod cpu;
pub mod diagnose;
pub mod disk_io;
pub mod ecc;
mod error;
pub mod exec;
pub mod filesystem;
pub mod gpu;
pub mod isolate;
pub mod json;
pub mod kernel_log;
pub mod lvm;
pub mod memory;
pub mod network;
pub mod on_macos;
pub mod on_windows;
pub mod os;
pub mod path;
pub mod peripheral;
pub mod physical_disk;
pub mod power;
pub mod pressure;
pub mod printer;
mod probe;
pub mod process;
pub mod raid;
mod reach;
mod root;
mod row;
pub mod security;
pub mod sensor;
mod sink;
pub mod software;
pub mod time;
pub mod vpn;
pub mod wifi;

pub use context::{Community, Context, Overrides, Policy};
pub use error::ProbeError;
pub use probe::{Descriptor, Due, Probe, ProbeEntry};
pub use root::Root;
pub use sink::Sink;

/// Every probe of this agent. The registry holds constructors because probes keep state between runs.
pub static PROBES: &[ProbeEntry] = &[
    // One entry a line: what is added is one line.
    ProbeEntry { name: "cpu", new: || Box::new(cpu::Cpu::default()) },
    ProbeEntry { name: "memory", new: || Box::new(memory::Memory::default()) },
    ProbeEntry { name: "filesystem", new: || Box::new(filesystem::Filesystem::default()) },
    ProbeEntry { name: "network", new: || Box::new(network::Network) },
    ProbeEntry { name: "path", new: || Box::new(path::Path::default()) },
    ProbeEntry { name: "vpn", new: || Box::new(vpn::Vpn::default()) },
    ProbeEntry { name: "certificate", new: || Box::new(certificate::Certificate::default()) },
    ProbeEntry { name: "connectivity", new: || Box::new(connectivity::Connectivity::default()) },
    ProbeEntry { name: "wifi", new: || Box::new(wifi::Wifi::default()) },
    ProbeEntry { name: "printer", new: || Box::new(printer::Printer::default()) },
    ProbeEntry { name: "os", new: || Box::new(os::Os::default()) },
    ProbeEntry { name: "physical_disk", new: || Box::new(physical_disk::PhysicalDisk::default()) },
    ProbeEntry { name: "disk_io", new: || Box::new(disk_io::DiskIo::default()) },
    ProbeEntry { name: "raid", new: || Box::new(raid::Raid::default()) },
    ProbeEntry { name: "lvm", new: || Box::new(lvm::Lvm::default()) },
    ProbeEntry { name: "power", new: || Box::new(power::Power::default()) },
    ProbeEntry { name: "sensor", new: || Box::new(sensor::Sensor::default()) },
    ProbeEntry { name: "gpu", new: || Box::new(gpu::Gpu::default()) },
    ProbeEntry { name: "peripheral", new: || Box::new(peripheral::Peripheral::default()) },
    ProbeEntry { name: "security", new: || Box::new(security::Security) },
    ProbeEntry { name: "ecc", new: || Box::new(ecc::Ecc::default()) },
    ProbeEntry { name: "time", new: || Box::new(time::Time) },
    ProbeEntry { name: "account", new: || Box::new(account::Account::default()) },
    ProbeEntry { name: "process", new: || Box::new(process::Process::default()) },
    ProbeEntry { name: "software", new: || Box::new(software::Software) },
];

/// The probe called `name`.
pub fn probe(name: &str) -> Option<&'static ProbeEntry> {
    PROBES.iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_the_name_of_its_probe_and_stands_once() {
        for (at, entry) in PROBES.iter().enumerate() {
            assert_eq!((entry.new)().descriptor().name, entry.name);
            assert!(PROBES[..at].iter().all(|other| other.name != entry.name), "{} stands twice", entry.name);
        }
    }

    #[test]
    fn a_probe_may_not_run_longer_than_its_interval() {
        for entry in PROBES {
            let descriptor = (entry.new)().descriptor();
            assert!(descriptor.time_limit <= descriptor.interval, "{}", entry.name);
        }
    }
}
