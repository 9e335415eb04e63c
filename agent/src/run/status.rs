//! What the running agent knows of itself, for whoever asks on the local socket.

use crate::status::Asked;
use firstline_model::{Body, ComponentKind, Observation, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Longest text that is repeated.
const LONGEST: usize = 400;

/// The state of affairs, with since when.
#[derive(Debug, Default)]
pub(super) struct Status {
    asked: Option<Asked>,
    started: Option<Timestamp>,
    connected: Option<Timestamp>,
    acked: Option<Timestamp>,
    disconnected: Option<(Timestamp, String)>,
    spool: Option<(Timestamp, String)>,
    failing: BTreeMap<String, (Timestamp, String)>,
}

impl Status {
    pub(super) fn listen(&mut self, asked: Asked, now: Timestamp) {
        (self.asked, self.started) = (Some(asked), Some(now));
    }

    /// The next question; never when nobody can ask.
    pub(super) async fn next(&mut self) -> oneshot::Sender<String> {
        if let Some(asked) = &mut self.asked
            && let Some(reply) = asked.recv().await
        {
            return reply;
        }
        self.asked = None;
        std::future::pending().await
    }

    pub(super) fn connected(&mut self, now: Timestamp) {
        (self.connected, self.disconnected) = (Some(now), None);
    }

    pub(super) fn acked(&mut self, now: Timestamp) {
        self.acked = Some(now);
    }

    pub(super) fn disconnected(&mut self, why: &str, now: Timestamp) {
        let since = match (&self.disconnected, self.connected) {
            (Some((since, _)), None) => *since,
            (Some(_) | None, _) => now,
        };
        (self.connected, self.disconnected) = (None, Some((since, short(why))));
    }

    /// Whether the spool could be written.
    pub(super) fn spooled(&mut self, trouble: Option<&str>, now: Timestamp) {
        self.spool = trouble.map(|text| (self.spool.as_ref().map_or(now, |(since, _)| *since), short(text)));
    }

    /// Probes that did not complete say so as observations of the agent.
    pub(super) fn saw(&mut self, observation: &Observation) {
        if observation.component.kind != ComponentKind::Agent {
            return;
        }
        if let Body::Unavailable { what, detail, .. } = &observation.body
            && self.failing.len() < 64
        {
            self.failing.insert(what.to_string(), (observation.observed_at, short(detail)));
        }
    }

    /// The answer, one line.
    pub(super) fn line(&self, more: Value) -> String {
        let since = |at: &Option<Timestamp>| at.map(Timestamp::as_millis);
        let told = |told: &Option<(Timestamp, String)>| {
            told.as_ref().map(|(since, text)| json!({"since_ms": since.as_millis(), "text": text}))
        };
        let failing: Vec<_> = self
            .failing
            .iter()
            .map(|(what, (at, text))| json!({"what": what, "last_ms": at.as_millis(), "text": text}))
            .collect();
        let mut status = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started_ms": since(&self.started),
            "connected": self.connected.is_some(),
            "connected_since_ms": since(&self.connected),
            "last_ack_ms": since(&self.acked),
            "disconnected": told(&self.disconnected),
            "spool_trouble": told(&self.spool),
            "not_observed": failing,
        });
        if let (Value::Object(status), Value::Object(more)) = (&mut status, more) {
            status.extend(more);
        }
        status.to_string()
    }
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_when_there_is_no_stream_outlives_further_attempts() {
        let mut status = Status::default();
        let at = Timestamp::from_millis;
        status.connected(at(1));
        status.disconnected("the first reason", at(5));
        status.disconnected("the second reason", at(9));
        let line: Value = serde_json::from_str(&status.line(json!({"waiting": 3}))).unwrap();
        assert_eq!(line["disconnected"]["since_ms"], 5);
        assert_eq!(line["disconnected"]["text"], "the second reason");
        assert_eq!(line["connected"], false);
        assert_eq!(line["waiting"], 3);
    }
}
