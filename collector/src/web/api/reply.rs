//! Answers with an entity tag, and requests that refer to one.

use crate::web::failure::Failure;
use crate::web::session::{hex, secret_hash};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A single resource: its JSON with a strong entity tag, or 304 when the caller has it already.
pub(super) fn resource<T: Serialize>(headers: &HeaderMap, resource: &T) -> Result<Response, Failure> {
    let (body, tag) = tagged(resource)?;
    let kept = [
        (header::ETAG, HeaderValue::from_str(&tag).map_err(|_| Failure::internal())?),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    if lists(headers, &header::IF_NONE_MATCH, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    Ok((kept, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Refuses a change that was not decided on the resource as it is now.
pub(super) fn check_if_match<T: Serialize>(headers: &HeaderMap, resource: &T) -> Result<(), Failure> {
    if !headers.contains_key(header::IF_MATCH) {
        return Err(Failure::new(
            StatusCode::PRECONDITION_REQUIRED,
            "send the ETag that you read as If-Match, so that nobody's change is lost",
        ));
    }
    let (_, tag) = tagged(resource)?;
    if lists(headers, &header::IF_MATCH, &tag) {
        return Ok(());
    }
    Err(Failure::new(
        StatusCode::PRECONDITION_FAILED,
        "it was changed meanwhile: read it again and decide again",
    ))
}

fn tagged<T: Serialize>(resource: &T) -> Result<(String, String), Failure> {
    let body = serde_json::to_string(resource).map_err(|error| {
        tracing::error!(error = %error, "an answer could not be written as json");
        Failure::internal()
    })?;
    let hash = secret_hash(&body);
    let tag = format!("\"{}\"", hash.get(..12).map(hex).unwrap_or_default());
    Ok((body, tag))
}

/// Whether the header names this tag. Weak tags (a proxy compressed the answer) count, because ours differ whenever
/// the content does.
fn lists(headers: &HeaderMap, name: &HeaderName, tag: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}
