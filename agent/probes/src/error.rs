//! Why a probe could not read something. Every failure ends as an unavailable observation with one of five reasons.

use firstline_model::UnavailableReason;
use std::io;
use std::path::Path;

/// A value that could not be read. The text says what was tried, for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// This operating system or hardware does not offer it.
    #[error("not offered here: {0}")]
    Unsupported(String),
    /// The part does not exist in this machine.
    #[error("not present: {0}")]
    NotPresent(String),
    /// The agent lacks the right to read it.
    #[error("not permitted: {0}")]
    NotPermitted(String),
    /// The source did not answer in time.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// The source answered something that makes no sense.
    #[error("makes no sense: {0}")]
    Malformed(String),
}

impl ProbeError {
    /// The failure of an operation on a file, with the operating system's reason.
    pub fn from_io(path: &Path, error: &io::Error) -> Self {
        let detail = format!("{}: {error}", path.display());
        let kind = error.kind();
        if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            Self::NotPresent(detail)
        } else if kind == io::ErrorKind::PermissionDenied || kind == io::ErrorKind::ReadOnlyFilesystem {
            Self::NotPermitted(detail)
        } else if matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
            Self::TimedOut(detail)
        } else if kind == io::ErrorKind::Unsupported {
            Self::Unsupported(detail)
        } else {
            Self::Malformed(detail)
        }
    }

    /// The reason that the observation carries.
    pub const fn reason(&self) -> UnavailableReason {
        match self {
            Self::Unsupported(_) => UnavailableReason::Unsupported,
            Self::NotPresent(_) => UnavailableReason::NotPresent,
            Self::NotPermitted(_) => UnavailableReason::NotPermitted,
            Self::TimedOut(_) => UnavailableReason::TimedOut,
            Self::Malformed(_) => UnavailableReason::Malformed,
        }
    }

    /// The detail that the observation carries.
    pub fn detail(&self) -> &str {
        match self {
            Self::Unsupported(text)
            | Self::NotPresent(text)
            | Self::NotPermitted(text)
            | Self::TimedOut(text)
            | Self::Malformed(text) => text,
        }
    }
}
