//! What several devices have in common when they fail alike.

use super::devices::{LATEST_COLUMNS, latest_value};
use super::failure::{Failure, integer};
use super::rows::{self, At, collect, first};
use crate::record::LatestValue;
use crate::row::{self, StoredCause};
use firstline_collector_core::fleet::SharedCause;
use firstline_model::{Component, ComponentKind, DeviceId, TicketId, Timestamp};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params, params_from_iter};

pub(super) fn write(connection: &Connection, cause: &SharedCause) -> Result<(), Failure> {
    let ticket = integer("ticket number", cause.parent.0)?;
    let (kind, value) = (cause.shared.kind.as_str(), &cause.shared.value);
    let body = row::encode::<StoredCause>(cause)?;
    connection
        .prepare_cached(
            "INSERT INTO shared_cause (rule, kind, value, ticket, open, ended, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (rule, kind, value) DO UPDATE
             SET ticket = excluded.ticket, open = excluded.open, ended = excluded.ended, body = excluded.body",
        )?
        .execute(params![cause.rule.as_str(), kind, value, ticket, cause.open, cause.ended.map(At), body])?;
    Ok(())
}

pub(super) fn recent(connection: &Connection, since: Timestamp) -> Result<Vec<SharedCause>, Failure> {
    let statement = connection.prepare_cached(
        "SELECT body FROM shared_cause WHERE open OR ended >= ?1 ORDER BY rule, kind, value",
    )?;
    collect(statement, [At(since)], cause)
}

pub(super) fn of_ticket(connection: &Connection, ticket: TicketId) -> Result<Option<SharedCause>, Failure> {
    let Ok(ticket) = i64::try_from(ticket.0) else { return Ok(None) };
    first(connection.prepare_cached("SELECT body FROM shared_cause WHERE ticket = ?1")?, [ticket], cause)
}

fn cause(row: &Row<'_>) -> Result<SharedCause, Failure> {
    let body: String = row.get(0)?;
    Ok(row::decode::<StoredCause>("shared_cause", "", &body)?)
}

/// Which devices reported on components of these kinds.
pub(super) fn parts(
    connection: &Connection,
    kinds: &[ComponentKind],
    since: Timestamp,
) -> Result<Vec<(DeviceId, Component)>, Failure> {
    let marks = vec!["?"; kinds.len()].join(", ");
    let statement = connection.prepare_cached(&format!(
        "SELECT DISTINCT device, component_kind, component_id FROM latest
         WHERE component_kind IN ({marks}) AND observed_at >= ? ORDER BY 1, 2, 3"
    ))?;
    let kinds = kinds.iter().map(|kind| Sql::from(kind.as_str().to_owned()));
    let values = kinds.chain([Sql::from(since.as_millis())]);
    collect(statement, params_from_iter(values), |row| {
        let device = rows::device_id("latest", row.get(0)?)?;
        let (kind, id): (String, String) = (row.get(1)?, row.get(2)?);
        let component = format!("{kind}/{id}").parse::<Component>();
        let component = component.map_err(|why| row::corrupt("latest", &device, &why))?;
        Ok((device, component))
    })
}

/// The newest values of these names, of every device.
pub(super) fn newest_of(
    connection: &Connection,
    names: &[String],
) -> Result<Vec<(DeviceId, LatestValue)>, Failure> {
    let marks = vec!["?"; names.len()].join(", ");
    let statement =
        connection.prepare_cached(&format!("SELECT {LATEST_COLUMNS} FROM latest WHERE name IN ({marks})"))?;
    collect(statement, params_from_iter(names), |row| {
        Ok((rows::device_id("latest", row.get(7)?)?, latest_value(row)?))
    })
}
