//! A laptop's battery and charger on a machine that has none: a folder in the form of the kernel's, which the agent sees in
//! the place of the real one in a mount namespace of its own. (`umockdev` does not do: it catches calls of the C library,
//! and the agent opens files without it.)

use crate::needs::program;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// Where the kernel shows power supplies.
pub const SUPPLIES: &str = "/sys/class/power_supply";

/// How a battery is.
#[derive(Debug, Clone, Copy)]
pub struct Condition {
    /// Its maker's number.
    pub serial: &'static str,
    /// `Discharging`, `Charging`, `Full`.
    pub status: &'static str,
    /// `Good`, `Dead`.
    pub health: &'static str,
    /// What it holds when full, in microwatt hours; it was made for 57,000,000.
    pub holds: u32,
    /// Whether the charger is in.
    pub on_mains: bool,
}

impl Condition {
    /// A battery that is nearly new and charges.
    pub const GOOD: Self =
        Self { serial: "4711", status: "Charging", health: "Good", holds: 55_000_000, on_mains: true };
}

/// A laptop; the folder is removed with this value.
#[derive(Debug)]
pub struct Battery {
    folder: TempDir,
}

impl Battery {
    /// One in this condition.
    pub fn fitted(condition: Condition) -> Self {
        let battery = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        battery.becomes(condition);
        battery
    }

    /// What the agent is started under, to see it.
    pub fn wrapper(&self) -> Vec<OsString> {
        let script = "mount --bind \"$0\" /sys/class/power_supply && exec \"$@\"";
        let unshare = program("unshare").unwrap_or_else(|| PathBuf::from("unshare"));
        let parts: [&OsStr; 6] = [
            unshare.as_os_str(),
            OsStr::new("--mount"),
            OsStr::new("sh"),
            OsStr::new("-c"),
            OsStr::new(script),
            self.folder.path().as_os_str(),
        ];
        parts.map(OsStr::to_owned).to_vec()
    }

    /// From now on it is like this.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn becomes(&self, condition: Condition) {
        let Condition { serial, status, health, holds, on_mains } = condition;
        let online = u8::from(on_mains);
        self.write(
            "AC",
            &format!("POWER_SUPPLY_NAME=AC\nPOWER_SUPPLY_TYPE=Mains\nPOWER_SUPPLY_ONLINE={online}\n"),
        );
        let lines = [
            "NAME=BAT0".to_owned(),
            "TYPE=Battery".to_owned(),
            format!("STATUS={status}"),
            "PRESENT=1".to_owned(),
            "TECHNOLOGY=Li-ion".to_owned(),
            "CYCLE_COUNT=912".to_owned(),
            "ENERGY_FULL_DESIGN=57000000".to_owned(),
            format!("ENERGY_FULL={holds}"),
            "CAPACITY=64".to_owned(),
            format!("HEALTH={health}"),
            format!("SERIAL_NUMBER={serial}"),
        ];
        let lines: String = lines.iter().map(|line| format!("POWER_SUPPLY_{line}\n")).collect();
        self.write("BAT0", &lines);
    }

    fn write(&self, name: &str, text: &str) {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).expect("a folder can be made");
        // Never half a file: the agent may read at any moment.
        let fresh = folder.join("uevent.new");
        fs::write(&fresh, text).expect("a file can be written");
        fs::rename(fresh, folder.join("uevent")).expect("a file can be replaced");
    }
}
