//! `/events`: tells open pages and programs that something changed, so that they read it again.

use crate::web::caller::{Caller, Through};
use crate::web::context::{Change, Site, Web};
use crate::web::failure::{Failure, Problem};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, interval_at};
use utoipa::ToSchema;

/// A live stream ends so soon after the caller lost the right to it.
const CHECK_EVERY: Duration = Duration::from_secs(4);

/// The data of a `change` event. Without a device and tickets: too much changed, read everything again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangeJson {
    device: Option<String>,
    tickets: Vec<u64>,
}

/// Sends a `change` event whenever something changed that the caller sees.
#[utoipa::path(get, path = "/events", operation_id = "streamEvents", tag = "events", responses(
    (status = 200, body = ChangeJson, content_type = "text/event-stream"),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn stream(State(web): State<Web>, caller: Caller) -> Result<Response, Failure> {
    let permit = Arc::clone(&web.streams)
        .try_acquire_owned()
        .map_err(|_| Failure::unavailable("too many live streams are open"))?;
    let live = Live {
        changes: web.context.changes.subscribe(),
        check: interval_at(Instant::now() + CHECK_EVERY, CHECK_EVERY),
        web,
        caller,
        _permit: permit,
    };
    let events = Sse::new(events(live)).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)));
    // Reverse proxies that buffer would hold events back.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(([unbuffered], events).into_response())
}

struct Live {
    changes: Receiver<Change>,
    check: tokio::time::Interval,
    web: Web,
    caller: Caller,
    _permit: OwnedSemaphorePermit,
}

fn events(live: Live) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(live, |mut live| async move {
        loop {
            let received = tokio::select! {
                received = live.changes.recv() => received,
                _ = live.check.tick() => {
                    if still_allowed(&live.web, &live.caller).await { continue } else { return None }
                }
            };
            let shape = match received {
                Ok(change) if live.caller.sees(change.site.as_deref()) => ChangeJson {
                    device: change.device.map(|device| device.to_string()),
                    tickets: change.tickets.iter().map(|ticket| ticket.0).collect(),
                },
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => ChangeJson { device: None, tickets: Vec::new() },
                Err(RecvError::Closed) => return None,
            };
            let event =
                Event::default().event("change").data(serde_json::to_string(&shape).unwrap_or_default());
            return Some((Ok(event), live));
        }
    })
}

/// Whether the caller still has the rights with which the stream was opened. A store that does not answer ends the
/// stream: the page connects again.
async fn still_allowed(web: &Site, caller: &Caller) -> bool {
    match &caller.through {
        Through::BearerToken { hash } => match web.store().api_token(hash).await {
            Ok(Some(token)) => token.role == caller.role && token.site == caller.site,
            Ok(None) | Err(_) => false,
        },
        Through::Session { hash, expires_at, .. } => {
            let now = web.now();
            match web.store().session(hash, now).await {
                Ok(Some((_, user))) => {
                    now < *expires_at
                        && !user.disabled
                        && user.role == caller.role
                        && user.site == caller.site
                }
                Ok(None) | Err(_) => false,
            }
        }
    }
}
