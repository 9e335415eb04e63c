//! Where a probe puts what it saw. Bounds everything, because devices name their parts as they like.

use crate::ProbeError;
use firstline_model::{Attributes, Body, Component, Observation, Timestamp, UnavailableReason, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Collects the observations of one run.
#[derive(Debug)]
pub struct Sink {
    now: Timestamp,
    observations: Vec<Observation>,
    dropped: u64,
}

impl Sink {
    /// The most observations that one run may report; further ones are counted and dropped.
    pub const MAX_OBSERVATIONS: usize = 1000;
    /// The longest text of an attribute, of a detail and of a text in a document, in bytes.
    pub const MAX_TEXT_BYTES: usize = 1024;
    /// The most values that one document may hold, nested ones included.
    pub const MAX_DOCUMENT_VALUES: usize = 20_000;

    /// An empty sink whose observations carry `now`.
    pub const fn new(now: Timestamp) -> Self {
        Self { now, observations: Vec::new(), dropped: 0 }
    }

    /// Puts in a number. Values that are not finite are dropped and counted.
    pub fn sample(
        &mut self,
        component: &Component,
        metric: &'static str,
        attributes: Attributes,
        value: f64,
    ) {
        self.sample_at(self.now, component, metric, attributes, value);
    }

    /// Puts in a number that was so at another time than the run's, such as the zero before a counter's first count.
    pub fn sample_at(
        &mut self,
        at: Timestamp,
        component: &Component,
        metric: &'static str,
        attributes: Attributes,
        value: f64,
    ) {
        if !value.is_finite() {
            self.dropped += 1;
            return;
        }
        let attributes = bounded_attributes(attributes);
        self.push(at, component, Body::Sample { metric: Cow::Borrowed(metric), attributes, value });
    }

    /// Puts in a document; `document` is a map.
    pub fn state(&mut self, component: &Component, name: &'static str, document: Value) {
        let mut left = Self::MAX_DOCUMENT_VALUES;
        let document = self.bounded_value(document, 1, &mut left);
        self.push(self.now, component, Body::State { name: Cow::Borrowed(name), document });
    }

    /// Puts in a thing that happened.
    pub fn event(&mut self, component: &Component, name: &'static str, attributes: Attributes) {
        let attributes = bounded_attributes(attributes);
        self.push(self.now, component, Body::Event { name: Cow::Borrowed(name), attributes });
    }

    /// Puts in facts about the device as a whole (`os`, `model`, `subnet` ...); `facts` is a map.
    pub fn facts(&mut self, component: &Component, facts: Value) {
        let mut left = Self::MAX_DOCUMENT_VALUES;
        let facts = self.bounded_value(facts, 1, &mut left);
        self.push(self.now, component, Body::Facts(facts));
    }

    /// Puts in that `what` (a metric or a document) has no value now.
    pub fn unavailable(
        &mut self,
        component: &Component,
        what: &'static str,
        reason: UnavailableReason,
        detail: impl Into<String>,
    ) {
        let detail = bounded_text(detail.into());
        self.push(self.now, component, Body::Unavailable { what: Cow::Borrowed(what), reason, detail });
    }

    /// Puts in that reading `what` failed.
    pub fn failed(&mut self, component: &Component, what: &'static str, error: &ProbeError) {
        self.unavailable(component, what, error.reason(), error.detail());
    }

    /// What the run saw, and how much of it was dropped because of a bound.
    pub fn into_parts(self) -> (Vec<Observation>, u64) {
        (self.observations, self.dropped)
    }

    fn push(&mut self, at: Timestamp, component: &Component, body: Body) {
        if self.observations.len() >= Self::MAX_OBSERVATIONS {
            self.dropped += 1;
            return;
        }
        self.observations.push(Observation { component: component.clone(), observed_at: at, body });
    }

    fn bounded_value(&mut self, value: Value, depth: usize, left: &mut usize) -> Value {
        *left = left.saturating_sub(1);
        match value {
            Value::Text(text) => Value::Text(bounded_text(text)),
            Value::Number(number) if !number.is_finite() => {
                self.dropped += 1;
                Value::Text("not a number".to_owned())
            }
            Value::Bool(_) | Value::Number(_) => value,
            Value::List(items) => {
                let mut kept = Vec::new();
                for item in items {
                    if *left == 0 || depth >= Value::MAX_DEPTH {
                        self.dropped += 1;
                    } else {
                        kept.push(self.bounded_value(item, depth + 1, left));
                    }
                }
                Value::List(kept)
            }
            Value::Map(entries) => {
                let mut kept = BTreeMap::new();
                for (name, item) in entries {
                    if *left == 0 || depth >= Value::MAX_DEPTH {
                        self.dropped += 1;
                    } else {
                        let name = match name {
                            Cow::Borrowed(name) => Cow::Borrowed(name),
                            Cow::Owned(name) => Cow::Owned(bounded_text(name)),
                        };
                        kept.insert(name, self.bounded_value(item, depth + 1, left));
                    }
                }
                Value::Map(kept)
            }
        }
    }
}

fn bounded_attributes(attributes: Attributes) -> Attributes {
    if attributes.iter().all(|(_, value)| value.len() <= Sink::MAX_TEXT_BYTES) {
        return attributes;
    }
    attributes.iter().map(|(name, value)| (name.to_owned(), bounded_text(value.to_owned()))).collect()
}

/// Cuts a text at the last character that fits into the bound.
fn bounded_text(mut text: String) -> String {
    if text.len() > Sink::MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(Sink::MAX_TEXT_BYTES));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::ComponentKind;

    fn sink() -> (Sink, Component) {
        (Sink::new(Timestamp::from_millis(5)), Component::only(ComponentKind::Os))
    }

    #[test]
    fn the_thousandth_observation_is_kept_and_the_next_one_is_counted() {
        let (mut sink, os) = sink();
        for _ in 0..=Sink::MAX_OBSERVATIONS {
            sink.sample(&os, "m", Attributes::none(), 1.0);
        }
        let (observations, dropped) = sink.into_parts();
        assert_eq!((observations.len(), dropped), (Sink::MAX_OBSERVATIONS, 1));
    }

    #[test]
    fn numbers_that_are_not_finite_are_dropped_and_counted() {
        let (mut sink, os) = sink();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            sink.sample(&os, "m", Attributes::none(), value);
        }
        assert_eq!(sink.into_parts(), (Vec::new(), 3));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let (mut sink, os) = sink();
        let long = "é".repeat(Sink::MAX_TEXT_BYTES);
        sink.event(&os, "e", Attributes::none().with("line", format!("x{long}")));
        sink.state(&os, "s", Value::map([("t", Value::from(long))]));
        for observation in sink.into_parts().0 {
            let length = if let Body::Event { attributes, .. } = &observation.body {
                attributes.get("line").unwrap().len()
            } else if let Body::State { document, .. } = &observation.body {
                document.get("t").unwrap().as_text().unwrap().len()
            } else {
                panic!("unexpected {observation:?}")
            };
            assert!((Sink::MAX_TEXT_BYTES - 1..=Sink::MAX_TEXT_BYTES).contains(&length), "{length}");
        }
    }

    #[test]
    fn documents_deeper_than_the_bound_are_pruned() {
        let (mut sink, os) = sink();
        let deep = (0..20).fold(Value::Bool(true), |inner, _| Value::map([("in", inner)]));
        sink.state(&os, "s", deep);
        let (observations, dropped) = sink.into_parts();
        let Body::State { document, .. } = &observations[0].body else { panic!("no state") };
        let mut depth = 1;
        let mut at = document;
        while let Some(inner) = at.get("in") {
            depth += 1;
            at = inner;
        }
        assert_eq!((depth, dropped), (Value::MAX_DEPTH, 1));
    }
}
