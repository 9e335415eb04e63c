//! The one table of routes. The router is built from it and the tests walk it, so no route escapes the checks.

use crate::limits;
use crate::web::caller::{require_for_api, require_for_page};
use crate::web::context::{Site, Web, WebContext};
use crate::web::failure::Failure;
use crate::web::{api, assets, guard, operations, pages};
use axum::Router;
use axum::extract::{DefaultBodyLimit, OriginalUri};
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

/// Who may reach a route at all; what they may do there is the handler's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Public,
    /// People who are signed in; others are sent to the sign-in page.
    Person,
    /// Programs and people; others get 401.
    Program,
}

/// Every route outside the REST interface.
pub(super) fn table() -> Vec<(&'static str, Access, MethodRouter<Web>)> {
    use Access::{Person, Program, Public};
    vec![
        ("/healthz", Public, get(operations::healthz)),
        ("/readyz", Public, get(operations::readyz)),
        ("/metrics", Program, get(operations::metrics)),
        ("/assets/{hash}/{name}", Public, get(assets::asset)),
        ("/setup", Public, get(pages::setup::show).post(pages::setup::create)),
        ("/login", Public, get(pages::sign_in::show).post(pages::sign_in::sign_in)),
        ("/logout", Person, post(pages::sign_in::sign_out)),
        ("/", Person, get(pages::board::board)),
        ("/devices", Person, get(pages::devices::list)),
        ("/devices/{id}", Person, get(pages::device::show)),
        ("/devices/{id}/live", Person, post(pages::live::begin)),
        ("/tickets/{id}", Person, get(pages::ticket::show)),
        ("/tickets/{id}/actions", Person, post(pages::ticket_action::apply)),
        ("/knowledge", Person, get(pages::knowledge::list)),
        ("/knowledge/{code}", Person, get(pages::knowledge::show)),
        ("/knowledge/{code}/backtest", Person, get(pages::backtest::form).post(pages::backtest::begin)),
        ("/backtests/{id}", Person, get(pages::backtest::show)),
        ("/backtests/{id}/cancel", Person, post(pages::backtest::cancel)),
        ("/audit", Person, get(pages::audit::list)),
    ]
}

/// Where the REST interface begins.
pub(super) const API: &str = "/api/v1";

/// Pages and REST interface on one router.
pub(crate) fn router(context: WebContext) -> Router {
    let web = Site::new(context);
    let (interface, _) = api::routes().split_for_parts();
    let interface = interface
        .route_layer(from_fn_with_state(Web::clone(&web), require_for_api))
        // Pages are not compressed: they carry form tokens beside text that others choose (BREACH).
        .layer(CompressionLayer::new());
    let mut router = Router::new().nest(API, interface);
    for (path, access, methods) in table() {
        let methods = match access {
            Access::Public => methods,
            Access::Person => methods.route_layer(from_fn_with_state(Web::clone(&web), require_for_page)),
            Access::Program => methods.route_layer(from_fn_with_state(Web::clone(&web), require_for_api)),
        };
        router = router.route(path, methods);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(guard::after_panic))
        .layer(DefaultBodyLimit::max(limits::BODY_BYTES))
        .layer(from_fn(guard::same_origin))
        .layer(from_fn(guard::bounds))
        .layer(from_fn(guard::headers))
        .with_state(web)
}

async fn not_found(OriginalUri(uri): OriginalUri) -> Response {
    guard::fail(uri.path(), Failure::not_found())
}

async fn method_not_allowed(OriginalUri(uri): OriginalUri) -> Response {
    guard::fail(
        uri.path(),
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method"),
    )
}
