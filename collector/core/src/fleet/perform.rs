//! What follows from shared causes for tickets: the same for live serving and for a replay, which differ only in where
//! they keep the outcome.

use super::{Act, Course, Fleet, GroupId, Left, MemberFinding, Membership, Place, Shared, open_problem};
use crate::device::{KnownDevice, News};
use crate::evaluate::{Transition, TransitionKind};
use crate::finding::Standing;
use crate::knowledge::KnowledgeSet;
use crate::sla::Calendar;
use crate::ticket::{self, Ticket, TicketInput, TimelineEntry};
use firstline_model::{Component, ComponentKind, RuleCode, TicketId, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// Where devices and tickets are kept, and what becomes of them is written down. All that one call of
/// [`Fleet::perform`] writes belongs into one transaction.
pub trait Shell {
    /// Why something cannot be written down.
    type Error;

    /// A device; `None` when it is gone.
    fn known(&mut self, place: Place) -> Option<&mut KnownDevice>;
    /// Turns news of a device into its own tickets.
    fn decide(&mut self, place: Place, news: News, now: Timestamp) -> Result<(), Self::Error>;
    /// The ticket of a Problem, as it is now.
    fn parent(&mut self, id: TicketId) -> Option<Ticket>;
    /// The number of a new ticket.
    fn next_id(&mut self) -> TicketId;
    /// A Problem is new or changed.
    fn keep_parent(
        &mut self,
        before: Option<&Ticket>,
        after: Ticket,
        timeline: Vec<TimelineEntry>,
        now: Timestamp,
    ) -> Result<(), Self::Error>;
    /// A device's ticket became a child.
    fn keep_child(
        &mut self,
        place: Place,
        before: &Ticket,
        after: Ticket,
        timeline: Vec<TimelineEntry>,
        now: Timestamp,
    ) -> Result<(), Self::Error>;
    /// A breach has no ticket of its own, and why.
    fn without_ticket(&mut self, one: Unticketed, now: Timestamp) -> Result<(), Self::Error>;
}

/// A breach without a ticket of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unticketed {
    /// Whose.
    pub place: Place,
    /// Its rule.
    pub rule: RuleCode,
    /// Its component.
    pub component: Component,
    /// Why.
    pub reason: String,
    /// The ticket that explains it.
    pub parent: Option<TicketId>,
}

impl Fleet {
    /// Takes out of a device's news what is not for its own tickets, now or at all. The rest is to be decided about
    /// before the acts are performed.
    pub fn sift(
        &mut self,
        knowledge: &KnowledgeSet,
        place: Place,
        known: &mut KnownDevice,
        news: &mut News,
        now: Timestamp,
        out: &mut Vec<Act>,
    ) {
        if news.transitions.is_empty() {
            return;
        }
        for transition in std::mem::take(&mut news.transitions) {
            if self.is_for_the_device(knowledge, place, known, &transition, now, out) {
                news.transitions.push(transition);
            }
        }
    }

    fn is_for_the_device(
        &mut self,
        knowledge: &KnowledgeSet,
        place: Place,
        known: &mut KnownDevice,
        transition: &Transition,
        now: Timestamp,
        out: &mut Vec<Act>,
    ) -> bool {
        let finding = || MemberFinding {
            place,
            rule: transition.rule.clone(),
            component: transition.component.clone(),
        };
        match transition.kind {
            TransitionKind::Fired => {
                let entry = knowledge.entry_for(&transition.rule, &known.traits);
                let Some(entry) = entry.filter(|entry| entry.opens_ticket) else { return true };
                // How long ago it began is the same by every clock.
                let since = now.minus(transition.at.since(transition.since));
                let finding = finding();
                match self.fired(entry, finding.clone(), since, now) {
                    Course::Own => true,
                    Course::Wait(due) => {
                        known.stand(&finding.rule, &finding.component, Standing::Waiting(due));
                        false
                    }
                    Course::Join(group, membership) => {
                        out.push(Act::Join(group, finding, membership));
                        membership == Membership::Child
                    }
                }
            }
            TransitionKind::Cleared => {
                let finding = finding();
                match self.cleared(&finding, now) {
                    Left::Own => true,
                    Left::Record => known.open_ticket_of(&finding.rule, &finding.component).is_some(),
                    Left::Waiting => {
                        out.push(Act::Drop(finding));
                        false
                    }
                }
            }
            TransitionKind::Pending
            | TransitionKind::Lapsed
            | TransitionKind::Escalated
            | TransitionKind::Recovering
            | TransitionKind::Relapsed
            | TransitionKind::Suppressed { .. }
            | TransitionKind::Unsuppressed => {
                !known.standing(&transition.rule, &transition.component).is_silent()
            }
        }
    }

    /// The devices that acts are about, beside those that are only named.
    pub fn places_of(acts: &[Act]) -> BTreeSet<Place> {
        acts.iter()
            .filter_map(|act| match act {
                Act::Release(finding) | Act::Join(_, finding, _) => Some(finding.place),
                Act::Drop(_) | Act::Begin { .. } | Act::Silent(..) | Act::End(_) => None,
            })
            .collect()
    }

    /// The Problems that acts are about, as far as there are tickets of them.
    pub fn parents_of(&self, acts: &[Act]) -> BTreeSet<TicketId> {
        acts.iter()
            .filter_map(|act| match act {
                Act::Begin { group, .. } | Act::Join(group, ..) | Act::Silent(group, _) | Act::End(group) => {
                    self.groups[group.0].parent
                }
                Act::Release(_) | Act::Drop(_) => None,
            })
            .collect()
    }

    /// Does what was found to be done, in order.
    pub fn perform<S: Shell>(
        &mut self,
        knowledge: &KnowledgeSet,
        acts: Vec<Act>,
        shell: &mut S,
        now: Timestamp,
    ) -> Result<(), S::Error> {
        for act in acts {
            match act {
                Act::Release(finding) => release(knowledge, shell, &finding, now)?,
                Act::Drop(finding) => {
                    let reason = "recovered while it was compared with other devices".to_owned();
                    shell.without_ticket(unticketed(finding, reason, None), now)?;
                }
                Act::Begin { group, rule, shared, since, failing, called } => {
                    let shared = Shared { attribute: &shared, failing, since, called: &called };
                    self.open_or_reopen(knowledge, shell, group, &rule, shared, now)?;
                }
                Act::Join(group, finding, membership) => {
                    let Some(parent) = self.groups[group.0].parent.and_then(|id| shell.parent(id)) else {
                        release(knowledge, shell, &finding, now)?;
                        continue;
                    };
                    if membership == Membership::Child {
                        release(knowledge, shell, &finding, now)?;
                    }
                    if !adopt(shell, &finding, &parent, now)? {
                        let standing = Standing::Member(parent.id);
                        if let Some(known) = shell.known(finding.place) {
                            known.stand(&finding.rule, &finding.component, standing);
                        }
                        let reason = format!("part of a shared cause: ticket {}", parent.id);
                        shell.without_ticket(unticketed(finding, reason, Some(parent.id)), now)?;
                    }
                }
                Act::Silent(group, place) => {
                    let parent = self.groups[group.0].parent;
                    let reason = parent
                        .map_or_else(String::new, |id| format!("silent together with others: ticket {id}"));
                    let rule = RuleCode::new("agent.silent");
                    let Ok(rule) = rule else { continue };
                    let component = Component::only(ComponentKind::Agent);
                    shell.without_ticket(Unticketed { place, rule, component, reason, parent }, now)?;
                }
                Act::End(group) => {
                    let input = TicketInput::FindingCleared {
                        value: "every affected device works again".to_owned(),
                        verified: Duration::ZERO,
                    };
                    self.apply_to_parent(shell, group, input, now)?;
                }
            }
        }
        Ok(())
    }

    fn open_or_reopen<S: Shell>(
        &mut self,
        knowledge: &KnowledgeSet,
        shell: &mut S,
        group: GroupId,
        rule: &RuleCode,
        shared: Shared<'_>,
        now: Timestamp,
    ) -> Result<(), S::Error> {
        let Some(entry) = knowledge.entries.get(rule) else { return Ok(()) };
        let known = self.groups[group.0].parent.and_then(|id| shell.parent(id));
        if let Some(parent) = known {
            if parent.state.is_open() {
                return Ok(());
            }
            let input = TicketInput::FindingFired {
                severity: parent.severity,
                evidence: Vec::new(),
                tests: Vec::new(),
                changes: Vec::new(),
            };
            if self.apply_to_parent(shell, group, input, now)? {
                return Ok(());
            }
        }
        let id = shell.next_id();
        let (ticket, timeline) = open_problem(entry, shared, id, now);
        self.groups[group.0].parent = Some(id);
        self.touched.insert(group.0);
        shell.keep_parent(None, ticket, timeline, now)
    }

    /// `false` when the parent does not take the input.
    fn apply_to_parent<S: Shell>(
        &mut self,
        shell: &mut S,
        group: GroupId,
        input: TicketInput,
        now: Timestamp,
    ) -> Result<bool, S::Error> {
        let Some(before) = self.groups[group.0].parent.and_then(|id| shell.parent(id)) else {
            return Ok(false);
        };
        let Ok((after, timeline, _)) = ticket::apply(before.clone(), input, Calendar::default(), now) else {
            return Ok(false);
        };
        if after.version != before.version {
            shell.keep_parent(Some(&before), after, timeline, now)?;
        }
        Ok(true)
    }
}

fn unticketed(finding: MemberFinding, reason: String, parent: Option<TicketId>) -> Unticketed {
    let MemberFinding { place, rule, component } = finding;
    Unticketed { place, rule, component, reason, parent }
}

/// A finding that waited opens its own ticket, unless something on its own device explains it by now.
fn release<S: Shell>(
    knowledge: &KnowledgeSet,
    shell: &mut S,
    finding: &MemberFinding,
    now: Timestamp,
) -> Result<(), S::Error> {
    let Some(known) = shell.known(finding.place) else { return Ok(()) };
    match known.speak_for_itself(knowledge, &finding.rule, &finding.component, now) {
        Some(transition) => {
            let news = News { transitions: vec![transition], reports: Vec::new() };
            shell.decide(finding.place, news, now)
        }
        None => Ok(()),
    }
}

/// The device's open ticket becomes a child; `false` when it has none.
fn adopt<S: Shell>(
    shell: &mut S,
    finding: &MemberFinding,
    parent: &Ticket,
    now: Timestamp,
) -> Result<bool, S::Error> {
    let Some(known) = shell.known(finding.place) else { return Ok(true) };
    let before = known.open_ticket_of(&finding.rule, &finding.component);
    let Some(before) = before.cloned() else { return Ok(false) };
    known.stand(&finding.rule, &finding.component, Standing::Child(parent.id));
    if let Some((after, timeline)) = known.join_parent(&before, parent.id, &parent.key(), now) {
        shell.keep_child(finding.place, &before, after, timeline, now)?;
    }
    Ok(true)
}
