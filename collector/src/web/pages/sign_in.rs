//! Signing in and out.

use super::{Frame, PageResult, render};
use crate::web::caller::{Caller, Through, identify};
use crate::web::context::{Site, Web};
use crate::web::failure::Failure;
use crate::web::input::{Form, Query};
use crate::web::session::{LIFETIME, SessionSecret, forget_cookie};
use crate::web::shown::Shown;
use crate::web::throttle::Throttle;
use askama::Template;
use axum::extract::{ConnectInfo, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use firstline_collector_store::record::{AuditEntry, Session, User};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    name: Shown,
    next: Shown,
    problem: Option<&'static str>,
}

/// Where to go afterwards.
#[derive(Deserialize)]
pub(in crate::web) struct LoginQuery {
    #[serde(default)]
    next: String,
}

/// `GET /login`
pub(in crate::web) async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    Query(query): Query<LoginQuery>,
) -> PageResult {
    let next = local_path(&query.next);
    if identify(&web, &headers).await?.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    page(StatusCode::OK, "", next, None)
}

/// The form.
#[derive(Deserialize)]
pub(in crate::web) struct LoginForm {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// `POST /login`. A wrong password, an unknown name and a disabled account get the same answer after the same work.
pub(in crate::web) async fn sign_in(
    State(web): State<Web>,
    extensions: Extensions,
    Form(form): Form<LoginForm>,
) -> PageResult {
    let now = web.now();
    let (name, next) = (form.name.trim(), local_path(&form.next));
    let attempt = Throttle::attempt(name, address(&extensions));
    if let Some(seconds) = web.throttle.refused(&attempt, now) {
        return Err(
            Failure::too_many("too many failed sign-ins: wait some minutes and try again", seconds).into()
        );
    }
    web.throttle.count(attempt.clone(), now);
    let user = web.store().user(name).await?;
    let stored = user.as_ref().map(|user| user.password_hash.clone());
    let right = web.passwords.verify(form.password, stored).await;
    match user.filter(|user| right && !user.disabled) {
        Some(user) => {
            web.throttle.succeeded(&attempt);
            start_session(&web, &user, next).await
        }
        None => {
            let entry = AuditEntry {
                at: now,
                actor: "firstline".to_owned(),
                action: "sign_in.failed".to_owned(),
                subject: format!("user:{}", Shown::line(&attempt.0)),
                detail: attempt.1.map_or_else(String::new, |address| format!("from {address}")),
            };
            web.store().append_audit(&entry).await?;
            page(StatusCode::UNAUTHORIZED, name, next, Some("The name or the password is not right."))
        }
    }
}

/// Keeps a new session and sends the browser on. The secret is new with every sign-in, so nobody can plant one.
pub(super) async fn start_session(web: &Site, user: &User, next: &str) -> PageResult {
    let now = web.now();
    let secret = SessionSecret::fresh(web)?;
    let session = Session {
        hash: secret.hash(),
        user: user.name.clone(),
        created_at: now,
        used_at: now,
        expires_at: now.plus(LIFETIME),
    };
    let audit = AuditEntry {
        at: now,
        actor: user.name.clone(),
        action: "sign_in".to_owned(),
        subject: format!("user:{}", user.name),
        detail: String::new(),
    };
    web.store().create_session(&session, &audit).await?;
    let cookie = secret.set_cookie().ok_or_else(Failure::internal)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// The form of the sign-out button.
#[derive(Deserialize)]
pub(in crate::web) struct SignOutForm {
    #[serde(default)]
    csrf: String,
}

/// `POST /logout`
pub(in crate::web) async fn sign_out(
    State(web): State<Web>,
    caller: Caller,
    Form(form): Form<SignOutForm>,
) -> PageResult {
    caller.check_form(Some(&form.csrf))?;
    if let Through::Session { hash, .. } = &caller.through {
        web.store().end_session(hash).await?;
        let entry = AuditEntry {
            at: web.now(),
            actor: caller.actor.clone(),
            action: "sign_out".to_owned(),
            subject: format!("user:{}", caller.actor),
            detail: String::new(),
        };
        web.store().append_audit(&entry).await?;
    }
    Ok(([(header::SET_COOKIE, forget_cookie())], Redirect::to("/login")).into_response())
}

fn page(status: StatusCode, name: &str, next: &str, problem: Option<&'static str>) -> PageResult {
    let frame = Frame::anonymous("Sign in");
    render(status, &LoginPage { frame, name: Shown::line(name), next: Shown::line(next), problem })
}

/// A path on this collector; anything else (another host, a scheme) becomes the board.
fn local_path(next: &str) -> &str {
    let plain = next.len() <= 512 && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if plain && next.starts_with('/') && !next.starts_with("//") { next } else { "/" }
}

fn address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_never_leads_to_another_host() {
        assert_eq!(local_path("/tickets/1?x=2"), "/tickets/1?x=2");
        for bad in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "",
            "javascript:alert(1)",
            "/a\r\nb",
        ] {
            assert_eq!(local_path(bad), "/", "{bad:?}");
        }
    }
}
