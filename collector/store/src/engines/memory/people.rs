//! People and what they carry.

use super::{Kept, Memory};
use crate::record::{ApiToken, AuditEntry, Page, PageOf, Session, User};
use crate::store::People;
use crate::{StoreError, cursor};
use async_trait::async_trait;
use firstline_model::Timestamp;

impl Kept {
    fn link_valid(&self, hash: &[u8; 32], now: Timestamp) -> bool {
        self.users.is_empty()
            && self.setup_link.is_some_and(|(known, expires_at)| known == *hash && now < expires_at)
    }
}

#[async_trait]
impl People for Memory {
    async fn any_user(&self) -> Result<bool, StoreError> {
        Ok(!self.kept().users.is_empty())
    }

    async fn set_setup_link(&self, hash: &[u8; 32], expires_at: Timestamp) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if kept.users.is_empty() {
            kept.setup_link = Some((*hash, expires_at));
        }
        Ok(())
    }

    async fn setup_link_valid(&self, hash: &[u8; 32], now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.kept().link_valid(hash, now))
    }

    async fn create_first_admin(
        &self,
        hash: &[u8; 32],
        user: &User,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut kept = self.kept();
        if !kept.link_valid(hash, now) {
            return Ok(false);
        }
        kept.users.insert(user.name.clone(), user.clone());
        kept.setup_link = None;
        Ok(true)
    }

    async fn add_user(&self, user: &User, audit: &AuditEntry) -> Result<bool, StoreError> {
        let mut kept = self.kept();
        if kept.users.contains_key(&user.name) {
            return Ok(false);
        }
        kept.users.insert(user.name.clone(), user.clone());
        kept.setup_link = None;
        kept.audit.push(audit.clone());
        Ok(true)
    }

    async fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        Ok(self.kept().users.get(name).cloned())
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        Ok(self.kept().users.values().cloned().collect())
    }

    async fn create_session(&self, session: &Session, audit: &AuditEntry) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if !kept.users.contains_key(&session.user) || kept.sessions.contains_key(&session.hash) {
            return Err(StoreError::Conflict { what: format!("the session of {}", session.user) });
        }
        kept.sessions.retain(|_, known| known.expires_at > session.created_at);
        kept.sessions.insert(session.hash, session.clone());
        kept.audit.push(audit.clone());
        Ok(())
    }

    async fn session(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<(Session, User)>, StoreError> {
        let mut kept = self.kept();
        let Some(session) = kept.sessions.get(hash).filter(|session| session.is_alive(now)).cloned() else {
            return Ok(None);
        };
        let Some(user) = kept.users.get(&session.user).filter(|user| !user.disabled).cloned() else {
            return Ok(None);
        };
        match kept.sessions.get_mut(hash) {
            Some(stored) if session.use_is_news(now) => {
                stored.used_at = now;
                Ok(Some((stored.clone(), user)))
            }
            Some(_) | None => Ok(Some((session, user))),
        }
    }

    async fn end_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        self.kept().sessions.remove(hash);
        Ok(())
    }

    async fn create_api_token(&self, token: &ApiToken, audit: &AuditEntry) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if kept.api_tokens.contains_key(&token.hash) {
            return Err(StoreError::Conflict { what: "the token".to_owned() });
        }
        kept.api_tokens.insert(token.hash, token.clone());
        kept.audit.push(audit.clone());
        Ok(())
    }

    async fn api_token(&self, hash: &[u8; 32]) -> Result<Option<ApiToken>, StoreError> {
        Ok(self.kept().api_tokens.get(hash).cloned())
    }

    async fn append_audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.kept().audit.push(entry.clone());
        Ok(())
    }

    async fn audit(&self, page: &Page) -> Result<PageOf<AuditEntry>, StoreError> {
        let before: i64 = page.after.as_deref().map(cursor::decode).transpose()?.unwrap_or(i64::MAX);
        let kept = self.kept();
        let numbered = (1_i64..).zip(&kept.audit).filter(|(number, _)| *number < before);
        let mut found: Vec<_> = numbered.collect();
        found.reverse();
        found.truncate(page.rows() + 1);
        let cut = PageOf::cut(found, page, |(number, _)| *number)?;
        Ok(PageOf { rows: cut.rows.into_iter().map(|(_, entry)| entry.clone()).collect(), next: cut.next })
    }
}
