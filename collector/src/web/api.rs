//! The REST interface: routes under `/api/v1` together with their OpenAPI document.

mod audit;
mod backtests;
mod change;
#[expect(unused_qualifications, reason = "the OpenAPI macro repeats the type of the query")]
mod devices;
mod events;
#[expect(unused_qualifications, reason = "the OpenAPI macro repeats the type of the query")]
mod findings;
mod knowledge;
mod maintenance;
mod reply;
mod shapes;
mod suppressions;
mod ticket_shape;
#[expect(unused_qualifications, reason = "the OpenAPI macro repeats the type of the query")]
mod tickets;

pub(super) use backtests::{begin_backtest, call_off, seen_backtest};
pub(super) use devices::{LONGEST_LIVE, watch};
pub(super) use ticket_shape::{Hostnames, actor, affected, children, is_breached};
pub(super) use tickets::{open_states, seen as seen_ticket};

use crate::web::context::Web;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, ServerBuilder};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Firstline collector",
        version = "1",
        description = "Devices, findings and worked tickets. Errors are problem bodies (RFC 9457). Lists are paged: \
                       `next` of one page is `after` of the following one. What belongs to a site that the caller \
                       does not see answers as if it did not exist.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    security(("bearer" = []), ("session" = []))
)]
struct Description;

/// Every route of the interface, with its description.
pub(super) fn routes() -> OpenApiRouter<Web> {
    let mut description = Description::openapi();
    description.servers = Some(vec![ServerBuilder::new().url(super::routes::API).build()]);
    let components = description.components.get_or_insert_with(Components::new);
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
    );
    let cookie = ApiKeyValue::with_description(
        super::session::COOKIE,
        "A signed-in browser. Requests that change something also need `X-CSRF-Token`.",
    );
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    OpenApiRouter::with_openapi(description)
        .routes(routes!(devices::list))
        .routes(routes!(devices::one))
        .routes(routes!(devices::run_diagnostic))
        .routes(routes!(devices::live))
        .routes(routes!(findings::list))
        .routes(routes!(suppressions::list))
        .routes(routes!(maintenance::list, maintenance::add))
        .routes(routes!(maintenance::remove))
        .routes(routes!(tickets::list))
        .routes(routes!(tickets::one, change::change))
        .routes(routes!(tickets::timeline))
        .routes(routes!(knowledge::list))
        .routes(routes!(knowledge::one))
        .routes(routes!(knowledge::refused))
        .routes(routes!(backtests::begin))
        .routes(routes!(backtests::list))
        .routes(routes!(backtests::one, backtests::cancel))
        .routes(routes!(audit::list))
        .routes(routes!(events::stream))
        .routes(routes!(document))
}

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| routes().into_openapi().to_pretty_json().unwrap_or_default());

/// The OpenAPI document as text; also committed as `openapi/v1.json`.
pub(super) fn document_text() -> &'static str {
    &DOCUMENT
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", operation_id = "getOpenApi", tag = "interface", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document_text()).into_response()
}

/// One page of a list.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct Items<T> {
    /// The rows.
    pub(super) items: Vec<T>,
    /// `after` of the next page; null on the last.
    pub(super) next: Option<String>,
}
