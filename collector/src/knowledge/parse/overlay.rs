//! Overrides: the keys of an override laid over the `[detect]` of the entry that it changes.
//!
//! A key given straight under `[detect]` (or at the top of the file) holds for every level that has it; one given
//! in `[detect.critical]` only for that level. Whether the result makes sense is judged by reading it like any entry.

use super::super::problem::Problems;
use super::super::tree::{Item, Node, Table};
use super::detect::{LEVEL_KEYS, tables_of};
use firstline_model::Severity;

/// The comparisons of a `clear`: a new one replaces the old one, whichever it is.
const COMPARISONS: &[&str] = &["above", "below", "at_least_value", "at_most_value", "equals", "matches"];

/// The entry's `[detect]` with the override's keys laid over it.
pub(super) fn detect(base: &Table, document: &Table, code: &str, problems: &mut Problems) -> Table {
    let mut merged = base.clone();
    let top = Table {
        place: document.place.clone(),
        items: document
            .items
            .iter()
            .filter(|(key, _)| LEVEL_KEYS.contains(&key.as_str()))
            .map(|(key, item)| (key.clone(), item.clone()))
            .collect(),
    };
    let nested = document.get("detect").and_then(|item| item.table("detect", problems));
    for over in std::iter::once(&top).chain(nested) {
        over.only("[detect] of an override", &known(), problems);
        for (key, item) in &over.items {
            match Severity::ALL.iter().find(|severity| severity.as_str() == key) {
                Some(severity) => one_level(&mut merged, *severity, item, code, problems),
                None if LEVEL_KEYS.contains(&key.as_str()) => every_level(&mut merged, key, item),
                None => {
                    merged.items.insert(key.clone(), item.clone());
                }
            }
        }
    }
    merged
}

fn known() -> Vec<&'static str> {
    LEVEL_KEYS
        .iter()
        .copied()
        .chain(["depends_on", "latched", "custom", "info", "warning", "critical"])
        .collect()
}

fn every_level(merged: &mut Table, key: &str, item: &Item) {
    let in_base = merged.get(key).is_some();
    let mut found = in_base;
    for severity in Severity::ALL {
        for_each_table(merged, *severity, &mut |level| {
            if level.get(key).is_some() {
                found = true;
                put(level, key, item);
            }
        });
    }
    if in_base || !found {
        put(merged, key, item);
    }
}

fn one_level(merged: &mut Table, severity: Severity, item: &Item, code: &str, problems: &mut Problems) {
    let Some(over) = item.table(severity.as_str(), problems) else { return };
    if tables_of(merged, severity).is_empty() {
        let advice = "give the key straight under [detect]";
        problems.add(&item.place, format!("{code} has no level `{severity}`"), advice);
        return;
    }
    let base = merged.clone();
    for_each_table(merged, severity, &mut |level| {
        for (key, item) in &over.items {
            if let (None, Some(inherited)) = (level.get(key), base.get(key)) {
                level.items.insert(key.clone(), inherited.clone());
            }
            put(level, key, item);
        }
    });
}

/// Puts one value in place. The parts of `clear` are replaced one by one, so that a new time keeps the old level.
fn put(table: &mut Table, key: &str, item: &Item) {
    if let (Node::Table(new), Some(Item { node: Node::Table(old), .. }), "clear") =
        (&item.node, table.get(key), key)
    {
        let mut kept = old.clone();
        if new.items.keys().any(|key| COMPARISONS.contains(&key.as_str())) {
            kept.items.retain(|key, _| !COMPARISONS.contains(&key.as_str()));
        }
        let merged = Item { place: item.place.clone(), node: Node::Table(kept.overlaid(new)) };
        table.items.insert(key.to_owned(), merged);
        return;
    }
    table.items.insert(key.to_owned(), item.clone());
}

/// A new severity: that of a single level, or of every level.
pub(super) fn severity(detect: &mut Table, head: &mut Option<Item>, item: &Item) {
    if head.is_some() {
        *head = Some(item.clone());
        return;
    }
    for severity in Severity::ALL {
        for_each_table(detect, *severity, &mut |level| {
            level.items.insert("severity".to_owned(), item.clone());
        });
    }
}

fn for_each_table(detect: &mut Table, severity: Severity, change: &mut dyn FnMut(&mut Table)) {
    let Some(item) = detect.items.get_mut(severity.as_str()) else { return };
    match &mut item.node {
        Node::Table(table) => change(table),
        Node::List(items) => {
            for item in items {
                if let Node::Table(table) = &mut item.node {
                    change(table);
                }
            }
        }
        Node::Bool(_) | Node::Number(_) | Node::Text(_) => {}
    }
}
