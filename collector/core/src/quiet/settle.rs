//! A machine that has just started, woken up, been moved to another network or been updated is busy with itself: its
//! network comes up piece by piece and its processor and memory are used to the full. What a rule wants to see held for a while
//! in these domains waits until that is over.

use super::Held;
use crate::finding::{DeviceState, Finding};
use crate::knowledge::KnowledgeEntry;
use firstline_model::{Presence, Timestamp};
use std::time::Duration;

/// How reasons begin.
pub(super) const PREFIX: &str = "settling after ";
/// Categories of entries that are about what a machine does at such times.
const CATEGORIES: &[&str] = &["network", "cpu", "processor", "memory", "service", "application"];

/// Why a machine is given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It started.
    Boot,
    /// It woke up.
    Resume,
    /// It is in another network.
    Dock,
    /// Its system was updated.
    Update,
}

impl Cause {
    /// Every cause.
    pub const ALL: &'static [Self] = &[Self::Boot, Self::Resume, Self::Dock, Self::Update];

    /// As it stands in reasons and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Resume => "resume",
            Self::Dock => "dock",
            Self::Update => "update",
        }
    }

    const fn time(self) -> Duration {
        match self {
            Self::Boot => Duration::from_secs(300),
            Self::Update => Duration::from_secs(600),
            Self::Resume | Self::Dock => Duration::from_secs(120),
        }
    }

    /// What it was when a device comes back that had this presence.
    pub(crate) const fn of_return(before: Presence) -> Option<Self> {
        match before {
            Presence::Asleep => Some(Self::Resume),
            Presence::ShutDown | Presence::Crashed => Some(Self::Boot),
            Presence::Online | Presence::OffNetwork | Presence::Retired => None,
        }
    }

    /// What a fact of this name means when it changes.
    pub(crate) fn of_fact(name: &str) -> Option<Self> {
        match name {
            "subnet" | "gateway_mac" | "switch" => Some(Self::Dock),
            "os_version" | "bios_version" => Some(Self::Update),
            _ => None,
        }
    }
}

/// Gives a machine time from `at` on. The later end counts.
pub(crate) fn begin(state: &mut DeviceState, cause: Cause, at: Timestamp) {
    let until = at.plus(cause.time());
    if state.settling.is_none_or(|(known, _)| until > known) {
        state.settling = Some((until, cause));
    }
}

/// Why a finding opens nothing at `at`.
pub(super) fn held(
    entry: &KnowledgeEntry,
    state: &DeviceState,
    finding: &Finding,
    at: Timestamp,
) -> Option<Held> {
    let (until, cause) = state.settling.filter(|(until, _)| at < *until)?;
    let level = entry.detection.levels.iter().rfind(|level| level.severity == finding.severity)?;
    // What needs no time to hold is an event, and happened.
    let is_meant = CATEGORIES.contains(&entry.category.as_str()) && level.hold > Duration::ZERO;
    is_meant.then(|| Held { reason: format!("{PREFIX}{}", cause.as_str()), until: Some(until) })
}
