//! The doors of this program through which bytes come that somebody else may have chosen, one function each, for the
//! fuzz targets. What comes over the agents' stream has its doors in `firstline-proto`.

use crate::authority::{self, Authority};
use crate::backtest::Backtests;
use crate::knowledge;
use crate::web::{self, WebContext};
use axum::body::Body;
use axum::http::{Request, header};
use firstline_collector_core::sla::Calendar;
use firstline_collector_store::Store;
use firstline_collector_store::record::{ApiToken, Role};
use firstline_model::{DeviceId, Timestamp};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tower::ServiceExt;

/// A file of the administrators' folder. The refusal is what a person reads: file, line, reason.
///
/// # Errors
/// When the file is refused.
pub fn knowledge_file(text: &str) -> Result<(), Vec<String>> {
    let problems = knowledge::judge_alone("fuzzed.toml", text);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// An authority that signs what strangers send.
pub struct SigningDesk(Authority);

impl SigningDesk {
    /// Makes the authority in this folder.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Self, String> {
        Authority::open(folder).map(Self).map_err(|error| format!("{error:#}"))
    }

    /// The certificate (DER) for a signing request, or why there is none.
    ///
    /// # Errors
    /// When the request is refused.
    pub fn sign(&self, request: &[u8], device: &str) -> Result<Vec<u8>, String> {
        let device = DeviceId::new(device).map_err(|error| error.to_string())?;
        self.0
            .issue(request, &device, authority::LEAF_LIFETIME)
            .map(|leaf| leaf.der)
            .map_err(|error| format!("{error:#}"))
    }
}

/// The REST interface over a store, without sockets.
pub struct Rest {
    router: axum::Router,
}

struct NoKnowledge;

impl web::KnowledgeList for NoKnowledge {
    fn entries(&self) -> Arc<Vec<web::KnowledgeText>> {
        Arc::default()
    }

    fn refused(&self) -> Vec<web::RefusedFile> {
        Vec::new()
    }
}

struct Ready;

impl web::Health for Ready {
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Rest {
    /// Over this store, at a fixed time.
    pub fn over(store: Arc<dyn Store>, now: Timestamp) -> Self {
        let (changes, _) = broadcast::channel(4);
        let clock: crate::clock::Clock = Arc::new(move || now);
        let judge = |_: &str| Err(vec!["there are no rules here".to_owned()]);
        let backtests =
            Backtests::new(Arc::clone(&store), Arc::clone(&clock), Box::new(judge), Duration::ZERO);
        let router = web::router(WebContext {
            store,
            clock,
            backtests: Arc::new(backtests),
            random: Arc::new(|bytes: &mut [u8]| {
                bytes.fill(7);
                Ok(())
            }),
            knowledge: Arc::new(NoKnowledge),
            health: Arc::new(Ready),
            changes,
            touched: Arc::new(|_| ()),
            watch: Arc::new(|_, _| false),
            calendar: Calendar::default(),
            metrics: Arc::new(|_| ()),
        });
        Self { router }
    }

    /// An administrator's bearer token as the store keeps it.
    pub fn token(secret: &str, now: Timestamp) -> ApiToken {
        ApiToken { hash: web::secret_hash(secret), role: Role::Admin, site: None, created_at: now }
    }

    /// Sends a request with a JSON body; returns the status, the ETag and the body of the answer.
    ///
    /// # Errors
    /// When the method or the path cannot stand in a request at all.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        secret: &str,
        etag: Option<&str>,
        body: &[u8],
    ) -> Result<(u16, Option<String>, Vec<u8>), String> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {secret}"))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(etag) = etag {
            request = request.header(header::IF_MATCH, etag);
        }
        let request = request.body(Body::from(body.to_vec())).map_err(|error| error.to_string())?;
        let response = self.router.clone().oneshot(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let etag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let answer = axum::body::to_bytes(response.into_body(), 16 << 20).await;
        Ok((status, etag, answer.map_err(|error| error.to_string())?.to_vec()))
    }
}
