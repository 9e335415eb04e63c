//! Who makes a request, and what they may see and do.

use crate::web::context::{Site, Web};
use crate::web::failure::{Failure, PageFailure};
use crate::web::session::{FormToken, SessionSecret, hex, secret_hash};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use firstline_collector_store::record::{Device, Role};
use firstline_model::Timestamp;

/// A signed-in person or a program with a token.
#[derive(Clone)]
pub(super) struct Caller {
    /// For the audit log: a user name or `token:...`.
    pub(super) actor: String,
    pub(super) role: Role,
    /// The only site that they see.
    pub(super) site: Option<String>,
    pub(super) through: Through,
}

/// How they proved it.
#[derive(Clone)]
pub(super) enum Through {
    Session { hash: [u8; 32], token: FormToken, expires_at: Timestamp },
    BearerToken { hash: [u8; 32] },
}

impl Caller {
    /// Whether rows of this site may be shown. What belongs to no site is seen only by those who see everything.
    pub(super) fn sees(&self, site: Option<&str>) -> bool {
        self.site.is_none() || self.site.as_deref() == site
    }

    /// The device, or the same answer as for a device that does not exist.
    pub(super) fn seen(&self, device: Option<Device>) -> Result<Device, Failure> {
        device.filter(|device| self.sees(device.site.as_deref())).ok_or_else(Failure::not_found)
    }

    /// The site to list: their own if they are limited to one. `None` when they asked for another one, where nothing
    /// is to be seen.
    pub(super) fn site_to_list(&self, asked: Option<String>) -> Option<Option<String>> {
        match (&self.site, asked) {
            (None, asked) => Some(asked),
            (Some(own), None) => Some(Some(own.clone())),
            (Some(own), Some(asked)) => (*own == asked).then_some(Some(asked)),
        }
    }

    pub(super) fn may_act(&self) -> bool {
        matches!(self.role, Role::Technician | Role::Admin)
    }

    pub(super) fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    pub(super) fn require_acting(&self) -> Result<(), Failure> {
        if self.may_act() {
            Ok(())
        } else {
            Err(Failure::forbidden("this needs the role technician or admin"))
        }
    }

    /// Administrators who see all sites; the audit log and fleet-wide figures cannot be cut down to one.
    pub(super) fn require_whole_fleet_admin(&self) -> Result<(), Failure> {
        if self.is_admin() && self.site.is_none() {
            Ok(())
        } else {
            Err(Failure::forbidden("this needs the role admin for all sites"))
        }
    }

    /// Checks the token of a form (or of the `X-CSRF-Token` header). Programs with a bearer token need none, because
    /// no browser sends that by itself.
    pub(super) fn check_form(&self, offered: Option<&str>) -> Result<(), Failure> {
        match &self.through {
            Through::BearerToken { .. } => Ok(()),
            Through::Session { token, .. } if offered.is_some_and(|offered| token.matches(offered)) => Ok(()),
            Through::Session { .. } => {
                Err(Failure::forbidden("the form is not one of this session: load the page again"))
            }
        }
    }

    pub(super) fn form_token(&self) -> &str {
        match &self.through {
            Through::Session { token, .. } => token.as_str(),
            Through::BearerToken { .. } => "",
        }
    }
}

/// Whether the request carries a bearer token; then cookies are not looked at.
pub(super) fn has_bearer(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION)
}

/// Finds out who makes the request; `None` for nobody that we know.
pub(super) async fn identify(web: &Site, headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let scheme_and_token = authorization.to_str().ok().and_then(|text| text.split_once(' '));
        let Some((_, token)) = scheme_and_token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        else {
            return Ok(None);
        };
        let hash = secret_hash(token.trim());
        let known = web.store().api_token(&hash).await?;
        return Ok(known.map(|token| Caller {
            actor: format!("token:{}", hex(&hash[..4])),
            role: token.role,
            site: token.site,
            through: Through::BearerToken { hash },
        }));
    }
    let Some(secret) = SessionSecret::of_request(headers) else { return Ok(None) };
    let (hash, now) = (secret.hash(), web.now());
    // The store answers with living sessions of enabled users only.
    let Some((session, user)) = web.store().session(&hash, now).await? else { return Ok(None) };
    let through = Through::Session { hash, token: secret.form_token(), expires_at: session.expires_at };
    Ok(Some(Caller { actor: user.name, role: user.role, site: user.site, through }))
}

/// Lets only known callers through to the REST interface.
pub(super) async fn require_for_api(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let caller = match identify(&web, request.headers()).await {
        Ok(Some(caller)) => caller,
        Ok(None) => return Failure::sign_in_needed().into_response(),
        Err(failure) => return failure.into_response(),
    };
    let offered = request.headers().get("x-csrf-token").and_then(|value| value.to_str().ok());
    if !request.method().is_safe()
        && let Err(failure) = caller.check_form(offered)
    {
        return failure.into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Lets only known callers through to pages; others are sent to the sign-in page and come back afterwards.
pub(super) async fn require_for_page(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    match identify(&web, request.headers()).await {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(None) if has_bearer(request.headers()) => {
            PageFailure::from(Failure::sign_in_needed()).into_response()
        }
        Ok(None) => {
            let wanted = match request.uri().path_and_query() {
                Some(wanted) if request.method() == Method::GET => wanted.as_str(),
                _ => "/",
            };
            Redirect::to(&format!("/login?next={}", crate::web::units::query_escape(wanted))).into_response()
        }
        Err(failure) => PageFailure::from(failure).into_response(),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // Only routes behind one of the two layers above ask for a caller; without one the route is misplaced.
        parts.extensions.get::<Self>().cloned().ok_or_else(Failure::sign_in_needed)
    }
}
