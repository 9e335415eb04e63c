//! What devices have, and the parts that they use. A printer is one part however each computer calls its queue: what the
//! device behind the queue says it is stands in the facts (`printers`), and findings are compared by that.

use super::attribute::attributes_of;
use super::lan::{self, Lan};
use super::{Attribute, AttributeKind, Fleet, MemberFinding, Place};
use firstline_model::{Component, ComponentKind, Timestamp, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A device has so many printers at most whose identities are known.
const MOST_PRINTERS: usize = 256;
/// So many names of one part stand in a Problem.
const MOST_NAMES: usize = 4;

/// A part that a device uses and others may use too.
#[derive(Debug, Clone)]
pub(super) struct Used {
    component: Component,
    pub(super) attribute: Attribute,
    /// Within which private network, where that matters.
    within: Option<Arc<str>>,
    pub(super) at: Timestamp,
}

impl Fleet {
    /// The facts of a device changed.
    pub fn know(&mut self, place: Place, facts: &Value, site: Option<&str>) {
        let member = &mut self.members[place.0];
        member.lan = Lan::of(facts, site);
        if let Some(class) = facts.get("device_class").and_then(Value::as_text) {
            member.portable = matches!(class, "laptop" | "tablet" | "convertible");
        }
        let printers = printers(facts);
        if printers != member.printers {
            member.printers = printers;
            self.name_printers_anew(place);
        }
        let member = &mut self.members[place.0];
        let parts = member.attributes.iter().filter(|one| one.kind == AttributeKind::Part).cloned();
        let now: BTreeSet<Attribute> = attributes_of(facts, site).chain(parts).collect();
        self.has_now(place, now);
    }

    pub(super) fn has_now(&mut self, place: Place, now: BTreeSet<Attribute>) {
        let member = &mut self.members[place.0];
        for gone in member.attributes.difference(&now) {
            if let Some(places) = self.having.get_mut(gone) {
                places.remove(&place);
            }
        }
        for new in now.difference(&member.attributes) {
            self.having.entry(new.clone()).or_default().insert(place);
        }
        member.attributes = now;
    }

    /// A device uses a part that others may use too: a printer, a name server, a gateway of the VPN.
    pub fn uses(&mut self, place: Place, component: &Component) {
        if component.kind == ComponentKind::Battery {
            self.members[place.0].portable = true;
        }
        if !AttributeKind::SHARED_PARTS.contains(&component.kind) {
            return;
        }
        let part = self.part_of(place, component);
        let member = &mut self.members[place.0];
        let within = Lan::around(member.lan.as_ref(), &part);
        let known =
            member.parts.iter_mut().find(|part| part.component == *component && part.within == within);
        if let Some(known) = known {
            known.at = member.heard;
            return;
        }
        let Some(attribute) = Attribute::part(&part, member.lan.as_ref()) else { return };
        let (component, at) = (component.clone(), member.heard);
        member.parts.push(Used { component, attribute: attribute.clone(), within, at });
        member.attributes.insert(attribute.clone());
        self.having.entry(attribute).or_default().insert(place);
    }

    /// A component by the name that all devices have for it: a printer's identity instead of the name of its queue, as far
    /// as it is known.
    pub(super) fn part_of(&self, place: Place, component: &Component) -> Component {
        let member = &self.members[place.0];
        let identity = (component.kind == ComponentKind::Printer)
            .then(|| member.printers.get(component.id()))
            .flatten()
            .filter(|identity| !lan::is_ambiguous(identity, member.lan.as_ref()));
        identity
            .and_then(|identity| Component::new(ComponentKind::Printer, identity.as_str()).ok())
            .unwrap_or_else(|| component.clone())
    }

    /// Which device stands behind a queue is known now, or another one.
    fn name_printers_anew(&mut self, place: Place) {
        let is_printer = |part: &Used| part.component.kind == ComponentKind::Printer;
        let mut used = std::mem::take(&mut self.members[place.0].parts);
        for part in used.iter_mut().filter(|part| is_printer(part)) {
            let named = self.part_of(place, &part.component);
            let lan = self.members[place.0].lan.as_ref();
            part.within = Lan::around(lan, &named);
            if let Some(attribute) = Attribute::part(&named, lan) {
                part.attribute = attribute;
            }
        }
        let of_others =
            |one: &&Attribute| one.kind != AttributeKind::Part || !one.value.starts_with("printer/");
        let mut now: BTreeSet<Attribute> =
            self.members[place.0].attributes.iter().filter(of_others).cloned().collect();
        now.extend(used.iter().filter(|part| is_printer(part)).map(|part| part.attribute.clone()));
        self.members[place.0].parts = used;
        self.has_now(place, now);
    }

    /// What the devices of these findings call the part that they are about, the most common name first.
    pub(super) fn names<'a>(
        &self,
        shared: &Attribute,
        findings: impl Iterator<Item = &'a MemberFinding>,
    ) -> Vec<Component> {
        let mut counts: BTreeMap<&Component, usize> = BTreeMap::new();
        let is_of_the_part = |finding: &&MemberFinding| {
            let lan = self.members[finding.place.0].lan.as_ref();
            let part = self.part_of(finding.place, &finding.component);
            Attribute::part(&part, lan).as_ref() == Some(shared)
        };
        for finding in findings.filter(is_of_the_part) {
            *counts.entry(&finding.component).or_default() += 1;
        }
        let mut names: Vec<(&Component, usize)> = counts.into_iter().collect();
        names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        names.into_iter().take(MOST_NAMES).map(|(name, _)| name.clone()).collect()
    }
}

/// Which printer stands behind each queue, as the device says.
fn printers(facts: &Value) -> BTreeMap<String, String> {
    let map = match facts.get("printers") {
        Some(Value::Map(map)) => Some(map),
        Some(Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_)) | None => None,
    };
    let known = map.into_iter().flatten().filter_map(|(queue, identity)| {
        let identity = identity.as_text().filter(|text| !text.is_empty())?;
        Some((queue.to_string(), identity.to_owned()))
    });
    known.take(MOST_PRINTERS).collect()
}
