//! How bad a finding is, before impact is known.

use crate::Invalid;
use std::fmt;
use std::str::FromStr;

/// The severity that a knowledge entry gives to a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing, can wait.
    Info,
    /// Degraded, or a failure is coming.
    Warning,
    /// Work stops or data is at risk.
    Critical,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: &'static [Self] = &[Self::Info, Self::Warning, Self::Critical];

    /// The severity as it is written in knowledge entries and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .iter()
            .copied()
            .find(|severity| severity.as_str() == text)
            .ok_or_else(|| Invalid::new("severity", format!("{text:?} is not info, warning or critical")))
    }
}
