//! What many devices have in common when they fail alike: one Problem instead of a ticket for each of them.
//!
//! The shell tells the fleet what it hears of every device and which findings fire. A finding that others may share
//! waits [`COMPANY`] for them; then either a shared cause is found and one parent stands for all, or each finding
//! opens its own ticket as usual. Devices that fail later join the parent, and it ends when nobody is left.
//!
//! An attribute (site, switch, access point, driver version, ...) is a shared cause when it is common among the failing
//! and rare among the healthy: the chance that so many of the failing have it by accident is below
//! [`significance::LEVEL`], counted over everything that was compared. Silence is judged in the same way, so one
//! laptop that closes its lid is nothing, and a site that falls silent while others report is one ticket.

mod attribute;
mod problem;
mod significance;
mod silence;

pub use attribute::{Attribute, AttributeKind};
pub use problem::{Shared, open_problem};

use crate::knowledge::KnowledgeEntry;
use attribute::{Family, attributes_of};
use firstline_model::{Component, DeviceId, Presence, RuleCode, Timestamp, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a finding waits for others like it: two rounds of the probes that watch the network.
pub const COMPANY: Duration = Duration::from_secs(30);
/// A parent with more members keeps the further ones as records of its own: nobody reads hundreds of children.
pub const MOST_CHILDREN: usize = 50;

/// A device's place in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(pub usize);

/// A finding of one device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberFinding {
    /// Whose.
    pub place: Place,
    /// Its rule.
    pub rule: RuleCode,
    /// Its component.
    pub component: Component,
}

/// Names a parent until the shell has given it a ticket, and afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(pub usize);

/// What becomes of a finding that fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It opens its own ticket.
    Own,
    /// It waits for others like it.
    Wait,
    /// It belongs to a parent.
    Join(GroupId, Membership),
}

/// How a finding belongs to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// With a ticket of its own, a child.
    Child,
    /// As a record.
    Record,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nobody shares this finding: it opens its own ticket.
    Release(MemberFinding),
    /// A shared cause was found, or came back: open (or reopen) its Problem.
    Begin {
        /// Which one.
        group: GroupId,
        /// The rule that the Problem is about.
        rule: RuleCode,
        /// What is shared.
        shared: Attribute,
        /// Since when.
        since: Timestamp,
        /// How many of how many devices that have it fail.
        failing: (usize, usize),
    },
    /// This finding belongs to the parent now.
    Join(GroupId, MemberFinding, Membership),
    /// This device fell silent together with the others.
    Silent(GroupId, Place),
    /// Nobody is left: the Problem is over.
    End(GroupId),
}

#[derive(Debug, Clone)]
struct Member {
    device: DeviceId,
    attributes: BTreeSet<Attribute>,
    awake: bool,
    away_since: Timestamp,
    heard: Timestamp,
    spacing: Duration,
    silent: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Group {
    rule: RuleCode,
    shared: Attribute,
    family: Option<Family>,
    findings: BTreeSet<MemberFinding>,
    silent: BTreeSet<Place>,
    children: usize,
    open: bool,
}

/// All devices, as far as shared causes are concerned.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    members: Vec<Member>,
    having: BTreeMap<Attribute, BTreeSet<Place>>,
    firing: BTreeMap<Family, BTreeMap<MemberFinding, Timestamp>>,
    waiting: BTreeMap<MemberFinding, (Timestamp, Family)>,
    groups: Vec<Group>,
    next_look: Option<Timestamp>,
}

impl Fleet {
    /// A device that was not known before.
    pub fn add(&mut self, device: DeviceId, at: Timestamp) -> Place {
        self.members.push(Member {
            device,
            attributes: BTreeSet::new(),
            awake: true,
            away_since: at,
            heard: at,
            spacing: Duration::ZERO,
            silent: None,
        });
        Place(self.members.len() - 1)
    }

    /// The device at a place.
    pub fn device(&self, place: Place) -> &DeviceId {
        &self.members[place.0].device
    }

    /// The facts of a device changed.
    pub fn know(&mut self, place: Place, facts: &Value, site: Option<&str>) {
        let member = &mut self.members[place.0];
        let parts = member.attributes.iter().filter(|one| one.kind == AttributeKind::Part).cloned();
        let now: BTreeSet<Attribute> = attributes_of(facts, site).chain(parts).collect();
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
        if let Some(part) = Attribute::part(component)
            && self.members[place.0].attributes.insert(part.clone())
        {
            self.having.entry(part).or_default().insert(place);
        }
    }

    /// A finding fires and would open a ticket.
    pub fn fired(&mut self, entry: &KnowledgeEntry, finding: MemberFinding, now: Timestamp) -> Course {
        let Some(family) = Family::of(entry, &finding.component) else { return Course::Own };
        self.firing.entry(family.clone()).or_default().insert(finding.clone(), now);
        let attributes = &self.members[finding.place.0].attributes;
        let open = self.groups.iter().position(|group| {
            group.open
                && group.family.as_ref().is_none_or(|of| *of == family)
                && attributes.contains(&group.shared)
                && (group.family.is_some() || family.is_outage())
        });
        if let Some(at) = open {
            let membership = match self.join(GroupId(at), &finding) {
                // Of a place that fell silent nobody needs to hear the single computers.
                Membership::Child if self.groups[at].family.is_none() => Membership::Record,
                membership @ (Membership::Child | Membership::Record) => membership,
            };
            return Course::Join(GroupId(at), membership);
        }
        let company = attributes
            .iter()
            .filter(|one| family.may_share(one.kind))
            .any(|one| self.having.get(one).is_some_and(|places| places.len() >= family.fewest(one.kind)));
        if !company {
            return Course::Own;
        }
        self.waiting.insert(finding, (now.plus(COMPANY), family));
        Course::Wait
    }

    /// A finding is over. `true` when it was still waiting and never had a ticket.
    pub fn cleared(&mut self, finding: &MemberFinding, out: &mut Vec<Act>) -> bool {
        for findings in self.firing.values_mut() {
            findings.remove(finding);
        }
        for at in 0..self.groups.len() {
            if self.groups[at].findings.remove(finding) {
                self.end_if_empty(at, out);
            }
        }
        self.waiting.remove(finding).is_some()
    }

    /// When [`Fleet::pass_time`] has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let waiting = self.waiting.values().map(|(due, _)| *due).min();
        [waiting, self.next_look].into_iter().flatten().min()
    }

    /// Lets time pass: looks for shared causes of what waited long enough, and for silence.
    pub fn pass_time(&mut self, now: Timestamp, out: &mut Vec<Act>) {
        while let Some((finding, family)) = self
            .waiting
            .iter()
            .filter(|(_, (due, _))| *due <= now)
            .min_by_key(|(finding, (due, _))| (*due, (*finding).clone()))
            .map(|(finding, (_, family))| (finding.clone(), family.clone()))
        {
            match self.shared_cause(&finding, &family, now) {
                Some(shared) => self.begin(&family, shared, now, out),
                None => {
                    self.waiting.remove(&finding);
                    out.push(Act::Release(finding));
                }
            }
        }
        self.look_for_silence(now, out);
    }

    /// The attribute of `finding`'s device that explains the failing best, if any does.
    fn shared_cause(&self, finding: &MemberFinding, family: &Family, now: Timestamp) -> Option<Attribute> {
        let failing: BTreeMap<Place, Timestamp> = self
            .firing
            .get(family)?
            .iter()
            .filter(|(_, since)| now.since(**since) <= family.window())
            .map(|(finding, since)| (finding.place, *since))
            .collect();
        let candidates = failing
            .keys()
            .flat_map(|place| &self.members[place.0].attributes)
            .filter(|one| family.may_share(one.kind))
            .collect::<BTreeSet<_>>();
        let own = &self.members[finding.place.0].attributes;
        let judged = candidates.iter().filter(|one| own.contains(**one)).filter_map(|one| {
            let having = self.having.get(*one)?;
            let with: Vec<Timestamp> =
                failing.iter().filter(|(place, _)| having.contains(place)).map(|(_, at)| *at).collect();
            if with.len() < family.fewest(one.kind) || with.len() * 10 < having.len() * 3 {
                return None;
            }
            if one.kind == AttributeKind::Part && family.is_part_itself() {
                return Some((f64::NEG_INFINITY, *one));
            }
            let chance = significance::ln_chance(self.members.len(), having.len(), failing.len(), with.len());
            let unlikely = chance + (candidates.len() as f64).ln() < significance::LEVEL.ln();
            // Where everybody has it there is nothing to compare with; that half of them fail at once is no accident.
            let together = with.iter().max()?.since(*with.iter().min()?) <= significance::AT_ONCE;
            let everybody = self.members.len() < having.len() + 3;
            let burst = everybody && with.len() >= 5 && with.len() * 2 >= having.len() && together;
            (unlikely || burst).then_some((chance, *one))
        });
        // Equally likely ones are told apart by their kind: the wider place first, then what stands in it.
        judged.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1))).map(|(_, one)| one.clone())
    }

    /// Opens the group of a shared cause, or opens it again, and takes everybody in whom it explains.
    fn begin(&mut self, family: &Family, shared: Attribute, now: Timestamp, out: &mut Vec<Act>) {
        let rule = family.rule();
        let group = self.group(rule, shared, Some(family.clone()));
        let shared = self.groups[group.0].shared.clone();
        let having = self.having.get(&shared).cloned().unwrap_or_default();
        let findings: Vec<(MemberFinding, Timestamp)> = self
            .firing
            .get(family)
            .into_iter()
            .flatten()
            .filter(|(finding, _)| having.contains(&finding.place))
            .map(|(finding, since)| (finding.clone(), *since))
            .collect();
        out.push(Act::Begin {
            group,
            rule: self.groups[group.0].rule.clone(),
            shared,
            since: findings.iter().map(|(_, since)| *since).min().unwrap_or(now),
            failing: (findings.len(), having.len()),
        });
        let all_as_records = findings.len() > MOST_CHILDREN;
        for (finding, _) in findings {
            let waited = self.waiting.remove(&finding).is_some();
            let membership = match self.join(group, &finding) {
                // A large outage is one line for the helpdesk from the start.
                Membership::Child if all_as_records && waited => Membership::Record,
                membership @ (Membership::Child | Membership::Record) => membership,
            };
            out.push(Act::Join(group, finding, membership));
        }
    }

    fn group(&mut self, rule: RuleCode, shared: Attribute, family: Option<Family>) -> GroupId {
        let known = self.groups.iter().position(|group| group.rule == rule && group.shared == shared);
        let at = known.unwrap_or_else(|| {
            self.groups.push(Group {
                rule,
                shared,
                family: family.clone(),
                findings: BTreeSet::new(),
                silent: BTreeSet::new(),
                children: 0,
                open: false,
            });
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        if !group.open {
            group.children = 0;
        }
        group.open = true;
        GroupId(at)
    }

    fn join(&mut self, group: GroupId, finding: &MemberFinding) -> Membership {
        let group = &mut self.groups[group.0];
        group.findings.insert(finding.clone());
        group.children += 1;
        if group.children > MOST_CHILDREN { Membership::Record } else { Membership::Child }
    }

    fn end_if_empty(&mut self, at: usize, out: &mut Vec<Act>) {
        let group = &mut self.groups[at];
        if group.open && group.findings.is_empty() && group.silent.is_empty() {
            group.open = false;
            out.push(Act::End(GroupId(at)));
        }
    }

    /// A device went away or came back.
    pub fn presence(&mut self, place: Place, presence: Presence, at: Timestamp, out: &mut Vec<Act>) {
        let member = &mut self.members[place.0];
        member.awake = presence == Presence::Online;
        member.away_since = at;
        self.heard_again(place, out);
    }
}
