//! What a probe reports.

use crate::{Attributes, Component, DiagnosticReport, Epoch, Invalid, Presence, Timestamp, Value};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// One thing that a device reported at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The part it is about.
    pub component: Component,
    /// When it was so, by the device's clock.
    pub observed_at: Timestamp,
    /// What was seen.
    pub body: Body,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A number. Unit and meaning follow from the metric's name (see [`crate::semconv`]).
    Sample {
        /// The metric.
        metric: Cow<'static, str>,
        /// Tells several samples of one metric and component apart.
        attributes: Attributes,
        /// The number; never NaN.
        value: f64,
    },
    /// A keyed document: inventory, the state of a printer.
    State {
        /// What the document describes: `printer`, `os`, `software`.
        name: Cow<'static, str>,
        /// The document; a map.
        document: Value,
    },
    /// A thing that happened: a bugcheck, a process killed for memory.
    Event {
        /// The event's name, which is the metric's name in the catalogue.
        name: Cow<'static, str>,
        /// What is known of it.
        attributes: Attributes,
    },
    /// The operating system gave no value. Never a fault and never a recovery.
    Unavailable {
        /// The metric or document that could not be read.
        what: Cow<'static, str>,
        /// Why not.
        reason: UnavailableReason,
        /// The detail for a person, such as the path that could not be opened.
        detail: String,
    },
    /// The device went to sleep, came back, is about to shut down.
    Presence(Presence),
    /// The result of a diagnostic that the collector asked for.
    Diagnostic(DiagnosticReport),
    /// Facts about the device as a whole that changed: hostname, model, addresses. Same keys as a trace's `facts`.
    Facts(Value),
    /// Records that the agent had to give up, so that nothing is missing without being counted.
    Gap {
        /// The epoch.
        epoch: Epoch,
        /// The first missing sequence number.
        first: u64,
        /// The last missing sequence number.
        last: u64,
        /// Why: `quota`, `corrupt` or `retention`.
        reason: Cow<'static, str>,
    },
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnavailableReason {
    /// The agent lacks the right to read it.
    NotPermitted,
    /// This operating system or hardware does not offer it.
    Unsupported,
    /// The part does not exist in this machine.
    NotPresent,
    /// The source did not answer in time.
    TimedOut,
    /// The source answered something that makes no sense.
    Malformed,
}

impl UnavailableReason {
    /// Every reason.
    pub const ALL: &'static [Self] =
        &[Self::NotPermitted, Self::Unsupported, Self::NotPresent, Self::TimedOut, Self::Malformed];

    /// The reason as it is written in JSON and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotPermitted => "not_permitted",
            Self::Unsupported => "unsupported",
            Self::NotPresent => "not_present",
            Self::TimedOut => "timed_out",
            Self::Malformed => "malformed",
        }
    }
}

impl fmt::Display for UnavailableReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UnavailableReason {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| Invalid::new("reason", format!("{text:?} is not a known reason")))
    }
}
