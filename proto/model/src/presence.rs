//! Whether a device is there, and if not, why.

use crate::Invalid;
use std::fmt;
use std::str::FromStr;

/// Where a device is in its day. Being away is never a fault by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Presence {
    /// Running and connected, or running when this was observed.
    Online,
    /// Suspended or hibernated.
    Asleep,
    /// Switched off in order.
    ShutDown,
    /// Running without a network.
    OffNetwork,
    /// It stopped without saying so and later reported that.
    Crashed,
    /// Taken out of service by an administrator.
    Retired,
}

impl Presence {
    /// Every state.
    pub const ALL: &'static [Self] =
        &[Self::Online, Self::Asleep, Self::ShutDown, Self::OffNetwork, Self::Crashed, Self::Retired];

    /// The state as it is written in traces and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Asleep => "asleep",
            Self::ShutDown => "shut_down",
            Self::OffNetwork => "off_network",
            Self::Crashed => "crashed",
            Self::Retired => "retired",
        }
    }

    /// Whether the machine's powered-on clock runs in this state.
    pub const fn is_powered_on(self) -> bool {
        matches!(self, Self::Online | Self::OffNetwork)
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Presence {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .iter()
            .copied()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Invalid::new("presence", format!("{text:?} is not a known state")))
    }
}
