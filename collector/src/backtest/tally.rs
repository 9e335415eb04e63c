//! What one of the two sets of rules made of the history: its tickets, and how many breaches made none.

use crate::replay::{Listener, Suppressed};
use firstline_collector_core::ticket::Ticket;
use firstline_model::{DeviceId, RuleCode, Severity, TicketId, Timestamp};
use std::collections::BTreeMap;
use std::io;

/// Tickets that are kept to be compared; further ones are only counted.
pub(super) const MOST_TICKETS: usize = 50_000;
/// Reasons for no ticket that are told apart.
const MOST_REASONS: usize = 200;

/// A ticket that would have been opened.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Opened {
    pub(super) rule: RuleCode,
    /// `None`: the Problem of a shared cause.
    pub(super) device: Option<DeviceId>,
    pub(super) site: Option<String>,
    pub(super) component: String,
    pub(super) title: String,
    /// The worst that it became.
    pub(super) severity: Severity,
    pub(super) opened_at: Timestamp,
    /// `None`: it was open at the end.
    pub(super) resolved_at: Option<Timestamp>,
    /// It is a child of a shared cause's Problem.
    pub(super) is_child: bool,
}

/// Counts and keeps.
#[derive(Debug, Default)]
pub(super) struct Tally {
    tickets: BTreeMap<TicketId, Opened>,
    opened: BTreeMap<RuleCode, u64>,
    /// By rule and reason.
    reasons: BTreeMap<(String, String), u64>,
    /// Tickets that were opened and are only counted.
    pub(super) not_kept: u64,
}

impl Tally {
    /// The tickets of a rule, in the order in which they were opened.
    pub(super) fn of(&self, rule: &RuleCode) -> impl Iterator<Item = &Opened> {
        self.tickets.values().filter(move |ticket| ticket.rule == *rule)
    }

    /// How many tickets each rule opened.
    pub(super) fn opened(&self) -> &BTreeMap<RuleCode, u64> {
        &self.opened
    }

    /// How many tickets this rule opened.
    pub(super) fn opened_of(&self, rule: &RuleCode) -> u64 {
        self.opened.get(rule).copied().unwrap_or(0)
    }

    /// Why breaches of this rule made no ticket, the most frequent reason first.
    pub(super) fn reasons(&self, rule: &RuleCode) -> Vec<(&str, u64)> {
        let of_rule = self.reasons.iter().filter(|((of, _), _)| of == rule.as_str());
        let mut found: Vec<(&str, u64)> =
            of_rule.map(|((_, reason), count)| (reason.as_str(), *count)).collect();
        found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        found
    }
}

impl Listener for Tally {
    fn ticket(&mut self, before: Option<&Ticket>, after: &Ticket, at: Timestamp) -> io::Result<()> {
        let Some(rule) = &after.rule else { return Ok(()) };
        if before.is_none() {
            *self.opened.entry(rule.clone()).or_default() += 1;
            if self.tickets.len() >= MOST_TICKETS {
                self.not_kept += 1;
                return Ok(());
            }
            let opened = Opened {
                rule: rule.clone(),
                device: after.device.clone(),
                site: after.site.clone(),
                component: after.component.as_ref().map(ToString::to_string).unwrap_or_default(),
                title: after.title.clone(),
                severity: after.severity,
                opened_at: at,
                resolved_at: None,
                is_child: after.parent.is_some(),
            };
            self.tickets.insert(after.id, opened);
            return Ok(());
        }
        if let Some(known) = self.tickets.get_mut(&after.id) {
            known.severity = known.severity.max(after.severity);
            known.is_child |= after.parent.is_some();
            let was_open = before.is_none_or(|before| before.state.is_open());
            match (was_open, after.state.is_open()) {
                (true, false) => known.resolved_at = Some(at),
                (false, true) => known.resolved_at = None,
                (true, true) | (false, false) => {}
            }
        }
        Ok(())
    }

    fn suppressed(&mut self, one: &Suppressed<'_>) -> io::Result<()> {
        let key = (one.rule.to_owned(), one.reason.to_owned());
        if self.reasons.len() < MOST_REASONS || self.reasons.contains_key(&key) {
            *self.reasons.entry(key).or_default() += 1;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
