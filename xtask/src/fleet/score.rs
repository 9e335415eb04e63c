//! Judges what a replay said by what was really wrong: the truth and the output of `replay --json` are all it knows.
//!
//! - A fault is found when a ticket about one of its rules, on one of its devices and (where the truth names one) its
//!   component, is open at some time between its beginning and shortly after its end, and was not open before; or when
//!   the Problem of its shared cause is opened.
//! - A ticket that no fault explains is false. One that a fault explains by a rule that may speak of it as well is
//!   `beside`: not false, but one ticket too many. A device's own ticket about a shared fault that has no parent is
//!   `ungrouped`.
//! - A Problem that names no planted shared cause, or names the wrong part, is a false parent.
//! - The delay is counted from the moment at which the condition had held for the hold time, in powered-on time.

mod matching;
mod report;

pub(crate) use report::Score;

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;

use super::clock;
use super::truth::Truths;

/// A fault that is over may still be noticed for so long: what was observed before is on its way.
const AFTERWARDS: f64 = 900.0;
/// What a fault leaves behind (counted errors, damaged records) may be spoken of for a day.
const TRACES: f64 = 86_400.0;

/// A ticket as the output tells it.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    /// When it was opened or reopened, each time.
    opened: Vec<f64>,
    is_problem: bool,
    device: String,
    rule: String,
    component: String,
    likely_cause: String,
    parent: Option<u64>,
}

/// Reads the output line by line.
#[derive(Debug)]
pub(crate) struct Scorer {
    truths: Truths,
    tickets: BTreeMap<u64, Told>,
    /// Breaches that a parent stands for: parent, device, rule.
    stood_for: Vec<(u64, String, String)>,
}

impl Scorer {
    pub(crate) fn new(truths: Truths) -> Self {
        Self { truths, tickets: BTreeMap::new(), stood_for: Vec::new() }
    }

    pub(crate) fn take(&mut self, line: &str) -> Result<()> {
        let line: Value =
            serde_json::from_str(line).with_context(|| format!("not a line of JSON: {line}"))?;
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        if line.get("suppressed").is_some() {
            if let Some(parent) = line["parent"].as_u64() {
                self.stood_for.push((parent, text("device"), text("rule")));
            }
            return Ok(());
        }
        let (Some(id), Some(at)) = (line["ticket"].as_u64(), line["t"].as_str().and_then(clock::parse))
        else {
            return Ok(());
        };
        let told = self.tickets.entry(id).or_insert_with(|| Told {
            opened: Vec::new(),
            is_problem: line["kind"] == "problem",
            device: text("device"),
            rule: text("rule"),
            component: text("component"),
            likely_cause: String::new(),
            parent: None,
        });
        if matches!(line["transition"].as_str(), Some("opened" | "reopened")) {
            told.opened.push(at);
        }
        if let Some(cause) = line["likely_cause"].as_str() {
            told.likely_cause = cause.to_lowercase();
        }
        if let Some(parent) = line["parent"].as_u64() {
            told.parent = Some(parent);
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Score {
        matching::judge(&self.truths, &self.tickets, &self.stood_for)
    }
}

#[cfg(test)]
mod tests;
