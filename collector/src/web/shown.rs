//! Text from devices and people on its way to a page: bounded, without characters that deceive the reader.
//!
//! Markup is escaped by the templates. What remains dangerous in plain text is done here: control characters,
//! characters that turn the direction of writing around, and sheer length.

use firstline_model::deceptive::is_deceptive;
use std::fmt;

/// Text that may stand on a page. Templates show device-supplied text only through this type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shown(String);

impl Shown {
    /// No field of a page is longer than this.
    const MAX_CHARACTERS: usize = 2_000;

    /// One line: breaks become spaces.
    pub(super) fn line(text: &str) -> Self {
        Self::build(text, |character| match character {
            '\n' | '\r' | '\t' => ' ',
            other => visible(other),
        })
    }

    /// Several lines: breaks stay.
    pub(super) fn lines(text: &str) -> Self {
        Self::build(text, |character| if character == '\n' { '\n' } else { visible(character) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn build(text: &str, map: impl Fn(char) -> char) -> Self {
        let mut shown: String = text.chars().take(Self::MAX_CHARACTERS).map(map).collect();
        if text.chars().nth(Self::MAX_CHARACTERS).is_some() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The character, or the replacement character for one that is invisible or turns text around.
fn visible(character: char) -> char {
    if is_deceptive(character) { '\u{FFFD}' } else { character }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_deceive_are_made_visible() {
        assert_eq!(Shown::line("a\u{202E}b\0c\u{1b}[31m\nd").0, "a\u{FFFD}b\u{FFFD}c\u{FFFD}[31m d");
        assert_eq!(Shown::lines("one\ntwo").0, "one\ntwo");
        assert_eq!(Shown::line(&"x".repeat(5_000)).0.chars().count(), 2_001);
    }
}
