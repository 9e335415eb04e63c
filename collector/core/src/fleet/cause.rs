//! Which attribute explains a fault, and the group of findings that share it.

use super::attribute::Family;
use super::{
    Act, Attribute, AttributeKind, Fleet, Group, GroupId, MOST_CHILDREN, MemberFinding, Membership, Place,
};
use super::{GRACE, significance};
use firstline_model::{RuleCode, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

impl Fleet {
    /// The attribute of `finding`'s device that explains the failing best, if any does.
    pub(super) fn shared_cause(
        &self,
        finding: &MemberFinding,
        family: &Family,
        now: Timestamp,
    ) -> Option<Attribute> {
        let failing: BTreeMap<Place, Timestamp> = self
            .firing
            .get(family)?
            .iter()
            .filter(|(_, since)| now.since(**since) <= family.window())
            .map(|(finding, since)| (finding.place, *since))
            .collect();
        let part = self.part_of(finding.place, &finding.component);
        let candidates = failing
            .keys()
            .flat_map(|place| &self.members[place.0].attributes)
            .filter(|one| family.may_share(one, &part))
            .collect::<BTreeSet<_>>();
        let own = &self.members[finding.place.0].attributes;
        // Who is asleep could not fail: only who is awake tells that it does not.
        let compared = |place: &Place| self.members[place.0].awake || failing.contains_key(place);
        let all = (0..self.members.len()).map(Place).filter(compared).count();
        // Nor does a laptop in the office tell that the gateway of the VPN works.
        let uses = |place: &Place, one: &Attribute| {
            let parts = &self.members[place.0].parts;
            one.kind != AttributeKind::Part
                || failing.contains_key(place)
                || parts.iter().any(|part| part.attribute == *one && now.since(part.at) <= super::USES)
        };
        let judged = candidates.iter().filter(|one| own.contains(**one)).filter_map(|one| {
            let having: BTreeSet<Place> = self
                .having
                .get(*one)?
                .iter()
                .copied()
                .filter(compared)
                .filter(|place| uses(place, one))
                .collect();
            let with: Vec<Timestamp> =
                failing.iter().filter(|(place, _)| having.contains(place)).map(|(_, at)| *at).collect();
            if with.len() < family.fewest(one.kind)
                || with.len() * 10 < having.len() * family.tenths(one.kind)
            {
                return None;
            }
            if one.kind == AttributeKind::Part && family.is_part_itself() {
                return Some((f64::NEG_INFINITY, *one));
            }
            let chance = significance::ln_chance(all, having.len(), failing.len(), with.len());
            let unlikely = chance + (candidates.len() as f64).ln() < significance::LEVEL.ln();
            // Where everybody has it there is nothing to compare with; that half of them fail at once is no accident.
            let together = with.iter().max()?.since(*with.iter().min()?) <= significance::AT_ONCE;
            let everybody = all < having.len() + 3;
            let burst = everybody && with.len() >= 5 && with.len() * 2 >= having.len() && together;
            (unlikely || burst).then_some((chance, *one))
        });
        // Equally likely ones are told apart by their kind: the wider place first, then what stands in it.
        let best = judged.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)))?.1;
        // Laptops on Wi-Fi are the ones that can tell of a power cut, and they share a router.
        let site = own.iter().find(|one| one.kind == AttributeKind::Site);
        let wider = site.filter(|site| {
            family.is_outage()
                && best.kind.is_within_a_site()
                && self.fails_beside(site, best, |place| failing.contains_key(place), now)
        });
        Some(wider.unwrap_or(best).clone())
    }

    /// Opens the group of a shared cause, or opens it again, and takes everybody in whom it explains.
    pub(super) fn begin(&mut self, family: &Family, shared: Attribute, now: Timestamp, out: &mut Vec<Act>) {
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
        let called = self.names(&shared, findings.iter().map(|(finding, _)| finding));
        out.push(Act::Begin {
            group,
            rule: self.groups[group.0].rule.clone(),
            called,
            shared,
            since: findings.iter().map(|(_, since)| *since).min().unwrap_or(now),
            failing: (findings.len(), having.len()),
        });
        // Of an outage at a large place nobody needs to hear the single computers, however few noticed it first.
        let size = if family.is_outage() { having.len() } else { findings.len() };
        let all_as_records = size > MOST_CHILDREN;
        for (finding, _) in findings {
            let waited = self.waiting.remove(&finding).is_some();
            let mut membership = self.join(group, &finding);
            if all_as_records && waited {
                // A large outage is one line for the helpdesk from the start.
                membership = Membership::Record;
                self.groups[group.0].findings.insert(finding.clone(), membership);
            }
            out.push(Act::Join(group, finding, membership));
        }
    }

    /// The group of a shared cause, open from now on.
    pub(super) fn group(&mut self, rule: RuleCode, shared: Attribute, family: Option<Family>) -> GroupId {
        let known = self.groups.iter().position(|group| group.rule == rule && group.shared == shared);
        let at = known.unwrap_or_else(|| {
            self.groups.push(Group {
                rule,
                shared,
                family,
                findings: BTreeMap::new(),
                silent: BTreeSet::new(),
                children: 0,
                open: false,
                parent: None,
                ending: None,
                ended: None,
            });
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        if !group.open {
            group.children = 0;
        }
        group.open = true;
        self.goes_on(at);
        GroupId(at)
    }

    pub(super) fn join(&mut self, id: GroupId, finding: &MemberFinding) -> Membership {
        let group = &mut self.groups[id.0];
        let size = self.having.get(&group.shared).map_or(0, BTreeSet::len);
        // Of a place that fell silent, or of a large one, nobody needs to hear the single computers.
        let is_outage = group.family.as_ref().is_none_or(Family::is_outage);
        let crowded = group.family.is_none() || (is_outage && size > MOST_CHILDREN);
        let membership = if crowded || group.children >= MOST_CHILDREN {
            Membership::Record
        } else {
            group.children += 1;
            Membership::Child
        };
        group.findings.insert(finding.clone(), membership);
        self.goes_on(id.0);
        membership
    }

    /// Somebody is in it, so it does not end.
    pub(super) fn goes_on(&mut self, at: usize) {
        self.touched.insert(at);
        if let Some(ending) = self.groups[at].ending.take() {
            self.endings.remove(&(ending, at));
        }
    }

    pub(super) fn end_if_empty(&mut self, at: usize, now: Timestamp) {
        let group = &mut self.groups[at];
        if group.open && group.ending.is_none() && group.findings.is_empty() && group.silent.is_empty() {
            let ending = now.plus(GRACE);
            group.ending = Some(ending);
            self.endings.insert((ending, at));
            self.touched.insert(at);
        }
    }

    pub(super) fn end(&mut self, at: usize, now: Timestamp, out: &mut Vec<Act>) {
        let group = &mut self.groups[at];
        group.ending = None;
        group.open = false;
        group.ended = Some(now);
        self.touched.insert(at);
        out.push(Act::End(GroupId(at)));
    }
}
