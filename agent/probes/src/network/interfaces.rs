//! Network interfaces as `/sys/class/net` shows them: link, speed and counters.

use crate::{ProbeError, Root};

const FOLDER: &str = "/sys/class/net";
/// More interfaces than this are not read; hosts of many containers have thousands of virtual ones.
const MAX_INTERFACES: usize = 256;
/// The kernel allows module names of 55 bytes.
const LONGEST_DRIVER: usize = 55;
const IFF_UP: u64 = 0x1;
const IFF_LOOPBACK: u64 = 0x8;

/// What sort of interface it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A cable.
    Wired,
    /// Radio.
    Wifi,
    /// Made by software: tunnels, bridges, containers.
    Virtual,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Wired => "wired",
            Self::Wifi => "wifi",
            Self::Virtual => "virtual",
        }
    }
}

/// One interface.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub(crate) name: String,
    /// The kernel's number of it.
    pub(crate) index: Option<u32>,
    pub(crate) kind: Kind,
    /// Whether it is switched on (administratively up).
    pub(crate) enabled: bool,
    /// Whether it has a carrier; always no when it is switched off.
    pub(crate) carrier: bool,
    pub(crate) operstate: Option<String>,
    pub(crate) hardware: Option<String>,
    pub(crate) mtu: Option<u64>,
    /// In megabits per second; absent where the driver does not say.
    pub(crate) speed_mbps: Option<u64>,
    pub(crate) duplex: Option<String>,
    pub(crate) carrier_changes: Option<u64>,
    /// The driver and its version, of hardware.
    pub(crate) driver: Option<(String, String)>,
    /// What was received and what was sent, where it came together with the rest; else see [`counters`].
    pub(crate) counted: Option<[Counters; 2]>,
}

/// Counters of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) errors: u64,
    /// Where the system counts them.
    pub(crate) dropped: Option<u64>,
}

/// All interfaces but loopback.
pub(crate) fn read(root: &Root) -> Result<Vec<Interface>, ProbeError> {
    let names = root.list(FOLDER)?;
    Ok(names.into_iter().take(MAX_INTERFACES).filter_map(|name| interface(root, name)).collect())
}

fn interface(root: &Root, name: String) -> Option<Interface> {
    let at = |file: &str| format!("{FOLDER}/{name}/{file}");
    // Some files of this folder are plain ones (bonding_masters); an interface always has flags.
    let flags = u64::from_str_radix(root.read_value(&at("flags"))?.strip_prefix("0x")?, 16).ok()?;
    if flags & IFF_LOOPBACK != 0 || name == "lo" {
        return None;
    }
    let kind = if root.exists(&at("wireless")) || root.exists(&at("phy80211")) {
        Kind::Wifi
    } else if root.exists(&at("device")) {
        Kind::Wired
    } else {
        Kind::Virtual
    };
    let enabled = flags & IFF_UP != 0;
    Some(Interface {
        index: root.read_number(&at("ifindex")).and_then(|index| u32::try_from(index).ok()),
        kind,
        enabled,
        // The kernel refuses to read the carrier of an interface that is switched off.
        carrier: enabled && root.read_number(&at("carrier")) == Some(1),
        operstate: root.read_value(&at("operstate")),
        hardware: root.read_value(&at("address")).filter(|mac| is_hardware_address(mac)),
        mtu: root.read_number(&at("mtu")),
        // "-1" and 4294967295 are the kernel's ways to say that it does not know.
        speed_mbps: root.read_number(&at("speed")).filter(|speed| (1..=4_000_000).contains(speed)),
        duplex: root.read_value(&at("duplex")).filter(|duplex| duplex == "full" || duplex == "half"),
        carrier_changes: root.read_number(&at("carrier_changes")),
        driver: driver(root, &at("device/uevent")).filter(|_| kind != Kind::Virtual),
        counted: None,
        name,
    })
}

/// A driver of the kernel's own has the kernel's version; one that was added to it says its own.
fn driver(root: &Root, uevent: &str) -> Option<(String, String)> {
    let text = root.read_text(uevent).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("DRIVER="))?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > LONGEST_DRIVER || !name.bytes().all(is_plain) {
        return None;
    }
    // The folders of modules are named with underscores.
    let own = root.read_value(&format!("/sys/module/{}/version", name.replace('-', "_")));
    Some((name.to_owned(), own.or_else(|| root.read_value("/proc/sys/kernel/osrelease"))?))
}

/// The counters of one direction, `rx` or `tx`.
pub(crate) fn counters(root: &Root, name: &str, direction: &str) -> Option<Counters> {
    let read = |what: &str| root.read_number(&format!("{FOLDER}/{name}/statistics/{direction}_{what}"));
    Some(Counters {
        bytes: read("bytes")?,
        packets: read("packets")?,
        errors: read("errors")?,
        dropped: Some(read("dropped")?),
    })
}

/// Six bytes in hexadecimal with colons, not all zero.
pub(crate) fn is_hardware_address(text: &str) -> bool {
    let mut bytes = 0;
    let well_formed = text.split(':').all(|part| {
        bytes += 1;
        part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    well_formed && bytes == 6 && text != "00:00:00:00:00:00"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_six_bytes_of_hexadecimal_are_a_hardware_address() {
        assert!(is_hardware_address("02:fc:00:AB:00:05"));
        for text in [
            "",
            "00:00:00:00:00:00",
            "02:fc:00:00:00",
            "02:fc:00:00:00:05:06",
            "xx:fc:00:00:00:05",
            "2:fc:0:0:0:5",
        ] {
            assert!(!is_hardware_address(text), "{text:?}");
        }
    }
}
