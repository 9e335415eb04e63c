//! The part of a device that an observation is about.

use crate::Invalid;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

macro_rules! component_kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// What sort of part a component is. The texts are part of the contract with traces and the REST interface.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ComponentKind { $($(#[$doc])* $variant,)+ }

        impl ComponentKind {
            /// Every kind, in the order of the contract.
            pub const ALL: &'static [ComponentKind] = &[$(ComponentKind::$variant,)+];

            /// The kind as it is written before the slash of a component.
            pub const fn as_str(self) -> &'static str {
                match self { $(ComponentKind::$variant => $text,)+ }
            }
        }
    };
}

component_kinds! {
    /// The processors, as one.
    Cpu = "cpu",
    /// The main memory, as one.
    Memory = "memory",
    /// The operating system.
    Os = "os",
    /// A mounted file system; the id is its mount point.
    Filesystem = "filesystem",
    /// A drive; the id is its serial number, else its device name.
    PhysicalDisk = "physical_disk",
    /// A RAID array or volume.
    LogicalDisk = "logical_disk",
    /// A battery; the id is its serial number, else its name.
    Battery = "battery",
    /// A temperature or voltage sensor.
    Sensor = "sensor",
    /// A fan.
    Fan = "fan",
    /// A graphics processor.
    Gpu = "gpu",
    /// The network as a whole, as this device sees it.
    Network = "network",
    /// One network interface.
    NetworkInterface = "network_interface",
    /// A default gateway; the id is its address.
    Gateway = "gateway",
    /// A DNS server; the id is its address.
    DnsServer = "dns_server",
    /// A VPN tunnel.
    Vpn = "vpn",
    /// A Wi-Fi association; the id is the interface.
    Wifi = "wifi",
    /// A monitored host or certificate.
    Endpoint = "endpoint",
    /// A printer; the id is the queue or the device UUID.
    Printer = "printer",
    /// A service of the operating system.
    Service = "service",
    /// An installed application.
    Application = "application",
    /// A running program.
    Process = "process",
    /// One aspect of the security posture.
    Security = "security",
    /// A peripheral; the id is vid:pid or a path.
    Device = "device",
    /// A person's account.
    User = "user",
    /// The agent itself.
    Agent = "agent",
    /// A place.
    Site = "site",
}

impl fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ComponentKind {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Invalid::new("component kind", format!("{text:?} is not one of the known kinds")))
    }
}

/// A part of a device: kind and id, written `filesystem/C:`. Copies share the id, because the same part is named in
/// everything that is remembered of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Component {
    /// What sort of part it is.
    pub kind: ComponentKind,
    id: Arc<str>,
}

impl Component {
    /// The longest id, in bytes. Longer ones come from broken or hostile devices.
    pub const MAX_ID_BYTES: usize = 512;

    /// Builds a component; the id may be any text of 1 to [`Self::MAX_ID_BYTES`] bytes, because devices name their parts.
    pub fn new(kind: ComponentKind, id: impl Into<String>) -> Result<Self, Invalid> {
        let id = id.into();
        if id.is_empty() {
            return Err(Invalid::new("component id", "it is empty"));
        }
        if id.len() > Self::MAX_ID_BYTES {
            return Err(Invalid::new(
                "component id",
                format!("{} bytes, at most {}", id.len(), Self::MAX_ID_BYTES),
            ));
        }
        Ok(Self { kind, id: id.into() })
    }

    /// The one component of a kind that a device has once: `cpu/0`, `memory/0`, `os/0`, `network/0`, `agent/0`.
    pub fn only(kind: ComponentKind) -> Self {
        Self { kind, id: Arc::from("0") }
    }

    /// The id within the kind.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

impl FromStr for Component {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once('/') {
            Some((kind, id)) => Self::new(kind.parse()?, id),
            None => Err(Invalid::new("component", format!("{text:?} has no slash between kind and id"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_keeps_slashes_of_its_id() {
        let component: Component = "filesystem//home".parse().unwrap();
        assert_eq!((component.kind, component.id()), (ComponentKind::Filesystem, "/home"));
        assert_eq!(component.to_string(), "filesystem//home");
    }

    #[test]
    fn unknown_kinds_and_empty_ids_are_refused() {
        for bad in ["toaster/1", "cpu", "cpu/", ""] {
            assert!(bad.parse::<Component>().is_err(), "{bad:?} was accepted");
        }
    }
}
