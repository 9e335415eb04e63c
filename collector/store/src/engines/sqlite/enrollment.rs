//! How devices come in.

use super::Sqlite;
use super::failure::Failure;
use super::rows::{self, At, first};
use crate::StoreError;
use crate::record::{AuditEntry, Device, EnrollOutcome, EnrollmentToken};
use crate::row::{self, StoredValue};
use crate::store::Enrollment;
use async_trait::async_trait;
use firstline_model::Timestamp;
use rusqlite::{Connection, params};

#[async_trait]
impl Enrollment for Sqlite {
    async fn create_token(&self, token: &EnrollmentToken, audit: &AuditEntry) -> Result<(), StoreError> {
        let (token, audit) = (token.clone(), audit.clone());
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO enrollment_token (hash, uses_left, expires_at, site, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    token.hash,
                    token.uses_left,
                    At(token.expires_at),
                    token.site,
                    At(token.created_at)
                ])
                .map_err(|error| Failure::from(error).about(|| "the enrollment token".to_owned()))?;
            rows::append_audit(connection, &audit)
        })
        .await
    }

    async fn enroll(
        &self,
        hash: &[u8; 32],
        device: &Device,
        now: Timestamp,
    ) -> Result<EnrollOutcome, StoreError> {
        let (hash, device) = (*hash, device.clone());
        self.check_apart(hash, now).await?;
        self.write(move |connection| enroll(connection, &hash, device, now)).await
    }
}

/// Consumes and creates inside the writer's transaction: between the check and the use nobody else can write.
fn enroll(
    connection: &Connection,
    hash: &[u8; 32],
    device: Device,
    now: Timestamp,
) -> Result<EnrollOutcome, Failure> {
    let consume = connection.prepare_cached(
        "UPDATE enrollment_token SET uses_left = uses_left - 1
         WHERE hash = ?1 AND uses_left > 0 AND expires_at > ?2 RETURNING site",
    )?;
    let Some(site) = first(consume, params![hash, At(now)], |row| Ok(row.get::<_, Option<String>>(0)?))?
    else {
        let reason = refusal(connection, hash)?;
        rows::append_audit(connection, &AuditEntry::enroll_refused(&device, reason, now))?;
        return Ok(EnrollOutcome::Refused { reason });
    };
    let device = Device { site, ..device };
    insert(connection, &device)?;
    rows::append_audit(connection, &AuditEntry::enrolled(&device, now))?;
    Ok(EnrollOutcome::Enrolled)
}

fn refusal(connection: &Connection, hash: &[u8; 32]) -> Result<&'static str, Failure> {
    let statement = connection.prepare_cached("SELECT uses_left FROM enrollment_token WHERE hash = ?1")?;
    let left: Option<u32> = first(statement, params![hash], |row| Ok(row.get(0)?))?;
    Ok(match left {
        None => "unknown",
        Some(0) => "used",
        Some(_) => "expired",
    })
}

fn insert(connection: &Connection, device: &Device) -> Result<(), Failure> {
    let tags = serde_json::to_string(&device.tags).map_err(|error| StoreError::Invalid {
        detail: format!("tags cannot be written as JSON: {error}"),
    })?;
    connection
        .prepare_cached(
            "INSERT INTO device (id, hostname, site, status, tags, facts, agent_version, enrolled_at, last_seen_at,
                 presence, certificate_fingerprint, certificate_not_after)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            device.id.as_str(),
            device.hostname,
            device.site,
            device.status.as_str(),
            tags,
            row::encode::<StoredValue>(&device.facts)?,
            device.agent_version,
            At(device.enrolled_at),
            device.last_seen_at.map(At),
            device.presence.map(|presence| presence.as_str()),
            device.certificate_fingerprint,
            At(device.certificate_not_after),
        ])
        .map_err(|error| Failure::from(error).about(|| format!("device {}", device.id)))?;
    Ok(())
}
