//! What streams bring in: the commit and what it is decided on.

use super::Sqlite;
use super::devices;
use super::failure::{Failure, count, integer};
use super::history;
use super::quiet;
use super::rows::{self, At, EpochBytes, TICKET_COLUMNS, collect, first};
use super::sabotage::without_marks;
use super::shared;
use crate::StoreError;
use crate::history::{KeptRecord, RecordPlace};
use crate::plan::{CommitPlan, DevicePlan, NewMark, NewRecord, TicketChange, ticket_changes};
use crate::record::{AuditEntry, DeviceSnapshot, LatestValue, PendingDiagnostic, queue_place};
use crate::row::{
    self, StoredAttributes, StoredContent, StoredDeviceState, StoredFinding, StoredTicket, StoredValue,
};
use crate::sabotage::{MARK_IN_SECOND_TRANSACTION, NO_DEDUPE_KEY, is};
use crate::store::Ingest;
use async_trait::async_trait;
use firstline_collector_core::finding::{DeviceState, Finding};
use firstline_collector_core::fleet::SharedCause;
use firstline_collector_core::ticket::{Actor, Effect, TimelineEntry};
use firstline_model::{
    Component, ComponentKind, DeviceId, DiagnosticRequest, Epoch, SequenceNumber, TicketId, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, params};

#[async_trait]
impl Ingest for Sqlite {
    async fn snapshot(
        &self,
        id: &DeviceId,
        reopen_since: Timestamp,
    ) -> Result<Option<DeviceSnapshot>, StoreError> {
        let id = id.clone();
        self.read(move |connection| snapshot(connection, &id, reopen_since)).await
    }

    async fn commit(&self, plan: CommitPlan) -> Result<(), StoreError> {
        if is(MARK_IN_SECOND_TRANSACTION) {
            let (now, later) = without_marks(plan);
            self.write(move |connection| commit(connection, &now)).await?;
            return self.write(move |connection| commit(connection, &later)).await;
        }
        self.write(move |connection| commit(connection, &plan)).await
    }

    async fn reserve_tickets(&self, count: u64) -> Result<TicketId, StoreError> {
        self.write(move |connection| {
            let wanted = integer("count of tickets", count)?;
            let last: i64 = connection
                .prepare_cached(
                    "UPDATE counter SET value = value + ?1 WHERE name = 'ticket' RETURNING value",
                )?
                .query_row([wanted], |row| row.get(0))?;
            Ok(TicketId(super::failure::count("counter", last - wanted)? + 1))
        })
        .await
    }

    async fn devices_in_motion(&self) -> Result<Vec<DeviceId>, StoreError> {
        self.read(|connection| {
            let statement = connection.prepare_cached(
                "SELECT device FROM finding WHERE phase IN ('pending', 'clearing')
                 UNION SELECT device FROM finding
                 WHERE phase <> 'cleared' AND json_extract(body, '$.held_until') IS NOT NULL ORDER BY device",
            )?;
            collect(statement, [], |row| rows::device_id("finding", row.get(0)?))
        })
        .await
    }

    async fn pending_diagnostics(&self, id: &DeviceId) -> Result<Vec<PendingDiagnostic>, StoreError> {
        let id = id.clone();
        self.read(move |connection| pending(connection, &id)).await
    }

    async fn request_diagnostic(
        &self,
        request: &PendingDiagnostic,
        audit: &AuditEntry,
    ) -> Result<(), StoreError> {
        let (request, audit) = (request.clone(), audit.clone());
        self.write(move |connection| {
            if !insert_request(connection, &request)? {
                return Err(Failure::conflict(format!("diagnostic {}", request.request_id)));
            }
            rows::append_audit(connection, &audit)
        })
        .await
    }

    async fn shared_causes(&self, since: Timestamp) -> Result<Vec<SharedCause>, StoreError> {
        self.read(move |connection| shared::recent(connection, since)).await
    }

    async fn parts(
        &self,
        kinds: &[ComponentKind],
        since: Timestamp,
    ) -> Result<Vec<(DeviceId, Component)>, StoreError> {
        let kinds = kinds.to_vec();
        self.read(move |connection| shared::parts(connection, &kinds, since)).await
    }

    async fn newest_of(&self, names: &[&str]) -> Result<Vec<(DeviceId, LatestValue)>, StoreError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.read(move |connection| shared::newest_of(connection, &names)).await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.write(|connection| {
            // The value must change: SQLite writes no page that stays as it is.
            connection
                .prepare_cached(
                    "INSERT INTO counter (name, value) VALUES ('check', 1)
                     ON CONFLICT (name) DO UPDATE SET value = (value + 1) % 1000000",
                )?
                .execute([])?;
            Ok(())
        })
        .await
    }

    async fn records(
        &self,
        id: &DeviceId,
        wanted: &[(Epoch, SequenceNumber)],
    ) -> Result<Vec<((Epoch, SequenceNumber), Vec<u8>)>, StoreError> {
        let (id, wanted) = (id.clone(), wanted.to_vec());
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT payload FROM record WHERE device = ?1 AND epoch = ?2 AND seq = ?3")?;
            let mut found = Vec::new();
            for (epoch, seq) in wanted {
                let number = integer("sequence number", seq.0)?;
                let payload = statement
                    .query_row(params![id.as_str(), EpochBytes(epoch), number], |row| row.get(0))
                    .optional()?;
                found.extend(payload.map(|payload| ((epoch, seq), payload)));
            }
            Ok(found)
        })
        .await
    }

    async fn oldest_record(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let oldest = connection.prepare_cached("SELECT min(received_at) FROM record")?;
            Ok(first(oldest, [], |row| Ok(row.get::<_, Option<At>>(0)?))?.flatten().map(|At(at)| at))
        })
        .await
    }

    async fn kept_records(
        &self,
        after: &RecordPlace,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<KeptRecord>, StoreError> {
        let after = after.clone();
        self.read(move |connection| history::page(connection, &after, until, limit)).await
    }

    async fn prune_records(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write(move |connection| {
            let deleted = connection
                .prepare_cached(
                    "DELETE FROM record WHERE (device, epoch, seq) IN (
                         SELECT device, epoch, seq FROM record WHERE received_at < ?1 ORDER BY received_at LIMIT ?2)",
                )?
                .execute(params![At(before), limit])?;
            count_records(connection, -integer("records", deleted as u64)?)?;
            Ok(deleted as u64)
        })
        .await
    }
}

fn snapshot(
    connection: &Connection,
    id: &DeviceId,
    reopen_since: Timestamp,
) -> Result<Option<DeviceSnapshot>, Failure> {
    let Some(device) = devices::load(connection, id)? else { return Ok(None) };
    let marks = collect(
        connection.prepare_cached("SELECT epoch, through FROM mark WHERE device = ?1 ORDER BY epoch")?,
        [id.as_str()],
        |row| Ok((row.get::<_, EpochBytes>(0)?.0, rows::sequence("mark", row.get(1)?)?)),
    )?;
    let body = first(
        connection.prepare_cached("SELECT body FROM engine_state WHERE device = ?1")?,
        [id.as_str()],
        |row| Ok(row.get::<_, String>(0)?),
    )?;
    let mut state = match body {
        Some(body) => row::decode::<StoredDeviceState>("engine_state", id, &body)?,
        None => DeviceState::default(),
    };
    let findings = connection.prepare_cached("SELECT body FROM finding WHERE device = ?1")?;
    for finding in collect(findings, [id.as_str()], |row| finding(id, &row.get::<_, String>(0)?))? {
        state.findings.insert((finding.rule.clone(), finding.component.clone()), Box::new(finding));
    }
    let tickets = collect(
        connection.prepare_cached(&format!(
            "SELECT {TICKET_COLUMNS} FROM ticket t WHERE t.device = ?1 AND (
                 t.state IN ('new', 'assigned', 'in_progress', 'on_hold')
                 OR (t.state = 'resolved' AND t.resolved_at >= ?2))
             ORDER BY t.id"
        ))?,
        params![id.as_str(), At(reopen_since)],
        rows::ticket,
    )?;
    Ok(Some(DeviceSnapshot { device, marks, state, tickets }))
}

pub(super) fn finding(device: &DeviceId, body: &str) -> Result<Finding, Failure> {
    Ok(row::decode::<StoredFinding>("finding", device, body)?)
}

fn commit(connection: &Connection, plan: &CommitPlan) -> Result<(), Failure> {
    for part in &plan.devices {
        update_device(connection, part)?;
    }
    for change in ticket_changes(plan.tickets())? {
        write_ticket(connection, change)?;
    }
    plan.devices.iter().try_for_each(|part| commit_device(connection, part))?;
    append_timeline(connection, &plan.shared.timeline)?;
    plan.shared.causes.iter().try_for_each(|cause| shared::write(connection, cause))
}

fn commit_device(connection: &Connection, part: &DevicePlan) -> Result<(), Failure> {
    let device = &part.device;
    part.marks.iter().try_for_each(|mark| move_mark(connection, device, mark))?;
    insert_records(connection, device, &part.records)?;
    if let Some(state) = &part.state {
        connection
            .prepare_cached(
                "INSERT INTO engine_state (device, body) VALUES (?1, ?2)
                 ON CONFLICT (device) DO UPDATE SET body = excluded.body",
            )?
            .execute(params![device.as_str(), row::encode::<StoredDeviceState>(state)?])?;
    }
    part.findings.iter().try_for_each(|finding| write_finding(connection, device, finding))?;
    part.latest.iter().try_for_each(|value| write_latest(connection, device, value))?;
    part.suppressions.iter().try_for_each(|one| quiet::insert(connection, device, one))?;
    append_timeline(connection, &part.timeline)?;
    for effect in &part.effects {
        match effect {
            Effect::RunDiagnostic { ticket, device, request_id, request } => {
                let request = PendingDiagnostic {
                    ticket: Some(*ticket),
                    device: device.clone(),
                    request_id: request_id.clone(),
                    request: request.clone(),
                    created_at: part.decided_at(),
                };
                insert_request(connection, &request)?;
            }
        }
    }
    for request_id in &part.finished_requests {
        // Only a device's own requests: the ids come from devices.
        connection
            .prepare_cached(
                "UPDATE outbox SET finished_at = ?3
                 WHERE request_id = ?1 AND device = ?2 AND finished_at IS NULL",
            )?
            .execute(params![request_id, device.as_str(), At(part.decided_at())])?;
    }
    part.audit.iter().try_for_each(|entry| rows::append_audit(connection, entry))
}

fn update_device(connection: &Connection, part: &DevicePlan) -> Result<(), Failure> {
    let touched = connection
        .prepare_cached(
            "UPDATE device SET last_seen_at = coalesce(?2, last_seen_at), presence = coalesce(?3, presence)
             WHERE id = ?1 AND (status = 'active' OR NOT ?4)",
        )?
        .execute(params![
            part.device.as_str(),
            part.seen_at.map(At),
            part.presence.map(|presence| presence.as_str()),
            part.needs_standing()
        ])?;
    if touched == 0 {
        return Err(Failure::conflict(format!("device {}", part.device)));
    }
    if let Some(facts) = &part.facts {
        let hostname = facts.get("hostname").and_then(|value| value.as_text());
        connection
            .prepare_cached("UPDATE device SET facts = ?2, hostname = coalesce(?3, hostname) WHERE id = ?1")?
            .execute(params![part.device.as_str(), row::encode::<StoredValue>(facts)?, hostname])?;
    }
    if let Some(version) = &part.agent_version {
        connection
            .prepare_cached("UPDATE device SET agent_version = ?2 WHERE id = ?1")?
            .execute(params![part.device.as_str(), version])?;
    }
    Ok(())
}

fn move_mark(connection: &Connection, device: &DeviceId, mark: &NewMark) -> Result<(), Failure> {
    let through = integer("sequence number", mark.through.0)?;
    let moved = match mark.before {
        None => connection
            .prepare_cached(
                "INSERT INTO mark (device, epoch, through) VALUES (?1, ?2, ?3) ON CONFLICT (device, epoch) DO NOTHING",
            )?
            .execute(params![device.as_str(), EpochBytes(mark.epoch), through])?,
        Some(before) => connection
            .prepare_cached(
                "UPDATE mark SET through = ?3 WHERE device = ?1 AND epoch = ?2 AND through = ?4 AND through <= ?3",
            )?
            .execute(params![
                device.as_str(),
                EpochBytes(mark.epoch),
                through,
                integer("sequence number", before.0)?
            ])?,
    };
    if moved == 0 && !is(NO_DEDUPE_KEY) {
        Err(Failure::conflict(format!("the mark of device {device}, epoch {}", mark.epoch)))
    } else {
        Ok(())
    }
}

fn insert_records(connection: &Connection, device: &DeviceId, records: &[NewRecord]) -> Result<(), Failure> {
    if records.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO record (device, epoch, seq, received_at, payload, clock_suspect)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    )?;
    let mut new = 0;
    for record in records {
        let seq = integer("sequence number", record.seq.0)?;
        new += insert.execute(params![
            device.as_str(),
            EpochBytes(record.epoch),
            seq,
            At(record.received_at),
            record.payload,
            record.clock_suspect
        ])?;
    }
    count_records(connection, integer("records", new as u64)?)
}

fn count_records(connection: &Connection, change: i64) -> Result<(), Failure> {
    if change != 0 {
        connection
            .prepare_cached("UPDATE counter SET value = value + ?1 WHERE name = 'record'")?
            .execute([change])?;
    }
    Ok(())
}

fn write_finding(connection: &Connection, device: &DeviceId, finding: &Finding) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO finding (device, rule, component_kind, component_id, phase, since, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (device, rule, component_kind, component_id)
             DO UPDATE SET phase = excluded.phase, since = excluded.since, body = excluded.body",
        )?
        .execute(params![
            device.as_str(),
            finding.rule.as_str(),
            finding.component.kind.as_str(),
            finding.component.id(),
            finding.phase.as_str(),
            At(finding.since),
            row::encode::<StoredFinding>(finding)?
        ])?;
    Ok(())
}

fn write_latest(connection: &Connection, device: &DeviceId, value: &LatestValue) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO latest (device, component_kind, component_id, name, series, observed_at, content, clock_suspect)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (device, component_kind, component_id, name, series)
             DO UPDATE SET observed_at = excluded.observed_at, content = excluded.content,
                 clock_suspect = excluded.clock_suspect",
        )?
        .execute(params![
            device.as_str(),
            value.component.kind.as_str(),
            value.component.id(),
            value.name,
            row::encode::<StoredAttributes>(&value.series)?,
            At(value.observed_at),
            row::encode::<StoredContent>(&value.content)?,
            value.clock_suspect
        ])?;
    Ok(())
}

/// Writes a ticket whose stored version is the one that was decided on; everything else is a conflict.
pub(super) fn write_ticket(connection: &Connection, change: TicketChange<'_>) -> Result<(), Failure> {
    let ticket = change.ticket;
    let (priority, due, _) = queue_place(ticket);
    let sql = if change.before == 0 {
        "INSERT INTO ticket (id, device, rule, component_kind, component_id, kind, state, site, priority, due,
             resolved_at, title, summary, version, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT (id) DO NOTHING"
    } else {
        "UPDATE ticket SET device = ?2, rule = ?3, component_kind = ?4, component_id = ?5, kind = ?6, state = ?7,
             site = ?8, priority = ?9, due = ?10, resolved_at = ?11, title = ?12, summary = ?13, version = ?14,
             body = ?15
         WHERE id = ?1 AND version = ?16"
    };
    let mut statement = connection.prepare_cached(sql)?;
    let id = integer("ticket number", ticket.id.0)?;
    let version = integer("ticket version", ticket.version)?;
    let before = integer("ticket version", change.before)?;
    let component = ticket.component.as_ref();
    let (kind, component_id) = (component.map(|part| part.kind.as_str()), component.map(|part| part.id()));
    let device = ticket.device.as_ref().map(DeviceId::as_str);
    let rule = ticket.rule.as_ref().map(|rule| rule.as_str());
    let body = row::encode::<StoredTicket>(ticket)?;
    let resolved_at = ticket.resolved_at.map(At);
    let (ticket_kind, state) = (ticket.kind.as_str(), ticket.state.as_str());
    let (site, title, summary) = (&ticket.site, &ticket.title, &ticket.summary);
    let all = params![
        id,
        device,
        rule,
        kind,
        component_id,
        ticket_kind,
        state,
        site,
        priority,
        due,
        resolved_at,
        title,
        summary,
        version,
        body,
        before
    ];
    let parameters = if change.before == 0 { &all[..15] } else { all };
    let written = statement
        .execute(parameters)
        .map_err(|error| Failure::from(error).about(|| format!("ticket {}", ticket.key())))?;
    if written == 0 { Err(Failure::conflict(format!("ticket {}", ticket.key()))) } else { Ok(()) }
}

pub(super) fn append_timeline(connection: &Connection, entries: &[TimelineEntry]) -> Result<(), Failure> {
    for entry in entries {
        let person = match &entry.actor {
            Actor::Firstline => None,
            Actor::Person(name) => Some(name),
        };
        connection
            .prepare_cached(
                "INSERT INTO timeline (ticket, at, person, kind, text) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                integer("ticket number", entry.ticket.0)?,
                At(entry.at),
                person,
                entry.kind,
                entry.text
            ])
            .map_err(|error| {
                Failure::from(error).about(|| format!("the timeline of ticket {}", entry.ticket))
            })?;
    }
    Ok(())
}

/// Keeps a request; `false` when its id is taken. The subject is text of a device: data, never a path or command.
fn insert_request(connection: &Connection, request: &PendingDiagnostic) -> Result<bool, Failure> {
    let payload = serde_json::json!({ "name": request.request.name(), "subject": request.request.subject() });
    let ticket = request.ticket.map(|ticket| integer("ticket number", ticket.0)).transpose()?;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO outbox (device, request_id, ticket, payload, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            request.device.as_str(),
            request.request_id,
            ticket,
            payload.to_string(),
            At(request.created_at)
        ])
        .map_err(|error| Failure::from(error).about(|| format!("device {}", request.device)))?;
    Ok(inserted > 0)
}

fn pending(connection: &Connection, device: &DeviceId) -> Result<Vec<PendingDiagnostic>, Failure> {
    let statement = connection.prepare_cached(
        "SELECT request_id, ticket, payload, created_at FROM outbox
         WHERE device = ?1 AND finished_at IS NULL ORDER BY id",
    )?;
    collect(statement, [device.as_str()], |row| {
        let (request_id, payload): (String, String) = (row.get(0)?, row.get(2)?);
        let request = request(&payload)
            .ok_or_else(|| row::corrupt("outbox", &request_id, &"its test is not known to this version"))?;
        let ticket: Option<i64> = row.get(1)?;
        Ok(PendingDiagnostic {
            ticket: ticket.map(|id| count("outbox", id).map(TicketId)).transpose()?,
            device: device.clone(),
            request_id,
            request,
            created_at: row.get::<_, At>(3)?.0,
        })
    })
}

fn request(payload: &str) -> Option<DiagnosticRequest> {
    let payload: serde_json::Value = serde_json::from_str(payload).ok()?;
    DiagnosticRequest::from_name(payload.get("name")?.as_str()?, payload.get("subject")?.as_str()?)
}
