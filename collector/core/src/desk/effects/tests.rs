//! Causes and effects on one device, against a model that is too simple to be wrong.

use crate::desk::{DeskContext, decide};
use crate::evaluate::{Transition, observe};
use crate::finding::DeviceState;
use crate::fixture::{compare, depends, device, entry, level, sample};
use crate::knowledge::{Compare, KnowledgeEntry, KnowledgeSet};
use crate::sla::Calendar;
use crate::ticket::{Ticket, TicketState};
use firstline_model::{ComponentKind, Observation, Severity, TicketId};
use std::collections::BTreeSet;

/// Three checks of one chain: the first explains the second, the second the third.
const CHAIN: [(&str, &str, &str); 3] = [
    ("net.link", "network_interface/eth0", "test.link"),
    ("net.gateway", "gateway/192.0.2.1", "test.gateway"),
    ("net.dns", "dns_server/192.0.2.53", "test.dns"),
];

fn chain() -> KnowledgeSet {
    let kinds = [ComponentKind::NetworkInterface, ComponentKind::Gateway, ComponentKind::DnsServer];
    let entries = CHAIN.iter().zip(kinds).enumerate().map(|(at, ((rule, _, metric), kind))| {
        let levels = vec![level(Severity::Warning, compare(metric, Compare::Equals, 1.0), 0, None, 0)];
        let one = KnowledgeEntry { title: format!("{rule} fails"), ..entry(rule, kind, levels) };
        if at > 0 { depends(one, &[CHAIN[at - 1].0]) } else { one }
    });
    KnowledgeSet::new(entries, Vec::new())
}

fn seen(t: i64, check: usize, fails: bool) -> Observation {
    let (_, on, metric) = CHAIN[check];
    sample(t, on, metric, &[], f64::from(u8::from(fails)))
}

/// The device and its desk.
#[derive(Default)]
struct Played {
    state: DeviceState,
    tickets: Vec<Ticket>,
}

impl Played {
    fn sees(&mut self, knowledge: &KnowledgeSet, observation: &Observation) {
        let mut transitions: Vec<Transition> = Vec::new();
        observe(knowledge, &device(), &mut self.state, observation, Vec::new(), &mut transitions);
        let traits = device();
        let context = DeskContext {
            now: observation.observed_at,
            knowledge,
            device: &traits,
            hostname: "pc-1",
            state: &self.state,
            tickets: &self.tickets,
            recent_changes: &[],
            calendar: Calendar::default(),
        };
        let mut next = self.tickets.len() as u64;
        let outcome = decide(&context, &transitions, &[], &mut || {
            next += 1;
            TicketId(next)
        });
        for ticket in outcome.tickets {
            match self.tickets.iter_mut().find(|known| known.id == ticket.id) {
                Some(known) => *known = ticket,
                None => self.tickets.push(ticket),
            }
        }
    }

    fn ticket(&self, check: usize) -> Option<&Ticket> {
        self.tickets.iter().find(|ticket| ticket.rule.as_ref().unwrap().as_str() == CHAIN[check].0)
    }

    /// Which checks stand in the ticket of `check`.
    fn effects(&self, check: usize) -> BTreeSet<usize> {
        let evidence = self.ticket(check).map(|ticket| &ticket.evidence);
        let labels = evidence.into_iter().flatten().filter_map(|line| line.label.strip_prefix("effect: "));
        labels
            .map(|label| CHAIN.iter().position(|(rule, ..)| label == format!("{rule} fails")).unwrap())
            .collect()
    }
}

/// What must be so, one check at a time.
#[derive(Default)]
struct Model {
    fails: [bool; 3],
    /// It has a ticket and that is open.
    open: [bool; 3],
    /// It fails and has no ticket because of the check before it.
    hidden: [bool; 3],
    effects: [BTreeSet<usize>; 3],
}

impl Model {
    fn sees(&mut self, check: usize, fails: bool) {
        let failed = std::mem::replace(&mut self.fails[check], fails);
        if fails && !failed {
            if check > 0 && self.fails[check - 1] {
                self.hidden[check] = true;
                self.join(check);
            } else {
                self.opens(check);
            }
        }
        if !fails && failed {
            self.open[check] = false;
            self.hidden[check] = false;
            if check < 2 && self.hidden[check + 1] {
                self.hidden[check + 1] = false;
                self.opens(check + 1);
            }
        }
    }

    fn opens(&mut self, check: usize) {
        self.open[check] = true;
        for effect in check + 1..3 {
            if self.hidden[effect] && self.root(effect) == check {
                self.effects[check].insert(effect);
            }
        }
    }

    fn join(&mut self, check: usize) {
        let root = self.root(check);
        if self.open[root] {
            self.effects[root].insert(check);
        }
    }

    fn root(&self, mut check: usize) -> usize {
        while self.hidden[check] {
            check -= 1;
        }
        check
    }
}

#[test]
fn whatever_fails_in_whatever_order_effects_are_in_the_ticket_of_their_cause() {
    let knowledge = chain();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..400 {
        let (mut played, mut model) = (Played::default(), Model::default());
        for step in 0..30 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let (check, fails) = ((seed >> 20) as usize % 3, seed >> 40 & 1 == 1);
            played.sees(&knowledge, &seen(step * 10, check, fails));
            model.sees(check, fails);
            for (check, (rule, ..)) in CHAIN.iter().enumerate() {
                let open = played.ticket(check).is_some_and(|ticket| ticket.state.is_open());
                assert_eq!(open, model.open[check], "round {round}, step {step}: ticket of {rule}");
                let effects = played.effects(check);
                assert_eq!(effects, model.effects[check], "round {round}, step {step}: effects of {rule}");
            }
        }
    }
}

#[test]
fn an_effect_that_outlives_its_cause_opens_then() {
    let knowledge = chain();
    let mut played = Played::default();
    for (t, check, fails) in [(0, 0, true), (10, 1, true), (20, 2, true)] {
        played.sees(&knowledge, &seen(t, check, fails));
    }
    assert_eq!(played.tickets.len(), 1);
    assert_eq!(played.effects(0), BTreeSet::from([1, 2]), "{:?}", played.tickets[0].evidence);
    // The link is back, and the gateway is really dead: it takes over what it explains.
    played.sees(&knowledge, &seen(30, 0, false));
    assert_eq!(played.ticket(0).unwrap().state, TicketState::Resolved);
    assert!(played.ticket(1).unwrap().state.is_open());
    assert_eq!(played.effects(1), BTreeSet::from([2]));
    assert!(played.ticket(2).is_none());
}

#[test]
fn a_ticket_that_was_there_before_its_cause_becomes_its_child() {
    let knowledge = chain();
    let mut played = Played::default();
    played.sees(&knowledge, &seen(0, 1, true));
    played.sees(&knowledge, &seen(10, 0, true));
    let (cause, effect) = (played.ticket(0).unwrap(), played.ticket(1).unwrap());
    assert_eq!(effect.parent, Some(cause.id));
    assert_eq!(cause.parent, None);
    // It ends by itself, and what comes back later on its own belongs to nobody.
    played.sees(&knowledge, &seen(20, 1, false));
    assert_eq!(played.ticket(1).unwrap().state, TicketState::Resolved);
}
