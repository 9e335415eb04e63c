//! What many devices have in common when they fail alike: one Problem instead of a ticket for each of them.
//!
//! The shell (live serving, or a replay) tells the fleet what it hears of every device and gives it the news of each
//! before it decides about tickets ([`Fleet::sift`]). A finding that others may share waits [`COMPANY`] for them; then
//! either a shared cause is found and one parent stands for all, or each finding opens its own ticket as usual. Devices
//! that fail later join the parent, and it ends when nobody is left. What follows is done by [`Fleet::perform`], the
//! same for every shell.
//!
//! An attribute (site, switch, access point, driver version, ...) is a shared cause when it is common among the failing
//! and rare among the healthy: the chance that so many of the failing have it by accident is below
//! [`significance::LEVEL`], counted over everything that was compared. Silence is judged in the same way, so one
//! laptop that closes its lid is nothing, and a site that falls silent while others report is one ticket.
//!
//! What has to survive a restart stands in the findings ([`crate::finding::Standing`]) and in [`SharedCause`]s; the
//! shell saves both in the transaction of the tickets that follow from them, and gives them back to
//! [`Fleet::restore`].

mod attribute;
mod cause;
mod kept;
mod lan;
mod parts;
mod perform;
mod problem;
mod significance;
mod silence;
#[cfg(test)]
mod tests;

pub use attribute::{Attribute, AttributeKind};
pub use kept::SharedCause;
pub use perform::{Shell, Unticketed};
pub use problem::{Shared, open_problem};

use crate::knowledge::KnowledgeEntry;
use attribute::Family;
use firstline_model::{Component, DeviceId, Presence, RuleCode, TicketId, Timestamp};
use lan::Lan;
use parts::Used;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a finding waits for others like it: two rounds of the probes that watch the network.
pub const COMPANY: Duration = Duration::from_secs(30);
/// A parent with more members keeps the further ones as records of its own: nobody reads hundreds of children.
pub const MOST_CHILDREN: usize = 50;
/// A parent without members ends after this: a device that comes back tells what it saw of the outage.
const GRACE: Duration = Duration::from_secs(60);
/// Devices may come back for so long after a parent ended and still tell of the outage ...
const STRAGGLERS: Duration = Duration::from_secs(3600);
/// ... which has this long to clear before it counts as a fault of its own.
const OLD_NEWS: Duration = Duration::from_secs(600);

/// Who has not said anything of a part for so long does not use it now: the longest heartbeat, and an hour.
const USES: Duration = Duration::from_secs(7 * 3600);

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
enum Course {
    /// It opens its own ticket.
    Own,
    /// It waits until then for others like it.
    Wait(Timestamp),
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

/// What stood before a finding was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Its own ticket, if any.
    Own,
    /// Nothing: it was waiting.
    Waiting,
    /// A record of a parent.
    Record,
}

/// What has to be done; see [`Fleet::perform`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nobody shares this finding: it opens its own ticket.
    Release(MemberFinding),
    /// This finding was over before anything came of it.
    Drop(MemberFinding),
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
        /// What the failing devices call it when it is a part, the most common name first.
        called: Vec<Component>,
    },
    /// This finding belongs to the parent now.
    Join(GroupId, MemberFinding, Membership),
    /// This device fell silent together with the others.
    Silent(GroupId, Place),
    /// Nobody is left: the Problem is over.
    End(GroupId),
}

/// Whether a device's stream to the collector stands. In a recording nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// Only what is heard of it tells.
    Unknown,
    /// It stands.
    Open,
    /// It broke then, without a goodbye.
    Lost(Timestamp),
}

#[derive(Debug, Clone)]
struct Member {
    device: DeviceId,
    attributes: BTreeSet<Attribute>,
    awake: bool,
    away_since: Timestamp,
    heard: Timestamp,
    spacing: Duration,
    stream: Stream,
    silent: Option<Timestamp>,
    /// It runs on a battery: its owner may close it at any time.
    portable: bool,
    /// The private network that it is in.
    lan: Option<Lan>,
    /// The parts that it uses, and when it did last.
    parts: Vec<Used>,
    /// Which printer it means, by the name that it has for its queue.
    printers: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Group {
    rule: RuleCode,
    shared: Attribute,
    family: Option<Family>,
    findings: BTreeMap<MemberFinding, Membership>,
    silent: BTreeSet<Place>,
    children: usize,
    open: bool,
    /// The Problem's ticket, once there is one.
    parent: Option<TicketId>,
    /// When it ends if nobody joins.
    ending: Option<Timestamp>,
    ended: Option<Timestamp>,
}

/// A finding that waits for others like it.
#[derive(Debug, Clone)]
struct Waiting {
    due: Timestamp,
    family: Family,
    /// It tells of an outage that is over.
    old_news: bool,
}

/// All devices, as far as shared causes are concerned.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    members: Vec<Member>,
    places: BTreeMap<DeviceId, Place>,
    having: BTreeMap<Attribute, BTreeSet<Place>>,
    firing: BTreeMap<Family, BTreeMap<MemberFinding, Timestamp>>,
    waiting: BTreeMap<MemberFinding, Waiting>,
    groups: Vec<Group>,
    /// Groups without members, by the time at which they end.
    endings: BTreeSet<(Timestamp, usize)>,
    next_look: Option<Timestamp>,
    /// Groups that changed since they were last saved.
    touched: BTreeSet<usize>,
}

impl Fleet {
    /// A device's place; it gets one when it was not known before.
    pub fn add(&mut self, device: DeviceId, at: Timestamp) -> Place {
        let place = Place(self.members.len());
        match self.places.get(&device) {
            Some(known) => return *known,
            None => self.places.insert(device.clone(), place),
        };
        self.members.push(Member {
            device,
            attributes: BTreeSet::new(),
            awake: true,
            away_since: at,
            heard: at,
            spacing: Duration::ZERO,
            stream: Stream::Unknown,
            silent: None,
            portable: false,
            lan: None,
            parts: Vec::new(),
            printers: BTreeMap::new(),
        });
        place
    }

    /// The device at a place.
    pub fn device(&self, place: Place) -> &DeviceId {
        &self.members[place.0].device
    }

    /// The place of a device.
    pub fn place(&self, device: &DeviceId) -> Option<Place> {
        self.places.get(device).copied()
    }

    /// A device was taken out of service: it is neither failing nor healthy, and nothing waits for it.
    pub fn retire(&mut self, place: Place, now: Timestamp) {
        self.presence(place, Presence::Retired, now);
        self.has_now(place, BTreeSet::new());
        self.waiting.retain(|finding, _| finding.place != place);
        self.firing.values_mut().for_each(|findings| findings.retain(|finding, _| finding.place != place));
        for at in 0..self.groups.len() {
            let before = self.groups[at].findings.len();
            self.groups[at].findings.retain(|finding, _| finding.place != place);
            if self.groups[at].findings.len() != before {
                self.end_if_empty(at, now);
            }
        }
    }

    /// A finding fires and would open a ticket. `since` is when its fault began, by the clock of `now`.
    fn fired(
        &mut self,
        entry: &KnowledgeEntry,
        finding: MemberFinding,
        since: Timestamp,
        now: Timestamp,
    ) -> Course {
        let part = self.part_of(finding.place, &finding.component);
        let Some(family) = Family::of(entry, &part) else { return Course::Own };
        let attributes = &self.members[finding.place.0].attributes;
        let concerns = |group: &&Group| {
            group.family.as_ref().is_none_or(|of| *of == family)
                && attributes.contains(&group.shared)
                && (group.family.is_some() || family.is_outage())
        };
        if let Some(at) = self.groups.iter().position(|group| group.open && concerns(&group)) {
            self.firing.entry(family).or_default().insert(finding.clone(), now);
            return Course::Join(GroupId(at), self.join(GroupId(at), &finding));
        }
        let is_old_news =
            self.groups.iter().filter(concerns).any(|group| {
                group.ended.is_some_and(|ended| since < ended && now.since(ended) <= STRAGGLERS)
            });
        if is_old_news {
            let due = now.plus(OLD_NEWS);
            self.waiting.insert(finding, Waiting { due, family, old_news: true });
            return Course::Wait(due);
        }
        self.firing.entry(family.clone()).or_default().insert(finding.clone(), now);
        let company = attributes
            .iter()
            .filter(|one| family.may_share(one, &part))
            .any(|one| self.having.get(one).is_some_and(|places| places.len() >= family.fewest(one.kind)));
        if !company {
            return Course::Own;
        }
        let due = now.plus(COMPANY);
        self.waiting.insert(finding, Waiting { due, family, old_news: false });
        Course::Wait(due)
    }

    /// A finding is over.
    fn cleared(&mut self, finding: &MemberFinding, now: Timestamp) -> Left {
        for findings in self.firing.values_mut() {
            findings.remove(finding);
        }
        let mut left = Left::Own;
        for at in 0..self.groups.len() {
            if let Some(membership) = self.groups[at].findings.remove(finding) {
                self.touched.insert(at);
                self.end_if_empty(at, now);
                if membership == Membership::Record {
                    left = Left::Record;
                }
            }
        }
        if self.waiting.remove(finding).is_some() { Left::Waiting } else { left }
    }

    /// When [`Fleet::pass_time`] has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let waiting = self.waiting.values().map(|waiting| waiting.due).min();
        let ending = self.endings.first().map(|(at, _)| *at);
        [waiting, ending, self.next_look].into_iter().flatten().min()
    }

    /// Lets time pass: looks for shared causes of what waited long enough, and for silence, and ends what is over.
    pub fn pass_time(&mut self, now: Timestamp, out: &mut Vec<Act>) {
        while let Some(finding) = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.due <= now)
            .min_by_key(|(finding, waiting)| (waiting.due, (*finding).clone()))
            .map(|(finding, _)| finding.clone())
        {
            let Some(waiting) = self.waiting.get(&finding).cloned() else { break };
            if waiting.old_news {
                self.firing.entry(waiting.family.clone()).or_default().insert(finding.clone(), now);
            }
            if let Some(shared) = self.shared_cause(&finding, &waiting.family, now) {
                self.begin(&waiting.family, shared, now, out);
            }
            // A shared cause takes in everybody that it explains, so this one too.
            if self.waiting.remove(&finding).is_some() {
                out.push(Act::Release(finding));
            }
        }
        self.look_for_silence(now, out);
        while let Some((at, group)) = self.endings.first().copied().filter(|(at, _)| *at <= now) {
            self.endings.remove(&(at, group));
            self.end(group, now, out);
        }
    }

    /// A device went away in order, or came back.
    pub fn presence(&mut self, place: Place, presence: Presence, at: Timestamp) {
        let member = &mut self.members[place.0];
        member.awake = presence == Presence::Online;
        member.away_since = at;
        self.heard_again(place, at);
    }
}
