//! What keeps a breach from becoming a ticket although nothing explains it: somebody said beforehand that this is no time
//! for tickets. Each breach that is held back is a finding like any other, with the reason and the time at which it is
//! looked at again; when it is still true then, it opens under the normal rules.
//!
//! A finding that comes and goes has to hold for longer each time ([`flapping`]); what a machine measures just after it came
//! back or was moved waits until it has settled ([`settle`]). The end of a window that covers many devices is spread over [`SPREAD`], each device at a moment of its own, so that
//! those of a thousand breaches that are still true do not arrive in one second.

pub(crate) mod flapping;
pub(crate) mod settle;
mod window;
mod zone;

pub use settle::Cause;
pub use window::{Days, When, Window};
pub use zone::Zone;

use crate::finding::{DeviceState, Finding};
use crate::knowledge::{DeviceTraits, KnowledgeEntry};
use firstline_model::{DeviceId, Presence, RuleCode, Timestamp};
use std::time::Duration;

/// The ends of windows are spread over this much.
pub const SPREAD: Duration = Duration::from_secs(300);
/// Windows that follow on each other are followed so far.
const MOST_IN_A_ROW: usize = 64;

/// All that holds breaches back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quiet {
    /// Maintenance windows.
    pub windows: Vec<Window>,
    /// Whether findings that come and go have to hold for longer each time.
    pub flapping: bool,
    /// Whether machines are given time to settle.
    pub settling: bool,
}

/// Why a breach opens nothing, and when it is looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// `maintenance: patch night`.
    pub reason: String,
    /// Until then; `None` when nobody can say.
    pub until: Option<Timestamp>,
}

impl Quiet {
    /// As a desk has it: no windows yet, everything else on.
    pub fn standard() -> Self {
        Self { windows: Vec::new(), flapping: true, settling: true }
    }

    /// Why a breach opens nothing at `at`, if this is no time for tickets.
    pub(crate) fn holds_back(
        &self,
        device: &DeviceTraits,
        entry: &KnowledgeEntry,
        state: &DeviceState,
        finding: &Finding,
        at: Timestamp,
    ) -> Option<Held> {
        let until = finding.held_until.filter(|_| finding.suppressed.as_deref().is_some_and(is_maintenance));
        self.maintenance(device, &finding.rule, at, until)
            .or_else(|| self.flapping.then(|| flapping::held(&finding.recent_fires, at)).flatten())
            .or_else(|| self.settling.then(|| settle::held(entry, state, finding, at)).flatten())
    }

    /// The window that a breach of this rule on this device falls into. One that was held back before, until the device's
    /// own moment after the end, stays so as long as that window is there.
    fn maintenance(
        &self,
        device: &DeviceTraits,
        rule: &RuleCode,
        at: Timestamp,
        held_until: Option<Timestamp>,
    ) -> Option<Held> {
        let late = share_of(&device.device);
        let just_before_the_end = |until: Timestamp| until.minus(late).minus(Duration::from_millis(1));
        let looks = [Some(at), held_until.filter(|until| *until > at).map(just_before_the_end)];
        let window = looks.into_iter().flatten().find_map(|look| self.active(device, rule, look))?;
        let until = self.end(device, rule, window.1)?.plus(late);
        Some(Held { reason: reason_of(window.0), until: Some(until) })
    }

    fn active(&self, device: &DeviceTraits, rule: &RuleCode, at: Timestamp) -> Option<(&Window, Timestamp)> {
        let meant = self.windows.iter().filter(|window| window.concerns(device, rule));
        // The one that lasts longest names the reason.
        meant.filter_map(|window| Some((window, window.until(at)?))).max_by_key(|(_, until)| *until)
    }

    /// The end of the windows that follow on each other, the first of which ends at `until`.
    fn end(&self, device: &DeviceTraits, rule: &RuleCode, until: Timestamp) -> Option<Timestamp> {
        let mut end = until;
        for _ in 0..MOST_IN_A_ROW {
            match self.active(device, rule, end) {
                Some((_, further)) => end = further,
                None => return Some(end),
            }
        }
        Some(end)
    }
}

/// The reason of what this window holds back.
pub fn reason_of(window: &Window) -> String {
    format!("{PREFIX}{}", window.name)
}

/// Why a breach of a device with this presence becomes no ticket; `None` when that is no reason.
pub fn away(presence: Presence) -> Option<&'static str> {
    match presence {
        Presence::Asleep => Some("asleep: the hold time stands still until the device is awake"),
        Presence::ShutDown => Some("off: the hold time stands still until the device is on"),
        Presence::Crashed => Some("off: the device stopped; the hold time stands still until it is on"),
        Presence::Online | Presence::OffNetwork | Presence::Retired => None,
    }
}

/// Why a breach of an entry that only explains others becomes no ticket.
pub const BELOW_IMPACT: &str = "below impact: this check explains others and opens no ticket of its own";

/// How reasons of maintenance begin.
const PREFIX: &str = "maintenance: ";

/// Whether a reason is one of these, and not another finding that explains the breach.
pub(crate) fn is_quiet(reason: &str) -> bool {
    [PREFIX, flapping::PREFIX, settle::PREFIX].iter().any(|prefix| reason.starts_with(prefix))
}

fn is_maintenance(reason: &str) -> bool {
    reason.starts_with(PREFIX)
}

/// The device's own moment within [`SPREAD`]: always the same for one, different for others (FNV-1a over its name).
fn share_of(device: &DeviceId) -> Duration {
    let hash = device.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let spread = u64::try_from(SPREAD.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis((hash >> 16) % spread)
}

#[cfg(test)]
mod tests;
