//! Maintenance windows, and breaches that made no ticket.

use super::Sqlite;
use super::failure::{Failure, count, integer};
use super::rows::{self, At, collect};
use crate::quiet::{MaintenanceWindow, SuppressedBreach, SuppressionFilter};
use crate::record::{AuditEntry, Page, PageOf};
use crate::store::Quiet;
use crate::{StoreError, cursor};
use async_trait::async_trait;
use firstline_collector_core::desk::Suppression;
use firstline_model::{DeviceId, RuleCode, Timestamp};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params, params_from_iter};

#[async_trait]
impl Quiet for Sqlite {
    async fn add_window(&self, window: &MaintenanceWindow, audit: &AuditEntry) -> Result<u64, StoreError> {
        let (window, audit) = (window.clone(), audit.clone());
        self.write(move |connection| {
            let id: i64 = connection
                .prepare_cached(
                    "INSERT INTO maintenance (name, site, definition, created_by, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id",
                )?
                .query_row(
                    params![
                        window.name,
                        window.site,
                        window.definition,
                        window.created_by,
                        At(window.created_at)
                    ],
                    |row| row.get(0),
                )?;
            let id = count("maintenance", id)?;
            rows::append_audit(connection, &AuditEntry { subject: format!("maintenance:{id}"), ..audit })?;
            Ok(id)
        })
        .await
    }

    async fn windows(&self) -> Result<Vec<MaintenanceWindow>, StoreError> {
        self.read(|connection| {
            let statement = connection.prepare_cached(
                "SELECT id, name, site, definition, created_by, created_at FROM maintenance ORDER BY id",
            )?;
            collect(statement, [], |row| {
                Ok(MaintenanceWindow {
                    id: count("maintenance", row.get(0)?)?,
                    name: row.get(1)?,
                    site: row.get(2)?,
                    definition: row.get(3)?,
                    created_by: row.get(4)?,
                    created_at: row.get::<_, At>(5)?.0,
                })
            })
        })
        .await
    }

    async fn remove_window(&self, id: u64, audit: &AuditEntry) -> Result<bool, StoreError> {
        let audit = audit.clone();
        self.write(move |connection| {
            let deleted = connection
                .prepare_cached("DELETE FROM maintenance WHERE id = ?1")?
                .execute([integer("maintenance", id)?])?;
            if deleted > 0 {
                rows::append_audit(connection, &audit)?;
            }
            Ok(deleted > 0)
        })
        .await
    }

    async fn suppressions(
        &self,
        filter: &SuppressionFilter,
        page: &Page,
    ) -> Result<PageOf<SuppressedBreach>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| list(connection, &filter, &page)).await
    }

    async fn prune_suppressions(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write(move |connection| {
            let deleted = connection
                .prepare_cached(
                    "DELETE FROM suppression WHERE id IN (
                         SELECT id FROM suppression WHERE at < ?1 ORDER BY at LIMIT ?2)",
                )?
                .execute(params![At(before), limit])?;
            Ok(deleted as u64)
        })
        .await
    }
}

/// Writes what a commit held back.
pub(super) fn insert(connection: &Connection, device: &DeviceId, one: &Suppression) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO suppression (device, at, rule, component_kind, component_id, reason, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            device.as_str(),
            At(one.at),
            one.rule.as_str(),
            one.component.kind.as_str(),
            one.component.id(),
            one.reason,
            one.until.map(At)
        ])?;
    Ok(())
}

fn list(
    connection: &Connection,
    filter: &SuppressionFilter,
    page: &Page,
) -> Result<PageOf<SuppressedBreach>, Failure> {
    let before: i64 = page.after.as_deref().map(cursor::decode).transpose()?.unwrap_or(i64::MAX);
    let mut sql =
        "SELECT s.id, s.device, d.hostname, s.at, s.rule, s.component_kind, s.component_id, s.reason, s.until
         FROM suppression s JOIN device d ON d.id = s.device WHERE s.id < ?"
            .to_owned();
    let mut values: Vec<Sql> = vec![before.into()];
    let reason = filter.reason.clone();
    let conditions = [
        (" AND s.device = ?", filter.device.as_ref().map(ToString::to_string)),
        (" AND s.rule = ?", filter.rule.as_ref().map(ToString::to_string)),
        (" AND d.site = ?", filter.site.clone()),
        (" AND substr(s.reason, 1, length(?)) = ?", reason),
    ];
    for (condition, value) in conditions {
        if let Some(value) = value {
            sql.push_str(condition);
            for _ in condition.matches('?') {
                values.push(value.clone().into());
            }
        }
    }
    sql.push_str(" ORDER BY s.id DESC LIMIT ?");
    values.push(integer("rows", page.rows() as u64 + 1)?.into());
    let found = collect(connection.prepare_cached(&sql)?, params_from_iter(values), |row| {
        let (rule, kind): (String, String) = (row.get(4)?, row.get(5)?);
        let rule = RuleCode::new(rule)
            .map_err(|error| Failure::Store(StoreError::Invalid { detail: error.to_string() }))?;
        let suppression = Suppression {
            rule,
            component: rows::component("suppression", &kind, row.get(6)?)?,
            at: row.get::<_, At>(3)?.0,
            reason: row.get(7)?,
            until: row.get::<_, Option<At>>(8)?.map(|At(at)| at),
        };
        let breach = SuppressedBreach {
            device: rows::device_id("suppression", row.get(1)?)?,
            hostname: row.get(2)?,
            suppression,
        };
        Ok((row.get::<_, i64>(0)?, breach))
    })?;
    let cut = PageOf::cut(found, page, |(id, _)| *id)?;
    Ok(PageOf { rows: cut.rows.into_iter().map(|(_, breach)| breach).collect(), next: cut.next })
}
