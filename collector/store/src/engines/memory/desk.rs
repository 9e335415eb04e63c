//! Tickets and findings to read, and tickets that people change.

use super::Memory;
use super::devices::contains;
use crate::plan::ticket_changes;
use crate::record::{
    AuditEntry, DeviceFinding, DeviceStatus, Page, PageOf, TicketFilter, Totals, queue_place,
};
use crate::store::Desk;
use crate::{StoreError, cursor};
use async_trait::async_trait;
use firstline_collector_core::finding::{Phase, Standing};
use firstline_collector_core::fleet::SharedCause;
use firstline_collector_core::ticket::{Ticket, TicketState, TimelineEntry};
use firstline_model::{DeviceId, TicketId};

#[async_trait]
impl Desk for Memory {
    async fn ticket(&self, id: TicketId) -> Result<Option<Ticket>, StoreError> {
        Ok(self.kept().tickets.get(&id).cloned())
    }

    async fn tickets(&self, filter: &TicketFilter, page: &Page) -> Result<PageOf<Ticket>, StoreError> {
        let text = filter.search()?.map(str::to_ascii_lowercase);
        let after: Option<(u8, i64, u64)> = page.after.as_deref().map(cursor::decode).transpose()?;
        let kept = self.kept();
        let hostname = |ticket: &Ticket| {
            let device = ticket.device.as_ref().and_then(|id| kept.devices.get(id));
            device.map_or("", |one| one.device.hostname.as_str())
        };
        let mut found: Vec<&Ticket> = kept
            .tickets
            .values()
            .filter(|ticket| filter.states.is_empty() || filter.states.contains(&ticket.state))
            .filter(|ticket| filter.device.is_none() || ticket.device == filter.device)
            .filter(|ticket| filter.rule.is_none() || ticket.rule == filter.rule)
            .filter(|ticket| filter.site.is_none() || ticket.site == filter.site)
            .filter(|ticket| filter.parent.is_none() || ticket.parent == filter.parent)
            .filter(|ticket| {
                text.as_ref()
                    .is_none_or(|text| contains(&[&ticket.title, &ticket.summary, hostname(ticket)], text))
            })
            .filter(|ticket| after.is_none_or(|after| queue_place(ticket) > after))
            .collect();
        found.sort_by_key(|ticket| queue_place(ticket));
        found.truncate(page.rows() + 1);
        PageOf::cut(found.into_iter().cloned().collect(), page, queue_place)
    }

    async fn timeline(&self, id: TicketId) -> Result<Vec<TimelineEntry>, StoreError> {
        Ok(self.kept().timelines.get(&id).cloned().unwrap_or_default())
    }

    async fn save_ticket(
        &self,
        ticket: &Ticket,
        timeline: &[TimelineEntry],
        audit: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.check_tickets(&ticket_changes([ticket])?, timeline)?;
        kept.write_ticket(ticket);
        for entry in timeline {
            kept.timelines.entry(entry.ticket).or_default().push(entry.clone());
        }
        kept.audit.push(audit.clone());
        Ok(())
    }

    async fn findings(
        &self,
        device: Option<&DeviceId>,
        site: Option<&str>,
    ) -> Result<Vec<DeviceFinding>, StoreError> {
        let kept = self.kept();
        let mut found: Vec<DeviceFinding> = kept
            .devices
            .values()
            .filter(|one| device.is_none_or(|id| one.device.id == *id))
            .filter(|one| site.is_none() || one.device.site.as_deref() == site)
            .flat_map(|one| one.findings.values().map(move |finding| (&one.device, finding)))
            .filter(|(_, finding)| finding.phase != Phase::Cleared)
            .map(|(device, finding)| DeviceFinding {
                device: device.id.clone(),
                hostname: device.hostname.clone(),
                finding: finding.clone(),
            })
            .collect();
        DeviceFinding::sort_newest_first(&mut found);
        Ok(found)
    }

    async fn members(&self, parent: TicketId) -> Result<Vec<DeviceFinding>, StoreError> {
        let mut found = self.findings(None, None).await?;
        found.retain(|one| one.finding.standing == Standing::Member(parent));
        Ok(found)
    }

    async fn shared_cause(&self, parent: TicketId) -> Result<Option<SharedCause>, StoreError> {
        Ok(self.kept().causes.values().find(|cause| cause.parent == parent).cloned())
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        let kept = self.kept();
        let devices = |status| kept.devices.values().filter(|one| one.device.status == status).count() as u64;
        let tickets = |state| kept.tickets.values().filter(|ticket| ticket.state == state).count() as u64;
        let findings = kept.devices.values().flat_map(|one| one.findings.values());
        Ok(Totals {
            devices: DeviceStatus::ALL.iter().map(|&status| (status, devices(status))).collect(),
            tickets: TicketState::ALL.iter().map(|&state| (state, tickets(state))).collect(),
            records: kept.devices.values().map(|one| one.records.len() as u64).sum(),
            firing: findings.filter(|f| matches!(f.phase, Phase::Firing | Phase::Clearing)).count() as u64,
        })
    }
}
