//! `[detect]`: the component, the levels with their hold and clear times, and what hides the finding.

use super::super::problem::{Place, Problems, advice};
use super::super::tree::{Item, Node, Table};
use super::condition::{CONDITION_KEYS, Reader, inheriting, level_over_base};
use firstline_collector_core::knowledge::{Condition, Dependency, Detection, Level};
use firstline_model::{ComponentKind, RuleCode, Severity};
use std::time::Duration;

/// The keys that may stand in a level, or straight under `[detect]` for every level: those of a condition, and its times.
pub(super) const LEVEL_KEYS: &[&str] = &{
    let mut keys = [""; CONDITION_KEYS.len() + 2];
    let mut at = 0;
    while at < CONDITION_KEYS.len() {
        keys[at] = CONDITION_KEYS[at];
        at += 1;
    }
    keys[at] = "for";
    keys[at + 1] = "clear";
    keys
};

/// The keys that stand only straight under `[detect]`.
pub(super) const DETECT_KEYS: &[&str] =
    &["component", "depends_on", "latched", "custom", "info", "warning", "critical"];

/// The keys of a table in `depends_on`.
pub(super) const DEPENDENCY_KEYS: &[&str] = &["rule", "same_component"];

/// Reads `[detect]`. `severity` is the head's, which an entry without levels needs.
pub(super) fn detection(
    detect: &Table,
    severity: Option<&Item>,
    problems: &mut Problems,
) -> Option<Detection> {
    let before = problems.count();
    let known: Vec<&str> = LEVEL_KEYS.iter().chain(DETECT_KEYS).copied().collect();
    detect.only("[detect]", &known, problems);
    let kinds = kinds(detect, problems);
    let reader = Reader { custom: detect.truth("custom", false, problems) };
    let levels = levels(detect, severity, reader, problems);
    let depends_on = dependencies(detect, problems);
    let latched = detect.truth("latched", false, problems);
    if problems.count() > before {
        return None;
    }
    let (component, also) = kinds?;
    Some(Detection { component, also, levels, depends_on, latched })
}

/// The kind of component, and those on which the same is found.
fn kinds(detect: &Table, problems: &mut Problems) -> Option<(ComponentKind, Vec<ComponentKind>)> {
    let Some(item) = detect.get("component") else {
        detect.required_text("[detect]", "component", problems);
        return None;
    };
    let texts = item.texts("component", problems)?;
    let found: Vec<ComponentKind> =
        texts.iter().filter_map(|text| component_kind(item, text, problems)).collect();
    let (first, also) = found.split_first().filter(|_| found.len() == texts.len())?;
    Some((*first, also.to_vec()))
}

/// One kind of component, else a problem.
pub(super) fn component_kind(item: &Item, text: &str, problems: &mut Problems) -> Option<ComponentKind> {
    let found = text.parse().ok();
    if found.is_none() {
        let kinds = ComponentKind::ALL.iter().map(|kind| kind.as_str());
        problems.add(&item.place, format!("{text:?} is not a kind of component"), advice(text, kinds));
    }
    found
}

/// The tables of one severity: `[detect.critical]`, or several `[[detect.critical]]` of which one is enough.
pub(super) fn tables_of(detect: &Table, severity: Severity) -> Vec<&Table> {
    let Some(item) = detect.get(severity.as_str()) else { return Vec::new() };
    item.items()
        .iter()
        .filter_map(|item| match &item.node {
            Node::Table(table) => Some(table),
            Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::List(_) => None,
        })
        .collect()
}

fn levels(detect: &Table, head: Option<&Item>, reader: Reader, problems: &mut Problems) -> Vec<Level> {
    let mut base = detect.clone();
    base.items.retain(|key, _| LEVEL_KEYS.contains(&key.as_str()));
    let named: Vec<(Severity, &Table)> = Severity::ALL
        .iter()
        .flat_map(|severity| tables_of(detect, *severity).into_iter().map(|table| (*severity, table)))
        .collect();
    if named.is_empty() {
        let Some(item) = head else {
            problems.add(
                &detect.place,
                "the entry has no `severity`",
                "add `severity = \"warning\"` at its head",
            );
            return Vec::new();
        };
        let severity = super::severity(item, problems);
        return severity
            .and_then(|severity| level(severity, &base, "[detect]", reader, problems))
            .into_iter()
            .collect();
    }
    if let Some(item) = head {
        let advice = "leave it out: each level is called by its severity";
        problems.add(&item.place, "`severity` stands beside levels", advice);
    }
    let mut levels = Vec::new();
    for (severity, table) in named {
        let what = format!("[detect.{severity}]");
        let known: Vec<&str> = LEVEL_KEYS.iter().copied().chain(["severity"]).collect();
        table.only(&what, &known, problems);
        let shown = match table.get("severity") {
            None => Some(severity),
            Some(item) => super::severity(item, problems),
        };
        let Some(shown) = shown else { continue };
        levels.extend(level(shown, &level_over_base(&base, table), &what, reader, problems));
    }
    levels.sort_by_key(|level| level.severity);
    levels
}

fn level(
    severity: Severity,
    table: &Table,
    what: &str,
    reader: Reader,
    problems: &mut Problems,
) -> Option<Level> {
    let before = problems.count();
    let when = reader.condition(table, what, problems);
    let hold = table.get("for").map_or(Some(Duration::ZERO), |item| item.duration("for", problems));
    let (clear, clear_hold) = match table.get("clear") {
        None => (None, hold),
        Some(item) => clear(item, table, reader, hold, problems),
    };
    if problems.count() > before {
        return None;
    }
    Some(Level { severity, when: when?, hold: hold?, clear, clear_hold: clear_hold? })
}

/// `clear = { below = 0.8, for = "15m" }`. With `for` alone, recovery is that the level's condition does not hold.
fn clear(
    item: &Item,
    level: &Table,
    reader: Reader,
    hold: Option<Duration>,
    problems: &mut Problems,
) -> (Option<Condition>, Option<Duration>) {
    let Some(table) = item.table("clear", problems) else { return (None, None) };
    let known: Vec<&str> = CONDITION_KEYS.iter().copied().chain(["for"]).collect();
    table.only("`clear`", &known, problems);
    let clear_hold = table.get("for").map_or(hold, |item| item.duration("for", problems));
    if !table.items.keys().any(|key| CONDITION_KEYS.contains(&key.as_str())) {
        return (None, clear_hold);
    }
    (reader.condition(&inheriting(level, table), "`clear`", problems), clear_hold)
}

fn dependencies(detect: &Table, problems: &mut Problems) -> Vec<Dependency> {
    let Some(item) = detect.get("depends_on") else { return Vec::new() };
    let mut found = Vec::new();
    for item in item.items() {
        let (text, same_component) = match &item.node {
            Node::Text(text) => (Some(text.clone()), false),
            Node::Table(table) => {
                table.only("`depends_on`", DEPENDENCY_KEYS, problems);
                let rule = table.required_text("the dependency", "rule", problems);
                (rule, table.truth("same_component", false, problems))
            }
            Node::Bool(_) | Node::Number(_) | Node::List(_) => {
                item.expected("depends_on", "a rule, or { rule = .., same_component = true }", problems);
                (None, false)
            }
        };
        let Some(text) = text else { continue };
        if let Some(rule) = super::rule_code(&text, &item.place, problems) {
            found.push(Dependency { rule, same_component });
        }
    }
    found
}

/// Where each rule is named on which the entry depends, for the check over the whole set.
pub(super) fn dependency_places(detect: &Table) -> Vec<(RuleCode, Place)> {
    let Some(item) = detect.get("depends_on") else { return Vec::new() };
    let rule = |item: &Item| match &item.node {
        Node::Text(text) => RuleCode::new(text.clone()).ok(),
        Node::Table(table) => match &table.get("rule")?.node {
            Node::Text(text) => RuleCode::new(text.clone()).ok(),
            Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Table(_) => None,
        },
        Node::Bool(_) | Node::Number(_) | Node::List(_) => None,
    };
    item.items().iter().filter_map(|item| Some((rule(item)?, item.place.clone()))).collect()
}
