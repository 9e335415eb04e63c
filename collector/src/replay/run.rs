//! The devices of a trace, each judged by the core, with the time of the newest line as the clock.
//!
//! Before a line is looked at, everything is settled that was due before it, of all devices, in order of time. So a
//! finding fires when its hold time ends, not when its device happens to say something next.

use super::house::House;
use super::line::device_id;
use super::output::Listener;
use firstline_collector_core::device::{KnownDevice, News};
use firstline_collector_core::finding::{DeviceState, Phase};
use firstline_collector_core::fleet::{Fleet, Place};
use firstline_collector_core::knowledge::{DeviceTraits, KnowledgeSet};
use firstline_collector_core::peers::Peers;
use firstline_model::{Body, Observation, Timestamp, Value};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::Duration;

/// A deadline that has passed and changed nothing is looked at again after this.
const AGAIN: Duration = Duration::from_secs(2);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A replay in progress.
pub(crate) struct Replay<'k, L> {
    house: House<'k, L>,
    /// The same devices, in the same order, as far as they have something in common.
    fleet: Fleet,
    /// What they measure, where entries compare them.
    peers: Peers,
    /// Places of devices by id. Never iterated, so its order cannot show.
    places: HashMap<String, usize>,
    deadlines: BTreeSet<(Timestamp, usize)>,
    now: Timestamp,
    observations: u64,
    late: u64,
    /// The devices were enrolled to their sites; what they say of it themselves does not count.
    sites_are_known: bool,
}

/// What a replay amounted to.
pub(crate) struct Figures {
    pub(crate) observations: u64,
    pub(crate) devices: usize,
    /// Lines that were not in order of time.
    pub(super) late: u64,
}

impl<'k, L: Listener> Replay<'k, L> {
    pub(crate) fn new(knowledge: &'k KnowledgeSet, output: L) -> Self {
        Self {
            house: House::new(knowledge, output),
            fleet: Fleet::default(),
            peers: Peers::default(),
            places: HashMap::new(),
            deadlines: BTreeSet::new(),
            now: Timestamp::from_millis(i64::MIN),
            observations: 0,
            late: 0,
            sites_are_known: false,
        }
    }

    /// A replay of what a collector stored: where its devices belong was decided when they were enrolled.
    pub(crate) fn of_enrolled_devices(knowledge: &'k KnowledgeSet, listener: L) -> Self {
        Self { sites_are_known: true, ..Self::new(knowledge, listener) }
    }

    /// Takes one line in. The inner error says why the line is refused.
    pub(super) fn take(&mut self, device: &str, observation: &Observation) -> io::Result<Result<(), String>> {
        let at = observation.observed_at;
        self.late += u64::from(at < self.now);
        self.reach(at)?;
        match self.place(device) {
            Ok(place) => self.judge(place, observation).map(Ok),
            Err(why) => Ok(Err(why)),
        }
    }

    /// The clock of the recording shows `at`: what was due before is settled. It never goes back.
    pub(crate) fn reach(&mut self, at: Timestamp) -> io::Result<()> {
        self.now = self.now.max(at);
        self.settle(self.now.minus(MILLISECOND))
    }

    /// Takes a device in of which something is known before it says anything; returns its place.
    pub(crate) fn join(&mut self, known: KnownDevice) -> usize {
        let device = known.traits.device.clone();
        let (facts, site) = (known.facts.clone(), known.traits.site.clone());
        let fleet = self.fleet.add(device.clone(), self.now);
        self.fleet.know(fleet, &facts, site.as_deref());
        let place = self.house.add(known);
        self.places.insert(device.as_str().to_owned(), place);
        place
    }

    /// Judges one observation of the device at `place`, at the time that the recording has reached.
    pub(crate) fn judge(&mut self, place: usize, observation: &Observation) -> io::Result<()> {
        self.observations += 1;
        let at = observation.observed_at;
        let played = &mut self.house.devices[place];
        let mut news = News::default();
        let facts_changed =
            played.known.observe(self.house.knowledge, &mut self.peers, observation, &mut news);
        self.fleet.heard(Place(place), at);
        match &observation.body {
            Body::Facts(facts) if facts_changed => {
                // Nobody enrolled the devices of a trace: what it says of their sites is all there is.
                if !self.sites_are_known
                    && let Some(site) = facts.get("site").and_then(Value::as_text)
                {
                    played.known.traits.site = Some(site.to_owned());
                }
                self.fleet.know(Place(place), &played.known.facts, played.known.traits.site.as_deref());
            }
            Body::Presence(presence) => self.fleet.presence(Place(place), *presence, at),
            Body::Sample { .. } | Body::State { .. } => self.fleet.uses(Place(place), &observation.component),
            Body::Event { .. }
            | Body::Unavailable { .. }
            | Body::Facts(_)
            | Body::Diagnostic(_)
            | Body::Gap { .. } => {}
        }
        self.decide(place, news, self.now)?;
        self.schedule(place, at);
        Ok(())
    }

    /// Settles what is due at the very end of the recording.
    pub(crate) fn finish(mut self) -> io::Result<(Figures, L)> {
        self.settle(self.now)?;
        self.house.output.finish()?;
        let figures =
            Figures { observations: self.observations, devices: self.house.devices.len(), late: self.late };
        Ok((figures, self.house.output))
    }

    fn place(&mut self, device: &str) -> Result<usize, String> {
        if let Some(place) = self.places.get(device) {
            return Ok(*place);
        }
        let id = device_id(device)?;
        let traits = DeviceTraits { device: id, site: None, tags: Vec::new(), device_class: None };
        let facts = Value::map::<&'static str>([]);
        Ok(self.join(KnownDevice::new(traits, device.to_owned(), facts, DeviceState::default(), Vec::new())))
    }

    fn settle(&mut self, until: Timestamp) -> io::Result<()> {
        loop {
            let device = self.deadlines.first().copied().filter(|(at, _)| *at <= until);
            let fleet = self.fleet.next_deadline().filter(|at| *at <= until);
            match (device, fleet) {
                (None, None) => return Ok(()),
                // Devices first: what fires at this moment has waited for the fleet's look at it.
                (Some((at, place)), fleet) if fleet.is_none_or(|fleet| at <= fleet) => {
                    self.deadlines.pop_first();
                    let played = &mut self.house.devices[place];
                    played.deadline = None;
                    let mut news = News::default();
                    played.known.pass_time(self.house.knowledge, at, &mut news);
                    self.decide(place, news, at)?;
                    self.schedule(place, at);
                }
                (_, Some(at)) => {
                    let mut acts = Vec::new();
                    self.fleet.pass_time(at, &mut acts);
                    self.fleet.perform(self.house.knowledge, acts, &mut self.house, at)?;
                }
                (Some(_), None) => {}
            }
        }
    }

    fn schedule(&mut self, place: usize, now: Timestamp) {
        let played = &mut self.house.devices[place];
        let in_motion = played.known.state.findings.values().any(|finding| finding.phase != Phase::Cleared);
        let next = if in_motion { played.known.next_deadline(self.house.knowledge) } else { None };
        let next = next.map(|at| if at <= now { now.plus(AGAIN) } else { at });
        if next != played.deadline {
            if let Some(old) = played.deadline.take() {
                self.deadlines.remove(&(old, place));
            }
            if let Some(at) = next {
                self.deadlines.insert((at, place));
            }
            played.deadline = next;
        }
    }

    /// Lets the fleet say which findings open their own tickets now, decides about those, and does the rest.
    fn decide(&mut self, place: usize, mut news: News, now: Timestamp) -> io::Result<()> {
        if news.is_empty() {
            return Ok(());
        }
        let mut acts = Vec::new();
        let known = &mut self.house.devices[place].known;
        self.fleet.sift(self.house.knowledge, Place(place), known, &mut news, now, &mut acts);
        if !news.is_empty() {
            self.house.open_and_close(place, &news, now)?;
        }
        if acts.is_empty() {
            return Ok(());
        }
        self.fleet.perform(self.house.knowledge, acts, &mut self.house, now)
    }
}
