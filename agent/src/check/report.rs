//! The report of `check` as text for a person and as JSON with the same content.

use firstline_agent_core::health::{Domain, Level, Line, worst};
use firstline_model::order;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The fields are a promise to scripts: they may be added to, never renamed.
pub(super) fn json(lines: &[Line]) -> Value {
    let level = worst(lines);
    let headline = headline(level, lines);
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "level": line.level.to_string(),
                "domain": line.domain.as_str(),
                "check": line.check,
                "component": line.component.as_ref().map(ToString::to_string),
                "text": line.text,
                "advice": line.advice,
            })
        })
        .collect();
    json!({ "health": level.to_string(), "headline": headline, "lines": lines })
}

pub(super) fn text(lines: &[Line], colours: bool) -> String {
    let mut text = format!("{}\n", headline(worst(lines), lines));
    let mut domain: Option<Domain> = None;
    let seen = lines.iter().filter(|line| line.level != Level::Unknown);
    for line in seen {
        if domain != Some(line.domain) {
            domain = Some(line.domain);
            let _ = write!(text, "\n{}\n", line.domain.title());
        }
        let _ = writeln!(text, "  {} {}", mark(line.level, colours), line.text);
        if !line.advice.is_empty() {
            let _ = writeln!(text, "  {:>7}    {}", "->", line.advice);
        }
    }
    unseen(&mut text, lines);
    text
}

/// What could not be seen, by what would help, so that one remedy of many gaps is said once.
fn unseen(text: &mut String, lines: &[Line]) {
    let unseen: Vec<&Line> = lines.iter().filter(|line| line.level == Level::Unknown).collect();
    if unseen.is_empty() {
        return;
    }
    text.push_str("\nWhat could not be seen, and why\n");
    let mut remedies: Vec<&str> = unseen.iter().map(|line| line.advice.as_str()).collect();
    order::sort_by_key(&mut remedies, |remedy| *remedy);
    remedies.dedup();
    // What can be helped comes first.
    order::sort_by_key(&mut remedies, |remedy| remedy.is_empty());
    for remedy in remedies {
        for line in unseen.iter().filter(|line| line.advice == remedy) {
            let _ = writeln!(text, "  {}", line.text);
        }
        if !remedy.is_empty() {
            let _ = writeln!(text, "      -> {remedy}");
        }
    }
}

fn headline(level: Level, lines: &[Line]) -> &'static str {
    let has_gaps = lines.iter().any(|line| line.level == Level::Unknown);
    match level {
        Level::Healthy if has_gaps => "Nothing is wrong in what could be seen.",
        Level::Healthy => "This machine is healthy.",
        Level::Note if has_gaps => "Nothing is wrong in what could be seen; something is worth knowing.",
        Level::Note => "This machine is healthy; something is worth knowing.",
        Level::Unknown => "Nothing could be seen.",
        Level::Warning => "This machine works, but something should be looked at.",
        Level::Problem => "Something is wrong with this machine.",
    }
}

fn mark(level: Level, colours: bool) -> String {
    let (text, colour) = match level {
        Level::Healthy => ("ok     ", "32"),
        Level::Unknown => ("unknown", "90"),
        Level::Note => ("note   ", "36"),
        Level::Warning => ("warning", "33"),
        Level::Problem => ("PROBLEM", "31"),
    };
    if colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}
