//! Columns to records, for tables that are read in more than one place.

use super::failure::{Failure, count};
use crate::record::{AuditEntry, Device, DeviceStatus, Role, User};
use crate::row::{self, StoredValue, corrupt, known};
use firstline_collector_core::ticket::Ticket;
use firstline_model::{Component, DeviceId, Epoch, Invalid, SequenceNumber, Timestamp};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Params, Row, params};

/// A time as a column of milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct At(pub(super) Timestamp);

impl ToSql for At {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_millis()))
    }
}

impl FromSql for At {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(|millis| Self(Timestamp::from_millis(millis)))
    }
}

/// An epoch as a blob of 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct EpochBytes(pub(super) Epoch);

impl ToSql for EpochBytes {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(&self.0.0[..]))
    }
}

impl FromSql for EpochBytes {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Epoch::from_bytes(value.as_blob()?)
            .map(Self)
            .map_err(|invalid| FromSqlError::Other(Box::new(invalid)))
    }
}

/// Columns of `device` in the order that [`device`] reads.
pub(super) const DEVICE_COLUMNS: &str = "d.id, d.hostname, d.site, d.status, d.tags, d.facts, d.agent_version, \
     d.enrolled_at, d.last_seen_at, d.presence, d.certificate_fingerprint, d.certificate_not_after";

pub(super) fn device(row: &Row<'_>) -> Result<Device, Failure> {
    let id: String = row.get(0)?;
    let because = |why: Invalid| corrupt("device", &id, &why);
    let status: String = row.get(3)?;
    let tags: String = row.get(4)?;
    let facts: String = row.get(5)?;
    let presence: Option<String> = row.get(9)?;
    Ok(Device {
        id: DeviceId::new(id.clone()).map_err(because)?,
        hostname: row.get(1)?,
        site: row.get(2)?,
        status: known("status", &status, DeviceStatus::from_text(&status)).map_err(because)?,
        tags: serde_json::from_str(&tags).map_err(|error| corrupt("device", &id, &error))?,
        facts: row::decode::<StoredValue>("device", &id, &facts)?,
        agent_version: row.get(6)?,
        enrolled_at: row.get::<_, At>(7)?.0,
        last_seen_at: row.get::<_, Option<At>>(8)?.map(|at| at.0),
        presence: presence.map(|text| text.parse()).transpose().map_err(because)?,
        certificate_fingerprint: row.get(10)?,
        certificate_not_after: row.get::<_, At>(11)?.0,
    })
}

/// Columns of `ticket` in the order that [`ticket`] reads.
pub(super) const TICKET_COLUMNS: &str = "t.id, t.body";

pub(super) fn ticket(row: &Row<'_>) -> Result<Ticket, Failure> {
    let id: i64 = row.get(0)?;
    let body: String = row.get(1)?;
    Ok(row::decode::<row::StoredTicket>("ticket", id, &body)?)
}

/// Columns of `user` in the order that [`user`] reads.
pub(super) const USER_COLUMNS: &str = "u.name, u.role, u.site, u.password_hash, u.created_at, u.disabled";

pub(super) fn user(row: &Row<'_>, first: usize) -> Result<User, Failure> {
    let name: String = row.get(first)?;
    let role: String = row.get(first + 1)?;
    Ok(User {
        role: known("role", &role, Role::from_text(&role)).map_err(|why| corrupt("user", &name, &why))?,
        name,
        site: row.get(first + 2)?,
        password_hash: row.get(first + 3)?,
        created_at: row.get::<_, At>(first + 4)?.0,
        disabled: row.get(first + 5)?,
    })
}

pub(super) fn device_id(table: &str, text: String) -> Result<DeviceId, Failure> {
    DeviceId::new(text.clone()).map_err(|why| corrupt(table, &text, &why).into())
}

pub(super) fn component(table: &str, kind: &str, id: String) -> Result<Component, Failure> {
    let parsed = kind.parse().and_then(|kind| Component::new(kind, id.clone()));
    parsed.map_err(|why| corrupt(table, &format!("{kind}/{id}"), &why).into())
}

pub(super) fn sequence(table: &str, stored: i64) -> Result<SequenceNumber, Failure> {
    count(table, stored).map(SequenceNumber)
}

/// All rows of a query, each read by `read`.
pub(super) fn collect<T>(
    mut statement: CachedStatement<'_>,
    parameters: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut rows = statement.query(parameters)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// The first row of a query, if there is one.
pub(super) fn first<T>(
    mut statement: CachedStatement<'_>,
    parameters: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let mut rows = statement.query(parameters)?;
    match rows.next()? {
        Some(row) => read(row).map(Some),
        None => Ok(None),
    }
}

/// Appends to the audit log.
pub(super) fn append_audit(connection: &Connection, entry: &AuditEntry) -> Result<(), Failure> {
    connection
        .prepare_cached("INSERT INTO audit (at, actor, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![At(entry.at), entry.actor, entry.action, entry.subject, entry.detail])?;
    Ok(())
}

/// `text` as a LIKE pattern that finds it anywhere, its own wildcards taken literally (ESCAPE '\').
pub(super) fn like(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
