//! Tickets and findings to read, and tickets that people change.

use super::Sqlite;
use super::failure::{Failure, count, integer};
use super::ingest;
use super::rows::{self, At, TICKET_COLUMNS, collect, first};
use super::shared;
use crate::plan::ticket_changes;
use crate::record::{
    AuditEntry, DeviceFinding, DeviceStatus, Page, PageOf, TicketFilter, Totals, queue_place,
};
use crate::row::{corrupt, timeline_kind};
use crate::store::Desk;
use crate::{StoreError, cursor};
use async_trait::async_trait;
use firstline_collector_core::fleet::SharedCause;
use firstline_collector_core::ticket::{Actor, Ticket, TicketState, TimelineEntry};
use firstline_model::{DeviceId, TicketId};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

#[async_trait]
impl Desk for Sqlite {
    async fn ticket(&self, id: TicketId) -> Result<Option<Ticket>, StoreError> {
        self.read(move |connection| {
            let Ok(id) = i64::try_from(id.0) else { return Ok(None) };
            let statement = connection
                .prepare_cached(&format!("SELECT {TICKET_COLUMNS} FROM ticket t WHERE t.id = ?1"))?;
            first(statement, [id], rows::ticket)
        })
        .await
    }

    async fn tickets(&self, filter: &TicketFilter, page: &Page) -> Result<PageOf<Ticket>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| list(connection, &filter, &page)).await
    }

    async fn timeline(&self, id: TicketId) -> Result<Vec<TimelineEntry>, StoreError> {
        self.read(move |connection| {
            let Ok(stored) = i64::try_from(id.0) else { return Ok(Vec::new()) };
            let statement = connection.prepare_cached(
                "SELECT at, person, kind, text FROM timeline WHERE ticket = ?1 ORDER BY id",
            )?;
            collect(statement, [stored], |row| {
                let kind: String = row.get(2)?;
                Ok(TimelineEntry {
                    ticket: id,
                    at: row.get::<_, At>(0)?.0,
                    actor: row.get::<_, Option<String>>(1)?.map_or(Actor::Firstline, Actor::Person),
                    kind: timeline_kind(&kind).map_err(|why| corrupt("timeline", &id, &why))?,
                    text: row.get(3)?,
                })
            })
        })
        .await
    }

    async fn save_ticket(
        &self,
        ticket: &Ticket,
        timeline: &[TimelineEntry],
        audit: &AuditEntry,
    ) -> Result<(), StoreError> {
        let (ticket, timeline, audit) = (ticket.clone(), timeline.to_vec(), audit.clone());
        self.write(move |connection| {
            for change in ticket_changes([&ticket])? {
                ingest::write_ticket(connection, change)?;
            }
            ingest::append_timeline(connection, &timeline)?;
            rows::append_audit(connection, &audit)
        })
        .await
    }

    async fn findings(
        &self,
        device: Option<&DeviceId>,
        site: Option<&str>,
    ) -> Result<Vec<DeviceFinding>, StoreError> {
        let (device, site) = (device.cloned(), site.map(str::to_owned));
        self.read(move |connection| findings(connection, device.as_ref(), site)).await
    }

    async fn members(&self, parent: TicketId) -> Result<Vec<DeviceFinding>, StoreError> {
        self.read(move |connection| members(connection, parent)).await
    }

    async fn shared_cause(&self, parent: TicketId) -> Result<Option<SharedCause>, StoreError> {
        self.read(move |connection| shared::of_ticket(connection, parent)).await
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        self.read(totals).await
    }
}

fn list(connection: &Connection, filter: &TicketFilter, page: &Page) -> Result<PageOf<Ticket>, Failure> {
    let mut sql =
        format!("SELECT {TICKET_COLUMNS} FROM ticket t LEFT JOIN device d ON d.id = t.device WHERE 1");
    let mut values: Vec<Sql> = Vec::new();
    if !filter.states.is_empty() {
        let marks = vec!["?"; filter.states.len()].join(", ");
        sql.push_str(&format!(" AND t.state IN ({marks})"));
        values.extend(filter.states.iter().map(|state| Sql::from(state.as_str().to_owned())));
    }
    if let Some(device) = &filter.device {
        sql.push_str(" AND t.device = ?");
        values.push(device.to_string().into());
    }
    if let Some(rule) = &filter.rule {
        sql.push_str(" AND t.rule = ?");
        values.push(rule.to_string().into());
    }
    if let Some(site) = &filter.site {
        sql.push_str(" AND t.site = ?");
        values.push(site.clone().into());
    }
    if let Some(parent) = filter.parent {
        sql.push_str(" AND CASE WHEN json_valid(t.body) THEN json_extract(t.body, '$.parent') END = ?");
        values.push(integer("ticket number", parent.0)?.into());
    }
    if let Some(text) = filter.search()? {
        sql.push_str(
            r" AND (t.title LIKE ? ESCAPE '\' OR t.summary LIKE ? ESCAPE '\' OR d.hostname LIKE ? ESCAPE '\')",
        );
        values.extend([rows::like(text).into(), rows::like(text).into(), rows::like(text).into()]);
    }
    if let Some(after) = &page.after {
        let (priority, due, id): (u8, i64, i64) = cursor::decode(after)?;
        sql.push_str(" AND (t.priority, t.due, t.id) > (?, ?, ?)");
        values.extend([i64::from(priority).into(), due.into(), id.into()]);
    }
    sql.push_str(" ORDER BY t.priority, t.due, t.id LIMIT ?");
    values.push(integer("rows", page.rows() as u64 + 1)?.into());
    let found = collect(connection.prepare_cached(&sql)?, params_from_iter(values), rows::ticket)?;
    Ok(PageOf::cut(found, page, queue_place)?)
}

fn findings(
    connection: &Connection,
    device: Option<&DeviceId>,
    site: Option<String>,
) -> Result<Vec<DeviceFinding>, Failure> {
    let mut sql = "SELECT f.device, d.hostname, f.body FROM finding f JOIN device d ON d.id = f.device
         WHERE f.phase <> 'cleared'"
        .to_owned();
    let mut values: Vec<Sql> = Vec::new();
    if let Some(device) = device {
        sql.push_str(" AND f.device = ?");
        values.push(device.to_string().into());
    }
    if let Some(site) = site {
        sql.push_str(" AND d.site = ?");
        values.push(site.into());
    }
    newest_first(connection, &sql, values)
}

/// Findings that are records of this ticket.
fn members(connection: &Connection, parent: TicketId) -> Result<Vec<DeviceFinding>, Failure> {
    let sql = "SELECT f.device, d.hostname, f.body FROM finding f JOIN device d ON d.id = f.device
         WHERE CASE WHEN json_valid(f.body) THEN json_extract(f.body, '$.standing.member') END = ?";
    newest_first(connection, sql, vec![integer("ticket number", parent.0)?.into()])
}

fn newest_first(connection: &Connection, sql: &str, values: Vec<Sql>) -> Result<Vec<DeviceFinding>, Failure> {
    let mut found = collect(connection.prepare_cached(sql)?, params_from_iter(values), |row| {
        let device = rows::device_id("finding", row.get(0)?)?;
        let finding = ingest::finding(&device, &row.get::<_, String>(2)?)?;
        Ok(DeviceFinding { device, hostname: row.get(1)?, finding })
    })?;
    DeviceFinding::sort_newest_first(&mut found);
    Ok(found)
}

fn totals(connection: &Connection) -> Result<Totals, Failure> {
    let one = |sql: &str, parameter: Option<&str>| -> Result<u64, Failure> {
        let stored: i64 =
            connection.prepare_cached(sql)?.query_row(params_from_iter(parameter), |row| row.get(0))?;
        count("counter", stored)
    };
    let mut totals = Totals {
        devices: Vec::new(),
        tickets: Vec::new(),
        records: one("SELECT value FROM counter WHERE name = 'record'", None)?,
        firing: one(
            "SELECT count(*) FROM finding WHERE phase <> 'cleared' AND phase IN ('firing', 'clearing')",
            None,
        )?,
    };
    for &status in DeviceStatus::ALL {
        let devices = one("SELECT count(*) FROM device WHERE status = ?1", Some(status.as_str()))?;
        totals.devices.push((status, devices));
    }
    for &state in TicketState::ALL {
        totals
            .tickets
            .push((state, one("SELECT count(*) FROM ticket WHERE state = ?1", Some(state.as_str()))?));
    }
    Ok(totals)
}
