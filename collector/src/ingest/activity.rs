//! Whether a connection is still worth its place: when it had its last request, and whether its answers move.

use super::listener::Kind;
use crate::limits;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What is known of one connection.
#[derive(Debug)]
pub(crate) struct Activity {
    kind: Kind,
    state: Mutex<State>,
    /// The last answer is over.
    idle: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests whose answer is not over.
    open: usize,
    had_request: bool,
    /// A request came or a part of an answer was taken.
    moved: Instant,
    /// Bytes came, whatever they were.
    heard: Instant,
}

impl Activity {
    /// A connection begins now.
    pub(crate) fn new(kind: Kind) -> Arc<Self> {
        let now = Instant::now();
        let state = State { open: 0, had_request: false, moved: now, heard: now };
        Arc::new(Self { kind, state: Mutex::new(state), idle: Notify::new() })
    }

    /// A request came; the answer to the peer is over when the value is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> Open {
        let mut state = self.lock();
        state.open += 1;
        state.had_request = true;
        state.moved = Instant::now();
        Open(Arc::clone(self))
    }

    /// Bytes came.
    pub(crate) fn heard(&self) {
        self.lock().heard = Instant::now();
    }

    /// Ends when the connection should be cut.
    pub(crate) async fn is_over(&self) -> &'static str {
        loop {
            let (limit, why) = match &*self.lock() {
                state if !state.had_request => (state.moved + limits::REQUEST_HEAD, "no request came"),
                state if state.open == 0 => (state.moved + self.may_idle(), "it stood idle"),
                state => match self.kind {
                    // An agent gives a sign of life two or three times a minute by itself, so nothing is asked of it.
                    Kind::Agents => (state.heard + limits::AGENT_SILENT, "it gave no sign of life"),
                    Kind::Web => (state.moved + limits::WEB_STALLED, "nobody reads the answer"),
                },
            };
            if limit <= Instant::now() {
                return why;
            }
            tokio::select! {
                () = tokio::time::sleep_until(limit) => {}
                () = self.idle.notified() => {}
            }
        }
    }

    fn may_idle(&self) -> Duration {
        match self.kind {
            Kind::Agents => limits::AGENT_IDLE,
            Kind::Web => limits::WEB_IDLE,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request whose answer is not over.
#[derive(Debug)]
pub(crate) struct Open(Arc<Activity>);

impl Open {
    fn moved(&self) {
        self.0.lock().moved = Instant::now();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open = state.open.saturating_sub(1);
        state.moved = Instant::now();
        if state.open == 0 {
            self.0.idle.notify_one();
        }
    }
}

/// The body of an answer, which tells when parts of it are taken and when it is over.
pub(crate) struct Followed {
    inner: axum::body::Body,
    open: Open,
}

impl Followed {
    /// Follows this body.
    pub(crate) fn new(inner: axum::body::Body, open: Open) -> Self {
        Self { inner, open }
    }
}

impl Body for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_ready() {
            self.open.moved();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn cut_after(kind: Kind, act: impl FnOnce(&Arc<Activity>) -> Option<Open>) -> Option<u64> {
        let activity = Activity::new(kind);
        let begun = activity.lock().moved;
        let _open = act(&activity);
        // Only the wait is looked at: what it would be is the first timer.
        let limit = match &*activity.lock() {
            state if !state.had_request => Some(limits::REQUEST_HEAD),
            state if state.open == 0 => Some(activity.may_idle()),
            _ => (kind == Kind::Web).then_some(limits::WEB_STALLED),
        };
        let over = tokio::time::timeout(Duration::from_millis(5), activity.is_over()).await;
        assert!(over.is_err(), "cut at once");
        activity.lock().moved =
            begun.checked_sub(limit.unwrap_or(Duration::from_secs(3600))).unwrap_or(begun);
        let over = tokio::time::timeout(Duration::from_millis(50), activity.is_over()).await;
        over.is_ok().then(|| limit.map_or(0, |limit| limit.as_secs()))
    }

    #[tokio::test]
    async fn r17_connections_that_do_nothing_are_cut_and_those_with_a_stream_are_not() {
        for kind in [Kind::Agents, Kind::Web] {
            assert_eq!(cut_after(kind, |_| None).await, Some(10), "{kind:?}: no request");
        }
        assert_eq!(cut_after(Kind::Agents, |a| Some(a.request())).await, None, "an agent's stream");
        assert_eq!(cut_after(Kind::Web, |a| Some(a.request())).await, Some(60), "an answer nobody reads");
        let ended = |a: &Arc<Activity>| {
            drop(a.request());
            None
        };
        assert_eq!(cut_after(Kind::Agents, ended).await, Some(10), "an agent without a stream");
        assert_eq!(cut_after(Kind::Web, ended).await, Some(60), "a browser between requests");
    }
}
