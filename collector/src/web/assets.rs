//! The style sheet, the script and the icon: inside the binary, under addresses that change with their content.

use crate::web::failure::Failure;
use crate::web::failure::PageFailure;
use crate::web::session::hex;
use axum::extract::OriginalUri;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ring::digest;
use std::sync::LazyLock;

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
    url: String,
}

impl Asset {
    fn new(name: &'static str, kind: &'static str, content: &'static str) -> Self {
        let digest = digest::digest(&digest::SHA256, content.as_bytes());
        let hash = digest.as_ref().get(..8).map(hex).unwrap_or_default();
        Self { name, kind, content, url: format!("/assets/{hash}/{name}") }
    }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("firstline.css", "text/css; charset=utf-8", include_str!("../../assets/firstline.css")),
        Asset::new(
            "firstline.js",
            "text/javascript; charset=utf-8",
            include_str!("../../assets/firstline.js"),
        ),
        Asset::new("firstline.svg", "image/svg+xml", include_str!("../../assets/firstline.svg")),
    ]
});

/// The address of the asset called `name`; empty when there is none.
pub(super) fn url(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| asset.url.as_str())
}

/// `GET /assets/{hash}/{name}`. An old hash is not found, so that a cache never holds new content under an old name.
pub(super) async fn asset(OriginalUri(uri): OriginalUri) -> Result<Response, PageFailure> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.url == uri.path()) else {
        return Err(Failure::not_found().into());
    };
    let headers =
        [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.content).into_response())
}
