//! Conditions: a table of keys becomes a `Condition`. All parts of one table must hold together.

use super::super::problem::{Place, Problems, advice};
use super::super::tree::{Item, Node, Table};
use super::detect::component_kind;
use firstline_collector_core::knowledge::{Compare, Condition, SeriesMatch, TextMatch, Watched};
use firstline_model::semconv;

/// The keys that make a condition.
pub(super) const CONDITION_KEYS: &[&str] = &[
    "metric",
    "event",
    "state",
    "key",
    "where",
    "above",
    "below",
    "at_least_value",
    "at_most_value",
    "equals",
    "matches",
    "at_least",
    "increase",
    "rate",
    "share_of",
    "count",
    "within",
    "absent",
    "changed",
    "all",
    "any",
    "not",
    "known",
    "unless",
    "every_component",
    "any_component",
    "on",
];

/// The keys that hold conditions themselves.
const GROUP_KEYS: &[&str] =
    &["all", "any", "not", "known", "unless", "every_component", "any_component", "on"];

/// The keys that compare a number.
const COMPARE_KEYS: &[(&str, Compare)] = &[
    ("above", Compare::Above),
    ("below", Compare::Below),
    ("at_least_value", Compare::AtLeast),
    ("at_most_value", Compare::AtMost),
    ("equals", Compare::Equals),
];

/// What a table is about; the tables inside it need not repeat it.
const SUBJECT_KEYS: &[&str] = &["metric", "event", "state", "key", "where"];

/// The keys of what stands in the place of a text.
pub(super) const MATCH_KEYS: &[&str] = &["not", "starts_with"];

/// Conditions nest no deeper: more cannot be understood by the person who reads the ticket.
const MAX_DEPTH: usize = 5;

/// How conditions are read in one entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// Whether metrics that Firstline itself does not know are accepted.
    pub(super) custom: bool,
}

impl Reader {
    /// Reads the condition that `table` states. Keys that are not condition keys are the caller's.
    pub(super) fn condition(self, table: &Table, what: &str, problems: &mut Problems) -> Option<Condition> {
        self.nested(table, what, MAX_DEPTH, problems)
    }

    fn nested(self, table: &Table, what: &str, depth: usize, problems: &mut Problems) -> Option<Condition> {
        if depth == 0 {
            problems.add(&table.place, "conditions are nested too deep", "write two entries");
            return None;
        }
        let before = problems.count();
        let mut parts = Vec::new();
        let has_groups = GROUP_KEYS.iter().any(|key| table.get(key).is_some());
        parts.extend(self.own(table, what, has_groups, problems));
        for key in ["all", "any"] {
            let Some(item) = table.get(key) else { continue };
            let inner: Vec<Condition> = item
                .items()
                .iter()
                .filter_map(|item| self.inner(table, item, key, depth, problems))
                .collect();
            if inner.is_empty() && problems.count() == before {
                problems.add(&item.place, format!("`{key}` is empty"), "list at least one condition");
            }
            parts.push(if key == "all" { Condition::All(inner) } else { Condition::Any(inner) });
        }
        for key in ["not", "known", "unless", "every_component"] {
            let Some(item) = table.get(key) else { continue };
            let inner = Box::new(self.inner(table, item, key, depth, problems)?);
            parts.push(match key {
                "not" => Condition::Not(inner),
                "known" => Condition::Known(inner),
                "unless" => Condition::Not(Box::new(Condition::Known(inner))),
                _ => Condition::EveryComponent(inner),
            });
        }
        if let Some(item) = table.get("any_component") {
            parts.push(self.any_component(item, depth, problems)?);
        }
        if let Some(item) = table.get("on") {
            parts.push(Condition::On(text_match(item, "on", problems)?));
        }
        if problems.count() > before {
            return None;
        }
        match parts.len() {
            0 => {
                let advice = "give a metric with a comparison, an event, a state, or a group of conditions";
                problems.add(&table.place, format!("{what} states no condition"), advice);
                None
            }
            1 => parts.pop(),
            _ => Some(Condition::All(parts)),
        }
    }

    /// What holds on some component of another kind. It is about that one, so nothing is inherited.
    fn any_component(self, item: &Item, depth: usize, problems: &mut Problems) -> Option<Condition> {
        let table = item.table("any_component", problems)?;
        let known: Vec<&str> = CONDITION_KEYS.iter().copied().chain(["kind"]).collect();
        table.only("`any_component`", &known, problems);
        let kind = table.required_text("`any_component`", "kind", problems)?;
        let kind = component_kind(table.get("kind")?, &kind, problems)?;
        let part = Box::new(self.nested(table, "`any_component`", depth - 1, problems)?);
        Some(Condition::AnyComponent { kind, part })
    }

    /// A condition inside a group or `clear`: it is about what the outer table is about, unless it says else.
    fn inner(
        self,
        outer: &Table,
        item: &Item,
        key: &str,
        depth: usize,
        problems: &mut Problems,
    ) -> Option<Condition> {
        let table = item.table(key, problems)?;
        table.only(&format!("`{key}`"), CONDITION_KEYS, problems);
        self.nested(&inheriting(outer, table), &format!("`{key}`"), depth - 1, problems)
    }

    /// The condition that the table's own keys state, without its groups.
    fn own(self, table: &Table, what: &str, has_groups: bool, problems: &mut Problems) -> Option<Condition> {
        let subjects: Vec<&str> =
            ["metric", "event", "state"].into_iter().filter(|key| table.get(key).is_some()).collect();
        match subjects.as_slice() {
            [] => {
                let stray = CONDITION_KEYS
                    .iter()
                    .filter(|key| !GROUP_KEYS.contains(key))
                    .find_map(|key| table.get(key).map(|item| (*key, item)));
                if let Some((key, item)) = stray {
                    let what = format!("`{key}` in {what} belongs to nothing");
                    problems.add(&item.place, what, "name the metric, event or state that it is about");
                }
                None
            }
            ["metric"] => self.metric(table, has_groups, problems),
            ["event"] if has_groups && table.get("count").or(table.get("within")).is_none() => None,
            ["event"] => self.event(table, problems),
            ["state"] => state(table, has_groups, problems),
            several => {
                let what = format!("{what} is about {} at once", several.join(" and "));
                problems.add(&table.place, what, "write them as two tables in `all` or `any`");
                None
            }
        }
    }

    fn metric(self, table: &Table, has_groups: bool, problems: &mut Problems) -> Option<Condition> {
        refuse(table, &["key", "matches", "count"], "a metric", problems);
        let series = self.series(table, "metric", problems)?;
        if table.get("absent").or_else(|| table.get("changed")).is_some() {
            return expected(table, series, problems);
        }
        let counts = table.get("rate").or_else(|| table.get("increase")).is_some();
        if counts {
            let compare: Vec<&str> = COMPARE_KEYS.iter().map(|(key, _)| *key).chain(["share_of"]).collect();
            refuse(table, &compare, "a counter's increase", problems);
        }
        if let Some(item) = table.get("rate") {
            refuse(table, &["increase", "within", "at_least"], "`rate`", problems);
            let text = item.text("rate", problems)?;
            let parts = text.split_once(" per ").and_then(|(by, within)| {
                Some((by.trim().parse::<f64>().ok()?, super::super::tree::duration(within.trim())?))
            });
            let Some((by, within)) = parts else {
                problems.add(&item.place, format!("{text:?} is not a rate"), "write `rate = \"3 per 1h\"`");
                return None;
            };
            return Some(Condition::Increase { series, by, within });
        }
        if let Some(item) = table.get("increase") {
            refuse(table, &["at_least"], "`increase`", problems);
            let by = item.number("increase", problems)?;
            let within = within(table, "increase", &item.place, problems)?;
            return Some(Condition::Increase { series, by, within });
        }
        let compared: Vec<(&str, Compare, &Item)> = COMPARE_KEYS
            .iter()
            .filter_map(|(key, compare)| table.get(key).map(|item| (*key, *compare, item)))
            .collect();
        match compared.as_slice() {
            [] if has_groups => None,
            [] => {
                let advice =
                    "add above, below, at_least_value, at_most_value, equals, or increase with within";
                problems.add(&table.place, format!("{} is compared with nothing", series.metric), advice);
                None
            }
            [(key, compare, item)] if table.get("share_of").is_some() => {
                let level = item.number(key, problems)?;
                self.share_of(table, series, *compare, level, problems)
            }
            [(_, compare, Item { node: Node::Table(inner), .. })] => {
                refuse(table, &["within", "at_least"], "a comparison with a moving level", problems);
                self.moving(inner, series, *compare, problems)
            }
            [(key, compare, item)] => {
                refuse(table, &["within"], "a comparison", problems);
                let level = item.number(key, problems)?;
                let (at_least, of) = match table.get("at_least") {
                    None => (1, 1),
                    Some(item) => n_of_m(item, problems)?,
                };
                Some(Condition::Sample { series, compare: *compare, level, at_least, of })
            }
            [(one, ..), (other, _, item), ..] => {
                let what = format!("`{one}` and `{other}` stand together");
                problems.add(&item.place, what, "put the second one into `all`");
                None
            }
        }
    }

    fn event(self, table: &Table, problems: &mut Problems) -> Option<Condition> {
        let compare: Vec<&str> = COMPARE_KEYS.iter().map(|(key, _)| *key).collect();
        refuse(table, &compare, "an event", problems);
        refuse(table, &["key", "matches", "at_least", "increase", "rate", "share_of"], "an event", problems);
        let series = self.series(table, "event", problems)?;
        if table.get("absent").is_some() {
            refuse(table, &["count", "within", "changed"], "`absent`", problems);
            return expected(table, series, problems);
        }
        refuse(table, &["changed"], "an event", problems);
        let count = match table.get("count") {
            None => 1,
            Some(item) => whole(item, "count", problems)?,
        };
        let within = within(table, "event", &table.place, problems)?;
        Some(Condition::Event { series, count, within })
    }

    pub(super) fn series(self, table: &Table, key: &str, problems: &mut Problems) -> Option<SeriesMatch> {
        let item = table.get(key)?;
        let metric = item.text(key, problems)?.to_owned();
        self.known_metric(&metric, &item.place, problems);
        Some(SeriesMatch { metric, attributes: attributes(table, problems)? })
    }

    /// Refuses a metric that nothing reports, unless the entry says that something does.
    pub(super) fn known_metric(self, name: &str, place: &Place, problems: &mut Problems) {
        if !self.custom && semconv::metric(name).is_none() {
            let near = super::super::problem::nearest(name, semconv::METRICS.iter().map(|m| m.name));
            let advice = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "set `custom = true` in [detect] if another program reports it".to_owned(),
            };
            problems.add(place, format!("the metric `{name}` is not known"), advice);
        }
    }
}

/// `inner` with the subject of `outer`, where it has none of its own.
pub(super) fn inheriting(outer: &Table, inner: &Table) -> Table {
    let own = ["metric", "event", "state"].iter().any(|key| inner.get(key).is_some());
    if own {
        return inner.clone();
    }
    let mut merged = inner.clone();
    for key in SUBJECT_KEYS {
        if let (None, Some(item)) = (inner.get(key), outer.get(key)) {
            merged.items.insert((*key).to_owned(), item.clone());
        }
    }
    merged
}

/// A level's table with what stands straight under `[detect]` beneath it.
pub(super) fn level_over_base(base: &Table, level: &Table) -> Table {
    let own = ["metric", "event", "state"].iter().any(|key| level.get(key).is_some());
    let mut beneath = base.clone();
    if own {
        beneath.items.retain(|key, _| !SUBJECT_KEYS.contains(&key.as_str()));
    }
    let mut merged = beneath.overlaid(level);
    merged.place = level.place.clone();
    merged
}

fn state(table: &Table, has_groups: bool, problems: &mut Problems) -> Option<Condition> {
    refuse(
        table,
        &[
            "where",
            "above",
            "below",
            "at_least_value",
            "at_most_value",
            "at_least",
            "increase",
            "rate",
            "share_of",
            "count",
            "within",
            "absent",
        ],
        "a state document",
        problems,
    );
    let name = table.text("state", problems)?;
    if let Some(item) = table.get("changed") {
        refuse(table, &["equals", "matches"], "`changed`", problems);
        let within = item.duration("changed", problems)?;
        let Some(key) = table.get("key") else {
            let advice = "add `key`: what inside the document is not to change";
            problems.add(&item.place, format!("the document `{name}` is not looked into"), advice);
            return None;
        };
        let path = key.text("key", problems)?.to_owned();
        return Some(Condition::Changed { what: Watched::Document { name, path }, within });
    }
    let (value, named) = match (table.get("equals"), table.get("matches")) {
        (Some(item), None) => (item, "equals"),
        (None, Some(item)) => (item, "matches"),
        (Some(_), Some(item)) => {
            problems.add(&item.place, "`equals` and `matches` stand together", "keep one of them");
            return None;
        }
        (None, None) if has_groups => return None,
        (None, None) => {
            let advice = "add `key = \"printer_state\"` and `equals = \"stopped\"`";
            problems.add(&table.place, format!("the document `{name}` is compared with nothing"), advice);
            return None;
        }
    };
    let matches = match &value.node {
        Node::Bool(truth) => TextMatch::OneOf(vec![truth.to_string()]),
        Node::Number(number) => TextMatch::OneOf(vec![number.to_string()]),
        Node::Text(_) | Node::List(_) | Node::Table(_) => text_match(value, named, problems)?,
    };
    let Some(key) = table.get("key") else {
        let advice = "add `key`, with dots between the keys of nested tables";
        problems.add(&table.place, format!("the document `{name}` is not looked into"), advice);
        return None;
    };
    let path = key.text("key", problems)?.split('.').map(str::to_owned).collect();
    Some(Condition::State { name, path, matches })
}

/// `absent = "30m"` or `changed = "24h"` beside a series.
fn expected(table: &Table, series: SeriesMatch, problems: &mut Problems) -> Option<Condition> {
    let others: Vec<&str> = COMPARE_KEYS
        .iter()
        .map(|(key, _)| *key)
        .chain(["at_least", "increase", "rate", "share_of", "within"])
        .collect();
    refuse(table, &others, "`absent` and `changed`", problems);
    match (table.get("absent"), table.get("changed")) {
        (Some(item), None) => {
            let after = item.duration("absent", problems)?;
            if after.is_zero() {
                problems.add(&item.place, "`absent` is no time at all", "say after how long it is missed");
                return None;
            }
            Some(Condition::Absent { series, after })
        }
        (None, Some(item)) => {
            let within = item.duration("changed", problems)?;
            Some(Condition::Changed { what: Watched::Series(series), within })
        }
        (Some(_), Some(item)) => {
            problems.add(&item.place, "`absent` and `changed` stand together", "keep one of them");
            None
        }
        (None, None) => None,
    }
}

/// The attributes of `where`.
fn attributes(table: &Table, problems: &mut Problems) -> Option<Vec<(String, TextMatch)>> {
    let Some(item) = table.get("where") else { return Some(Vec::new()) };
    let inner = item.table("where", problems)?;
    let mut found = Vec::new();
    for (name, item) in inner.dotted(&is_text_match) {
        let matches = text_match(item, &name, problems)?;
        found.push((name, matches));
    }
    Some(found)
}

fn is_text_match(table: &Table) -> bool {
    table.get("not").is_some() || table.get("starts_with").is_some()
}

/// `"x"`, `["x", "y"]`, `{ not = ["x"] }` or `{ starts_with = "x" }`.
pub(super) fn text_match(item: &Item, key: &str, problems: &mut Problems) -> Option<TextMatch> {
    let Node::Table(table) = &item.node else {
        return item.texts(key, problems).map(TextMatch::OneOf);
    };
    table.only(&format!("`{key}`"), MATCH_KEYS, problems);
    match (table.get("not"), table.get("starts_with")) {
        (Some(item), None) => item.texts("not", problems).map(TextMatch::NoneOf),
        (None, Some(item)) => item.texts("starts_with", problems).map(TextMatch::StartsWith),
        (None, None) | (Some(_), Some(_)) => {
            let advice = "write a text, a list of texts, { not = [..] } or { starts_with = [..] }";
            problems.add(&item.place, format!("`{key}` matches nothing"), advice);
            None
        }
    }
}

/// The comparison that a fact's table states, with its key.
pub(super) fn comparison(table: &Table) -> Option<(&'static str, Compare, &Item)> {
    COMPARE_KEYS.iter().find_map(|(key, compare)| table.get(key).map(|item| (*key, *compare, item)))
}

pub(super) fn refuse(table: &Table, keys: &[&str], with: &str, problems: &mut Problems) {
    for key in keys {
        if let Some(item) = table.get(key) {
            problems.add(&item.place, format!("`{key}` does not go with {with}"), "");
        }
    }
}

pub(super) fn within(
    table: &Table,
    key: &str,
    place: &Place,
    problems: &mut Problems,
) -> Option<std::time::Duration> {
    match table.get("within") {
        Some(item) => item.duration("within", problems),
        None => {
            problems.add(place, format!("`{key}` has no `within`"), "add `within = \"1h\"`");
            None
        }
    }
}

pub(super) fn whole(item: &Item, key: &str, problems: &mut Problems) -> Option<u32> {
    let number = item.number(key, problems)?;
    if number.fract() == 0.0 && (1.0..=10_000.0).contains(&number) {
        return Some(number as u32);
    }
    problems.add(&item.place, format!("`{key}` is {number}"), "write a whole number from 1 to 10000");
    None
}

/// `"3 of 4"`.
fn n_of_m(item: &Item, problems: &mut Problems) -> Option<(u32, u32)> {
    let text = item.text("at_least", problems)?;
    let parts = text
        .split_once(" of ")
        .and_then(|(n, m)| Some((n.trim().parse::<u32>().ok()?, m.trim().parse::<u32>().ok()?)))
        .filter(|(n, m)| (1..=*m).contains(n) && *m <= 60);
    if parts.is_none() {
        let advice = "write `at_least = \"3 of 4\"`, with at most 60 samples";
        problems.add(&item.place, format!("{text:?} does not say how many of how many samples"), advice);
    }
    parts
}

/// Refuses a word that is none of `known`.
pub(super) fn one_of(text: &str, what: &str, known: &[&str], place: &Place, problems: &mut Problems) -> bool {
    let found = known.contains(&text);
    if !found {
        problems.add(place, format!("{text:?} is not {what}"), advice(text, known.iter().copied()));
    }
    found
}
