//! What the network lets through: whether web pages open, whether a sign-in page stands in the way, and whether the
//! configured proxy answers.
//!
//! Asked with one small request to the address of the configuration. Without one nothing is asked: an agent contacts
//! no host that its administrator did not name. A redirect is the answer and is not followed. NetworkManager keeps its
//! own answer on D-Bus only, so it is not read.

pub mod gvdb;
mod proxy;

use crate::network::has_default_route;
use crate::reach::{self, Reply};
use crate::{Context, Descriptor, Due, Probe, ProbeError, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind};
use std::time::{Duration, Instant};

/// How long one exchange may take, after the name was looked up.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(5);
const CAPTURED: &str = "nothing is asked on behalf of a captured machine";
/// Whether pages open, and whether the proxy answers.
#[derive(Debug)]
pub struct Connectivity {
    /// Paces what does not change by itself.
    slow: Due,
    proxy: Due,
}

impl Default for Connectivity {
    fn default() -> Self {
        Self { slow: Due::every(Duration::from_secs(3600)), proxy: Due::every(Duration::from_secs(300)) }
    }
}

impl Probe for Connectivity {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "connectivity",
            interval: Duration::from_secs(60),
            trigger_interval: None,
            time_limit: Duration::from_secs(30),
            cpu_budget: Duration::from_millis(5),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let network = Component::only(ComponentKind::Network);
        let slow = self.slow.is_due(context.now);
        match pages(context) {
            Ok(state) => {
                let attributes = Attributes::none().with(attribute::STATE, state.as_str());
                sink.sample(&network, semconv::NETWORK_CONNECTIVITY, attributes, 1.0);
            }
            Err(error) if slow => sink.failed(&network, semconv::NETWORK_CONNECTIVITY, &error),
            Err(_) => {}
        }
        let is_due = self.proxy.is_due(context.now) || slow;
        let failed = if is_due { proxy::look(context, &network, sink).err() } else { None };
        if let Some(error) = failed.filter(|_| slow) {
            sink.failed(&network, semconv::NETWORK_PROXY_REACHABLE, &error);
        }
    }
}

/// What the network lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The expected answer came.
    Full,
    /// Something on the way answered instead, as sign-in pages do.
    Portal,
    /// There is a network, but the expected answer does not come.
    Limited,
    /// There is no way out of this machine.
    None,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Portal => "portal",
            Self::Limited => "limited",
            Self::None => "none",
        }
    }
}

fn pages(context: &Context) -> Result<State, ProbeError> {
    let Some(url) = &context.overrides.connectivity_url else {
        return Err(ProbeError::Unsupported("no connectivity_url is configured".to_owned()));
    };
    let Some((host, port, path)) = reach::http_url(url) else {
        return Err(ProbeError::Unsupported("connectivity_url is not an http:// address".to_owned()));
    };
    if !context.root.is_system() {
        return Err(ProbeError::Unsupported(CAPTURED.to_owned()));
    }
    let expected = context.overrides.connectivity_body.as_deref();
    Ok(match get(&host, port, &path, expected.map_or(0, str::len)) {
        Ok(reply) => judge(&reply, expected),
        Err(error) => {
            tracing::debug!(error = %error, "the address of connectivity_url does not answer");
            if has_default_route(&context.root) == Some(false) { State::None } else { State::Limited }
        }
    })
}

fn get(host: &str, port: u16, path: &str, wanted: usize) -> Result<Reply, ProbeError> {
    let addresses = reach::resolve(host, port)?;
    let deadline = Instant::now() + EXCHANGE_LIMIT;
    let mut stream = reach::connect(&addresses, deadline)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: firstline-agent\r\nConnection: close\r\n\r\n",
        in_header(host, port)
    );
    reach::exchange(&mut stream, &request, wanted, deadline)
}

/// Host and port as a header line has them.
fn in_header(host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 80 { host } else { format!("{host}:{port}") }
}

/// What an answer says. A server that fails or forbids is no sign-in page: those redirect, answer with a page of their
/// own, or say so with 511 (RFC 6585).
fn judge(reply: &Reply, expected: Option<&str>) -> State {
    match (reply.status, expected) {
        (204, None) => State::Full,
        (200, Some(expected)) if reply.body == expected.as_bytes() => State::Full,
        (200..=303 | 305..=399 | 511, _) => State::Portal,
        _ => State::Limited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use crate::reach::testing::{canned, nobody, read_head, serve};
    use firstline_model::{Body, Timestamp, UnavailableReason};
    use std::net::SocketAddr;

    fn state(server: SocketAddr, body: Option<&str>) -> State {
        let mut context = Context::new(Root::system(), Timestamp::from_millis(0));
        context.overrides.connectivity_url = Some(format!("http://{server}/generate_204"));
        context.overrides.connectivity_body = body.map(str::to_owned);
        pages(&context).unwrap()
    }

    #[test]
    fn without_an_address_in_the_configuration_nothing_is_asked() {
        let error = pages(&Context::new(Root::system(), Timestamp::from_millis(0))).unwrap_err();
        assert_eq!(error.reason(), UnavailableReason::Unsupported);
        assert_eq!(error.detail(), "no connectivity_url is configured");
    }

    #[test]
    fn the_expected_answer_is_full_and_another_one_is_a_portal() {
        let no_content = "HTTP/1.1 204 No Content\r\n\r\n";
        let online = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nonline";
        assert_eq!(state(canned(no_content), None), State::Full);
        assert_eq!(state(canned(online), Some("online")), State::Full);
        assert_eq!(state(canned(online), None), State::Portal);
        assert_eq!(state(canned(online), Some("offline")), State::Portal);
        assert_eq!(state(canned(no_content), Some("online")), State::Portal);
        for head in ["302 Found\r\nLocation: http://login.example/", "511 Network Authentication Required"] {
            assert_eq!(state(canned(format!("HTTP/1.1 {head}\r\n\r\n")), None), State::Portal, "{head}");
        }
    }

    #[test]
    fn failures_and_hostile_answers_are_never_a_portal() {
        let long = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\n\r\n", "y".repeat(1 << 20));
        for answer in ["HTTP/1.1 503 Busy\r\n\r\n", "HTTP/1.1 403 No\r\n\r\n", "220 smtp\r\n\r\n", "", &long]
        {
            assert_ne!(state(canned(answer), None), State::Portal, "{answer:.30}");
        }
        let gone = state(nobody(), None);
        assert!(matches!(gone, State::Limited | State::None), "{gone:?}");
    }

    #[test]
    fn the_request_names_the_host_and_nothing_of_this_machine() {
        let (seen, head) = std::sync::mpsc::channel();
        let server = serve(move |stream| seen.send(read_head(stream)).unwrap());
        state(server, None);
        let expected = format!(
            "GET /generate_204 HTTP/1.1\r\nHost: {server}\r\nUser-Agent: firstline-agent\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(head.recv().unwrap(), expected);
    }

    #[test]
    fn what_is_not_configured_is_said_once_an_hour() {
        let mut probe = Connectivity::default();
        let mut said = |minutes: i64| {
            let dir = tempfile::tempdir().unwrap();
            let now = Timestamp::from_millis(minutes * 60_000);
            let mut sink = Sink::new(now);
            probe.collect(&Context::new(Root::at(dir.path()), now), &mut sink);
            let observations = sink.into_parts().0;
            assert!(observations.iter().all(|seen| matches!(seen.body, Body::Unavailable { .. })));
            observations.len()
        };
        assert_eq!([said(0), said(1), said(59), said(60)], [2, 0, 0, 2]);
    }
}
