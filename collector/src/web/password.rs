//! Passwords: argon2id, off the async threads, two at a time, and the same work whether or not the user exists.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{OnceCell, Semaphore};

/// Why a new password is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum PasswordRefused {
    /// Length is what protects a password; composition rules do not.
    #[error("a password needs at least {} characters", Passwords::MIN_CHARACTERS)]
    TooShort,
    /// Hashing time must not be the sender's choice.
    #[error("a password may have at most {} bytes", Passwords::MAX_BYTES)]
    TooLong,
    /// The hash function refused; not the person's fault.
    #[error("the password could not be hashed")]
    Failed,
}

/// Hashes a new password with argon2id and a fresh salt; the result is in PHC form. Blocks for some 20 ms and takes 19 MiB.
pub(crate) fn hash(password: &str) -> Result<String, PasswordRefused> {
    if password.chars().count() < Passwords::MIN_CHARACTERS {
        return Err(PasswordRefused::TooShort);
    }
    if password.len() > Passwords::MAX_BYTES {
        return Err(PasswordRefused::TooLong);
    }
    match Argon2::default().hash_password(password.as_bytes()) {
        Ok(hash) => Ok(hash.to_string()),
        Err(_) => Err(PasswordRefused::Failed),
    }
}

/// Hashes and compares passwords without starving the rest of the collector.
pub(super) struct Passwords {
    permits: Arc<Semaphore>,
    /// Compared with when the user is unknown; made once, with today's parameters.
    decoy: OnceCell<Arc<str>>,
}

impl Passwords {
    pub(super) const MIN_CHARACTERS: usize = 12;
    pub(super) const MAX_BYTES: usize = 1024;
    /// 19 MiB and one core each.
    const AT_ONCE: usize = 2;

    pub(super) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(Self::AT_ONCE)), decoy: OnceCell::new() }
    }

    /// Like [`hash`], on a thread for blocking work.
    pub(super) async fn hash(&self, password: String) -> Result<String, PasswordRefused> {
        self.blocking(move || hash(&password)).await.unwrap_or(Err(PasswordRefused::Failed))
    }

    /// Whether the password fits the stored hash. `None` (an unknown user) costs the same and is never right.
    pub(super) async fn verify(&self, password: String, stored: Option<String>) -> bool {
        let decoy = self.decoy.get_or_init(|| async { self.make_decoy().await }).await.clone();
        if password.len() > Self::MAX_BYTES {
            return false;
        }
        let right = self
            .blocking(move || {
                let text = stored.as_deref().unwrap_or(&decoy);
                let fits = PasswordHash::new(text).is_ok_and(|parsed| {
                    Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
                });
                fits && stored.is_some()
            })
            .await;
        right.unwrap_or(false)
    }

    async fn make_decoy(&self) -> Arc<str> {
        let decoy = self.blocking(|| hash("nobody signs in with this")).await;
        decoy.and_then(Result::ok).unwrap_or_default().into()
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        // The permit moves into the work: a caller that gives up waiting does not free a place that is still used.
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        })
        .await
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_fits() {
        let passwords = Passwords::new();
        let stored = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify("correct horse battery".to_owned(), Some(stored.clone())).await);
        assert!(!passwords.verify("correct horse batterY".to_owned(), Some(stored)).await);
        assert!(!passwords.verify("nobody signs in with this".to_owned(), None).await);
        assert!(!passwords.verify("x".to_owned(), Some("not a hash".to_owned())).await);
    }

    /// What this process has used of the processors: it does not grow while others have them.
    fn used() -> Duration {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
    }

    /// The least work of some attempts: what else this process does only adds to it.
    async fn least(passwords: &Passwords, stored: Option<&str>) -> Duration {
        let mut least = Duration::MAX;
        for _ in 0..5 {
            let before = used();
            assert!(!passwords.verify("correct horse batterY".to_owned(), stored.map(str::to_owned)).await);
            least = least.min(used() - before);
        }
        least
    }

    #[tokio::test]
    async fn r29_an_unknown_user_costs_as_much_as_a_wrong_password() {
        let passwords = Passwords::new();
        let stored = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        // The same function with the same parameters, so the same work.
        let decoy = passwords.make_decoy().await;
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(parameters(&decoy), parameters(&stored));
        let (wrong, unknown) = (least(&passwords, Some(&stored)).await, least(&passwords, None).await);
        assert!(unknown * 2 > wrong && wrong * 2 > unknown, "wrong {wrong:?}, unknown {unknown:?}");
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        assert_eq!(hash("elevenchars").unwrap_err(), PasswordRefused::TooShort);
        assert_eq!(hash(&"x".repeat(1025)).unwrap_err(), PasswordRefused::TooLong);
    }
}
