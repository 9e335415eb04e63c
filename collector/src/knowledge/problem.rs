//! What is wrong with a knowledge file: where, what, and what to do about it.

use std::fmt;
use std::sync::Arc;

/// A line of a knowledge file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The file's name without its folder, such as `fs.space.toml`.
    pub(crate) file: Arc<str>,
    /// The line, counted from 1; zero when the file could not be read at all.
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// One reason why a set of knowledge files is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// Where it is.
    pub(crate) place: Place,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it; empty when `what` leaves no doubt.
    pub(crate) advice: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

/// All that is wrong, collected so that an author sees everything at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes one problem.
    pub(crate) fn add(&mut self, place: &Place, what: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Problem { place: place.clone(), what: what.into(), advice: advice.into() });
    }

    /// How many there are so far: a reader compares before and after to know whether its own part is sound.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The problems in order of file and line, each once.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}

/// The one of `known` that was probably meant by `text`, when one is near enough.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|(far, _)| *far <= allowed)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// The advice that goes with an unknown word: the nearest known one, else all of them when they are few.
pub(crate) fn advice<'a>(text: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(text, known.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => {
            let all: Vec<&str> = known.into_iter().collect();
            if all.len() > 30 { String::new() } else { format!("known are {}", all.join(", ")) }
        }
    }
}

/// Levenshtein's distance, in characters.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word_that_was_meant() {
        let known = ["above", "below", "equals"];
        assert_eq!(nearest("abov", known), Some("above"));
        assert_eq!(nearest("bellow", known), Some("below"));
        assert_eq!(nearest("frequency", known), None);
    }
}
