//! One newtype per kind of id, so that ids of different things cannot be confused.

use std::fmt;
use std::sync::Arc;

/// A text or number that cannot be the value it was offered as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// What was expected, as a noun: "device id".
    pub what: &'static str,
    /// Why the offered value is not one.
    pub why: String,
}

impl Invalid {
    /// Builds the refusal of one value.
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid {}: {}", self.what, self.why)
    }
}

impl std::error::Error for Invalid {}

/// The name of one managed machine, given at enrollment and carried in its certificate (a UUID there; replayed
/// traces may use any short name). 1 to 128 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(String);

impl DeviceId {
    /// Accepts `text` when it has the form above.
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        check_name("device id", &text, 128, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))?;
        Ok(Self(text))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The stable code of a knowledge entry, which is its check id: `fs.space`. 1 to 64 of `a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleCode(Arc<str>);

impl RuleCode {
    /// Accepts `text` when it has the form above.
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        check_name("rule code", &text, 64, |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
        })?;
        Ok(Self(text.into()))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A ticket's number in this desk, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TicketId(pub u64);

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The name of one life of a spool: random, made when numbering starts anew. Sequence numbers are only
/// comparable within one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub [u8; 16]);

impl Epoch {
    /// Reads an epoch from bytes that came from outside; exactly 16 are needed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        match <[u8; 16]>::try_from(bytes) {
            Ok(array) => Ok(Self(array)),
            Err(_) => Err(Invalid::new("epoch", format!("{} bytes instead of 16", bytes.len()))),
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The place of a record in its epoch: the first is 1, each next is one more, none is ever used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SequenceNumber(pub u64);

impl SequenceNumber {
    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn check_name(what: &'static str, text: &str, max: usize, allowed: fn(char) -> bool) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(what, "it is empty"));
    }
    if text.len() > max {
        return Err(Invalid::new(what, format!("{} characters, at most {max} are allowed", text.len())));
    }
    match text.chars().find(|&c| !allowed(c)) {
        Some(bad) => Err(Invalid::new(what, format!("the character {bad:?} is not allowed"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_refuse_path_and_markup_characters() {
        assert!(DeviceId::new("pc-017").is_ok());
        for bad in ["", "../x", "a b", "<b>", "é", &"x".repeat(129)] {
            assert!(DeviceId::new(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_epoch_needs_sixteen_bytes() {
        assert!(Epoch::from_bytes(&[7; 16]).is_ok());
        assert!(Epoch::from_bytes(&[7; 15]).is_err());
    }
}
