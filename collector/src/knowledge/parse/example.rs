//! `[[example]]`: observations in, findings out.

use super::super::problem::{Place, Problems, advice};
use super::super::tree::{Item, Node, Table};
use super::condition::{Reader, one_of};
use firstline_collector_core::knowledge::{Example, ExpectedTransition};
use firstline_model::{
    Attributes, Body, Component, ComponentKind, Observation, Presence, Severity, Timestamp,
    UnavailableReason, Value,
};
use std::time::Duration;

/// The keys of an `[[example]]`.
pub(super) const EXAMPLE_KEYS: &[&str] = &["name", "component", "observations", "until", "expect"];
/// The keys of one of its observations.
pub(super) const OBSERVATION_KEYS: &[&str] = &[
    "t",
    "every",
    "to",
    "component",
    "peers",
    "metric",
    "event",
    "state",
    "unavailable",
    "presence",
    "attrs",
    "value",
    "doc",
    "reason",
];
/// The keys of what it expects.
pub(super) const EXPECT_KEYS: &[&str] = &["transition", "severity", "component"];
const TRANSITIONS: &[&str] = &["fired", "escalated", "cleared"];

/// An example is a few hours of one component, not a recording.
const MAX_OBSERVATIONS: usize = 5_000;

/// Reads every `[[example]]`, each with its place.
pub(super) fn examples(document: &Table, custom: bool, problems: &mut Problems) -> Vec<(Place, Example)> {
    let tables = document.tables("example", problems);
    tables
        .into_iter()
        .filter_map(|table| Some((table.place.clone(), example(table, Reader { custom }, problems)?)))
        .collect()
}

fn example(table: &Table, reader: Reader, problems: &mut Problems) -> Option<Example> {
    let before = problems.count();
    table.only("[[example]]", EXAMPLE_KEYS, problems);
    let name = table.required_text("the example", "name", problems);
    let component = table.get("component").and_then(|item| component(item, problems));
    let (mut observations, mut peers) = (Vec::new(), Vec::new());
    for inner in table.tables("observations", problems) {
        inner.only("an observation", OBSERVATION_KEYS, problems);
        match inner.get("peers") {
            None => {
                expand(inner, component.as_ref(), reader, None, &mut observations, problems);
            }
            Some(item) => said_by_peers(inner, item, component.as_ref(), reader, &mut peers, problems),
        }
        if observations.len() + peers.len() > MAX_OBSERVATIONS {
            let what = format!("the example has more than {MAX_OBSERVATIONS} observations");
            problems.add(&inner.place, what, "take a longer `every`");
            return None;
        }
    }
    observations.sort_by_key(|observation| observation.observed_at);
    peers.sort_by_key(|(_, observation): &(usize, Observation)| observation.observed_at);
    let until = table.get("until").and_then(|item| offset(item, "until", problems));
    if table.get("expect").is_none() {
        let advice = "write `expect = []` when nothing must happen";
        problems.add(&table.place, "the example expects nothing", advice);
    }
    let expect = table.tables("expect", problems).into_iter().filter_map(|e| expected(e, problems)).collect();
    if problems.count() > before {
        return None;
    }
    Some(Example { name: name?, observations, peers, until, expect })
}

fn offset(item: &Item, key: &str, problems: &mut Problems) -> Option<Timestamp> {
    item.duration(key, problems).map(|after| Timestamp::default().plus(after))
}

fn component(item: &Item, problems: &mut Problems) -> Option<Component> {
    let text = item.text("component", problems)?;
    match text.parse() {
        Ok(component) => Some(component),
        Err(invalid) => {
            let invalid: firstline_model::Invalid = invalid;
            problems.add(&item.place, invalid.to_string(), "write it like `filesystem//home`");
            None
        }
    }
}

/// The same observation of several other devices, or of each with a value of its own.
fn said_by_peers(
    table: &Table,
    item: &Item,
    default: Option<&Component>,
    reader: Reader,
    into: &mut Vec<(usize, Observation)>,
    problems: &mut Problems,
) {
    let values: Vec<Option<f64>> = match &item.node {
        Node::Number(count) if count.fract() == 0.0 && (1.0..=1000.0).contains(count) => {
            vec![None; *count as usize]
        }
        Node::List(items) => items.iter().map(|item| item.number("peers", problems)).collect(),
        Node::Number(_) | Node::Bool(_) | Node::Text(_) | Node::Table(_) => {
            let advice = "write `peers = 8`, or a list with a value for each";
            problems.add(&item.place, "`peers` does not say how many devices say it", advice);
            return;
        }
    };
    for (number, value) in values.into_iter().enumerate() {
        let mut said = Vec::new();
        if expand(table, default, reader, value, &mut said, problems).is_none() {
            return;
        }
        into.extend(said.into_iter().map(|observation| (number, observation)));
    }
}

/// One table is one observation, or with `every` and `to` a row of equal ones.
fn expand(
    table: &Table,
    default: Option<&Component>,
    reader: Reader,
    number: Option<f64>,
    into: &mut Vec<Observation>,
    problems: &mut Problems,
) -> Option<()> {
    let own = match table.get("component") {
        Some(item) => Some(component(item, problems)?),
        None => default.cloned(),
    };
    let body = body(table, reader, number, problems)?;
    let component = match (own, &body) {
        (Some(component), _) => component,
        (None, Body::Presence(_)) => Component::only(ComponentKind::Os),
        (None, _) => {
            let advice = "give `component` to the example or to the observation";
            problems.add(&table.place, "the observation is about no component", advice);
            return None;
        }
    };
    let first = match table.get("t") {
        Some(item) => offset(item, "t", problems)?,
        None => {
            problems.add(&table.place, "the observation has no `t`", "say when: `t = \"0s\"`");
            return None;
        }
    };
    let mut at = |observed_at| {
        into.push(Observation { component: component.clone(), observed_at, body: body.clone() });
    };
    match (table.get("every"), table.get("to")) {
        (None, None) => at(first),
        (Some(every), Some(to)) => {
            let (step, last) = (every.duration("every", problems)?, offset(to, "to", problems)?);
            if step == Duration::ZERO
                || last.since(first).as_millis() / step.as_millis() > MAX_OBSERVATIONS as u128
            {
                let what = format!("that is more than {MAX_OBSERVATIONS} observations");
                problems.add(&every.place, what, "take a longer `every`");
                return None;
            }
            let mut when = first;
            while when <= last {
                at(when);
                when = when.plus(step);
            }
        }
        (Some(item), None) | (None, Some(item)) => {
            problems.add(&item.place, "`every` and `to` go together", "give both, or neither");
        }
    }
    Some(())
}

fn body(table: &Table, reader: Reader, number: Option<f64>, problems: &mut Problems) -> Option<Body> {
    let kinds: Vec<(&str, &Item)> = ["metric", "event", "state", "unavailable", "presence"]
        .into_iter()
        .filter_map(|key| table.get(key).map(|item| (key, item)))
        .collect();
    let [(kind, item)] = kinds.as_slice() else {
        let advice = "give one of metric, event, state, unavailable, presence";
        problems.add(&table.place, "it is not clear what was observed", advice);
        return None;
    };
    let name = item.text(kind, problems)?.to_owned();
    match *kind {
        "metric" => {
            reader.known_metric(&name, &item.place, problems);
            let value = match (number, table.get("value")) {
                (Some(number), None) => number,
                (None, Some(value)) => value.number("value", problems)?,
                (Some(_), Some(item)) => {
                    problems.add(&item.place, "`value` and the values of `peers` stand together", "keep one");
                    return None;
                }
                (None, None) => {
                    problems.add(&table.place, "the sample has no `value`", "");
                    return None;
                }
            };
            Some(Body::Sample { metric: name.into(), attributes: attributes(table, problems)?, value })
        }
        "event" => Some(Body::Event { name: name.into(), attributes: attributes(table, problems)? }),
        "state" => {
            let Some(document) = table.get("doc") else {
                problems.add(&table.place, "the state has no `doc`", "");
                return None;
            };
            document.table("doc", problems)?;
            Some(Body::State { name: name.into(), document: value(document) })
        }
        "unavailable" => {
            let reason = table.text("reason", problems).unwrap_or_else(|| "not_permitted".to_owned());
            let known: Vec<&str> = UnavailableReason::ALL.iter().map(|reason| reason.as_str()).collect();
            if !one_of(&reason, "a reason", &known, &table.place, problems) {
                return None;
            }
            let reason = reason.parse().ok()?;
            Some(Body::Unavailable { what: name.into(), reason, detail: String::new() })
        }
        _ => {
            let presence: Option<Presence> = name.parse().ok();
            if presence.is_none() {
                let known = Presence::ALL.iter().map(|presence| presence.as_str());
                problems.add(&item.place, format!("{name:?} is not a presence"), advice(&name, known));
            }
            presence.map(Body::Presence)
        }
    }
}

fn attributes(table: &Table, problems: &mut Problems) -> Option<Attributes> {
    let Some(item) = table.get("attrs") else { return Some(Attributes::none()) };
    let mut found = Attributes::none();
    for (name, item) in item.table("attrs", problems)?.dotted(&|_| false) {
        let value = item.text(&name, problems)?.to_owned();
        found = found.with(name, value);
    }
    Some(found)
}

fn value(item: &Item) -> Value {
    match &item.node {
        Node::Bool(truth) => Value::Bool(*truth),
        Node::Number(number) => Value::Number(*number),
        Node::Text(text) => Value::Text(text.clone()),
        Node::List(items) => Value::List(items.iter().map(value).collect()),
        Node::Table(table) => Value::map(table.items.iter().map(|(key, item)| (key.clone(), value(item)))),
    }
}

fn expected(table: &Table, problems: &mut Problems) -> Option<ExpectedTransition> {
    table.only("`expect`", EXPECT_KEYS, problems);
    let transition = table.required_text("the expectation", "transition", problems)?;
    one_of(&transition, "a transition", TRANSITIONS, &table.place, problems);
    let severity: Option<Severity> = table.get("severity").and_then(|item| super::severity(item, problems));
    let component = table.get("component").and_then(|item| component(item, problems));
    Some(ExpectedTransition { transition, severity, component })
}
