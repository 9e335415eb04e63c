//! The path to the gateway and to the configured target: round trip time, how much it varies, the share of lost packets,
//! and the largest packet that gets through.
//!
//! Four small echo requests to each, every thirty seconds: below a kilobyte a minute and target. A share of loss needs
//! more than one burst, so it is that of the last five minutes; a single outage is out of it before a rule's ten minutes
//! are over. Packets of full size are sent once an hour, when the network changes, and more often only while they vanish.

mod mtu;
mod track;

use crate::network::echo::{Answer, Echo};
use crate::network::{NextHop, default_gateway};
use crate::{Context, Descriptor, Due, Probe, ProbeError, Sink, reach};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp};
use std::net::IpAddr;
use std::time::Duration;
use track::{Loss, Track};

const REQUESTS: usize = 4;
const ECHO_LIMIT: Duration = Duration::from_millis(800);
/// Of a gateway that answered nothing so far: if it begins to, it is near.
const SILENT_LIMIT: Duration = Duration::from_millis(250);
/// The attribute of the gateway, in rules too.
const GATEWAY: &str = "gateway";
const HOUR: Duration = Duration::from_secs(3600);
const CAPTURED: &str = "nothing is asked on behalf of a captured machine";

/// Round trip time, jitter, loss and path MTU.
#[derive(Debug)]
pub struct Path {
    gateway: Option<Track>,
    target: Option<Track>,
    /// The target's name, the address that it had, and when it was looked up.
    resolved: Option<(String, IpAddr, Timestamp)>,
    large: mtu::Watch,
    /// Paces what does not change by itself.
    slow: Due,
    /// Paces why there is no figure of the gateway, and of the target.
    why: [Due; 2],
}

impl Default for Path {
    fn default() -> Self {
        Self {
            gateway: None,
            target: None,
            resolved: None,
            large: mtu::Watch::default(),
            slow: Due::every(HOUR),
            why: [Due::every(HOUR), Due::every(HOUR)],
        }
    }
}

/// What came back for each request of a burst.
type Burst = Result<Vec<Option<Duration>>, ProbeError>;

impl Probe for Path {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "path",
            interval: Duration::from_secs(60),
            trigger_interval: Some(Duration::from_secs(30)),
            time_limit: Duration::from_secs(25),
            cpu_budget: Duration::from_millis(10),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let slow = self.slow.is_due(context.now);
        let hop = if context.root.is_system() { default_gateway(&context.root) } else { None };
        let name = context.overrides.path_target.as_deref().filter(|_| context.root.is_system());
        if hop.is_none() && name.is_none() && slow {
            let error = if context.root.is_system() {
                ProbeError::NotPresent(
                    "there is no default gateway, and no path_target is configured".to_owned(),
                )
            } else {
                ProbeError::Unsupported(CAPTURED.to_owned())
            };
            sink.failed(&Component::only(ComponentKind::Network), semconv::NETWORK_LOSS, &error);
        }
        let target = name.map(|name| self.resolve(name, context.now));
        let (near, far) = std::thread::scope(|scope| {
            let near = hop.as_ref().map(|hop| {
                // Most that answer nothing never will: one request is enough to learn otherwise.
                let silent = self
                    .gateway
                    .as_ref()
                    .is_some_and(|known| known.address == hop.address && known.is_silent());
                let (requests, limit) = if silent { (1, SILENT_LIMIT) } else { (REQUESTS, ECHO_LIMIT) };
                scope.spawn(move || burst(hop.address, hop.scope, requests, limit))
            });
            let far = target
                .as_ref()
                .map(|target| target.clone().and_then(|address| burst(address, 0, REQUESTS, ECHO_LIMIT)));
            let panicked = |_| Err(ProbeError::Malformed("the burst broke down".to_owned()));
            (near.map(|thread| thread.join().unwrap_or_else(panicked)), far)
        });

        let at = hop.as_ref().map(|hop| hop.address);
        let component = at.and_then(|at| Component::new(ComponentKind::Gateway, at.to_string()).ok());
        let subject = Subject { label: GATEWAY, component, forgets: true };
        report(&mut self.gateway, at.zip(near), &subject, &mut self.why[0], context.now, sink);

        let Some(name) = name else {
            self.target = None;
            return;
        };
        let at = target.as_ref().and_then(|target| target.as_ref().ok().copied());
        let all_answered =
            far.iter().flatten().flatten().filter(|answer| answer.is_some()).count() == REQUESTS;
        let component = Component::new(ComponentKind::Endpoint, name).ok();
        let subject = Subject { label: name, component, forgets: false };
        match (at, far) {
            (Some(at), far) => {
                report(&mut self.target, Some(at).zip(far), &subject, &mut self.why[1], context.now, sink);
                if all_answered {
                    self.large.look(name, at, hop, context.now, sink);
                }
            }
            (None, Some(Err(error))) => subject.failed(&error, &mut self.why[1], context.now, sink),
            (None, Some(Ok(_)) | None) => {}
        }
    }
}

impl Path {
    /// The target's address: looked up once an hour, and again when the one that is known does not answer.
    fn resolve(&mut self, name: &str, now: Timestamp) -> Result<IpAddr, ProbeError> {
        let silent = self.target.as_ref().is_some_and(Track::is_silent);
        if let Some((known, address, at)) = &self.resolved
            && known == name
            && !silent
            && now >= *at
            && now.since(*at) < HOUR
        {
            return Ok(*address);
        }
        let found = reach::resolve(name, 0)?;
        // One of several addresses is kept while it is offered, so that its figures can be compared.
        let known = self.resolved.as_ref().map(|(_, address, _)| *address);
        let kept = found.iter().map(|address| address.ip()).find(|address| Some(*address) == known);
        let first = found.first().map(|address| address.ip());
        let address =
            kept.or(first).ok_or_else(|| ProbeError::NotPresent(format!("{name} has no address")))?;
        self.resolved = Some((name.to_owned(), address, now));
        Ok(address)
    }
}

/// Who was asked, as rules and persons know it.
struct Subject<'name> {
    label: &'name str,
    /// What a failure is about. Figures are the network's, told apart by `label`.
    component: Option<Component>,
    /// Whether silence says nothing: a gateway may be told to ignore echo requests at any time, and whether it is there
    /// is seen otherwise.
    forgets: bool,
}

impl Subject<'_> {
    fn failed(&self, error: &ProbeError, why: &mut Due, now: Timestamp, sink: &mut Sink) {
        if let Some(component) = &self.component
            && why.is_due(now)
        {
            sink.failed(component, semconv::NETWORK_LOSS, error);
        }
    }
}

fn report(
    track: &mut Option<Track>,
    asked: Option<(IpAddr, Burst)>,
    subject: &Subject<'_>,
    why: &mut Due,
    now: Timestamp,
    sink: &mut Sink,
) {
    let Some((address, burst)) = asked else {
        *track = None;
        return;
    };
    let answers = match burst {
        Ok(answers) => answers,
        Err(error) => {
            *track = None;
            subject.failed(&error, why, now, sink);
            return;
        }
    };
    // What another address answered says nothing about this one.
    if track.as_ref().is_some_and(|known| known.address != address) {
        *track = None;
    }
    let track = track.get_or_insert_with(|| Track::new(address));
    track.add(&answers);
    let network = Component::only(ComponentKind::Network);
    let target = || Attributes::none().with(attribute::TARGET, subject.label);
    if let Some(rtt) = track::round_trip(&answers) {
        sink.sample(&network, semconv::NETWORK_RTT, target(), track::rounded(rtt));
    }
    if let Some(jitter) = track.jitter() {
        sink.sample(&network, semconv::NETWORK_JITTER, target(), track::rounded(jitter));
    }
    match track.loss(subject.forgets) {
        Loss::Share(share) => sink.sample(&network, semconv::NETWORK_LOSS, target(), share),
        Loss::TooFew => {}
        Loss::Silent => {
            let detail = format!("{address} answers no echo request, which proves no loss");
            subject.failed(&ProbeError::Unsupported(detail), why, now, sink);
        }
    }
}

/// Sends a few echo requests, each after the answer to the one before it.
fn burst(address: IpAddr, scope: u32, requests: usize, limit: Duration) -> Burst {
    let mut echo = open(address, scope)?;
    let mut answers = Vec::with_capacity(requests);
    for _ in 0..requests {
        answers.push(match echo.probe(0, limit).map_err(|error| failed(&error))? {
            Answer::After(time) => Some(time),
            Answer::Silent | Answer::TooLarge => None,
        });
    }
    Ok(answers)
}

fn open(address: IpAddr, scope: u32) -> Result<Echo, ProbeError> {
    let echo = Echo::open(address, scope).map_err(|error| failed(&error))?;
    if echo.is_icmp() {
        Ok(echo)
    } else {
        Err(ProbeError::NotPermitted("this system permits no echo requests".to_owned()))
    }
}

fn failed(error: &std::io::Error) -> ProbeError {
    reach::failed("echo request", error)
}

/// The network that a measurement belongs to.
type Network = Option<NextHop>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use firstline_model::{Body, Observation, UnavailableReason};

    fn run(probe: &mut Path, name: Option<&str>, times: i64) -> Vec<Observation> {
        let mut seen = Vec::new();
        for time in 0..times {
            let now = Timestamp::from_millis(time * 30_000);
            let mut context = Context::new(Root::system(), now);
            context.overrides.path_target = name.map(str::to_owned);
            let mut sink = Sink::new(now);
            probe.collect(&context, &mut sink);
            seen.extend(sink.into_parts().0);
        }
        seen
    }

    fn values(seen: &[Observation], wanted: &str, label: &str) -> Vec<f64> {
        let value = |observation: &Observation| {
            if let Body::Sample { metric, attributes, value } = &observation.body {
                (metric == wanted && attributes.get("target") == Some(label)).then_some(*value)
            } else {
                None
            }
        };
        seen.iter().filter_map(value).collect()
    }

    #[test]
    fn a_target_that_answers_has_all_its_figures_after_twenty_requests() {
        let mut probe = Path::default();
        let seen = run(&mut probe, Some("127.0.0.1"), 5);
        if !open([127, 0, 0, 1].into(), 0).is_ok_and(|echo| echo.is_icmp()) {
            return assert!(values(&seen, semconv::NETWORK_LOSS, "127.0.0.1").is_empty());
        }
        assert_eq!(values(&seen, semconv::NETWORK_LOSS, "127.0.0.1"), [0.0]);
        assert_eq!(values(&seen, semconv::NETWORK_RTT, "127.0.0.1").len(), 5);
        assert!(!values(&seen, semconv::NETWORK_JITTER, "127.0.0.1").is_empty());
        if cfg!(target_os = "linux") {
            assert_eq!(
                values(&seen, semconv::NETWORK_PATH_MTU, "127.0.0.1"),
                [1500.0],
                "once, not five times"
            );
        }
    }

    #[test]
    fn a_target_whose_name_is_unknown_is_no_loss_and_is_said_once() {
        let mut probe = Path::default();
        let seen = run(&mut probe, Some("nobody.invalid"), 2);
        assert!(values(&seen, semconv::NETWORK_LOSS, "nobody.invalid").is_empty());
        let about =
            |observation: &&Observation| observation.component.to_string() == "endpoint/nobody.invalid";
        assert_eq!(seen.iter().filter(about).count(), 1);
    }

    #[test]
    fn on_behalf_of_a_captured_machine_nothing_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(0);
        let mut context = Context::new(Root::at(dir.path()), now);
        context.overrides.path_target = Some("127.0.0.1".to_owned());
        let mut sink = Sink::new(now);
        Path::default().collect(&context, &mut sink);
        let seen = sink.into_parts().0;
        assert_eq!(seen.len(), 1);
        assert!(matches!(seen[0].body, Body::Unavailable { reason: UnavailableReason::Unsupported, .. }));
    }
}
