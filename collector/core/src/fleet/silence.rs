//! Silence: many devices of one place that stop reporting at the same time, while others go on.
//!
//! A device that said that it goes to sleep is not silent. Where nobody reports at all there is nobody to compare
//! with: then it is the collector or the trace that ended.

use super::attribute::AttributeKind;
use super::{Act, Attribute, Fleet, MemberFinding, Place, Stream, significance};
use firstline_model::{RuleCode, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often silence is looked for.
const LOOK: Duration = Duration::from_secs(30);
/// Devices that fell silent within this time did so together.
const TOGETHER: Duration = Duration::from_secs(180);
/// The rhythm that is expected of a device that has just begun to report.
const USUAL: Duration = Duration::from_secs(60);
/// A stream that broke and is not there again after this is missed: agents come back within seconds at first.
const BROKEN: Duration = Duration::from_secs(60);
/// Slower devices are not missed.
const SLOWEST: Duration = Duration::from_secs(900);
/// What arrives this soon after "asleep" was on its way already.
const STILL_AWAKE: Duration = Duration::from_secs(30);
/// People close laptops one after the other; what cuts them off does so within this time ...
const CUT_OFF: Duration = Duration::from_secs(90);
/// ... and spares no more than one of so many.
const SPARED: usize = 5;
/// Fewer devices are no outage.
const FEWEST: usize = 5;
/// Who was heard so lately works; what fails together shows within it.
const OVERDUE: Duration = Duration::from_secs(60);
const MILLISECOND: Duration = Duration::from_millis(1);
const PLACES: [AttributeKind; 5] = [
    AttributeKind::Site,
    AttributeKind::Switch,
    AttributeKind::GatewayMac,
    AttributeKind::Subnet,
    AttributeKind::Bssid,
];

impl Fleet {
    /// Something was heard of a device.
    pub fn heard(&mut self, place: Place, at: Timestamp) {
        let member = &mut self.members[place.0];
        let gap = at.since(member.heard);
        if gap > Duration::ZERO && member.awake && member.silent.is_none() {
            let blended = member.spacing.saturating_mul(7).saturating_add(gap) / 8;
            member.spacing = gap.max(blended).min(SLOWEST);
        }
        member.heard = member.heard.max(at);
        if !member.awake && at > member.away_since.plus(STILL_AWAKE) {
            member.awake = true;
        }
        if member.silent.is_some() {
            self.heard_again(place, at);
        }
        if self.next_look.is_none() && self.members.len() > FEWEST {
            self.next_look = Some(at.plus(LOOK));
        }
    }

    /// A device whose stream is watched said something: that it does not any more tells where its silence began, long
    /// before a connection breaks.
    pub fn spoke(&mut self, place: Place, at: Timestamp) {
        let member = &mut self.members[place.0];
        let gap = at.since(member.heard);
        if gap > Duration::ZERO && member.awake {
            let blended = member.spacing.saturating_mul(7).saturating_add(gap) / 8;
            member.spacing = gap.max(blended).min(SLOWEST);
        }
        member.heard = member.heard.max(at);
    }

    /// The device's stream stands: from now on its breaking tells more than any rhythm.
    pub fn connected(&mut self, place: Place, at: Timestamp) {
        let member = &mut self.members[place.0];
        member.awake = true;
        member.stream = Stream::Open;
        member.heard = member.heard.max(at);
        self.heard_again(place, at);
    }

    /// The device's stream broke, and it did not say goodbye.
    pub fn lost(&mut self, place: Place, at: Timestamp) {
        let member = &mut self.members[place.0];
        if member.awake && member.stream == Stream::Open {
            member.stream = Stream::Lost(at);
            let look = at.plus(BROKEN);
            self.next_look = Some(self.next_look.map_or(look, |next| next.min(look)));
        }
    }

    pub(super) fn heard_again(&mut self, place: Place, at: Timestamp) {
        self.members[place.0].silent = None;
        for group in 0..self.groups.len() {
            if self.groups[group].silent.remove(&place) {
                self.touched.insert(group);
                let having = self.having.get(&self.groups[group].shared).map_or(0, BTreeSet::len);
                // The last few of a large place may be off for good.
                if self.groups[group].silent.len() * 10 <= having {
                    self.groups[group].silent.clear();
                }
                self.end_if_empty(group, at);
            }
        }
    }

    pub(super) fn look_for_silence(&mut self, now: Timestamp, out: &mut Vec<Act>) {
        if self.next_look.is_none_or(|due| now < due) {
            return;
        }
        let mut fresh = false;
        let mut next = None;
        for member in self.members.iter_mut().filter(|member| member.awake && member.silent.is_none()) {
            let (since, due) = match member.stream {
                Stream::Open => continue,
                Stream::Lost(at) => (at, at.plus(BROKEN)),
                Stream::Unknown => {
                    let patience = member.spacing.max(USUAL).saturating_mul(2);
                    (member.heard, member.heard.plus(patience).plus(MILLISECOND))
                }
            };
            if due <= now {
                member.silent = Some(since);
                fresh = true;
            } else {
                let look = match member.stream {
                    Stream::Unknown => now.plus(LOOK),
                    Stream::Open | Stream::Lost(_) => due,
                };
                next = Some(next.map_or(look, |next: Timestamp| next.min(look)));
            }
        }
        self.next_look = next;
        if !fresh {
            return;
        }
        self.join_silent(out);
        while let Some((shared, places)) = self.silent_together(now) {
            let Ok(rule) = RuleCode::new("net.site_outage") else { return };
            let group = self.group(rule.clone(), shared.clone(), None);
            let since = places.iter().filter_map(|place| self.members[place.0].silent).min().unwrap_or(now);
            let having = self.having.get(&shared).map_or(0, BTreeSet::len);
            out.push(Act::Begin {
                group,
                rule,
                shared,
                since,
                failing: (places.len(), having),
                called: Vec::new(),
            });
            for place in places {
                self.groups[group.0].silent.insert(place);
                out.push(Act::Silent(group, place));
            }
            self.goes_on(group.0);
            self.join_silent(out);
        }
    }

    /// Devices that fell silent at a place that is known to be cut off.
    fn join_silent(&mut self, out: &mut Vec<Act>) {
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            if !group.open || group.rule.as_str() != "net.site_outage" {
                continue;
            }
            let late: Vec<Place> = self
                .having
                .get(&group.shared)
                .into_iter()
                .flatten()
                .filter(|place| self.members[place.0].silent.is_some() && !group.silent.contains(place))
                .copied()
                .collect();
            for place in late {
                self.groups[at].silent.insert(place);
                self.goes_on(at);
                out.push(Act::Silent(super::GroupId(at), place));
            }
        }
    }

    /// Whether most of the others of a site, those without `within`, fail as well or should have been heard by now and were
    /// not: then it is no matter of what stands within the site. Those that speak seldom tell nothing.
    pub(super) fn fails_beside(
        &self,
        site: &Attribute,
        within: &Attribute,
        failing: impl Fn(&Place) -> bool,
        now: Timestamp,
    ) -> bool {
        let (mut silent, mut heard) = (0_usize, 0_usize);
        for place in self.having.get(site).into_iter().flatten() {
            let member = &self.members[place.0];
            if !member.awake || member.attributes.contains(within) {
                continue;
            }
            let ago = now.since(member.heard);
            let missed = match member.stream {
                Stream::Lost(_) => true,
                Stream::Open | Stream::Unknown => {
                    member.spacing > Duration::ZERO && ago > member.spacing.max(OVERDUE)
                }
            };
            if failing(place) || (missed && ago <= TOGETHER.saturating_mul(2)) {
                silent += 1;
            } else if ago <= OVERDUE {
                heard += 1;
            }
        }
        silent >= FEWEST && silent > heard
    }

    /// Who can still speak and says that it has no network, since as lately as others fell silent.
    fn cut_off(&self, now: Timestamp) -> BTreeSet<Place> {
        let grouped = |finding: &MemberFinding| {
            self.groups.iter().any(|group| group.open && group.findings.contains_key(finding))
        };
        let outages = self.firing.iter().filter(|(family, _)| family.is_outage());
        outages
            .flat_map(|(_, findings)| findings)
            .filter(|(finding, since)| {
                now.since(**since) <= TOGETHER.saturating_mul(2)
                    && self.members[finding.place.0].awake
                    && self.members[finding.place.0].silent.is_none()
                    && !grouped(finding)
            })
            .map(|(finding, _)| finding.place)
            .collect()
    }

    /// The place that explains the newest silence best.
    fn silent_together(&self, now: Timestamp) -> Option<(Attribute, Vec<Place>)> {
        let grouped: BTreeSet<Place> = self
            .groups
            .iter()
            .filter(|group| group.open)
            .flat_map(|group| group.silent.iter().copied())
            .collect();
        let mut silent: BTreeMap<Place, Timestamp> = BTreeMap::new();
        let mut awake = 0;
        for (at, member) in self.members.iter().enumerate() {
            let place = Place(at);
            match member.silent {
                Some(since)
                    if !grouped.contains(&place) && now.since(since) <= TOGETHER.saturating_mul(2) =>
                {
                    silent.insert(place, since);
                    awake += 1;
                }
                Some(_) => {}
                None if member.awake => awake += 1,
                None => {}
            }
        }
        // Somebody must still be heard, or every stream must have broken: a recording just ends.
        let all_broke = silent.keys().all(|place| matches!(self.members[place.0].stream, Stream::Lost(_)));
        let alone = awake < silent.len() + 2;
        if silent.len() < FEWEST || (alone && !all_broke) {
            return None;
        }
        let cut_off = self.cut_off(now);
        let affected = silent.len() + cut_off.len();
        let candidates: BTreeSet<&Attribute> = silent
            .keys()
            .flat_map(|place| &self.members[place.0].attributes)
            .filter(|one| PLACES.contains(&one.kind))
            .collect();
        let judged = candidates.iter().filter_map(|one| {
            let having = self.having.get(*one)?;
            let with: Vec<Place> = silent.keys().filter(|place| having.contains(place)).copied().collect();
            let there = having.iter().filter(|place| {
                let member = &self.members[place.0];
                member.awake && (member.silent.is_none() || silent.contains_key(place))
            });
            let there = there.count();
            let both = with.len() + cut_off.iter().filter(|place| having.contains(place)).count();
            if with.len() < FEWEST || both * 2 < there || !self.is_no_closing_time(&with, there) {
                return None;
            }
            let chance = significance::ln_chance(awake, there, affected, both);
            // With nobody to compare with, only a place that all of them share can be it.
            if alone {
                return (with.len() == silent.len()).then_some((chance, *one, with));
            }
            (chance + (candidates.len() as f64).ln() < significance::LEVEL.ln())
                .then_some((chance, *one, with))
        });
        let best = judged.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        best.map(|(_, one, with)| ((*one).clone(), with))
    }

    /// Computers that stand on desks do not fall silent by themselves. Laptops do, so they have to do it at once.
    fn is_no_closing_time(&self, silent: &[Place], there: usize) -> bool {
        let on_desks = silent.iter().filter(|place| !self.members[place.0].portable).count();
        let since = || silent.iter().filter_map(|place| self.members[place.0].silent);
        let spread = match (since().min(), since().max()) {
            (Some(first), Some(last)) => last.since(first),
            (_, _) => Duration::ZERO,
        };
        on_desks >= FEWEST || (spread <= CUT_OFF && (there - silent.len().min(there)) * SPARED <= there)
    }
}
