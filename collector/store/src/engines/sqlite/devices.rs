//! Devices and their standing.

use super::Sqlite;
use super::failure::{Failure, count, integer};
use super::rows::{self, At, DEVICE_COLUMNS, collect, first};
use crate::record::{AuditEntry, Device, DeviceFilter, DeviceStatus, LatestValue, Page, PageOf};
use crate::row::{self, StoredAttributes, StoredContent, corrupt, known};
use crate::store::Devices;
use crate::{StoreError, cursor};
use async_trait::async_trait;
use firstline_model::DeviceId;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params, params_from_iter};

#[async_trait]
impl Devices for Sqlite {
    async fn device(&self, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        let id = id.clone();
        self.read(move |connection| load(connection, &id)).await
    }

    async fn devices(&self, filter: &DeviceFilter, page: &Page) -> Result<PageOf<Device>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| list(connection, &filter, &page)).await
    }

    async fn set_device_status(
        &self,
        id: &DeviceId,
        status: DeviceStatus,
        audit: &AuditEntry,
    ) -> Result<bool, StoreError> {
        let (id, audit) = (id.clone(), audit.clone());
        self.write(move |connection| {
            let changed = connection
                .prepare_cached("UPDATE device SET status = ?2 WHERE id = ?1")?
                .execute(params![id.as_str(), status.as_str()])?;
            if changed == 0 {
                return Ok(false);
            }
            connection
                .prepare_cached("INSERT INTO device_status_change (device, status) VALUES (?1, ?2)")?
                .execute(params![id.as_str(), status.as_str()])?;
            rows::append_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }

    async fn status_changes(&self, since: u64) -> Result<Vec<(u64, DeviceId, DeviceStatus)>, StoreError> {
        self.read(move |connection| {
            let since = integer("revision", since)?;
            let statement = connection.prepare_cached(
                "SELECT revision, device, status FROM device_status_change WHERE revision > ?1 ORDER BY revision",
            )?;
            collect(statement, [since], |row| {
                let (revision, status): (i64, String) = (row.get(0)?, row.get(2)?);
                let status = known("status", &status, DeviceStatus::from_text(&status))
                    .map_err(|why| corrupt("device_status_change", &revision, &why))?;
                let table = "device_status_change";
                Ok((count(table, revision)?, rows::device_id(table, row.get(1)?)?, status))
            })
        })
        .await
    }

    async fn latest(&self, id: &DeviceId) -> Result<Vec<LatestValue>, StoreError> {
        let id = id.clone();
        let mut values = self.read(move |connection| latest(connection, &id)).await?;
        // The order of components is that of the model, which SQL does not know.
        values.sort_by(|a, b| (&a.component, &a.name, &a.series).cmp(&(&b.component, &b.name, &b.series)));
        Ok(values)
    }
}

pub(super) fn load(connection: &Connection, id: &DeviceId) -> Result<Option<Device>, Failure> {
    let statement =
        connection.prepare_cached(&format!("SELECT {DEVICE_COLUMNS} FROM device d WHERE d.id = ?1"))?;
    first(statement, [id.as_str()], rows::device)
}

fn list(connection: &Connection, filter: &DeviceFilter, page: &Page) -> Result<PageOf<Device>, Failure> {
    let mut sql = format!("SELECT {DEVICE_COLUMNS} FROM device d WHERE 1");
    let mut values: Vec<Sql> = Vec::new();
    if let Some(site) = &filter.site {
        sql.push_str(" AND d.site = ?");
        values.push(site.clone().into());
    }
    if let Some(status) = filter.status {
        sql.push_str(" AND d.status = ?");
        values.push(status.as_str().to_owned().into());
    }
    if let Some(text) = filter.search()? {
        sql.push_str(r" AND (d.hostname LIKE ? ESCAPE '\' OR d.id LIKE ? ESCAPE '\')");
        values.extend([rows::like(text).into(), rows::like(text).into()]);
    }
    if let Some(after) = &page.after {
        let (hostname, id): (String, String) = cursor::decode(after)?;
        sql.push_str(" AND (d.hostname, d.id) > (?, ?)");
        values.extend([hostname.into(), id.into()]);
    }
    sql.push_str(" ORDER BY d.hostname, d.id LIMIT ?");
    values.push(integer("rows", page.rows() as u64 + 1)?.into());
    let found = collect(connection.prepare_cached(&sql)?, params_from_iter(values), rows::device)?;
    Ok(PageOf::cut(found, page, |device: &Device| (device.hostname.clone(), device.id.to_string()))?)
}

fn latest(connection: &Connection, id: &DeviceId) -> Result<Vec<LatestValue>, Failure> {
    let statement =
        connection.prepare_cached(&format!("SELECT {LATEST_COLUMNS} FROM latest WHERE device = ?1"))?;
    collect(statement, [id.as_str()], latest_value)
}

/// What [`latest_value`] reads.
pub(super) const LATEST_COLUMNS: &str =
    "component_kind, component_id, name, series, observed_at, content, clock_suspect, device";

pub(super) fn latest_value(row: &Row<'_>) -> Result<LatestValue, Failure> {
    let kind: String = row.get(0)?;
    let (series, content, device): (String, String, String) = (row.get(3)?, row.get(5)?, row.get(7)?);
    Ok(LatestValue {
        component: rows::component("latest", &kind, row.get(1)?)?,
        name: row.get(2)?,
        series: row::decode::<StoredAttributes>("latest", &device, &series)?,
        observed_at: row.get::<_, At>(4)?.0,
        content: row::decode::<StoredContent>("latest", &device, &content)?,
        clock_suspect: row.get(6)?,
    })
}
