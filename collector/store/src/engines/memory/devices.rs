//! Devices, their standing, and how they come in.

use super::{Memory, OneDevice};
use crate::identity::DeviceIdentity;
use crate::record::{
    AuditEntry, Device, DeviceFilter, DeviceStatus, EnrollOutcome, EnrollmentToken, LatestValue, Page, PageOf,
};
use crate::store::{Devices, Enrollment};
use crate::{StoreError, cursor};
use async_trait::async_trait;
use firstline_collector_core::finding::DeviceState;
use firstline_model::{DeviceId, Timestamp};
use std::collections::BTreeMap;

#[async_trait]
impl Devices for Memory {
    async fn device(&self, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        Ok(self.kept().devices.get(id).map(|one| one.device.clone()))
    }

    async fn devices(&self, filter: &DeviceFilter, page: &Page) -> Result<PageOf<Device>, StoreError> {
        let text = filter.search()?.map(str::to_ascii_lowercase);
        let after: Option<(String, String)> = page.after.as_deref().map(cursor::decode).transpose()?;
        let after = after.map(|(hostname, id)| (hostname.to_ascii_lowercase(), id));
        let kept = self.kept();
        let mut found: Vec<Device> = kept
            .devices
            .values()
            .map(|one| &one.device)
            .filter(|device| filter.site.is_none() || device.site == filter.site)
            .filter(|device| filter.status.is_none_or(|status| device.status == status))
            .filter(|device| {
                text.as_ref().is_none_or(|text| contains(&[&device.hostname, device.id.as_str()], text))
            })
            .filter(|device| after.as_ref().is_none_or(|after| place(device) > *after))
            .cloned()
            .collect();
        found.sort_by_key(place);
        PageOf::cut(found, page, |device| (device.hostname.clone(), device.id.to_string()))
    }

    async fn set_device_status(
        &self,
        id: &DeviceId,
        status: DeviceStatus,
        audit: &AuditEntry,
    ) -> Result<bool, StoreError> {
        let mut kept = self.kept();
        let Some(one) = kept.devices.get_mut(id) else { return Ok(false) };
        one.device.status = status;
        kept.status_changes.push((id.clone(), status));
        kept.audit.push(audit.clone());
        Ok(true)
    }

    async fn status_changes(&self, since: u64) -> Result<Vec<(u64, DeviceId, DeviceStatus)>, StoreError> {
        let kept = self.kept();
        let numbered = (1..).zip(&kept.status_changes);
        Ok(numbered.filter(|(n, _)| *n > since).map(|(n, (id, status))| (n, id.clone(), *status)).collect())
    }

    async fn latest(&self, id: &DeviceId) -> Result<Vec<LatestValue>, StoreError> {
        Ok(self.kept().devices.get(id).map(|one| one.latest.values().cloned().collect()).unwrap_or_default())
    }
}

#[async_trait]
impl Enrollment for Memory {
    async fn create_token(&self, token: &EnrollmentToken, audit: &AuditEntry) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if kept.tokens.contains_key(&token.hash) {
            return Err(StoreError::Conflict { what: "the enrollment token".to_owned() });
        }
        kept.tokens.insert(token.hash, token.clone());
        kept.audit.push(audit.clone());
        Ok(())
    }

    async fn enroll(
        &self,
        hash: &[u8; 32],
        device: &Device,
        now: Timestamp,
    ) -> Result<EnrollOutcome, StoreError> {
        let mut kept = self.kept();
        let exists = kept.devices.contains_key(&device.id);
        let (reason, site) = match kept.tokens.get_mut(hash) {
            None => ("unknown", None),
            Some(token) if token.uses_left == 0 => ("used", None),
            Some(token) if token.expires_at <= now => ("expired", None),
            Some(_) if exists => return Err(StoreError::Conflict { what: format!("device {}", device.id) }),
            Some(token) => {
                token.uses_left -= 1;
                ("", token.site.clone())
            }
        };
        if !reason.is_empty() {
            kept.audit.push(AuditEntry::enroll_refused(device, reason, now));
            return Ok(EnrollOutcome::Refused { reason });
        }
        kept.audit.push(AuditEntry::enrolled(device, now));
        kept.devices.insert(
            device.id.clone(),
            OneDevice {
                device: Device { site, ..device.clone() },
                marks: BTreeMap::new(),
                records: BTreeMap::new(),
                state: DeviceState::default(),
                findings: BTreeMap::new(),
                latest: BTreeMap::new(),
                identity: DeviceIdentity::default(),
            },
        );
        Ok(EnrollOutcome::Enrolled)
    }
}

fn place(device: &Device) -> (String, String) {
    (device.hostname.to_ascii_lowercase(), device.id.to_string())
}

/// Whether one of the texts contains `lowercase`, as SQL's LIKE compares: ASCII letters without their case.
pub(super) fn contains(texts: &[&str], lowercase: &str) -> bool {
    texts.iter().any(|text| text.to_ascii_lowercase().contains(lowercase))
}
