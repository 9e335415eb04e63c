//! People and what they carry.

use super::Sqlite;
use super::failure::{Failure, integer};
use super::rows::{self, At, USER_COLUMNS, collect, first};
use crate::record::{ApiToken, AuditEntry, Page, PageOf, Role, Session, User};
use crate::row::{corrupt, known};
use crate::store::People;
use crate::{StoreError, cursor};
use async_trait::async_trait;
use firstline_model::Timestamp;
use rusqlite::{Connection, params};

#[async_trait]
impl People for Sqlite {
    async fn any_user(&self) -> Result<bool, StoreError> {
        self.read(any_user).await
    }

    async fn set_setup_link(&self, hash: &[u8; 32], expires_at: Timestamp) -> Result<(), StoreError> {
        let hash = *hash;
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO setup_link (only_one, hash, expires_at)
                     SELECT 1, ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM user)
                     ON CONFLICT (only_one) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at",
                )?
                .execute(params![hash, At(expires_at)])?;
            Ok(())
        })
        .await
    }

    async fn setup_link_valid(&self, hash: &[u8; 32], now: Timestamp) -> Result<bool, StoreError> {
        let hash = *hash;
        self.read(move |connection| link_valid(connection, &hash, now)).await
    }

    async fn create_first_admin(
        &self,
        hash: &[u8; 32],
        user: &User,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (hash, user) = (*hash, user.clone());
        self.write(move |connection| {
            if !link_valid(connection, &hash, now)? {
                return Ok(false);
            }
            insert_user(connection, &user)?;
            connection.prepare_cached("DELETE FROM setup_link")?.execute([])?;
            Ok(true)
        })
        .await
    }

    async fn add_user(&self, user: &User, audit: &AuditEntry) -> Result<bool, StoreError> {
        let (user, audit) = (user.clone(), audit.clone());
        self.write(move |connection| {
            if !insert_user(connection, &user)? {
                return Ok(false);
            }
            connection.prepare_cached("DELETE FROM setup_link")?.execute([])?;
            rows::append_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }

    async fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        let name = name.to_owned();
        self.read(move |connection| {
            let statement =
                connection.prepare_cached(&format!("SELECT {USER_COLUMNS} FROM user u WHERE u.name = ?1"))?;
            first(statement, [name], |row| rows::user(row, 0))
        })
        .await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read(|connection| {
            let statement =
                connection.prepare_cached(&format!("SELECT {USER_COLUMNS} FROM user u ORDER BY u.name"))?;
            collect(statement, [], |row| rows::user(row, 0))
        })
        .await
    }

    async fn create_session(&self, session: &Session, audit: &AuditEntry) -> Result<(), StoreError> {
        let (session, audit) = (session.clone(), audit.clone());
        self.write(move |connection| {
            // Sessions that ended by age are of no use to anybody.
            connection
                .prepare_cached("DELETE FROM session WHERE expires_at <= ?1")?
                .execute([At(session.created_at)])?;
            connection
                .prepare_cached(
                    "INSERT INTO session (hash, user, created_at, used_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    session.hash,
                    session.user,
                    At(session.created_at),
                    At(session.used_at),
                    At(session.expires_at)
                ])
                .map_err(|error| Failure::from(error).about(|| format!("the session of {}", session.user)))?;
            rows::append_audit(connection, &audit)
        })
        .await
    }

    async fn session(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<(Session, User)>, StoreError> {
        let hash = *hash;
        let found = self.read(move |connection| session(connection, &hash)).await?;
        let Some((mut session, user)) =
            found.filter(|(session, user)| session.is_alive(now) && !user.disabled)
        else {
            return Ok(None);
        };
        if session.use_is_news(now) {
            self.write(move |connection| {
                connection
                    .prepare_cached("UPDATE session SET used_at = max(used_at, ?2) WHERE hash = ?1")?
                    .execute(params![hash, At(now)])?;
                Ok(())
            })
            .await?;
            session.used_at = now;
        }
        Ok(Some((session, user)))
    }

    async fn end_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        let hash = *hash;
        self.write(move |connection| {
            connection.prepare_cached("DELETE FROM session WHERE hash = ?1")?.execute(params![hash])?;
            Ok(())
        })
        .await
    }

    async fn create_api_token(&self, token: &ApiToken, audit: &AuditEntry) -> Result<(), StoreError> {
        let (token, audit) = (token.clone(), audit.clone());
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO api_token (hash, role, site, created_at) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![token.hash, token.role.as_str(), token.site, At(token.created_at)])
                .map_err(|error| Failure::from(error).about(|| "the token".to_owned()))?;
            rows::append_audit(connection, &audit)
        })
        .await
    }

    async fn api_token(&self, hash: &[u8; 32]) -> Result<Option<ApiToken>, StoreError> {
        let hash = *hash;
        self.read(move |connection| {
            let statement =
                connection.prepare_cached("SELECT role, site, created_at FROM api_token WHERE hash = ?1")?;
            first(statement, params![hash], |row| {
                let role: String = row.get(0)?;
                Ok(ApiToken {
                    hash,
                    role: known("role", &role, Role::from_text(&role))
                        .map_err(|why| corrupt("api_token", &"(hash withheld)", &why))?,
                    site: row.get(1)?,
                    created_at: row.get::<_, At>(2)?.0,
                })
            })
        })
        .await
    }

    async fn append_audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let entry = entry.clone();
        self.write(move |connection| rows::append_audit(connection, &entry)).await
    }

    async fn audit(&self, page: &Page) -> Result<PageOf<AuditEntry>, StoreError> {
        let page = page.clone();
        self.read(move |connection| audit(connection, &page)).await
    }
}

fn any_user(connection: &Connection) -> Result<bool, Failure> {
    Ok(connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM user)")?.query_row([], |row| row.get(0))?)
}

fn link_valid(connection: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<bool, Failure> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM setup_link WHERE hash = ?1 AND expires_at > ?2)
                 AND NOT EXISTS (SELECT 1 FROM user)",
        )?
        .query_row(params![hash, At(now)], |row| row.get(0))?)
}

/// `false` when the name is taken.
fn insert_user(connection: &Connection, user: &User) -> Result<bool, Failure> {
    let inserted = connection
        .prepare_cached(
            "INSERT INTO user (name, role, site, password_hash, created_at, disabled)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![
            user.name,
            user.role.as_str(),
            user.site,
            user.password_hash,
            At(user.created_at),
            user.disabled
        ])?;
    Ok(inserted > 0)
}

fn session(connection: &Connection, hash: &[u8; 32]) -> Result<Option<(Session, User)>, Failure> {
    let statement = connection.prepare_cached(&format!(
        "SELECT s.user, s.created_at, s.used_at, s.expires_at, {USER_COLUMNS}
         FROM session s JOIN user u ON u.name = s.user WHERE s.hash = ?1"
    ))?;
    first(statement, params![hash], |row| {
        let session = Session {
            hash: *hash,
            user: row.get(0)?,
            created_at: row.get::<_, At>(1)?.0,
            used_at: row.get::<_, At>(2)?.0,
            expires_at: row.get::<_, At>(3)?.0,
        };
        Ok((session, rows::user(row, 4)?))
    })
}

fn audit(connection: &Connection, page: &Page) -> Result<PageOf<AuditEntry>, Failure> {
    let before: i64 = page.after.as_deref().map(cursor::decode).transpose()?.unwrap_or(i64::MAX);
    let statement = connection.prepare_cached(
        "SELECT id, at, actor, action, subject, detail FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let found = collect(statement, [before, integer("rows", page.rows() as u64 + 1)?], |row| {
        let entry = AuditEntry {
            at: row.get::<_, At>(1)?.0,
            actor: row.get(2)?,
            action: row.get(3)?,
            subject: row.get(4)?,
            detail: row.get(5)?,
        };
        Ok((row.get::<_, i64>(0)?, entry))
    })?;
    let cut = PageOf::cut(found, page, |(id, _)| *id)?;
    Ok(PageOf { rows: cut.rows.into_iter().map(|(_, entry)| entry).collect(), next: cut.next })
}
