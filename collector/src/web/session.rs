//! Sessions of browsers: a random secret in a cookie, its hash in the store, a form token derived from it.

use crate::web::NoRandomness;
use crate::web::context::Site;
use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::CookieJar;
use ring::{digest, hmac};
use std::fmt::Write;
use std::time::Duration;

/// `__Host-` binds the cookie to this host, the whole site and HTTPS.
pub(super) const COOKIE: &str = "__Host-firstline";
/// A session is over after this time in any case.
pub(super) const LIFETIME: Duration = Duration::from_hours(7 * 24);

/// The hash under which the store keeps a secret (session, bearer token, sign-in link): SHA-256 of its text.
pub(crate) fn secret_hash(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    hash
}

/// The secret that a browser carries.
pub(super) struct SessionSecret(String);

impl SessionSecret {
    /// 256 random bits, in hexadecimal.
    pub(super) fn fresh(web: &Site) -> Result<Self, NoRandomness> {
        let mut bytes = [0; 32];
        (web.context.random)(&mut bytes)?;
        Ok(Self(hex(&bytes)))
    }

    /// The secret of the request's cookie, if it has the form of one.
    pub(super) fn of_request(headers: &HeaderMap) -> Option<Self> {
        let value = CookieJar::from_headers(headers).get(COOKIE)?.value().to_owned();
        let well_formed = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        well_formed.then_some(Self(value))
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        secret_hash(&self.0)
    }

    /// The token that forms of this session carry. It follows from the secret, so nothing has to be kept for it, and
    /// the secret does not follow from it.
    pub(super) fn form_token(&self) -> FormToken {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        FormToken(hex(hmac::sign(&key, b"firstline form").as_ref()))
    }

    /// The `Set-Cookie` value that gives the secret to a browser.
    pub(super) fn set_cookie(&self) -> Option<HeaderValue> {
        let text = format!(
            "{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}",
            self.0,
            LIFETIME.as_secs()
        );
        HeaderValue::from_str(&text).ok()
    }
}

/// The `Set-Cookie` value that takes the secret away.
pub(super) fn forget_cookie() -> HeaderValue {
    HeaderValue::from_static("__Host-firstline=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

/// Proves that a form came from a page of this session.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FormToken(String);

impl FormToken {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares digests, so that the time does not depend on how much of a guess is right.
    pub(super) fn matches(&self, offered: &str) -> bool {
        secret_hash(&self.0) == secret_hash(offered)
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
