//! What keeps breaches from becoming tickets, and the breaches that it kept.

use firstline_collector_core::desk::Suppression;
use firstline_model::{DeviceId, RuleCode, Timestamp};

/// A maintenance window as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceWindow {
    /// Its number; 0 while it has none.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// The site that it is limited to, if it is.
    pub site: Option<String>,
    /// When, for whom and for what: JSON that whoever keeps it understands.
    pub definition: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// A breach that made no ticket, for lists.
#[derive(Debug, Clone, PartialEq)]
pub struct SuppressedBreach {
    /// The device.
    pub device: DeviceId,
    /// Its hostname.
    pub hostname: String,
    /// What was held back, and why.
    pub suppression: Suppression,
}

/// Which breaches to list; what is not given does not limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SuppressionFilter {
    /// Of this device.
    pub device: Option<DeviceId>,
    /// Of this rule.
    pub rule: Option<RuleCode>,
    /// Whose reason begins so: `maintenance`, `hidden by net.gateway`.
    pub reason: Option<String>,
    /// Of devices of this site.
    pub site: Option<String>,
}
