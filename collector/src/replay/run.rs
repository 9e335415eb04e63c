//! The devices of a trace, each judged by the core, with the time of the newest line as the clock.
//!
//! Before a line is looked at, everything is settled that was due before it, of all devices, in order of time. So a
//! finding fires when its hold time ends, not when its device happens to say something next.

use super::line::device_id;
use super::output::{Output, Suppressed};
use firstline_collector_core::device::{KnownDevice, News};
use firstline_collector_core::evaluate::Transition;
use firstline_collector_core::finding::{DeviceState, Phase};
use firstline_collector_core::fleet::{Fleet, GroupId, MemberFinding, Place};
use firstline_collector_core::knowledge::{DeviceTraits, KnowledgeSet};
use firstline_collector_core::ticket::Ticket;
use firstline_model::{Body, Observation, TicketId, Timestamp, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

/// A deadline that has passed and changed nothing is looked at again after this.
const AGAIN: Duration = Duration::from_secs(2);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A replay in progress.
pub(super) struct Replay<'k, W: Write> {
    pub(super) knowledge: &'k KnowledgeSet,
    pub(super) devices: Vec<Played>,
    /// The same devices, in the same order, as far as they have something in common.
    pub(super) fleet: Fleet,
    /// Findings that wait for others like them.
    pub(super) held: BTreeMap<MemberFinding, Transition>,
    /// The Problems of shared causes.
    pub(super) parents: BTreeMap<GroupId, Ticket>,
    /// Places in `devices` by id. Never iterated, so its order cannot show.
    places: HashMap<String, usize>,
    deadlines: BTreeSet<(Timestamp, usize)>,
    now: Timestamp,
    pub(super) next_ticket: u64,
    pub(super) output: Output<W>,
    observations: u64,
    late: u64,
}

pub(super) struct Played {
    pub(super) known: KnownDevice,
    deadline: Option<Timestamp>,
}

/// What a replay amounted to.
pub(super) struct Figures {
    observations: u64,
    devices: usize,
    opened: u64,
    suppressed: u64,
    /// Lines that were not in order of time.
    pub(super) late: u64,
}

impl<'k, W: Write> Replay<'k, W> {
    pub(super) fn new(knowledge: &'k KnowledgeSet, output: Output<W>) -> Self {
        Self {
            knowledge,
            devices: Vec::new(),
            fleet: Fleet::default(),
            held: BTreeMap::new(),
            parents: BTreeMap::new(),
            places: HashMap::new(),
            deadlines: BTreeSet::new(),
            now: Timestamp::from_millis(i64::MIN),
            next_ticket: 1,
            output,
            observations: 0,
            late: 0,
        }
    }

    /// Takes one line in. The inner error says why the line is refused.
    pub(super) fn take(&mut self, device: &str, observation: &Observation) -> io::Result<Result<(), String>> {
        let at = observation.observed_at;
        self.late += u64::from(at < self.now);
        self.now = self.now.max(at);
        self.settle(self.now.minus(MILLISECOND))?;
        let place = match self.place(device) {
            Ok(place) => place,
            Err(why) => return Ok(Err(why)),
        };
        self.observations += 1;
        let played = &mut self.devices[place];
        let mut news = News::default();
        let facts_changed = played.known.observe(self.knowledge, observation, &mut news);
        let mut acts = Vec::new();
        self.fleet.heard(Place(place), at, &mut acts);
        match &observation.body {
            Body::Facts(facts) if facts_changed => {
                // Nobody enrolled the devices of a trace: what it says of their sites is all there is.
                if let Some(site) = facts.get("site").and_then(Value::as_text) {
                    played.known.traits.site = Some(site.to_owned());
                }
                self.fleet.know(Place(place), &played.known.facts, played.known.traits.site.as_deref());
            }
            Body::Presence(presence) => self.fleet.presence(Place(place), *presence, at, &mut acts),
            Body::Sample { .. } | Body::State { .. } => self.fleet.uses(Place(place), &observation.component),
            Body::Event { .. }
            | Body::Unavailable { .. }
            | Body::Facts(_)
            | Body::Diagnostic(_)
            | Body::Gap { .. } => {}
        }
        if !acts.is_empty() {
            self.act(acts, self.now)?;
        }
        if !news.is_empty() {
            self.decide(place, news, self.now)?;
        }
        self.schedule(place, at);
        Ok(Ok(()))
    }

    /// Settles what is due at the very end of the trace.
    pub(super) fn finish(mut self) -> io::Result<Figures> {
        self.settle(self.now)?;
        self.output.flush()?;
        Ok(Figures {
            observations: self.observations,
            devices: self.devices.len(),
            opened: self.output.opened,
            suppressed: self.output.suppressed,
            late: self.late,
        })
    }

    fn place(&mut self, device: &str) -> Result<usize, String> {
        if let Some(place) = self.places.get(device) {
            return Ok(*place);
        }
        let id = device_id(device)?;
        let traits = DeviceTraits { device: id, site: None, tags: Vec::new(), device_class: None };
        let facts = Value::map::<&'static str>([]);
        let known = KnownDevice::new(traits, device.to_owned(), facts, DeviceState::default(), Vec::new());
        self.fleet.add(known.traits.device.clone(), self.now);
        self.devices.push(Played { known, deadline: None });
        self.places.insert(device.to_owned(), self.devices.len() - 1);
        Ok(self.devices.len() - 1)
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
                    self.devices[place].deadline = None;
                    let mut news = News::default();
                    self.devices[place].known.pass_time(self.knowledge, at, &mut news);
                    if !news.is_empty() {
                        self.decide(place, news, at)?;
                    }
                    self.schedule(place, at);
                }
                (_, Some(at)) => {
                    let mut acts = Vec::new();
                    self.fleet.pass_time(at, &mut acts);
                    self.act(acts, at)?;
                }
                (Some(_), None) => {}
            }
        }
    }

    fn schedule(&mut self, place: usize, now: Timestamp) {
        let played = &mut self.devices[place];
        let in_motion = played.known.state.findings.values().any(|finding| finding.phase != Phase::Cleared);
        let next = if in_motion { played.known.next_deadline(self.knowledge) } else { None };
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

    /// Turns news of one device into its tickets, and tells what became of them.
    pub(super) fn open_and_close(&mut self, place: usize, news: &News, now: Timestamp) -> io::Result<()> {
        let played = &mut self.devices[place];
        let before = played.known.tickets.clone();
        let next_ticket = &mut self.next_ticket;
        let mut next_id = || {
            *next_ticket += 1;
            TicketId(*next_ticket - 1)
        };
        let decided = played.known.decide(self.knowledge, now, news, &mut next_id);
        for ticket in &decided.outcome.tickets {
            let before = before.iter().find(|known| known.id == ticket.id);
            self.output.ticket(before, ticket, now)?;
        }
        let device = played.known.traits.device.as_str();
        for one in &decided.outcome.suppressions {
            self.output.suppressed(&Suppressed {
                at: now,
                reason: &one.reason,
                device: Some(device),
                rule: one.rule.as_str(),
                component: one.component.to_string(),
                parent: None,
            })?;
        }
        played.known.forget_old_tickets(now);
        Ok(())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} observations of {} devices: {} tickets opened, {} breaches without a ticket",
            self.observations, self.devices, self.opened, self.suppressed
        )
    }
}
