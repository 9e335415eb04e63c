//! A ticket as text for a terminal. Words in it come from devices, so nothing in it may reach the terminal as control
//! characters.

use serde_json::Value;
use std::fmt::Write;

use crate::service::printable;

/// Width at which long texts are broken.
const WIDTH: usize = 100;

/// Whether every test that was asked for has its answer.
pub(super) fn is_worked(ticket: &Value) -> bool {
    rows(ticket, "tested").iter().all(|test| !test["outcome"].is_null())
}

/// The worked ticket.
pub(super) fn worked(ticket: &Value) -> String {
    let mut text = String::new();
    let head = format!(
        "{} {}  {}  {}",
        word(ticket, "key"),
        word(ticket, "priority"),
        word(ticket, "state"),
        word(ticket, "title")
    );
    line(&mut text, "", &head);
    line(
        &mut text,
        "  ",
        &format!(
            "rule {}, {} {} on {}, first observed {}, opened {}",
            word(ticket, "rule"),
            word(&ticket["component"], "kind"),
            word(&ticket["component"], "id"),
            word(&ticket["device"], "hostname"),
            word(ticket, "first_observed_at"),
            word(ticket, "opened_at")
        ),
    );
    section(&mut text, "Symptom", [word(ticket, "summary"), word(ticket, "technical")]);
    let evidence = rows(ticket, "evidence")
        .iter()
        .map(|row| format!("{}: {}  ({})", word(row, "label"), word(row, "value"), word(row, "observed_at")));
    section(&mut text, "Evidence", evidence);
    let tested = rows(ticket, "tested").iter().map(|row| {
        let subject = word(row, "subject");
        let of = if subject.is_empty() { String::new() } else { format!(" of {subject}") };
        let outcome =
            if row["outcome"].is_null() { "no answer yet".to_owned() } else { word(row, "outcome") };
        format!("{}{of}: {outcome}. {}", word(row, "diagnostic"), word(row, "summary"))
    });
    section(&mut text, "Tested", tested);
    let ruled_out = rows(ticket, "ruled_out")
        .iter()
        .map(|row| format!("{}  Ruled out: {}", word(row, "cause"), word(row, "because")));
    section(&mut text, "Ruled out", ruled_out);
    let likely = word(ticket, "likely_cause");
    section(&mut text, "Likely cause", [if likely.is_empty() { "not known".to_owned() } else { likely }]);
    let steps = ticket["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let steps =
        steps.iter().enumerate().map(|(n, step)| format!("{}. {}", n + 1, step.as_str().unwrap_or_default()));
    section(&mut text, "Steps", steps);
    section(&mut text, "Article", Some(word(&ticket["article"], "title")));
    text
}

/// The history, a line each.
pub(super) fn timeline(entries: &[Value]) -> String {
    let mut text = String::new();
    for entry in entries {
        let said = format!("{:<10} {}: {}", word(entry, "kind"), word(entry, "actor"), word(entry, "text"));
        line(&mut text, "  ", &format!("{}  {said}", word(entry, "at")));
    }
    text
}

pub(super) fn word(value: &Value, key: &str) -> String {
    value[key].as_str().map(printable).unwrap_or_default()
}

pub(super) fn rows<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn section(text: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return;
    }
    line(text, "", title);
    for one in lines {
        line(text, "  ", &printable(&one));
    }
}

/// Adds a line, broken at words; what follows is indented further.
fn line(text: &mut String, indent: &str, content: &str) {
    let mut current = indent.to_owned();
    let mut is_empty = true;
    for word in content.split(' ') {
        if !is_empty && current.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{}", current.trim_end());
            current = format!("{indent}   ");
            is_empty = true;
        }
        if !is_empty {
            current.push(' ');
        }
        current.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(text, "{}", current.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ticket() -> Value {
        json!({
            "key": "INC-000001", "priority": "P2", "state": "new", "title": "Drive /mnt is 100 % full", "rule": "fs.space",
            "component": {"kind": "filesystem", "id": "/mnt\u{1b}[2J"}, "device": {"id": "d", "hostname": "pc-1"},
            "first_observed_at": "2026-01-05T08:55:00.000Z", "opened_at": "2026-01-05T08:55:05.000Z",
            "summary": "The drive is full.", "technical": "Measured.",
            "evidence": [{"label": "used", "value": "100 %", "metric": "m", "observed_at": "2026-01-05T08:55:00.000Z"}],
            "tested": [{"diagnostic": "largest_directories", "subject": "/mnt", "outcome": "ok", "summary": "One folder."},
                       {"diagnostic": "link", "subject": "", "outcome": null, "summary": null}],
            "ruled_out": [{"cause": "Deleted but open.", "because": "All folders could be read."}],
            "likely_cause": null, "steps": ["Look.", "Delete."], "article": {"title": "A drive is almost full", "url": null},
        })
    }

    #[test]
    fn every_part_of_a_worked_ticket_is_shown() {
        let text = worked(&ticket());
        for part in [
            "INC-000001 P2  new  Drive /mnt is 100 % full",
            "used: 100 %",
            "largest_directories of /mnt: ok. One folder.",
            "link: no answer yet.",
            "Ruled out: All folders could be read.",
            "not known",
            "2. Delete.",
            "A drive is almost full",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn a_devices_words_cannot_steer_the_terminal() {
        let text = worked(&ticket());
        assert!(text.contains("/mnt?[2J") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_ticket_is_worked_when_no_test_is_open() {
        let mut ticket = ticket();
        assert!(!is_worked(&ticket));
        ticket["tested"][1]["outcome"] = json!("problem");
        assert!(is_worked(&ticket));
        assert!(is_worked(&json!({})));
    }

    #[test]
    fn long_lines_are_broken_at_words() {
        let mut text = String::new();
        line(&mut text, "  ", &"word ".repeat(60));
        assert!(text.lines().count() > 2);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH && line.starts_with("  ")));
    }
}
