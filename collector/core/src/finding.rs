//! What a rule asserts of one component, and what is remembered of a device to decide it.

mod series;

pub(crate) use series::shared_attributes;
pub use series::{History, SeriesMap};

use crate::quiet::Cause;
use firstline_model::{Attributes, Component, Presence, RuleCode, Severity, TicketId, Timestamp, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where a finding is between breach and recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The condition holds, but not yet for the hold time.
    Pending,
    /// It is a finding.
    Firing,
    /// Recovery holds, but not yet for the clear time.
    Clearing,
    /// It is over. Kept for recurrence and for windows.
    Cleared,
}

impl Phase {
    /// Every phase.
    pub const ALL: &'static [Self] = &[Self::Pending, Self::Firing, Self::Clearing, Self::Cleared];

    /// The phase as it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Clearing => "clearing",
            Self::Cleared => "cleared",
        }
    }
}

/// What a rule asserts of one component of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleCode,
    /// The component.
    pub component: Component,
    /// Where it is.
    pub phase: Phase,
    /// The worst level that holds (or held last).
    pub severity: Severity,
    /// When the condition of the present episode was first observed.
    pub since: Timestamp,
    /// When it began to fire.
    pub fired_at: Option<Timestamp>,
    /// For each level by index: since when its condition holds without a break; `None` when it does not. In
    /// powered-on time (see [`DeviceState::powered`]), so that a night asleep does not count as holding.
    pub level_since: Vec<Option<Timestamp>>,
    /// Since when recovery holds, in powered-on time.
    pub clear_since: Option<Timestamp>,
    /// When it was over.
    pub cleared_at: Option<Timestamp>,
    /// The value that decided, where the condition compares a number.
    pub value: Option<f64>,
    /// The level that it was compared with.
    pub threshold: Option<f64>,
    /// The metric, event or document that decided.
    pub metric: String,
    /// Why the finding makes no ticket, when it does not: `hidden by net.gateway`.
    pub suppressed: Option<String>,
    /// When that is looked at again, where it ends by the calendar.
    pub held_until: Option<Timestamp>,
    /// How many episodes there have been.
    pub episodes: u32,
    /// How it stands to the same fault on other devices.
    pub standing: Standing,
    /// When the newest of them began to fire, oldest first.
    pub recent_fires: Vec<Timestamp>,
}

/// What a finding's `suppressed` begins with when another rule's finding explains it.
const HIDDEN_BY: &str = "hidden by ";

impl Finding {
    /// What `suppressed` says when `rule` hides the finding.
    pub(crate) fn hidden_text(rule: &RuleCode) -> String {
        format!("{HIDDEN_BY}{rule}")
    }

    /// The rule whose finding hides this one, when one does.
    pub fn hidden_by(&self) -> Option<&str> {
        self.suppressed.as_deref()?.strip_prefix(HIDDEN_BY)
    }

    /// Whether it fires, recovering or not.
    pub const fn fires(&self) -> bool {
        match self.phase {
            Phase::Firing | Phase::Clearing => true,
            Phase::Pending | Phase::Cleared => false,
        }
    }
}

/// How a finding that fires stands to the same fault on other devices (see [`crate::fleet`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// It speaks for itself: it has a ticket of its own, or needs none.
    #[default]
    Own,
    /// It is compared with other devices until then, by the collector's clock, and has no ticket yet.
    Waiting(Timestamp),
    /// It has a ticket, which is a child of this one.
    Child(TicketId),
    /// It is a record of this ticket and has none of its own.
    Member(TicketId),
}

impl Standing {
    /// Whether its own tickets are not touched by what becomes of it.
    pub const fn is_silent(self) -> bool {
        match self {
            Self::Own | Self::Child(_) => false,
            Self::Waiting(_) | Self::Member(_) => true,
        }
    }
}

/// The newest sample of a series. Its attributes include the state attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct LatestSample {
    /// When it was observed.
    pub observed_at: Timestamp,
    /// The value.
    pub value: f64,
    /// All attributes of the newest sample.
    pub attributes: Attributes,
    /// How regularly samples arrive.
    pub rhythm: Rhythm,
    /// When it was observed first.
    pub first_at: Timestamp,
    history: Option<Box<History>>,
}

impl LatestSample {
    /// The first sample of a series.
    pub fn new(at: Timestamp, value: f64, attributes: Attributes, rhythm: Rhythm) -> Self {
        Self { observed_at: at, value, attributes, rhythm, first_at: at, history: None }
    }

    /// The same with what was remembered beside it.
    #[must_use]
    pub fn with_history(self, history: History) -> Self {
        let history = (history != History::NONE).then(|| Box::new(history));
        Self { history, ..self }
    }

    /// The same, of a series that was observed first at `at`.
    #[must_use]
    pub fn first_seen(self, at: Timestamp) -> Self {
        Self { first_at: at, ..self }
    }

    /// What is remembered beside it.
    pub fn history(&self) -> &History {
        static NONE: History = History::NONE;
        self.history.as_deref().unwrap_or(&NONE)
    }

    pub(crate) fn history_mut(&mut self) -> &mut History {
        self.history.get_or_insert_default()
    }

    /// Forgets what says nothing any more; keeps the room of what was there where more is to be expected.
    pub(crate) fn tidy(&mut self) {
        if self.history.as_deref().is_some_and(|history| *history == History::NONE) {
            self.history = None;
        }
    }

    /// Whether it could not be read when it was looked for last.
    pub fn is_unreadable(&self) -> bool {
        self.history().unavailable.as_ref().is_some_and(|(since, _)| *since >= self.observed_at)
    }
}

/// How regularly the samples of a series arrive, in powered-on time (see [`DeviceState::powered`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rhythm {
    /// When the newest sample was observed.
    pub powered_at: Timestamp,
    /// The usual time between two samples; zero while only one is known.
    pub spacing: Duration,
    /// Since when no gap was longer than [`Rhythm::tolerance`]. What happened before a gap proves nothing about it,
    /// so hold times begin here at the earliest.
    pub unbroken_since: Timestamp,
}

impl Rhythm {
    /// Samples may be this old and still speak for the present: three times the usual spacing, at least 3 minutes.
    /// It stands for the catalogue's "at least 80 % of the samples present".
    pub fn tolerance(&self) -> Duration {
        self.spacing.saturating_mul(3).max(Duration::from_secs(180))
    }

    /// Until when the newest sample speaks for the present.
    pub fn fresh_until(&self) -> Timestamp {
        self.powered_at.plus(self.tolerance())
    }
}

/// Names a series of one device: component, metric, and the attributes without the state attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The component.
    pub component: Component,
    /// The metric's or event's name.
    pub metric: Arc<str>,
    /// The attributes that name the series.
    pub attributes: Attributes,
}

/// A state document with its time.
#[derive(Debug, Clone, PartialEq)]
pub struct LatestState {
    /// When it was observed.
    pub observed_at: Timestamp,
    /// The document.
    pub document: Value,
    /// When values inside it last differed from those before, by path, where a rule asks for it; and its serial number.
    pub changed: BTreeMap<String, Timestamp>,
}

/// Everything that is remembered of a device to judge its next observation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceState {
    /// The newest sample of each series.
    pub samples: SeriesMap,
    /// The newest document by component and name.
    pub states: BTreeMap<(Component, String), LatestState>,
    /// Findings by rule and component.
    pub findings: BTreeMap<(RuleCode, Component), Box<Finding>>,
    /// Whether it is there.
    pub presence: Option<Presence>,
    /// When its presence last changed.
    pub presence_since: Option<Timestamp>,
    /// Time that it has spent powered off or asleep, as far as it told, up to `presence_since`. Hold times are
    /// measured in `observed time - this`.
    pub away: Duration,
    /// When anything was heard of it last. Known only while the collector runs: what came before says nothing about
    /// what is missing now.
    pub heard: Option<Timestamp>,
    /// When the next expected observation is overdue. As `heard`.
    pub overdue_at: Option<Timestamp>,
    /// Until when counters are not judged, because the device has just come back: waking up makes counters jump.
    pub quiet_until: Option<Timestamp>,
    /// When each finding that is not over was judged last: nothing becomes due before that. Not stored, because after a
    /// start looking once too often costs nothing.
    pub judged: BTreeMap<(RuleCode, Component), Timestamp>,
    /// Until when it is given time to settle, and after what.
    pub settling: Option<(Timestamp, Cause)>,
}

impl DeviceState {
    /// The device's powered-on clock at its time `at`: it stands still while the device is asleep or shut down.
    /// Only differences of such times mean anything.
    pub fn powered(&self, at: Timestamp) -> Timestamp {
        let awake_until = match (self.presence, self.presence_since) {
            (Some(presence), Some(since)) if !presence.is_powered_on() => at.min(since),
            (Some(_) | None, Some(_) | None) => at,
        };
        awake_until.minus(self.away)
    }

    /// The device's time at which its powered-on clock shows `powered`, if it stays powered on; `None` while it is
    /// away, because nobody knows when it comes back.
    pub fn wall(&self, powered: Timestamp) -> Option<Timestamp> {
        let away_now = self.presence.is_some_and(|presence| !presence.is_powered_on());
        if away_now && powered > self.powered(Timestamp::from_millis(i64::MAX)) {
            return None;
        }
        Some(powered.plus(self.away))
    }

    /// The findings of `after` that `self` does not have in the same form: what has to be saved.
    pub fn changed_findings<'a>(&self, after: &'a Self) -> Vec<&'a Finding> {
        after
            .findings
            .iter()
            .filter(|(key, finding)| self.findings.get(*key) != Some(*finding))
            .map(|(_, f)| f.as_ref())
            .collect()
    }
}
