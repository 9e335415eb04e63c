//! Reads what requests bring: bodies and queries, bounded, with every refusal as a [`Failure`].

use crate::limits;
use crate::web::failure::{Failure, PageFailure};
use crate::web::guard::{fail, too_large};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use firstline_collector_store::record::Page;
use firstline_model::{DeviceId, TicketId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

/// A JSON body.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        if !has_media_type(request.headers(), "application/json") {
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be application/json",
            ));
        }
        let bytes = read_body(request).await?;
        if nesting(&bytes) > limits::JSON_LEVELS {
            return Err(Failure::bad_request(format!(
                "the body nests deeper than {} levels",
                limits::JSON_LEVELS
            )));
        }
        // The library would fill the fields of an object from a list, by position.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Failure::bad_request("the body must be a JSON object"));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Failure::bad_request(format!("the body: {error}")))
    }
}

/// The fields of a form on one of our pages.
pub(super) struct Form<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = PageFailure;

    async fn from_request(request: Request, state: &S) -> Result<Self, PageFailure> {
        if !has_media_type(request.headers(), "application/x-www-form-urlencoded") {
            return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this address takes a form").into());
        }
        let (parts, body) = request.into_parts();
        let bytes = read_body(Request::from_parts(parts.clone(), body)).await?;
        let request = Request::from_parts(parts, axum::body::Body::from(bytes));
        match axum::Form::from_request(request, state).await {
            Ok(axum::Form(form)) => Ok(Self(form)),
            Err(_) => Err(Failure::bad_request("the form is incomplete: load the page again").into()),
        }
    }
}

/// The query of an address; unknown names are refused, because a misspelt filter would show too much.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(error) => {
                let failure = Failure::bad_request(format!("the query: {}", error.body_text()));
                Err(fail(original_path(parts), failure))
            }
        }
    }
}

/// The one variable part of an address.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match axum::extract::Path::<String>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(text)) => Ok(Self(text)),
            Err(_) => Err(fail(original_path(parts), Failure::not_found())),
        }
    }
}

/// The address as it was asked for; nested routes see only their own part.
fn original_path(parts: &Parts) -> &str {
    parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |OriginalUri(uri)| uri.path())
}

/// Which page of a list to send.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many items, 1 to 500; 100 when not given.
    #[param(minimum = 1, maximum = 500)]
    pub(super) limit: Option<u32>,
    /// `next` of the page before.
    pub(super) after: Option<String>,
}

pub(super) fn page(limit: Option<u32>, after: Option<String>) -> Result<Page, Failure> {
    let limit = limit.unwrap_or(100);
    if !(1..=500).contains(&limit) {
        return Err(Failure::bad_request("limit must be between 1 and 500"));
    }
    if after.as_ref().is_some_and(|after| after.len() > 512) {
        return Err(Failure::bad_request("after is not a cursor of this list"));
    }
    Ok(Page { limit, after: after.filter(|after| !after.is_empty()) })
}

/// A ticket's number from an address: `17` or its key `INC-000017`.
pub(super) fn ticket_id(text: &str) -> Result<TicketId, Failure> {
    let digits = match text.split_once('-') {
        Some(("INC" | "PRB" | "REQ", digits)) => digits,
        Some(_) | None => text,
    };
    match digits.parse::<u64>() {
        Ok(number) if digits.len() <= 19 && !digits.starts_with('+') => Ok(TicketId(number)),
        Ok(_) | Err(_) => Err(Failure::not_found()),
    }
}

/// A device's id from an address.
pub(super) fn device_id(text: &str) -> Result<DeviceId, Failure> {
    DeviceId::new(text).map_err(|_| Failure::not_found())
}

/// An empty field of a form means "not given".
pub(super) fn given(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn has_media_type(headers: &HeaderMap, expected: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(expected))
}

async fn read_body(request: Request) -> Result<Bytes, Failure> {
    // The one way in which this fails with a well-behaved connection is the limit; a broken connection sees no answer.
    axum::body::to_bytes(request.into_body(), limits::BODY_BYTES).await.map_err(|_| too_large())
}

/// The deepest nesting of lists and maps, without building anything.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_counts_structure_and_not_text() {
        for (json, depth) in [("1", 0), ("[]", 1), (r#"{"a":[{}]}"#, 3), (r#"["[[[\"[["]"#, 1), ("[[[[", 4)] {
            assert_eq!(nesting(json.as_bytes()), depth, "{json}");
        }
    }

    #[test]
    fn tickets_are_named_by_number_or_key() {
        for good in ["17", "INC-000017", "PRB-17"] {
            assert_eq!(ticket_id(good).unwrap(), TicketId(17));
        }
        for bad in ["", "-1", "+17", "INC-", "XYZ-17", "17/..", "99999999999999999999"] {
            assert!(ticket_id(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
