//! Shared causes in live serving: the core's fleet between two commits, and where the outcome of its decisions goes.
//!
//! Devices, their attributes and whether they are there live in memory for as long as the process does. What was
//! decided (who waits, who belongs to which Problem) is read again whenever a commit failed, so memory never knows
//! more than the store.

use super::device::{Draft, Live};
use super::numbers::Numbers;
use firstline_collector_core::device::{KnownDevice, News};
use firstline_collector_core::fleet::{Act, AttributeKind, Fleet, Place, Shell, Unticketed};
use firstline_collector_core::knowledge::{DeviceTraits, KnowledgeSet};
use firstline_collector_core::peers::Peers;
use firstline_collector_core::ticket::{REOPEN_WITHIN, Ticket, TimelineEntry};
use firstline_collector_store::plan::SharedPlan;
use firstline_collector_store::record::{Device, DeviceFilter, DeviceStatus, LatestContent, Page};
use firstline_collector_store::{Store, StoreError};
use firstline_model::{Body, DeviceId, Observation, Presence, TicketId, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::time::Duration;

/// What a device has not reported on for so long, it does not use any more.
const USED_LATELY: Duration = Duration::from_secs(30 * 24 * 3600);

/// The fleet and how far it can be trusted.
#[derive(Default)]
pub(super) struct LiveFleet {
    fleet: Fleet,
    /// What devices measure, where entries compare them. What a commit that failed brought may stay in it: it comes again.
    peers: Peers,
    /// By place, for the scopes of entries.
    traits: Vec<DeviceTraits>,
    /// The devices were read.
    has_devices: bool,
    /// What was decided is as it is stored.
    is_current: bool,
}

/// What happened to a device, as far as the fleet is concerned.
pub(super) struct Noticed {
    /// Of its stream.
    pub(super) presence: Option<Presence>,
    /// What it said itself last.
    pub(super) said: Option<Presence>,
    /// Its facts changed.
    pub(super) facts: bool,
}

impl LiveFleet {
    /// What was decided since it was last current may not be stored.
    pub(super) fn distrust(&mut self) {
        self.is_current = false;
    }

    /// Reads what is not known, or not any more.
    pub(super) async fn refresh(
        &mut self,
        store: &dyn Store,
        knowledge: &KnowledgeSet,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if self.peers.lacks(knowledge) {
            self.read_peers(store, knowledge).await?;
        }
        if self.is_current {
            return Ok(());
        }
        if !self.has_devices {
            self.read_devices(store, now).await?;
            self.has_devices = true;
        }
        let causes = store.shared_causes(now.minus(REOPEN_WITHIN)).await?;
        let findings = store.findings(None, None).await?;
        let firing = findings.iter().filter_map(|one| {
            let place = self.fleet.place(&one.device)?;
            let entry = knowledge.entry_for(&one.finding.rule, self.traits.get(place.0)?)?;
            Some((entry, &one.device, &one.finding))
        });
        let firing: Vec<_> = firing.collect();
        self.fleet.restore(causes, firing, now);
        self.is_current = true;
        Ok(())
    }

    /// What was said before the collector started, or before an entry compared it.
    async fn read_peers(&mut self, store: &dyn Store, knowledge: &KnowledgeSet) -> Result<(), StoreError> {
        let names: Vec<&str> = Peers::metrics(knowledge).into_iter().collect();
        let mut newest = store.newest_of(&names).await?;
        newest.sort_by(|(one, a), (other, b)| (a.observed_at, one).cmp(&(b.observed_at, other)));
        let mut devices = HashMap::new();
        for_each_active(store, |device| {
            devices.insert(device.id.clone(), (Live::traits_of(&device), device.facts));
        })
        .await?;
        self.peers.begin(knowledge);
        for (id, value) in newest {
            let Some((traits, facts)) = devices.get(&id) else { continue };
            let LatestContent::Sample { value: number, attributes } = value.content else { continue };
            let body = Body::Sample { metric: value.name.into(), attributes, value: number };
            let said = Observation { component: value.component, observed_at: value.observed_at, body };
            self.peers.observe(knowledge, traits, facts, &said);
        }
        Ok(())
    }

    /// What devices measure, where entries compare them.
    pub(super) fn peers_mut(&mut self) -> &mut Peers {
        &mut self.peers
    }

    async fn read_devices(&mut self, store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
        for_each_active(store, |device| {
            if self.fleet.place(&device.id).is_none() {
                let place = self.add(Live::traits_of(&device), now);
                self.fleet.know(place, &device.facts, device.site.as_deref());
                self.fleet.not_heard_yet(place);
            }
        })
        .await?;
        let parts = store.parts(AttributeKind::SHARED_PARTS, now.minus(USED_LATELY)).await?;
        for (device, component) in parts {
            if let Some(place) = self.fleet.place(&device) {
                self.fleet.uses(place, &component);
            }
        }
        Ok(())
    }

    fn add(&mut self, traits: DeviceTraits, now: Timestamp) -> Place {
        let place = self.fleet.add(traits.device.clone(), now);
        match self.traits.get_mut(place.0) {
            Some(known) => *known = traits,
            None => self.traits.push(traits),
        }
        place
    }

    /// The device was read (again): it may have been let in, moved or withdrawn.
    pub(super) fn read(&mut self, live: &Live, now: Timestamp) {
        let is_new = self.fleet.place(live.id()).is_none();
        match live.device.status {
            DeviceStatus::Active => {
                let place = self.add(Live::traits_of(&live.device), now);
                self.fleet.know(place, &live.device.facts, live.device.site.as_deref());
                if is_new {
                    self.fleet.not_heard_yet(place);
                }
            }
            DeviceStatus::Revoked | DeviceStatus::Retired | DeviceStatus::Quarantined => {
                self.peers.retire(live.id());
                if let Some(place) = self.fleet.place(live.id()) {
                    self.fleet.retire(place, now);
                }
            }
        }
    }

    /// Takes note of what a device brought, and takes out of its news what its own tickets are not decided by.
    pub(super) fn take(
        &mut self,
        knowledge: &KnowledgeSet,
        live: &mut Live,
        draft: &mut Draft,
        noticed: &Noticed,
        now: Timestamp,
        acts: &mut Vec<Act>,
    ) {
        let Some(place) = self.fleet.place(live.id()) else { return };
        match noticed.presence {
            Some(Presence::Online) => self.fleet.connected(place, now),
            Some(away @ (Presence::Asleep | Presence::ShutDown)) => self.fleet.presence(place, away, now),
            Some(Presence::OffNetwork) => self.fleet.lost(place, now),
            Some(Presence::Crashed | Presence::Retired) | None => {}
        }
        match noticed.said {
            Some(said) if noticed.presence.is_none() => self.fleet.presence(place, said, now),
            Some(_) | None => {}
        }
        if draft.observations > 0 {
            self.fleet.spoke(place, now);
        }
        if noticed.facts {
            self.fleet.know(place, &live.device.facts, live.device.site.as_deref());
            if let Some(traits) = self.traits.get_mut(place.0) {
                traits.device_class.clone_from(&live.known_mut().traits.device_class);
            }
        }
        for component in draft.components() {
            self.fleet.uses(place, component);
        }
        self.fleet.sift(knowledge, place, live.known_mut(), draft.news_mut(), now, acts);
    }

    /// When there is something to do although nothing is heard.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        if self.is_current { self.fleet.next_deadline() } else { None }
    }

    /// Lets time pass.
    pub(super) fn pass_time(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        self.fleet.pass_time(now, acts);
    }

    /// The devices that have to be in memory before acts are performed.
    pub(super) fn devices_of(&self, acts: &[Act]) -> Vec<DeviceId> {
        Fleet::places_of(acts).into_iter().map(|place| self.fleet.device(place).clone()).collect()
    }

    /// Does what was found to be done. Parents are read before, because people work on them too.
    pub(super) async fn perform(
        &mut self,
        store: &dyn Store,
        acts: Vec<Act>,
        mut desk: Gathering<'_>,
    ) -> Result<(), StoreError> {
        if !acts.is_empty() {
            for id in self.fleet.parents_of(&acts) {
                if let Some(ticket) = store.ticket(id).await? {
                    desk.parents.insert(id, ticket);
                }
            }
            for place in Fleet::places_of(&acts) {
                desk.ids.insert(place, self.fleet.device(place).clone());
            }
            let (knowledge, now) = (desk.knowledge, desk.now);
            let Ok(()) = self.fleet.perform(knowledge, acts, &mut desk, now);
        }
        desk.shared.causes = self.fleet.take_changes();
        Ok(())
    }
}

/// Reads all devices in service, page by page.
async fn for_each_active(store: &dyn Store, mut each: impl FnMut(Device) + Send) -> Result<(), StoreError> {
    let filter = DeviceFilter { status: Some(DeviceStatus::Active), ..DeviceFilter::default() };
    let mut page = Page::first(Page::MAX_LIMIT);
    loop {
        let found = store.devices(&filter, &page).await?;
        found.rows.into_iter().for_each(&mut each);
        page.after = found.next;
        if page.after.is_none() {
            return Ok(());
        }
    }
}

/// Where the outcome of shared causes is gathered for a commit.
pub(super) struct Gathering<'a> {
    knowledge: &'a KnowledgeSet,
    now: Timestamp,
    live: &'a mut HashMap<DeviceId, Live>,
    drafts: &'a mut BTreeMap<DeviceId, Draft>,
    numbers: &'a mut Numbers,
    shared: &'a mut SharedPlan,
    parents: BTreeMap<TicketId, Ticket>,
    ids: BTreeMap<Place, DeviceId>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(
        knowledge: &'a KnowledgeSet,
        now: Timestamp,
        live: &'a mut HashMap<DeviceId, Live>,
        drafts: &'a mut BTreeMap<DeviceId, Draft>,
        numbers: &'a mut Numbers,
        shared: &'a mut SharedPlan,
    ) -> Self {
        let (parents, ids) = (BTreeMap::new(), BTreeMap::new());
        Self { knowledge, now, live, drafts, numbers, shared, parents, ids }
    }
}

impl Shell for Gathering<'_> {
    type Error = Infallible;

    fn known(&mut self, place: Place) -> Option<&mut KnownDevice> {
        let id = self.ids.get(&place)?;
        // What changes is saved by its draft.
        self.drafts.get(id)?;
        self.live.get_mut(id).map(Live::known_mut)
    }

    fn decide(&mut self, place: Place, news: News, now: Timestamp) -> Result<(), Infallible> {
        let Some(id) = self.ids.get(&place) else { return Ok(()) };
        if let (Some(live), Some(draft)) = (self.live.get_mut(id), self.drafts.get_mut(id)) {
            *draft.news_mut() = news;
            let numbers = &mut *self.numbers;
            live.decide(self.knowledge, now, &mut || numbers.take(), draft);
        }
        Ok(())
    }

    fn parent(&mut self, id: TicketId) -> Option<Ticket> {
        self.parents.get(&id).cloned()
    }

    fn next_id(&mut self) -> TicketId {
        self.numbers.take()
    }

    fn keep_parent(
        &mut self,
        _: Option<&Ticket>,
        after: Ticket,
        timeline: Vec<TimelineEntry>,
        _: Timestamp,
    ) -> Result<(), Infallible> {
        self.shared.timeline.extend(timeline);
        self.shared.tickets.push(after.clone());
        self.parents.insert(after.id, after);
        Ok(())
    }

    fn keep_child(
        &mut self,
        place: Place,
        _: &Ticket,
        after: Ticket,
        timeline: Vec<TimelineEntry>,
        _: Timestamp,
    ) -> Result<(), Infallible> {
        if let Some(draft) = self.ids.get(&place).and_then(|id| self.drafts.get_mut(id)) {
            draft.plan.tickets.push(after);
            draft.plan.timeline.extend(timeline);
        }
        Ok(())
    }

    /// That a finding has no ticket of its own stands in the finding.
    fn without_ticket(&mut self, _: Unticketed, _: Timestamp) -> Result<(), Infallible> {
        Ok(())
    }
}
