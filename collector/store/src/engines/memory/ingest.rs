//! What streams bring in. A plan is checked as a whole before any of it is made true.

use super::{Fault, Kept, Memory, Request};
use crate::StoreError;
use crate::history::{KeptRecord, RecordPlace};
use crate::plan::{CommitPlan, DevicePlan, TicketChange, ticket_changes};
use crate::record::{AuditEntry, DeviceSnapshot, DeviceStatus, LatestValue, PendingDiagnostic};
use crate::store::Ingest;
use async_trait::async_trait;
use firstline_collector_core::finding::Phase;
use firstline_collector_core::fleet::SharedCause;
use firstline_collector_core::ticket::{Effect, Ticket, TicketState, TimelineEntry};
use firstline_model::{Component, ComponentKind, DeviceId, Epoch, SequenceNumber, TicketId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

#[async_trait]
impl Ingest for Memory {
    async fn snapshot(
        &self,
        id: &DeviceId,
        reopen_since: Timestamp,
    ) -> Result<Option<DeviceSnapshot>, StoreError> {
        let kept = self.kept();
        let Some(one) = kept.devices.get(id) else { return Ok(None) };
        let mut state = one.state.clone();
        let boxed = one.findings.iter().map(|(key, finding)| (key.clone(), Box::new(finding.clone())));
        state.findings = boxed.collect();
        let reopenable = |ticket: &&Ticket| {
            ticket.state.is_open()
                || (ticket.state == TicketState::Resolved
                    && ticket.resolved_at.is_some_and(|at| at >= reopen_since))
        };
        let ids = kept.tickets_of.get(id).into_iter().flatten();
        Ok(Some(DeviceSnapshot {
            device: one.device.clone(),
            marks: one.marks.iter().map(|(epoch, through)| (*epoch, *through)).collect(),
            state,
            tickets: ids.filter_map(|id| kept.tickets.get(id)).filter(reopenable).cloned().collect(),
        }))
    }

    async fn commit(&self, plan: CommitPlan) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if kept.refuses {
            return Err(StoreError::Unavailable { detail: "commits are refused".to_owned() });
        }
        let changes = ticket_changes(plan.tickets())?;
        for part in &plan.devices {
            kept.check_device(part)?;
        }
        let timeline = plan.devices.iter().flat_map(|part| &part.timeline).chain(&plan.shared.timeline);
        kept.check_tickets(&changes, timeline)?;
        for change in &changes {
            kept.write_ticket(change.ticket);
        }
        for part in plan.devices {
            kept.apply(part);
        }
        for entry in plan.shared.timeline {
            kept.timelines.entry(entry.ticket).or_default().push(entry);
        }
        for cause in plan.shared.causes {
            let key = (cause.rule.clone(), cause.shared.kind, cause.shared.value.clone());
            kept.causes.insert(key, cause);
        }
        Ok(())
    }

    async fn reserve_tickets(&self, count: u64) -> Result<TicketId, StoreError> {
        let mut kept = self.kept();
        let first = kept.last_ticket + 1;
        kept.last_ticket += count;
        Ok(TicketId(first))
    }

    async fn devices_in_motion(&self) -> Result<Vec<DeviceId>, StoreError> {
        let kept = self.kept();
        let moving = kept.devices.iter().filter(|(_, one)| {
            one.findings.values().any(|finding| matches!(finding.phase, Phase::Pending | Phase::Clearing))
        });
        Ok(moving.map(|(id, _)| id.clone()).collect())
    }

    async fn pending_diagnostics(&self, id: &DeviceId) -> Result<Vec<PendingDiagnostic>, StoreError> {
        let kept = self.kept();
        let pending = kept.requests.iter().filter(|request| !request.finished && request.asked.device == *id);
        Ok(pending.map(|request| request.asked.clone()).collect())
    }

    async fn request_diagnostic(
        &self,
        request: &PendingDiagnostic,
        audit: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if !kept.devices.contains_key(&request.device) {
            return Err(StoreError::Conflict { what: format!("device {}", request.device) });
        }
        if kept.request_ids.contains_key(&request.request_id) {
            return Err(StoreError::Conflict { what: format!("diagnostic {}", request.request_id) });
        }
        kept.ask(request.clone());
        kept.audit.push(audit.clone());
        Ok(())
    }

    async fn shared_causes(&self, since: Timestamp) -> Result<Vec<SharedCause>, StoreError> {
        let kept = self.kept();
        let recent = kept.causes.values().filter(|one| one.open || one.ended.is_some_and(|at| at >= since));
        Ok(recent.cloned().collect())
    }

    async fn parts(
        &self,
        kinds: &[ComponentKind],
        since: Timestamp,
    ) -> Result<Vec<(DeviceId, Component)>, StoreError> {
        let kept = self.kept();
        let mut found = BTreeSet::new();
        for (id, one) in &kept.devices {
            for ((component, _, _), value) in &one.latest {
                if kinds.contains(&component.kind) && value.observed_at >= since {
                    found.insert((id.clone(), component.clone()));
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    async fn newest_of(&self, names: &[&str]) -> Result<Vec<(DeviceId, LatestValue)>, StoreError> {
        let kept = self.kept();
        let all = kept.devices.iter().flat_map(|(id, one)| one.latest.values().map(move |value| (id, value)));
        let named = all.filter(|(_, value)| names.contains(&value.name.as_str()));
        Ok(named.map(|(id, value)| (id.clone(), value.clone())).collect())
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn records(
        &self,
        id: &DeviceId,
        wanted: &[(Epoch, SequenceNumber)],
    ) -> Result<Vec<((Epoch, SequenceNumber), Vec<u8>)>, StoreError> {
        let kept = self.kept();
        let Some(one) = kept.devices.get(id) else { return Ok(Vec::new()) };
        Ok(wanted
            .iter()
            .filter_map(|key| one.records.get(key).map(|record| (*key, record.payload.clone())))
            .collect())
    }

    async fn oldest_record(&self) -> Result<Option<Timestamp>, StoreError> {
        let kept = self.kept();
        Ok(kept.devices.values().flat_map(|one| one.records.values().map(|record| record.received_at)).min())
    }

    async fn kept_records(
        &self,
        after: &RecordPlace,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<KeptRecord>, StoreError> {
        let kept = self.kept();
        let all = kept.devices.iter().flat_map(|(id, one)| {
            one.records.values().map(|record| KeptRecord {
                device: id.clone(),
                epoch: record.epoch,
                seq: record.seq,
                received_at: record.received_at,
                payload: record.payload.clone(),
                clock_suspect: record.clock_suspect,
            })
        });
        let mut found: Vec<KeptRecord> =
            all.filter(|record| record.received_at < until && record.place() > *after).collect();
        found.sort_by_key(KeptRecord::place);
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn prune_records(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut kept = self.kept();
        let mut old: Vec<_> = kept
            .devices
            .iter()
            .flat_map(|(id, one)| {
                one.records.iter().map(move |(key, record)| (record.received_at, id.clone(), *key))
            })
            .filter(|(at, _, _)| *at < before)
            .collect();
        old.sort();
        old.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        for (_, id, key) in &old {
            if let Some(one) = kept.devices.get_mut(id) {
                one.records.remove(key);
            }
        }
        Ok(old.len() as u64)
    }
}

fn conflict(what: String) -> StoreError {
    StoreError::Conflict { what }
}

fn fault(ticket: &Ticket) -> Option<Fault> {
    let rule = ticket.rule.clone()?;
    ticket.state.is_open().then(|| (ticket.device.clone(), rule, ticket.component.clone()))
}

impl Kept {
    fn check_device(&self, part: &DevicePlan) -> Result<(), StoreError> {
        let Some(one) = self.devices.get(&part.device) else {
            return Err(conflict(format!("device {}", part.device)));
        };
        if part.needs_standing() && one.device.status != DeviceStatus::Active {
            return Err(conflict(format!("device {}", part.device)));
        }
        let mut marks = one.marks.clone();
        for mark in &part.marks {
            let moved = marks.insert(mark.epoch, mark.through);
            if moved != mark.before || mark.before.is_some_and(|before| mark.through < before) {
                return Err(conflict(format!("the mark of device {}, epoch {}", part.device, mark.epoch)));
            }
        }
        for effect in &part.effects {
            let Effect::RunDiagnostic { device, .. } = effect;
            if !self.devices.contains_key(device) {
                return Err(conflict(format!("device {device}")));
            }
        }
        Ok(())
    }

    pub(super) fn check_tickets<'a>(
        &self,
        changes: &[TicketChange<'_>],
        timeline: impl IntoIterator<Item = &'a TimelineEntry>,
    ) -> Result<(), StoreError> {
        let changed: BTreeSet<TicketId> = changes.iter().map(|change| change.ticket.id).collect();
        let mut opened: BTreeMap<Fault, TicketId> = BTreeMap::new();
        for TicketChange { ticket, before } in changes {
            let stored = self.tickets.get(&ticket.id).map_or(0, |stored| stored.version);
            let homeless = ticket.device.as_ref().is_some_and(|id| !self.devices.contains_key(id));
            let taken = fault(ticket).is_some_and(|fault| {
                let other = self.open.get(&fault).is_some_and(|id| !changed.contains(id));
                opened.insert(fault, ticket.id).is_some() || other
            });
            if stored != *before || homeless || taken {
                return Err(conflict(format!("ticket {}", ticket.key())));
            }
        }
        match timeline
            .into_iter()
            .map(|entry| entry.ticket)
            .find(|id| !changed.contains(id) && !self.tickets.contains_key(id))
        {
            Some(missing) => Err(conflict(format!("the timeline of ticket {missing}"))),
            None => Ok(()),
        }
    }

    pub(super) fn write_ticket(&mut self, ticket: &Ticket) {
        if let Some(fault) = self.tickets.get(&ticket.id).and_then(fault)
            && self.open.get(&fault) == Some(&ticket.id)
        {
            self.open.remove(&fault);
        }
        if let Some(fault) = fault(ticket) {
            self.open.insert(fault, ticket.id);
        }
        if let Some(device) = &ticket.device {
            self.tickets_of.entry(device.clone()).or_default().insert(ticket.id);
        }
        self.tickets.insert(ticket.id, ticket.clone());
    }

    fn ask(&mut self, asked: PendingDiagnostic) {
        if !self.request_ids.contains_key(&asked.request_id) {
            self.request_ids.insert(asked.request_id.clone(), self.requests.len());
            self.requests.push(Request { asked, finished: false });
        }
    }

    /// Makes a checked plan true.
    fn apply(&mut self, part: DevicePlan) {
        let decided_at = part.decided_at();
        for entry in part.timeline {
            self.timelines.entry(entry.ticket).or_default().push(entry);
        }
        for effect in part.effects {
            let Effect::RunDiagnostic { ticket, device, request_id, request } = effect;
            self.ask(PendingDiagnostic {
                ticket: Some(ticket),
                device,
                request_id,
                request,
                created_at: decided_at,
            });
        }
        for id in &part.finished_requests {
            let known = self.request_ids.get(id).and_then(|&at| self.requests.get_mut(at));
            if let Some(request) = known.filter(|request| request.asked.device == part.device) {
                request.finished = true;
            }
        }
        self.audit.extend(part.audit);
        self.suppressions.extend(part.suppressions.into_iter().map(|one| (part.device.clone(), one)));
        let Some(one) = self.devices.get_mut(&part.device) else { return };
        for record in part.records {
            one.records.entry((record.epoch, record.seq)).or_insert(record);
        }
        one.marks.extend(part.marks.into_iter().map(|mark| (mark.epoch, mark.through)));
        if let Some(state) = part.state {
            one.state = state;
        }
        for finding in part.findings {
            one.findings.insert((finding.rule.clone(), finding.component.clone()), finding);
        }
        for value in part.latest {
            one.latest.insert((value.component.clone(), value.name.clone(), value.series.clone()), value);
        }
        one.device.last_seen_at = part.seen_at.or(one.device.last_seen_at);
        one.device.presence = part.presence.or(one.device.presence);
        if let Some(facts) = part.facts {
            if let Some(hostname) = facts.get("hostname").and_then(|value| value.as_text()) {
                hostname.clone_into(&mut one.device.hostname);
            }
            one.device.facts = facts;
        }
        if let Some(version) = part.agent_version {
            one.device.agent_version = version;
        }
    }
}
