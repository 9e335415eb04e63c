//! What is compared between devices, and which devices are of the same kind.

use super::SeriesMatch;
use firstline_model::ComponentKind;
use std::time::Duration;

/// In what devices are of the same kind. One that does not say what it is has no peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sameness {
    /// The model of computer.
    Model,
    /// `laptop`, `desktop`, `server`.
    DeviceClass,
    /// The family of the operating system.
    Os,
    /// The site.
    Site,
    /// The router that they are behind, by its hardware address.
    GatewayMac,
}

impl Sameness {
    /// Every one.
    pub const ALL: &'static [Self] =
        &[Self::Model, Self::DeviceClass, Self::Os, Self::Site, Self::GatewayMac];

    /// As it is written in entries: the name of the fact.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::DeviceClass => "device_class",
            Self::Os => "os",
            Self::Site => "site",
            Self::GatewayMac => "gateway_mac",
        }
    }

    /// The one that `text` names.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text)
    }
}

/// A series that some entry compares with that of other devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The kind of component.
    pub component: ComponentKind,
    /// Which series of it.
    pub series: SeriesMatch,
    /// In what devices have to be the same.
    pub same: Vec<Sameness>,
    /// For how long a value counts.
    pub within: Duration,
}
