//! Every answer that is not what was asked for: as a problem body (RFC 9457) for programs, as a page for people.

use crate::web::NoRandomness;
use crate::web::pages::error_page;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use firstline_collector_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// What happened and what to do, for a person; never repeats secrets.
    pub(super) detail: String,
    /// Seconds after which trying again makes sense.
    pub(super) retry_after: Option<u64>,
}

/// The body of every error of the REST interface (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says what sort of problem it is.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What happened and what to do.
    detail: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after: None }
    }

    /// Also the answer for what exists but must not be seen: the two cannot be told apart.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this address")
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(super) fn sign_in_needed() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "sign in, or send a bearer token")
    }

    pub(super) fn too_many(detail: impl Into<String>, retry_after: u64) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, detail: detail.into(), retry_after: Some(retry_after) }
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, detail: detail.into(), retry_after: Some(5) }
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the collector could not answer; its log says why")
    }

    pub(super) fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    fn add_headers(&self, response: &mut Response) {
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = Problem {
            r#type: "about:blank",
            title: self.title().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        let mut response = (self.status, kind, body).into_response();
        self.add_headers(&mut response);
        response
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Conflict { what } => Self::new(
                StatusCode::CONFLICT,
                format!("{what} was changed meanwhile: read it again and decide again"),
            ),
            StoreError::Invalid { detail } => Self::bad_request(detail.clone()),
            StoreError::Unavailable { .. } => {
                tracing::warn!(error = %error, "a request could not be served");
                Self::unavailable("the store does not answer now; nothing was changed")
            }
            StoreError::Corrupt { .. } => {
                tracing::error!(error = %error, "a request could not be served");
                Self::internal()
            }
        }
    }
}

impl From<NoRandomness> for Failure {
    fn from(error: NoRandomness) -> Self {
        tracing::error!(error = %error, "a request could not be served");
        Self::unavailable("no secret can be made now")
    }
}

/// A failure that a person sees as a page.
#[derive(Debug)]
pub(super) struct PageFailure(Failure);

impl<F: Into<Failure>> From<F> for PageFailure {
    fn from(failure: F) -> Self {
        Self(failure.into())
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        tracing::error!(error = %error, "a page could not be rendered");
        Self::internal()
    }
}

impl IntoResponse for PageFailure {
    fn into_response(self) -> Response {
        let mut response = error_page(&self.0);
        self.0.add_headers(&mut response);
        response
    }
}
