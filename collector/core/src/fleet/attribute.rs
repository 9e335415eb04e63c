//! What devices may have in common, and for which faults it can be the cause.
//!
//! Only plausible causes are compared: the more attributes are tried, the more of them fit by accident.

use super::lan::{self, Lan};
use crate::knowledge::KnowledgeEntry;
use firstline_model::{Component, ComponentKind, RuleCode, Value};
use std::time::Duration;

/// Sorts of attributes, the one to name first when several fit equally well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttributeKind {
    /// One thing that several devices use: a printer, a name server.
    Part,
    /// A place.
    Site,
    /// A switch.
    Switch,
    /// A router, by its hardware address.
    GatewayMac,
    /// A network.
    Subnet,
    /// An access point.
    Bssid,
    /// A name server.
    DnsServer,
    /// A gateway of the VPN.
    VpnGateway,
    /// A program and its version.
    Software,
    /// A driver and its version.
    Driver,
    /// A version of the operating system.
    OsVersion,
    /// A version of the firmware.
    BiosVersion,
    /// A model of computer.
    Model,
}

impl AttributeKind {
    /// Every sort.
    pub const ALL: &'static [Self] = &[
        Self::Part,
        Self::Site,
        Self::Switch,
        Self::GatewayMac,
        Self::Subnet,
        Self::Bssid,
        Self::DnsServer,
        Self::VpnGateway,
        Self::Software,
        Self::Driver,
        Self::OsVersion,
        Self::BiosVersion,
        Self::Model,
    ];

    /// Kinds of components that several devices can use the same one of.
    pub const SHARED_PARTS: &'static [ComponentKind] =
        &[ComponentKind::Printer, ComponentKind::DnsServer, ComponentKind::Vpn, ComponentKind::Endpoint];

    /// The sort as it is stored: the name of the fact that it is taken from.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Site => "site",
            Self::Switch => "switch",
            Self::GatewayMac => "gateway_mac",
            Self::Subnet => "subnet",
            Self::Bssid => "bssid",
            Self::DnsServer => "dns_server",
            Self::VpnGateway => "vpn_gateway",
            Self::Software => "software",
            Self::Driver => "drivers",
            Self::OsVersion => "os_version",
            Self::BiosVersion => "bios_version",
            Self::Model => "model",
        }
    }

    /// Whether it is a place within a site.
    pub(super) const fn is_within_a_site(self) -> bool {
        matches!(self, Self::Switch | Self::GatewayMac | Self::Subnet | Self::Bssid)
    }

    /// The sort that `text` names.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}

/// One attribute that devices may share.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attribute {
    /// Its sort.
    pub kind: AttributeKind,
    /// Its value: `oslo`, `e1000e 3.2`.
    pub value: String,
}

impl Attribute {
    /// The attribute of using `part`, when several devices can use the same one. A name server with an address of the
    /// private network that the device is in is that network's, and so is a printer that is known by such an address.
    pub(super) fn part(part: &Component, lan: Option<&Lan>) -> Option<Self> {
        let shared = AttributeKind::SHARED_PARTS.contains(&part.kind);
        shared.then(|| {
            let value = match lan.filter(|lan| Lan::around(Some(lan), part).is_some()) {
                Some(lan) => lan.place_of(&part.to_string()),
                None => part.to_string(),
            };
            Self { kind: AttributeKind::Part, value }
        })
    }

    /// What it is called. Which of several private networks with the same addresses is meant does not belong to that.
    fn name(&self) -> &str {
        match self.kind {
            AttributeKind::Subnet | AttributeKind::DnsServer => lan::without_place(&self.value),
            AttributeKind::Part if lan::may_have_place(&self.value) => lan::without_place(&self.value),
            AttributeKind::Part
            | AttributeKind::Site
            | AttributeKind::Switch
            | AttributeKind::GatewayMac
            | AttributeKind::Bssid
            | AttributeKind::VpnGateway
            | AttributeKind::Software
            | AttributeKind::Driver
            | AttributeKind::OsVersion
            | AttributeKind::BiosVersion
            | AttributeKind::Model => &self.value,
        }
    }

    /// The component that a Problem about this attribute names.
    pub fn component(&self) -> Option<Component> {
        let kind = match self.kind {
            AttributeKind::Part => return self.name().parse().ok(),
            AttributeKind::Site => ComponentKind::Site,
            AttributeKind::Switch | AttributeKind::Subnet => ComponentKind::Network,
            AttributeKind::GatewayMac => ComponentKind::Gateway,
            AttributeKind::Bssid => ComponentKind::Wifi,
            AttributeKind::DnsServer => ComponentKind::DnsServer,
            AttributeKind::VpnGateway => ComponentKind::Vpn,
            AttributeKind::Software => ComponentKind::Application,
            AttributeKind::Driver | AttributeKind::BiosVersion | AttributeKind::Model => {
                ComponentKind::Device
            }
            AttributeKind::OsVersion => ComponentKind::Os,
        };
        Component::new(kind, self.name()).ok()
    }

    /// What is shared, for a person: `the switch sw-3`.
    pub fn words(&self) -> String {
        let what = match self.kind {
            AttributeKind::Part => "",
            AttributeKind::Site => "the site ",
            AttributeKind::Switch => "the switch ",
            AttributeKind::GatewayMac => "the router ",
            AttributeKind::Subnet => "the network ",
            AttributeKind::Bssid => "the access point ",
            AttributeKind::DnsServer => "the DNS server ",
            AttributeKind::VpnGateway => "the VPN gateway ",
            AttributeKind::Software => "the program ",
            AttributeKind::Driver => "the driver ",
            AttributeKind::OsVersion => "the system version ",
            AttributeKind::BiosVersion => "the firmware ",
            AttributeKind::Model => "the model ",
        };
        format!("{what}{}", crate::present::clean(self.name(), 120))
    }
}

/// The attributes that stand in a device's facts. Addresses of a private network say nothing without the place: half of
/// all homes are `192.168.1.0/24` behind `192.168.1.1`.
pub(super) fn attributes_of<'a>(
    facts: &'a Value,
    site: Option<&'a str>,
) -> impl Iterator<Item = Attribute> + 'a {
    let single = [
        AttributeKind::Switch,
        AttributeKind::GatewayMac,
        AttributeKind::Subnet,
        AttributeKind::Bssid,
        AttributeKind::DnsServer,
        AttributeKind::VpnGateway,
        AttributeKind::OsVersion,
        AttributeKind::BiosVersion,
        AttributeKind::Model,
    ];
    let lan = Lan::of(facts, site);
    let named = single.into_iter().filter_map(move |kind| {
        let value = facts.get(kind.as_str())?.as_text().filter(|text| !text.is_empty())?;
        let value = match (kind, &lan) {
            (AttributeKind::Subnet, Some(lan)) => lan.place_of(value),
            (AttributeKind::Subnet, None) if lan::is_private(value) => return None,
            (AttributeKind::DnsServer, Some(lan)) if lan.has(value) => lan.place_of(value),
            (_, Some(_) | None) => value.to_owned(),
        };
        Some(Attribute { kind, value })
    });
    let site = site.map(|site| Attribute { kind: AttributeKind::Site, value: site.to_owned() });
    let versions = [AttributeKind::Driver, AttributeKind::Software];
    let versions = versions.into_iter().flat_map(move |kind| {
        let map = match facts.get(kind.as_str()) {
            Some(Value::Map(map)) => Some(map),
            Some(Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_)) | None => None,
        };
        map.into_iter().flatten().filter_map(move |(name, version)| {
            Some(Attribute { kind, value: format!("{name} {}", version.as_text()?) })
        })
    });
    site.into_iter().chain(named).chain(versions)
}

/// Findings that can have one cause: same rule, and where it matters the same component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// The network does not work at all.
    Outage(RuleCode),
    /// One rule about the network.
    Network(RuleCode),
    /// One rule about one printer.
    Printer(RuleCode, Component),
    /// One rule about one program, service or device, by its name.
    Named(RuleCode, Component),
    /// One rule about the system.
    System(RuleCode),
}

/// Rules that say that a device has no network; they fail together when a switch does.
const OUTAGE: &[&str] = &["net.link", "net.dhcp", "net.gateway"];
const SITE_OUTAGE: &str = "net.site_outage";

impl Family {
    /// The family of a finding about `component`, by the name that every device has for it; `None` when such a finding is a
    /// matter of its own device.
    pub(super) fn of(entry: &KnowledgeEntry, component: &Component) -> Option<Self> {
        let rule = entry.code.clone();
        let family = match entry.category.as_str() {
            "network" if OUTAGE.contains(&rule.as_str()) => Self::Outage(RuleCode::new(SITE_OUTAGE).ok()?),
            "network" => Self::Network(rule),
            "printer" if component.kind == ComponentKind::Printer => Self::Printer(rule, component.clone()),
            "application" | "service" | "printer" | "peripheral" => Self::Named(rule, component.clone()),
            "system" | "graphics" | "security" => Self::System(rule),
            _ => return None,
        };
        Some(family)
    }

    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Outage(_))
    }

    /// Whether the part itself fails, whoever says so.
    pub(super) fn is_part_itself(&self) -> bool {
        matches!(self, Self::Printer(..))
    }

    /// Whether `one` can be the cause of such a finding about `component`. A part can only be the cause of what is said of
    /// that very part: who reaches no proxy has no fault of the name server, though all of them use the same one.
    pub(super) fn may_share(&self, one: &Attribute, component: &Component) -> bool {
        use AttributeKind as A;
        let is_the_part = || one.component().is_some_and(|part| part == *component);
        match self {
            Self::Outage(_) => {
                matches!(one.kind, A::Site | A::Switch | A::GatewayMac | A::Subnet | A::Bssid | A::Driver)
            }
            Self::Network(_) => match one.kind {
                A::Site | A::Switch | A::GatewayMac | A::Subnet | A::Bssid | A::Driver => true,
                A::Part | A::DnsServer => is_the_part(),
                A::VpnGateway => component.kind == ComponentKind::Vpn,
                A::Software | A::OsVersion | A::BiosVersion | A::Model => false,
            },
            Self::Printer(..) => one.kind == A::Part && is_the_part(),
            Self::Named(..) => {
                matches!(one.kind, A::Site | A::Software | A::Driver | A::OsVersion | A::Model)
            }
            Self::System(_) => matches!(
                one.kind,
                A::Site | A::Software | A::Driver | A::OsVersion | A::BiosVersion | A::Model
            ),
        }
    }

    /// So many devices must fail before anything is shared.
    pub(super) fn fewest(&self, kind: AttributeKind) -> usize {
        match self {
            Self::Printer(..) if kind == AttributeKind::Part => 2,
            Self::Outage(_) | Self::Network(_) | Self::Printer(..) | Self::System(_) => 3,
            Self::Named(..) => 4,
        }
    }

    /// So many tenths of those who have it must fail. What is looked at every five minutes is noticed by one after the
    /// other: a place within a site is the cause only when most of it fails, else the site has not been heard of yet.
    pub(super) fn tenths(&self, kind: AttributeKind) -> usize {
        match self {
            Self::Network(_) if kind.is_within_a_site() => 6,
            Self::Outage(_) | Self::Network(_) | Self::Printer(..) | Self::Named(..) | Self::System(_) => 3,
        }
    }

    /// Findings further apart than this have nothing to do with each other.
    pub(super) fn window(&self) -> Duration {
        match self {
            Self::Outage(_) | Self::Network(_) => Duration::from_secs(1800),
            Self::Printer(..) => Duration::from_secs(7 * 24 * 3600),
            Self::Named(..) | Self::System(_) => Duration::from_secs(24 * 3600),
        }
    }

    /// The rule that a Problem about such findings carries.
    pub(super) fn rule(&self) -> RuleCode {
        match self {
            Self::Outage(rule)
            | Self::Network(rule)
            | Self::Printer(rule, _)
            | Self::Named(rule, _)
            | Self::System(rule) => rule.clone(),
        }
    }

    /// As it is stored.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Outage(rule) => format!("outage {rule}"),
            Self::Network(rule) => format!("network {rule}"),
            Self::Printer(rule, component) => format!("printer {rule} {component}"),
            Self::Named(rule, component) => format!("named {rule} {component}"),
            Self::System(rule) => format!("system {rule}"),
        }
    }

    /// The reverse of [`Self::to_text`].
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        let (rule, component) = match rest.split_once(' ') {
            Some((rule, component)) => (rule, Some(component)),
            None => (rest, None),
        };
        let rule = RuleCode::new(rule).ok()?;
        let component = component.map(|text| text.parse::<Component>()).transpose().ok()?;
        match (kind, component) {
            ("outage", None) => Some(Self::Outage(rule)),
            ("network", None) => Some(Self::Network(rule)),
            ("printer", Some(component)) => Some(Self::Printer(rule, component)),
            ("named", Some(component)) => Some(Self::Named(rule, component)),
            ("system", None) => Some(Self::System(rule)),
            (_, Some(_) | None) => None,
        }
    }
}
