//! What holds for every request whatever its route: size, time, origin, and the headers of the answer.

use crate::limits;
use crate::web::caller::has_bearer;
use crate::web::failure::{Failure, PageFailure};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use std::any::Any;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("strict-transport-security", "max-age=31536000"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// A failure in the form that the address calls for: problem bodies for programs, pages for people.
pub(super) fn fail(path: &str, failure: Failure) -> Response {
    if path.starts_with("/api/") || matches!(path, "/metrics" | "/healthz" | "/readyz") {
        failure.into_response()
    } else {
        PageFailure::from(failure).into_response()
    }
}

/// Adds the security headers; what has no caching rule of its own is not stored anywhere.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Refuses bodies that say that they are too large or compressed (nothing here inflates anything), and gives up on requests that take too long.
pub(super) async fn bounds(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|length| length > limits::BODY_BYTES as u64)
    {
        read_off(request).await;
        return fail(&path, too_large());
    }
    let coding = request.headers().get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        read_off(request).await;
        return fail(&path, compressed());
    }
    match tokio::time::timeout(limits::ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => fail(&path, Failure::unavailable("the request took too long; it may be tried again")),
    }
}

/// Reads some of a body that is refused, and forgets it. A client that writes all of its body before it reads would
/// lose the answer with the connection, because a system resets one that is closed with bytes unread.
async fn read_off(request: Request) {
    // Whoever asks first writes nothing when the answer is no.
    if request.headers().contains_key(header::EXPECT) {
        return;
    }
    let mut body = request.into_body().into_data_stream();
    let reading = async {
        let mut left = limits::REFUSED_BODY_BYTES;
        while let Some(Ok(part)) = body.next().await {
            match left.checked_sub(part.len()) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // A slower client loses the answer.
    let _ = tokio::time::timeout(limits::REFUSED_BODY, reading).await;
}

pub(super) fn too_large() -> Failure {
    Failure::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("a body may have at most {} bytes", limits::BODY_BYTES),
    )
}

fn compressed() -> Failure {
    Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a compressed body is not taken; send it as it is")
}

/// Refuses requests that change something and come from another site's page.
pub(super) async fn same_origin(request: Request, next: Next) -> Response {
    let exempt = request.method().is_safe() || has_bearer(request.headers());
    if exempt || is_same_origin(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    let refused = Failure::forbidden("the request did not come from a page of this collector");
    fail(request.uri().path(), refused)
}

/// Every browser says where a POST comes from: by `Sec-Fetch-Site`, which pages cannot forge, else by `Origin`.
/// A request that says neither is no browser's; programs have bearer tokens.
fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let host = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    match (origin.and_then(|origin| origin.split_once("://")), host) {
        (Some((_, origin_host)), Some(host)) => origin_host.eq_ignore_ascii_case(host),
        (None, _) | (_, None) => false,
    }
}

/// The answer of a handler that panicked; the panic itself is logged by the panic hook.
pub(super) fn after_panic(_: Box<dyn Any + Send>) -> Response {
    Failure::internal().into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_same_origin_may_change_something() {
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[("host", "desk.example:8443"), ("origin", "https://desk.example:8443")], true),
            (&[("host", "desk.example:8443"), ("origin", "https://DESK.example:8443")], true),
            (&[("host", "desk.example:8443"), ("origin", "https://desk.example")], false),
            (&[("host", "desk.example:8443"), ("origin", "https://evil.example")], false),
            (&[("host", "desk.example"), ("origin", "null")], false),
            (&[("host", "desk.example")], false),
            (&[("host", "desk.example"), ("sec-fetch-site", "same-origin"), ("origin", "null")], true),
            (&[("host", "desk.example"), ("sec-fetch-site", "none")], true),
            (
                &[("host", "d.example"), ("sec-fetch-site", "same-site"), ("origin", "https://d.example")],
                false,
            ),
            (
                &[("host", "d.example"), ("sec-fetch-site", "cross-site"), ("origin", "https://d.example")],
                false,
            ),
        ];
        for (headers, expected) in cases {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(is_same_origin(&map, &Uri::from_static("/tickets/1")), *expected, "{headers:?}");
        }
    }
}
