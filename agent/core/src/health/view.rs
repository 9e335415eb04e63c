//! What the judging files ask of a reading: the latest value of each series, documents, events, and how much a counter
//! grew between two looks.

use super::{Domain, Level, Line, Reading};
use firstline_model::{
    Attributes, Body, Component, ComponentKind, Observation, Timestamp, UnavailableReason, Value,
};
use std::collections::BTreeMap;

/// A number with what it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample<'a> {
    pub component: &'a Component,
    pub attributes: &'a Attributes,
    pub value: f64,
    at: Timestamp,
}

impl<'a> Sample<'a> {
    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes.get(name)
    }

    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.attributes.get(name) == Some(value)
    }

    /// A line about the sample's component.
    pub(super) fn line(
        &self,
        level: Level,
        domain: Domain,
        check: &'static str,
        text: String,
        advice: &str,
    ) -> Line {
        line(level, domain, check, self.component, text, advice)
    }
}

pub(super) fn line(
    level: Level,
    domain: Domain,
    check: &'static str,
    component: &Component,
    text: String,
    advice: &str,
) -> Line {
    let component = Some(component.clone());
    Line { level, domain, check: Some(check), component, text, advice: advice.to_owned() }
}

/// The reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    earlier: &'a [Observation],
    latest: &'a [Observation],
}

impl<'a> View<'a> {
    pub(super) const fn new(reading: &Reading<'a>) -> Self {
        Self { earlier: reading.earlier, latest: reading.latest }
    }

    /// The latest value of each series of a metric; a series that is reported twice in one look ended with the last.
    pub(super) fn samples(&self, metric: &str) -> Vec<Sample<'a>> {
        samples(self.latest, metric)
    }

    /// The latest value of a metric of one component, with any attributes.
    pub(super) fn value_of(&self, component: &Component, metric: &str) -> Option<f64> {
        self.samples(metric).iter().rfind(|sample| sample.component == component).map(|sample| sample.value)
    }

    /// How much each series of a counter grew between the looks, and in how many seconds. A counter that went back
    /// started anew and says nothing.
    pub(super) fn increases(&self, metric: &str) -> Vec<(Sample<'a>, f64, f64)> {
        let earlier = samples(self.earlier, metric);
        let grown = |now: Sample<'a>| {
            let before =
                earlier.iter().find(|s| s.component == now.component && s.attributes == now.attributes)?;
            let seconds = if now.at > before.at { now.at.since(before.at).as_secs_f64() } else { 0.0 };
            let grown = now.value - before.value;
            (seconds >= 0.5 && grown >= 0.0).then_some((now, grown, seconds))
        };
        self.samples(metric).into_iter().filter_map(grown).collect()
    }

    pub(super) fn document(&self, component: &Component, name: &'static str) -> Option<&'a Value> {
        self.documents(name).find(|(of, _)| *of == component).map(|(_, document)| document)
    }

    pub(super) fn documents(
        &self,
        name: &'static str,
    ) -> impl Iterator<Item = (&'a Component, &'a Value)> + use<'a> {
        self.latest.iter().filter_map(move |observation| {
            let Body::State { name: known, document } = &observation.body else { return None };
            (known == name).then_some((&observation.component, document))
        })
    }

    pub(super) fn events(
        &self,
        name: &'static str,
    ) -> impl Iterator<Item = (&'a Component, &'a Attributes)> + use<'a> {
        self.latest.iter().filter_map(move |observation| {
            let Body::Event { name: known, attributes } = &observation.body else { return None };
            (known == name).then_some((&observation.component, attributes))
        })
    }

    /// Why a metric has no value, by component.
    pub(super) fn unavailable(
        &self,
        what: &'static str,
    ) -> impl Iterator<Item = (&'a Component, UnavailableReason, &'a str)> + use<'a> {
        self.latest.iter().filter_map(move |observation| {
            let Body::Unavailable { what: known, reason, detail } = &observation.body else { return None };
            (known == what).then_some((&observation.component, *reason, detail.as_str()))
        })
    }

    pub(super) fn has(&self, kind: ComponentKind, metric: &str) -> bool {
        self.latest.iter().any(|observation| {
            observation.component.kind == kind
                && matches!(&observation.body, Body::Sample { metric: known, .. } if known == metric)
        })
    }
}

fn samples<'a>(observations: &'a [Observation], metric: &str) -> Vec<Sample<'a>> {
    let mut series: BTreeMap<(&Component, &Attributes), Sample<'a>> = BTreeMap::new();
    for observation in observations {
        if let Body::Sample { metric: known, attributes, value } = &observation.body
            && known == metric
        {
            let component = &observation.component;
            let sample = Sample { component, attributes, value: *value, at: observation.observed_at };
            series.insert((component, attributes), sample);
        }
    }
    series.into_values().collect()
}
