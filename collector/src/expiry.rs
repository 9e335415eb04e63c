//! Watches the ends of the collector's own certificates, authorities and server's, and keeps their tickets.

use crate::ingest::worker::Ingest;
use crate::trust::Identities;
use anyhow::{Context, Result};
use firstline_collector_core::expiry::{self, Certificate, RULE};
use firstline_collector_core::ticket::{Ticket, TicketState};
use firstline_collector_store::record::{AuditEntry, Page, TicketFilter};
use firstline_model::{Component, ComponentKind, RuleCode, TicketId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often; a look reads one index.
const LOOK: Duration = Duration::from_secs(10);
/// More certificates than are ever in use: two authorities and the server's.
const MOST: u32 = 16;

/// Runs until `stop`; `changed` is told of tickets that changed.
pub(crate) async fn follow(
    identities: Identities,
    ingest: Arc<Ingest>,
    changed: impl Fn(Vec<TicketId>) + Send + 'static,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        match look(&identities, &ingest).await {
            Ok(tickets) if tickets.is_empty() => {}
            Ok(tickets) => changed(tickets),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the ends of certificates cannot be judged")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn look(identities: &Identities, ingest: &Ingest) -> Result<Vec<TicketId>> {
    let (store, now) = (&ingest.store, ingest.now());
    let filter = TicketFilter {
        states: TicketState::ALL.iter().copied().filter(|state| state.is_open()).collect(),
        rule: Some(RuleCode::new(RULE)?),
        ..TicketFilter::default()
    };
    let open = store.tickets(&filter, &Page { limit: MOST, after: None }).await?.rows;
    let (knowledge, in_use) = (ingest.knowledge().0, in_use(identities)?);
    let judge =
        |numbers: &mut dyn FnMut() -> TicketId| expiry::judge(&knowledge, &in_use, &open, now, numbers);
    // Numbers cost a write, so they are reserved only when it is known how many are needed.
    let mut needed = 0;
    judge(&mut || {
        needed += 1;
        TicketId(u64::MAX - needed)
    })?;
    let mut next = if needed > 0 { store.reserve_tickets(needed).await? } else { TicketId(0) };
    let outcome = judge(&mut || {
        let id = next;
        next = TicketId(id.0 + 1);
        id
    })?;
    let mut changed = Vec::new();
    for ticket in &outcome.tickets {
        let lines: Vec<_> =
            outcome.timeline.iter().filter(|line| line.ticket == ticket.id).cloned().collect();
        store
            .save_ticket(ticket, &lines, &audit(ticket))
            .await
            .with_context(|| format!("the ticket {} cannot be saved", ticket.key()))?;
        tracing::info!(ticket = ticket.key(), title = ticket.title, "a certificate's ticket changed");
        changed.push(ticket.id);
    }
    Ok(changed)
}

fn audit(ticket: &Ticket) -> AuditEntry {
    AuditEntry {
        at: ticket.updated_at,
        actor: "firstline".to_owned(),
        action: "certificate.expiry".to_owned(),
        subject: format!("ticket:{}", ticket.id),
        detail: ticket.title.clone(),
    }
}

fn in_use(identities: &Identities) -> Result<Vec<Certificate>> {
    let component = |id: String| {
        Component::new(ComponentKind::Endpoint, id).context("a certificate's name does not fit a component")
    };
    let mut all = vec![Certificate {
        component: component("server".to_owned())?,
        not_after: identities.server_not_after(),
    }];
    for (fingerprint, not_after) in identities.authority.load().ends()? {
        let short: String = fingerprint.chars().take(8).collect();
        all.push(Certificate { component: component(format!("authority-{short}"))?, not_after });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::built_in;
    use firstline_collector_core::knowledge::KnowledgeSet;
    use firstline_model::{Severity, Timestamp};
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    fn day(day: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).plus(Duration::from_secs(day * 24 * 3600))
    }

    /// Looks at these certificates (name, day of the end) and keeps what becomes of the tickets.
    fn look(tickets: &mut BTreeMap<TicketId, Ticket>, now: Timestamp, in_use: &[(&str, u64)]) {
        let in_use: Vec<Certificate> = in_use
            .iter()
            .map(|(name, end)| Certificate {
                component: Component::new(ComponentKind::Endpoint, *name).unwrap(),
                not_after: day(*end),
            })
            .collect();
        let open: Vec<Ticket> = tickets.values().filter(|ticket| ticket.state.is_open()).cloned().collect();
        let mut next = tickets.len() as u64;
        static PACK: LazyLock<Arc<KnowledgeSet>> = LazyLock::new(|| built_in().unwrap());
        let outcome = expiry::judge(&PACK, &in_use, &open, now, &mut || {
            next += 1;
            TicketId(next)
        });
        let outcome = outcome.unwrap();
        assert!(outcome.effects.is_empty() && outcome.tickets.iter().all(|ticket| ticket.device.is_none()));
        for ticket in outcome.tickets {
            let before = tickets.get(&ticket.id).map_or(0, |before| before.version);
            assert_eq!(ticket.version, before + 1);
            tickets.insert(ticket.id, ticket);
        }
    }

    #[test]
    fn r6_an_authority_near_its_end_is_one_ticket_that_grows_at_60_30_and_7_days_and_ends_with_its_rotation()
    {
        let mut tickets = BTreeMap::new();
        let mut severities = BTreeMap::new();
        // It ends on day 100; every look is one of a collector that was started anew.
        for today in 0..=99 {
            look(&mut tickets, day(today), &[("server", 400), ("authority-old", 100)]);
            assert!(tickets.len() <= 1, "{tickets:#?}");
            if let Some(ticket) = tickets.values().next() {
                assert!(ticket.state.is_open());
                severities.entry(ticket.severity).or_insert(today);
            }
        }
        let steps = [(Severity::Info, 41), (Severity::Warning, 71), (Severity::Critical, 94)];
        assert_eq!(severities, BTreeMap::from(steps));
        // Prepared: both are there. Retired: the old one is gone.
        let both = [("server", 400), ("authority-old", 100), ("authority-new", 3700)];
        look(&mut tickets, day(99), &both);
        assert!(tickets[&TicketId(1)].state.is_open());
        look(&mut tickets, day(99), &[("server", 400), ("authority-new", 3700)]);
        assert_eq!(tickets[&TicketId(1)].state, TicketState::Resolved);
        look(&mut tickets, day(100), &[("server", 400), ("authority-new", 3700)]);
        assert_eq!(tickets.len(), 1);
    }

    #[test]
    fn a_server_certificate_that_is_replaced_at_the_last_moment_ends_its_ticket() {
        let mut tickets = BTreeMap::new();
        look(&mut tickets, day(0), &[("server", 5), ("authority-a", 4000)]);
        let ticket = &tickets[&TicketId(1)];
        assert_eq!((ticket.severity, ticket.state.is_open()), (Severity::Critical, true));
        assert!(ticket.title.contains("server") && !ticket.steps.is_empty(), "{ticket:#?}");
        look(&mut tickets, day(1), &[("server", 398), ("authority-a", 4000)]);
        assert_eq!(tickets[&TicketId(1)].state, TicketState::Resolved);
    }

    #[test]
    fn two_certificates_are_two_tickets() {
        let mut tickets = BTreeMap::new();
        look(&mut tickets, day(0), &[("authority-a", 50), ("authority-b", 5)]);
        let severities: Vec<Severity> = tickets.values().map(|ticket| ticket.severity).collect();
        assert_eq!(severities, [Severity::Info, Severity::Critical]);
    }
}
