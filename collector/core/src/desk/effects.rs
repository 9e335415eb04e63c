//! What a fault does to other parts of its device stands in its ticket, instead of in tickets of its own.
//!
//! The engine says which finding hides which (`depends_on`, in the order of the catalogue: the link hides the address,
//! that the gateway, that the names). Here the hidden ones join the ticket of the fault that explains them in the end,
//! and a ticket that was opened before its cause was known becomes that cause's child.

use super::words::{self, Subject};
use super::{Desk, evidence};
use crate::finding::Finding;
use crate::knowledge::KnowledgeEntry;
use crate::present::{self, MAX_VALUE};
use crate::ticket::{Evidence, Ticket, TicketInput};
use firstline_model::{Component, RuleCode};

/// Causes of causes end here; circles do too.
const MOST_STEPS: usize = 8;

impl Desk<'_> {
    /// A finding fires and is hidden: it joins the open ticket of what explains it. Without one it joins when that opens.
    pub(super) fn join_cause(&mut self, rule: &RuleCode, component: &Component) {
        let context = self.context;
        let key = (rule.clone(), component.clone());
        let Some(finding) = context.state.findings.get(&key) else { return };
        let Some(cause) = self.cause_of(finding) else { return };
        let ticket = self.tickets_of_device().find(|ticket| {
            ticket.state.is_open() && ticket.rule.as_ref().is_some_and(|rule| rule.as_str() == cause)
        });
        if let Some(ticket) = ticket.cloned() {
            self.add_effect(ticket, finding);
        }
    }

    /// A fault's ticket opens (again): what it hides already joins it, and the tickets of its effects become children.
    pub(super) fn gather_effects(&mut self, ticket: &Ticket, entry: &KnowledgeEntry) {
        let context = self.context;
        let hidden = context
            .state
            .findings
            .values()
            .filter(|finding| finding.fires() && self.cause_of(finding) == Some(entry.code.as_str()));
        for finding in hidden.collect::<Vec<_>>() {
            let newest = self.changed.get(&ticket.id).unwrap_or(ticket).clone();
            self.add_effect(newest, finding);
        }
        let opened_before: Vec<Ticket> = self
            .tickets_of_device()
            .filter(|other| other.state.is_open() && other.parent.is_none() && other.id != ticket.id)
            .filter(|other| self.is_effect(other, ticket, entry))
            .cloned()
            .collect();
        for effect in opened_before {
            self.apply(effect, TicketInput::Explained { by: ticket.id, key: ticket.key() });
        }
    }

    /// Whether the fault of `other` still is and would have been hidden if that of `ticket` had been there first.
    fn is_effect(&self, other: &Ticket, ticket: &Ticket, entry: &KnowledgeEntry) -> bool {
        let context = self.context;
        let (Some(rule), Some(component)) = (&other.rule, &other.component) else { return false };
        let fires = context
            .state
            .findings
            .get(&(rule.clone(), component.clone()))
            .is_some_and(|finding| finding.fires());
        let effect = context.knowledge.entry_for(rule, context.device);
        let depends = effect.is_some_and(|effect| {
            effect.detection.depends_on.iter().any(|cause| {
                cause.rule == entry.code
                    && (!cause.same_component || Some(component) == ticket.component.as_ref())
            })
        });
        // Two rules that name each other do not explain each other.
        let mutual = entry.detection.depends_on.iter().any(|back| back.rule == *rule);
        fires && depends && !mutual
    }

    /// The rule that explains a hidden finding in the end: its cause may be hidden itself.
    fn cause_of<'f>(&'f self, finding: &'f Finding) -> Option<&'f str> {
        let mut cause = finding.hidden_by()?;
        for _ in 0..MOST_STEPS {
            let findings = self.context.state.findings.values();
            let further = findings
                .filter(|other| other.rule.as_str() == cause && other.fires())
                .map(|other| other.hidden_by())
                .min();
            match further {
                Some(Some(next)) => cause = next,
                Some(None) | None => break,
            }
        }
        Some(cause)
    }

    fn add_effect(&mut self, ticket: Ticket, finding: &Finding) {
        let context = self.context;
        let entry = context.knowledge.entry_for(&finding.rule, context.device);
        let Some(entry) = entry.filter(|entry| entry.opens_ticket) else { return };
        let subject = Subject::of_finding(context, finding);
        let measured = evidence::at_breach(context, entry, &subject).into_iter().next();
        let value = measured.map_or_else(
            || format!("since {}", present::moment(finding.since)),
            |line| format!("{} {}", line.label, line.value),
        );
        let effect = Evidence {
            label: present::clean(&format!("effect: {}", words::title(entry, &subject)), MAX_VALUE),
            value: present::clean(&value, MAX_VALUE),
            metric: finding.metric.clone(),
            observed_at: finding.since,
        };
        let (id, severity) = (ticket.id, ticket.severity);
        let is_same_part = ticket.component.as_ref() == Some(&finding.component);
        self.apply(ticket, TicketInput::EffectSeen(effect));
        // What is worse about the very part makes its ticket worse, because it gets none of its own.
        if is_same_part
            && finding.severity > severity
            && let Some(newest) = self.changed.get(&id).cloned()
        {
            let worse = TicketInput::FindingEscalated { severity: finding.severity, evidence: Vec::new() };
            self.apply(newest, worse);
        }
    }
}

#[cfg(test)]
mod tests;
