//! Certificates that were renewed, and chains of streams.

use super::Memory;
use crate::StoreError;
use crate::identity::{DeviceIdentity, NextCertificate};
use crate::record::{AuditEntry, DeviceStatus};
use crate::store::Identities;
use async_trait::async_trait;
use firstline_collector_core::lineage::Lineage;
use firstline_model::DeviceId;
use std::collections::BTreeMap;

fn unknown(id: &DeviceId) -> StoreError {
    StoreError::Conflict { what: format!("device {id}") }
}

#[async_trait]
impl Identities for Memory {
    async fn identity(&self, id: &DeviceId) -> Result<DeviceIdentity, StoreError> {
        Ok(self.kept().devices.get(id).map(|one| one.identity.clone()).unwrap_or_default())
    }

    async fn note_issuer(&self, id: &DeviceId, issuer: &str) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let one = kept.devices.get_mut(id).ok_or_else(|| unknown(id))?;
        one.identity.issuer = Some(issuer.to_owned());
        Ok(())
    }

    async fn offer_certificate(
        &self,
        id: &DeviceId,
        next: &NextCertificate,
        audit: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let one = kept.devices.get_mut(id).ok_or_else(|| unknown(id))?;
        one.identity.next = Some(next.clone());
        kept.audit.push(audit.clone());
        Ok(())
    }

    async fn adopt_certificate(&self, id: &DeviceId, fingerprint: &str) -> Result<bool, StoreError> {
        let mut kept = self.kept();
        let Some(one) = kept.devices.get_mut(id) else { return Ok(false) };
        let Some(next) = one.identity.next.take_if(|next| next.fingerprint == fingerprint) else {
            return Ok(false);
        };
        one.device.certificate_fingerprint = next.fingerprint;
        one.device.certificate_not_after = next.not_after;
        one.identity.issuer = Some(next.issuer);
        Ok(true)
    }

    async fn move_lineage(
        &self,
        id: &DeviceId,
        before: Option<&Lineage>,
        after: Option<&Lineage>,
    ) -> Result<bool, StoreError> {
        let mut kept = self.kept();
        let one = kept.devices.get_mut(id).ok_or_else(|| unknown(id))?;
        if one.identity.lineage.as_ref() != before {
            return Ok(false);
        }
        one.identity.lineage = after.copied();
        Ok(true)
    }

    async fn issuers(&self) -> Result<Vec<(Option<String>, u64)>, StoreError> {
        let mut counts = BTreeMap::new();
        for one in self.kept().devices.values() {
            match one.device.status {
                DeviceStatus::Active | DeviceStatus::Quarantined => {
                    *counts.entry(one.identity.issuer.clone()).or_default() += 1;
                }
                DeviceStatus::Revoked | DeviceStatus::Retired => {}
            }
        }
        Ok(counts.into_iter().collect())
    }
}
