//! Certificates that were renewed, and chains of streams.

use super::Sqlite;
use super::failure::{Failure, count};
use super::rows::{self, At, collect, first};
use crate::StoreError;
use crate::identity::{DeviceIdentity, NextCertificate};
use crate::record::AuditEntry;
use crate::store::Identities;
use async_trait::async_trait;
use firstline_collector_core::lineage::Lineage;
use firstline_model::DeviceId;
use rusqlite::{Connection, params};

#[async_trait]
impl Identities for Sqlite {
    async fn identity(&self, id: &DeviceId) -> Result<DeviceIdentity, StoreError> {
        let id = id.clone();
        self.read(move |connection| load(connection, &id)).await
    }

    async fn note_issuer(&self, id: &DeviceId, issuer: &str) -> Result<(), StoreError> {
        let (id, issuer) = (id.clone(), issuer.to_owned());
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO device_identity (device, issuer) VALUES (?1, ?2)
                     ON CONFLICT (device) DO UPDATE SET issuer = excluded.issuer",
                )?
                .execute(params![id.as_str(), issuer])
                .map_err(|error| Failure::from(error).about(|| format!("device {id}")))?;
            Ok(())
        })
        .await
    }

    async fn offer_certificate(
        &self,
        id: &DeviceId,
        next: &NextCertificate,
        audit: &AuditEntry,
    ) -> Result<(), StoreError> {
        let (id, next, audit) = (id.clone(), next.clone(), audit.clone());
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO device_identity (device, next_fingerprint, next_not_after, next_issuer)
                     VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (device) DO UPDATE SET next_fingerprint = excluded.next_fingerprint,
                         next_not_after = excluded.next_not_after, next_issuer = excluded.next_issuer",
                )?
                .execute(params![id.as_str(), next.fingerprint, At(next.not_after), next.issuer])
                .map_err(|error| Failure::from(error).about(|| format!("device {id}")))?;
            rows::append_audit(connection, &audit)
        })
        .await
    }

    async fn adopt_certificate(&self, id: &DeviceId, fingerprint: &str) -> Result<bool, StoreError> {
        let (id, fingerprint) = (id.clone(), fingerprint.to_owned());
        self.write(move |connection| {
            let Some(next) = load(connection, &id)?.next.filter(|next| next.fingerprint == fingerprint)
            else {
                return Ok(false);
            };
            connection
                .prepare_cached(
                    "UPDATE device SET certificate_fingerprint = ?2, certificate_not_after = ?3 WHERE id = ?1",
                )?
                .execute(params![id.as_str(), next.fingerprint, At(next.not_after)])?;
            connection
                .prepare_cached(
                    "UPDATE device_identity SET issuer = next_issuer, next_fingerprint = NULL,
                         next_not_after = NULL, next_issuer = NULL WHERE device = ?1",
                )?
                .execute([id.as_str()])?;
            Ok(true)
        })
        .await
    }

    async fn move_lineage(
        &self,
        id: &DeviceId,
        before: Option<&Lineage>,
        after: Option<&Lineage>,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        let (before, after) = (before.map(Lineage::to_bytes), after.map(Lineage::to_bytes));
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO device_identity (device) VALUES (?1) ON CONFLICT (device) DO NOTHING",
                )?
                .execute([id.as_str()])
                .map_err(|error| Failure::from(error).about(|| format!("device {id}")))?;
            let moved = connection
                .prepare_cached(
                    "UPDATE device_identity SET lineage = ?3 WHERE device = ?1 AND lineage IS ?2",
                )?
                .execute(params![id.as_str(), before, after])?;
            Ok(moved == 1)
        })
        .await
    }

    async fn issuers(&self) -> Result<Vec<(Option<String>, u64)>, StoreError> {
        self.read(|connection| {
            let statement = connection.prepare_cached(
                "SELECT i.issuer, count(*) FROM device d LEFT JOIN device_identity i ON i.device = d.id
                 WHERE d.status IN ('active', 'quarantined') GROUP BY i.issuer ORDER BY i.issuer",
            )?;
            collect(statement, [], |row| {
                Ok((row.get::<_, Option<String>>(0)?, count("devices", row.get(1)?)?))
            })
        })
        .await
    }
}

fn load(connection: &Connection, id: &DeviceId) -> Result<DeviceIdentity, Failure> {
    let statement = connection.prepare_cached(
        "SELECT issuer, next_fingerprint, next_not_after, next_issuer, lineage FROM device_identity WHERE device = ?1",
    )?;
    let found = first(statement, [id.as_str()], |row| {
        let next: (Option<String>, Option<At>, Option<String>) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let next = match next {
            (Some(fingerprint), Some(not_after), Some(issuer)) => {
                Some(NextCertificate { fingerprint, not_after: not_after.0, issuer })
            }
            _ => None,
        };
        let lineage: Option<Vec<u8>> = row.get(4)?;
        let lineage = lineage
            .map(|bytes| {
                Lineage::from_bytes(&bytes).ok_or_else(|| {
                    Failure::Store(StoreError::Corrupt { detail: format!("the lineage of device {id}") })
                })
            })
            .transpose()?;
        Ok(DeviceIdentity { issuer: row.get(0)?, next, lineage })
    })?;
    Ok(found.unwrap_or_default())
}
