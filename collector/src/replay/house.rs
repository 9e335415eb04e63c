//! The devices and tickets of a replay, in memory, and the output that tells what becomes of them.

use super::output::{Listener, Suppressed};
use firstline_collector_core::device::{KnownDevice, News};
use firstline_collector_core::fleet::{Place, Shell, Unticketed};
use firstline_collector_core::knowledge::KnowledgeSet;
use firstline_collector_core::ticket::{Ticket, TimelineEntry};
use firstline_model::{TicketId, Timestamp};
use std::collections::BTreeMap;
use std::io;

/// What the devices of a trace are and have.
pub(super) struct House<'k, L> {
    pub(super) knowledge: &'k KnowledgeSet,
    pub(super) devices: Vec<Played>,
    /// The Problems of shared causes.
    parents: BTreeMap<TicketId, Ticket>,
    next_ticket: u64,
    pub(super) output: L,
}

/// One device of a trace.
pub(super) struct Played {
    pub(super) known: KnownDevice,
    pub(super) deadline: Option<Timestamp>,
}

impl<'k, L: Listener> House<'k, L> {
    pub(super) fn new(knowledge: &'k KnowledgeSet, output: L) -> Self {
        Self { knowledge, devices: Vec::new(), parents: BTreeMap::new(), next_ticket: 1, output }
    }

    /// Takes a device in; returns its place.
    pub(super) fn add(&mut self, known: KnownDevice) -> usize {
        self.devices.push(Played { known, deadline: None });
        self.devices.len() - 1
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

impl<L: Listener> Shell for House<'_, L> {
    type Error = io::Error;

    fn known(&mut self, place: Place) -> Option<&mut KnownDevice> {
        self.devices.get_mut(place.0).map(|played| &mut played.known)
    }

    fn decide(&mut self, place: Place, news: News, now: Timestamp) -> io::Result<()> {
        self.open_and_close(place.0, &news, now)
    }

    fn parent(&mut self, id: TicketId) -> Option<Ticket> {
        self.parents.get(&id).cloned()
    }

    fn next_id(&mut self) -> TicketId {
        self.next_ticket += 1;
        TicketId(self.next_ticket - 1)
    }

    fn keep_parent(
        &mut self,
        before: Option<&Ticket>,
        after: Ticket,
        _: Vec<TimelineEntry>,
        now: Timestamp,
    ) -> io::Result<()> {
        self.output.ticket(before, &after, now)?;
        self.parents.insert(after.id, after);
        Ok(())
    }

    fn keep_child(
        &mut self,
        _: Place,
        before: &Ticket,
        after: Ticket,
        _: Vec<TimelineEntry>,
        now: Timestamp,
    ) -> io::Result<()> {
        self.output.ticket(Some(before), &after, now)
    }

    fn without_ticket(&mut self, one: Unticketed, now: Timestamp) -> io::Result<()> {
        let Some(played) = self.devices.get(one.place.0) else { return Ok(()) };
        self.output.suppressed(&Suppressed {
            at: now,
            reason: &one.reason,
            device: Some(played.known.traits.device.as_str()),
            rule: one.rule.as_str(),
            component: one.component.to_string(),
            parent: one.parent.map(|parent| parent.0),
        })
    }
}
