//! The first administrator's page: works once, with the link that the collector printed, and never again.

use super::{Frame, PageResult, render};
use crate::web::context::{Site, Web};
use crate::web::failure::{Failure, PageFailure};
use crate::web::input::{Form, Query};
use crate::web::pages::sign_in;
use crate::web::password::PasswordRefused;
use crate::web::session::secret_hash;
use crate::web::shown::Shown;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use firstline_collector_store::record::{Role, User};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    frame: Frame,
    token: Shown,
    name: Shown,
    problem: Option<String>,
}

/// The query of the link.
#[derive(Deserialize)]
pub(in crate::web) struct SetupQuery {
    #[serde(default)]
    token: String,
}

/// `GET /setup?token=...`
pub(in crate::web) async fn show(
    State(web): State<Web>,
    query: Result<Query<SetupQuery>, Response>,
) -> PageResult {
    // A missing token answers like a wrong one, and both like an address that does not exist.
    let Ok(Query(query)) = query else { return Err(Failure::not_found().into()) };
    check_link(&web, &query.token).await?;
    page(StatusCode::OK, &query.token, "", None)
}

/// The form.
#[derive(Deserialize)]
pub(in crate::web) struct SetupForm {
    token: String,
    name: String,
    password: String,
}

/// `POST /setup`
pub(in crate::web) async fn create(
    State(web): State<Web>,
    form: Result<Form<SetupForm>, PageFailure>,
) -> PageResult {
    if web.store().any_user().await? {
        return Err(Failure::not_found().into());
    }
    let Form(form) = form?;
    check_link(&web, &form.token).await?;
    let name = form.name.trim();
    if !is_user_name(name) {
        let problem = "A name has 1 to 64 letters, digits, dots, dashes, underscores or at signs.";
        return page(StatusCode::UNPROCESSABLE_ENTITY, &form.token, name, Some(problem.to_owned()));
    }
    let password_hash = match web.passwords.hash(form.password).await {
        Ok(hash) => hash,
        Err(PasswordRefused::Failed) => {
            return Err(Failure::unavailable(PasswordRefused::Failed.to_string()).into());
        }
        Err(refused @ (PasswordRefused::TooShort | PasswordRefused::TooLong)) => {
            let problem = format!("This cannot be the password: {refused}.");
            return page(StatusCode::UNPROCESSABLE_ENTITY, &form.token, name, Some(problem));
        }
    };
    let now = web.now();
    let user = User {
        name: name.to_owned(),
        role: Role::Admin,
        site: None,
        password_hash,
        created_at: now,
        disabled: false,
    };
    if !web.store().create_first_admin(&secret_hash(&form.token), &user, now).await? {
        return Err(Failure::not_found().into());
    }
    tracing::info!(user = name, "the first administrator was created");
    sign_in::start_session(&web, &user, "/").await
}

async fn check_link(web: &Site, token: &str) -> Result<(), Failure> {
    let open = !web.store().any_user().await?
        && !token.is_empty()
        && web.store().setup_link_valid(&secret_hash(token), web.now()).await?;
    if open { Ok(()) } else { Err(Failure::not_found()) }
}

/// The form of a user's name.
pub(in crate::web) fn is_user_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

fn page(status: StatusCode, token: &str, name: &str, problem: Option<String>) -> PageResult {
    let frame = Frame::anonymous("Set up");
    render(status, &SetupPage { frame, token: Shown::line(token), name: Shown::line(name), problem })
}
