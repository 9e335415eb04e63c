//! Maintenance windows, and breaches that made no ticket.

use super::Memory;
use crate::quiet::{MaintenanceWindow, SuppressedBreach, SuppressionFilter};
use crate::record::{AuditEntry, Page, PageOf};
use crate::store::Quiet;
use crate::{StoreError, cursor};
use async_trait::async_trait;
use firstline_model::Timestamp;

#[async_trait]
impl Quiet for Memory {
    async fn add_window(&self, window: &MaintenanceWindow, audit: &AuditEntry) -> Result<u64, StoreError> {
        let mut kept = self.kept();
        kept.last_window += 1;
        let id = kept.last_window;
        kept.windows.insert(id, MaintenanceWindow { id, ..window.clone() });
        kept.audit.push(AuditEntry { subject: format!("maintenance:{id}"), ..audit.clone() });
        Ok(id)
    }

    async fn windows(&self) -> Result<Vec<MaintenanceWindow>, StoreError> {
        Ok(self.kept().windows.values().cloned().collect())
    }

    async fn remove_window(&self, id: u64, audit: &AuditEntry) -> Result<bool, StoreError> {
        let mut kept = self.kept();
        let was_there = kept.windows.remove(&id).is_some();
        if was_there {
            kept.audit.push(audit.clone());
        }
        Ok(was_there)
    }

    async fn suppressions(
        &self,
        filter: &SuppressionFilter,
        page: &Page,
    ) -> Result<PageOf<SuppressedBreach>, StoreError> {
        let before: i64 = page.after.as_deref().map(cursor::decode).transpose()?.unwrap_or(i64::MAX);
        let kept = self.kept();
        let mut found = Vec::new();
        for (place, (device, one)) in kept.suppressions.iter().enumerate().rev() {
            let number = i64::try_from(place).unwrap_or(i64::MAX - 1) + 1;
            let Some(known) = kept.devices.get(device) else { continue };
            let is_meant = number < before
                && filter.device.as_ref().is_none_or(|wanted| wanted == device)
                && filter.rule.as_ref().is_none_or(|wanted| *wanted == one.rule)
                && filter.reason.as_ref().is_none_or(|begin| one.reason.starts_with(begin.as_str()))
                && filter.site.as_ref().is_none_or(|site| known.device.site.as_ref() == Some(site));
            if is_meant {
                let hostname = known.device.hostname.clone();
                found.push((
                    number,
                    SuppressedBreach { device: device.clone(), hostname, suppression: one.clone() },
                ));
            }
            if found.len() > page.rows() {
                break;
            }
        }
        let cut = PageOf::cut(found, page, |(number, _)| *number)?;
        Ok(PageOf { rows: cut.rows.into_iter().map(|(_, breach)| breach).collect(), next: cut.next })
    }

    async fn prune_suppressions(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut left = limit;
        let mut kept = self.kept();
        let all = kept.suppressions.len();
        kept.suppressions.retain(|(_, one)| {
            let goes = one.at < before && left > 0;
            left -= u32::from(goes);
            !goes
        });
        Ok((all - kept.suppressions.len()) as u64)
    }
}
