//! What becomes of a store that was restored from a backup.

use super::Memory;
use crate::StoreError;
use crate::record::{AuditEntry, Recovered, Settled};
use crate::store::Recovery;
use async_trait::async_trait;

#[async_trait]
impl Recovery for Memory {
    async fn settle(
        &self,
        recovered: Recovered,
        skipped: u64,
        audit: &AuditEntry,
    ) -> Result<Settled, StoreError> {
        let mut kept = self.kept();
        let settled = Settled {
            sessions: kept.sessions.len() as u64,
            tokens: kept.tokens.len() as u64,
            next_ticket: kept.last_ticket + skipped + 1,
        };
        kept.sessions.clear();
        kept.tokens.clear();
        kept.setup_link = None;
        kept.last_ticket += skipped;
        kept.recovered = Some(recovered);
        kept.audit.push(audit.clone());
        Ok(settled)
    }

    async fn recovered(&self) -> Result<Option<Recovered>, StoreError> {
        Ok(self.kept().recovered)
    }
}
