//! What of the fleet has to survive a restart: the shared causes with their Problems and who is silent because of them.
//! Which findings wait or belong to whom stands in the findings themselves.

use super::attribute::Family;
use super::{Attribute, Fleet, Group, MemberFinding, Membership, Place, Stream, Waiting};
use crate::finding::{Finding, Phase, Standing};
use crate::knowledge::KnowledgeEntry;
use firstline_model::{DeviceId, RuleCode, TicketId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A shared cause as it is saved. There is one for each rule and attribute, however often it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedCause {
    /// The rule that its Problem is about.
    pub rule: RuleCode,
    /// What is shared.
    pub shared: Attribute,
    /// Which findings can have it as their cause; empty: those of devices that fell silent.
    pub family: String,
    /// Its Problem's ticket.
    pub parent: TicketId,
    /// Whether anybody is affected.
    pub open: bool,
    /// When it ended last.
    pub ended: Option<Timestamp>,
    /// How many of its members have tickets of their own.
    pub children: usize,
    /// Who is silent because of it.
    pub silent: Vec<DeviceId>,
}

impl Fleet {
    /// The shared causes that changed since the last call.
    pub fn take_changes(&mut self) -> Vec<SharedCause> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter_map(|at| self.kept(at)).collect()
    }

    fn kept(&self, at: usize) -> Option<SharedCause> {
        let group = &self.groups[at];
        Some(SharedCause {
            rule: group.rule.clone(),
            shared: group.shared.clone(),
            family: group.family.as_ref().map(Family::to_text).unwrap_or_default(),
            // One without a Problem (its entry is gone) has nothing that would have to be found again.
            parent: group.parent?,
            open: group.open,
            ended: group.ended,
            children: group.children,
            silent: group.silent.iter().map(|place| self.device(*place).clone()).collect(),
        })
    }

    /// Takes over what was saved, instead of everything that was found out about causes so far. The devices and
    /// their attributes are known already; `firing` are their findings that are not cleared.
    pub fn restore<'a>(
        &mut self,
        causes: Vec<SharedCause>,
        firing: impl IntoIterator<Item = (&'a KnowledgeEntry, &'a DeviceId, &'a Finding)>,
        now: Timestamp,
    ) {
        self.groups.clear();
        self.firing.clear();
        self.waiting.clear();
        self.endings.clear();
        self.touched.clear();
        for cause in causes {
            let family = match cause.family.as_str() {
                "" => None,
                text => match Family::from_text(text) {
                    Some(family) => Some(family),
                    // Another version's; its Problem stays, and nobody joins it.
                    None => continue,
                },
            };
            // Those whose stream stands were heard since that was saved.
            let silent: BTreeSet<Place> = cause
                .silent
                .iter()
                .filter_map(|device| self.place(device))
                .filter(|place| self.members[place.0].stream != Stream::Open)
                .collect();
            for place in &silent {
                self.members[place.0].silent.get_or_insert(now);
            }
            if silent.len() < cause.silent.len() {
                self.touched.insert(self.groups.len());
            }
            self.groups.push(Group {
                rule: cause.rule,
                shared: cause.shared,
                family,
                findings: BTreeMap::new(),
                silent,
                children: cause.children,
                open: cause.open,
                parent: Some(cause.parent),
                ending: None,
                ended: cause.ended,
            });
        }
        for (entry, device, finding) in firing {
            self.restore_finding(entry, device, finding, now);
        }
        for at in 0..self.groups.len() {
            self.end_if_empty(at, now);
        }
    }

    fn restore_finding(
        &mut self,
        entry: &KnowledgeEntry,
        device: &DeviceId,
        finding: &Finding,
        now: Timestamp,
    ) {
        let fires = match finding.phase {
            Phase::Firing | Phase::Clearing => finding.suppressed.is_none() && entry.opens_ticket,
            Phase::Pending | Phase::Cleared => false,
        };
        let Some(place) = self.place(device) else { return };
        let Some(family) = Family::of(entry, &self.part_of(place, &finding.component)) else { return };
        if !fires {
            return;
        }
        let member =
            MemberFinding { place, rule: finding.rule.clone(), component: finding.component.clone() };
        let joined = |fleet: &mut Self, parent: TicketId, membership| {
            let group = fleet.groups.iter_mut().find(|group| group.parent == Some(parent));
            if let Some(group) = group {
                group.findings.insert(member.clone(), membership);
            }
        };
        match finding.standing {
            Standing::Own => {}
            Standing::Waiting(due) => {
                let waiting = Waiting { due, family: family.clone(), old_news: false };
                self.waiting.insert(member.clone(), waiting);
            }
            Standing::Child(parent) => joined(self, parent, Membership::Child),
            Standing::Member(parent) => joined(self, parent, Membership::Record),
        }
        let since = finding.fired_at.unwrap_or(finding.since).min(now);
        self.firing.entry(family).or_default().insert(member, since);
    }

    /// A device that was known before the collector started, and has not been heard since.
    pub fn not_heard_yet(&mut self, place: Place) {
        let member = &mut self.members[place.0];
        member.awake = false;
        member.stream = Stream::Lost(member.heard);
    }
}
