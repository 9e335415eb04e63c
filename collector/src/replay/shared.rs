//! The fleet of a replay: findings that wait for others like them, and the parents that stand for many.

use super::output::Suppressed;
use super::run::Replay;
use firstline_collector_core::device::News;
use firstline_collector_core::evaluate::{Transition, TransitionKind};
use firstline_collector_core::fleet::{
    Act, Course, GroupId, MemberFinding, Membership, Place, Shared, open_problem,
};
use firstline_collector_core::sla::Calendar;
use firstline_collector_core::ticket::{self, TicketInput};
use firstline_model::{TicketId, Timestamp};
use std::io::{self, Write};
use std::time::Duration;

impl<W: Write> Replay<'_, W> {
    /// Lets the fleet say which findings open their own tickets now, and decides about those.
    pub(super) fn decide(&mut self, place: usize, mut news: News, now: Timestamp) -> io::Result<()> {
        let mut acts = Vec::new();
        let mut joins = Vec::new();
        let mut passed = Vec::new();
        for transition in std::mem::take(&mut news.transitions) {
            let finding = MemberFinding {
                place: Place(place),
                rule: transition.rule.clone(),
                component: transition.component.clone(),
            };
            match &transition.kind {
                TransitionKind::Fired => match self.course(&finding, now) {
                    Course::Own => passed.push(transition),
                    Course::Wait => {
                        self.held.insert(finding, transition);
                    }
                    Course::Join(group, Membership::Child) => {
                        passed.push(transition);
                        joins.push((group, finding));
                    }
                    Course::Join(group, Membership::Record) => self.record(group, &finding, now)?,
                },
                TransitionKind::Cleared => {
                    if self.fleet.cleared(&finding, &mut acts) {
                        self.held.remove(&finding);
                        self.without_ticket(
                            &finding,
                            "recovered while it was compared with other devices",
                            None,
                            now,
                        )?;
                    } else {
                        passed.push(transition);
                    }
                }
                TransitionKind::Escalated => match self.held.get_mut(&finding) {
                    Some(held) => {
                        *held = Transition { kind: TransitionKind::Fired, since: held.since, ..transition };
                    }
                    None => passed.push(transition),
                },
                TransitionKind::Pending
                | TransitionKind::Lapsed
                | TransitionKind::Recovering
                | TransitionKind::Relapsed
                | TransitionKind::Suppressed { .. }
                | TransitionKind::Unsuppressed => {
                    if !self.held.contains_key(&finding) {
                        passed.push(transition);
                    }
                }
            }
        }
        news.transitions = passed;
        if !news.is_empty() {
            self.open_and_close(place, &news, now)?;
        }
        for (group, finding) in joins {
            self.adopt(group, &finding, now)?;
        }
        self.act(acts, now)
    }

    fn course(&mut self, finding: &MemberFinding, now: Timestamp) -> Course {
        let known = &self.devices[finding.place.0].known;
        let entry = self.knowledge.entry_for(&finding.rule, &known.traits).filter(|entry| entry.opens_ticket);
        match entry {
            Some(entry) => self.fleet.fired(entry, finding.clone(), now),
            None => Course::Own,
        }
    }

    /// Does what the fleet asks for.
    pub(super) fn act(&mut self, acts: Vec<Act>, now: Timestamp) -> io::Result<()> {
        for act in acts {
            match act {
                Act::Release(finding) => self.release(&finding, now)?,
                Act::Begin { group, rule, shared, since, failing } => {
                    let shared = Shared { attribute: &shared, failing, since };
                    let Some(entry) = self.knowledge.entries.get(&rule) else { continue };
                    match self.parents.get(&group).cloned() {
                        Some(parent) if parent.state.is_open() => {}
                        Some(parent) => {
                            let input = TicketInput::FindingFired {
                                severity: parent.severity,
                                evidence: Vec::new(),
                                tests: Vec::new(),
                                changes: Vec::new(),
                            };
                            if !self.apply_to_parent(group, input, now)? {
                                let id = self.next_id();
                                let (ticket, _) = open_problem(entry, shared, id, now);
                                self.output.ticket(None, &ticket, now)?;
                                self.parents.insert(group, ticket);
                            }
                        }
                        None => {
                            let id = self.next_id();
                            let (ticket, _) = open_problem(entry, shared, id, now);
                            self.output.ticket(None, &ticket, now)?;
                            self.parents.insert(group, ticket);
                        }
                    }
                }
                Act::Join(group, finding, Membership::Child) => {
                    self.release(&finding, now)?;
                    self.adopt(group, &finding, now)?;
                }
                Act::Join(group, finding, Membership::Record) => {
                    if self.held.remove(&finding).is_some() {
                        self.record(group, &finding, now)?;
                    } else {
                        self.adopt(group, &finding, now)?;
                    }
                }
                Act::Silent(group, place) => {
                    let parent = self.parents.get(&group).map(|parent| parent.id.0);
                    let reason = parent
                        .map_or_else(String::new, |id| format!("silent together with others: ticket {id}"));
                    self.output.suppressed(&Suppressed {
                        at: now,
                        reason: &reason,
                        device: Some(self.fleet.device(place).as_str()),
                        rule: "agent.silent",
                        component: "agent/0".to_owned(),
                        parent,
                    })?;
                }
                Act::End(group) => {
                    let input = TicketInput::FindingCleared {
                        value: "every affected device works again".to_owned(),
                        verified: Duration::ZERO,
                    };
                    self.apply_to_parent(group, input, now)?;
                }
            }
        }
        Ok(())
    }

    /// A finding that waited opens its own ticket.
    fn release(&mut self, finding: &MemberFinding, now: Timestamp) -> io::Result<()> {
        let Some(transition) = self.held.remove(finding) else { return Ok(()) };
        let news = News { transitions: vec![transition], reports: Vec::new() };
        self.open_and_close(finding.place.0, &news, now)
    }

    /// The device's ticket becomes a child.
    fn adopt(&mut self, group: GroupId, finding: &MemberFinding, now: Timestamp) -> io::Result<()> {
        let Some(parent) = self.parents.get(&group) else { return Ok(()) };
        let (id, key) = (parent.id, parent.key());
        let known = &mut self.devices[finding.place.0].known;
        let before = known.tickets.iter().find(|ticket| {
            ticket.state.is_open()
                && ticket.rule.as_ref() == Some(&finding.rule)
                && ticket.component.as_ref() == Some(&finding.component)
        });
        let Some(before) = before.cloned() else { return Ok(()) };
        if let Some(after) = known.join_parent(&before, id, &key, now) {
            self.output.ticket(Some(&before), &after, now)?;
        }
        Ok(())
    }

    fn record(&mut self, group: GroupId, finding: &MemberFinding, now: Timestamp) -> io::Result<()> {
        let parent = self.parents.get(&group).map(|parent| parent.id.0);
        let reason = parent.map_or_else(String::new, |id| format!("part of a shared cause: ticket {id}"));
        self.without_ticket(finding, &reason, parent, now)
    }

    fn without_ticket(
        &mut self,
        finding: &MemberFinding,
        reason: &str,
        parent: Option<u64>,
        now: Timestamp,
    ) -> io::Result<()> {
        self.output.suppressed(&Suppressed {
            at: now,
            reason,
            device: Some(self.fleet.device(finding.place).as_str()),
            rule: finding.rule.as_str(),
            component: finding.component.to_string(),
            parent,
        })
    }

    /// `false` when the parent does not take the input.
    fn apply_to_parent(&mut self, group: GroupId, input: TicketInput, now: Timestamp) -> io::Result<bool> {
        let Some(before) = self.parents.get(&group).cloned() else { return Ok(false) };
        let Ok((after, _, _)) = ticket::apply(before.clone(), input, Calendar::default(), now) else {
            return Ok(false);
        };
        self.output.ticket(Some(&before), &after, now)?;
        self.parents.insert(group, after);
        Ok(true)
    }

    pub(super) fn next_id(&mut self) -> TicketId {
        self.next_ticket += 1;
        TicketId(self.next_ticket - 1)
    }
}
