//! Fills the placeholders of an entry's texts. Plain substitution: what is filled in is never looked at again, and a
//! value from a device is bounded and cleaned first.

use super::DeskContext;
use crate::diagnosis::newest;
use crate::evaluate::Transition;
use crate::finding::{DeviceState, Finding};
use crate::knowledge::{KnowledgeEntry, Words};
use crate::present::{self, MAX_VALUE};
use crate::ticket::{Tested, Ticket};
use firstline_model::{Attributes, Component, RuleCode, Severity, Timestamp, Value};

/// The longest title, in characters.
const MAX_TITLE: usize = 300;
/// The longest other text.
const MAX_TEXT: usize = 4000;

/// What a ticket's texts speak about.
pub(super) struct Subject<'a> {
    pub(super) component: &'a Component,
    pub(super) severity: Severity,
    pub(super) since: Timestamp,
    pub(super) at: Timestamp,
    pub(super) metric: &'a str,
    pub(super) value: Option<f64>,
    pub(super) threshold: Option<f64>,
    pub(super) attributes: Attributes,
    hostname: &'a str,
    site: Option<&'a str>,
    state: &'a DeviceState,
    words: Option<&'a Words>,
}

impl<'a> Subject<'a> {
    pub(super) fn of_transition(context: &DeskContext<'a>, transition: &'a Transition) -> Self {
        Self {
            component: &transition.component,
            severity: transition.severity,
            since: transition.since,
            at: transition.at,
            metric: &transition.metric,
            value: transition.value,
            threshold: transition.threshold,
            attributes: transition.attributes.clone(),
            hostname: context.hostname,
            site: context.device.site.as_deref(),
            state: context.state,
            words: words_of(context, &transition.rule),
        }
    }

    pub(super) fn of_finding(context: &DeskContext<'a>, finding: &'a Finding) -> Self {
        let newest = context
            .state
            .samples
            .of(&finding.component, &finding.metric)
            // Of several series (the reasons of a printer) the one that decided has the value that decided.
            .max_by_key(|(_, sample)| (Some(sample.value) == finding.value, sample.observed_at));
        Self {
            component: &finding.component,
            severity: finding.severity,
            since: finding.since,
            at: finding.fired_at.unwrap_or(finding.since),
            metric: &finding.metric,
            value: finding.value,
            threshold: finding.threshold,
            attributes: newest.map(|(_, sample)| sample.attributes.clone()).unwrap_or_default(),
            hostname: context.hostname,
            site: context.device.site.as_deref(),
            state: context.state,
            words: words_of(context, &finding.rule),
        }
    }
}

fn words_of<'a>(context: &DeskContext<'a>, rule: &RuleCode) -> Option<&'a Words> {
    context.knowledge.entry_for(rule, context.device).map(|entry| &entry.words)
}

/// The ticket's one line.
pub(super) fn title(entry: &KnowledgeEntry, subject: &Subject<'_>) -> String {
    present::clean(&render(&entry.title, subject, &[]), MAX_TITLE)
}

/// Writes all texts of a ticket.
pub(super) fn fill(ticket: &mut Ticket, entry: &KnowledgeEntry, subject: &Subject<'_>) {
    let tested = std::mem::take(&mut ticket.tested);
    let text = |template: &str| present::clean_lines(&render(template, subject, &tested), MAX_TEXT);
    ticket.title = present::clean(&render(&entry.title, subject, &tested), MAX_TITLE);
    ticket.summary = text(&entry.explanation.person);
    ticket.technical = text(&entry.explanation.technician);
    ticket.steps = entry.steps.iter().map(|step| text(step)).collect();
    ticket.tested = tested;
}

/// Writes those texts anew that quote test results.
pub(super) fn fill_facts(ticket: &mut Ticket, entry: &KnowledgeEntry, subject: &Subject<'_>) {
    let texts = [&entry.title, &entry.explanation.person, &entry.explanation.technician];
    if texts.into_iter().chain(&entry.steps).any(|text| text.contains("{fact.")) {
        fill(ticket, entry, subject);
    }
}

/// Fills the placeholders of one text. One that is unknown, or has no value, is left out with the space before it; with the
/// label that ends in a colon before it, when there is one (`reasons: {doc.reasons};`).
pub(super) fn render(template: &str, subject: &Subject<'_>, tested: &[Tested]) -> String {
    filled(template, |name| lookup(name, subject, tested))
}

/// The same with whatever knows the values.
pub(crate) fn filled(template: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    // Where the template's own last bracket was opened.
    let mut opened = None;
    // Whether what comes next begins behind a label that was left out.
    let mut is_behind_label = false;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let label = label_at_end(before, std::mem::take(&mut is_behind_label));
        if before.trim_end_matches(' ').ends_with('(') {
            opened = Some(text.trim_end_matches(' ').len());
        }
        let Some((name, behind)) = after.split_once('}').filter(|(name, _)| is_name(name)) else {
            text.push('{');
            rest = after;
            continue;
        };
        match value_of(name).filter(|value| !value.is_empty()) {
            Some(value) => text.push_str(&value),
            None => {
                text.truncate(text.trim_end_matches(' ').len());
                if let Some(label) = label {
                    text.truncate(text.len() - label);
                    rest = behind_label(&mut text, behind);
                    is_behind_label = true;
                    continue;
                }
                // Brackets around nothing go too; those that a device wrote stay.
                if opened == Some(text.len()) && behind.starts_with(')') {
                    text.pop();
                    text.truncate(text.trim_end_matches(' ').len());
                    rest = &behind[1..];
                    continue;
                }
            }
        }
        rest = behind;
    }
    text.push_str(rest);
    text
}

/// How many bytes at the end of a template's own text are a label for what comes next, and the space before it.
fn label_at_end(own: &str, begins_here: bool) -> Option<usize> {
    let own = own.trim_end_matches(' ');
    let label = own.strip_suffix(':')?;
    let from = label.rfind([';', '.']).map_or(0, |at| at + 1);
    // At the beginning of the text, or of what follows another value, nothing says where the label begins.
    (from > 0 || begins_here).then(|| own.len() - from)
}

/// What is left of a template when a label and its value were left out: the mark that ended them goes too.
fn behind_label<'t>(text: &mut String, behind: &'t str) -> &'t str {
    if text.ends_with('.') {
        behind.strip_prefix([';', '.']).unwrap_or(behind)
    } else if behind.starts_with(['.', ';']) {
        text.truncate(text.trim_end_matches(';').len());
        behind
    } else {
        behind
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 128 && !name.contains(['{', ' ', '\n'])
}

fn lookup(name: &str, subject: &Subject<'_>, tested: &[Tested]) -> Option<String> {
    let clean = |text: &str| present::clean(text, MAX_VALUE);
    let number = |value: Option<f64>| value.map(|value| present::value(subject.metric, value));
    match name {
        "component" => Some(clean(&subject.component.to_string())),
        "component.id" => Some(clean(subject.component.id())),
        "component.kind" => Some(subject.component.kind.to_string()),
        "value" => number(subject.value),
        "value.percent" => subject.value.map(present::percent),
        "threshold" => number(subject.threshold),
        "threshold.percent" => subject.threshold.map(present::percent),
        "since" => Some(present::moment(subject.since)),
        "hostname" => Some(clean(subject.hostname)),
        "site" => subject.site.map(clean),
        other => {
            let (kind, path) = other.split_once('.')?;
            match kind {
                "attr" => subject.attributes.get(path).map(clean),
                "doc" => document(subject, path),
                "words" => {
                    let (attribute, usage) = path.rsplit_once('.')?;
                    let value = subject.attributes.get(attribute).unwrap_or_default();
                    subject.words?.get(attribute, value, usage).map(str::to_owned)
                }
                "fact" => {
                    let (diagnostic, key) = path.split_once('.')?;
                    within(&newest(diagnostic, tested)?.facts, key)
                        .map(|value| present::document(value, MAX_VALUE))
                }
                _ => None,
            }
        }
    }
}

/// The value under `key` of the newest document of the component that has it.
fn document(subject: &Subject<'_>, key: &str) -> Option<String> {
    let documents = subject.state.states.iter().filter(|((component, _), _)| component == subject.component);
    let newest = documents
        .filter_map(|(_, latest)| Some((latest.observed_at, within(&latest.document, key)?)))
        .max_by_key(|(observed_at, _)| *observed_at);
    newest.map(|(_, value)| present::document(value, MAX_VALUE))
}

/// A value under a key, or under keys joined by dots.
fn within<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    value.get(key).or_else(|| key.split('.').try_fold(value, |value, key| value.get(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_without_a_value_is_left_out_with_the_mark_that_ends_it() {
        let text = "Stopped since {since}. State: {state}; reasons: {reasons}; message: {message}.";
        let with = |known: &[(&str, &str)]| {
            filled(text, |name| {
                known.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let all = [("since", "8:55"), ("state", "idle"), ("reasons", "none"), ("message", "a: b; c.")];
        assert_eq!(with(&all), "Stopped since 8:55. State: idle; reasons: none; message: a: b; c..");
        assert_eq!(with(&all[..1]), "Stopped since 8:55.");
        assert_eq!(with(&all[..2]), "Stopped since 8:55. State: idle.");
        assert_eq!(with(&[all[0], all[3]]), "Stopped since 8:55. message: a: b; c..");
        assert_eq!(with(&[all[0], all[1], all[3]]), "Stopped since 8:55. State: idle; message: a: b; c..");
        // What a device wrote is never taken for a mark of the text's own.
        assert_eq!(with(&[("since", "8:55;"), ("state", "x:")]), "Stopped since 8:55;. State: x:.");
    }
}
