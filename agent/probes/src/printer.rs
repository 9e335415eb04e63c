//! Printers: every queue of the print server, its jobs, and the device behind it.
//!
//! The print server (CUPS) is asked over IPP on its local socket, then each device that has an address is asked itself,
//! because CUPS does not notice that a printer is gone or jammed before a job is stuck. Devices behind `ipps`, `socket`
//! and `lpd` are only connected to in this form; what sits behind USB or is found by DNS-SD is not asked. Whatever accepts
//! a connection is asked over SNMP too, and both answers become one. Everything that a printer says is bounded in size and
//! time.

pub(crate) mod device;
mod http;
mod identity;
mod message;
pub mod on_windows;
pub(crate) mod queue;
pub mod reasons;
mod report;
mod snmp;
pub(crate) mod source;
pub mod supplies;
mod told;

pub(crate) use report::queued;
pub use snmp::reads_datagrams;

use crate::{Context, Descriptor, Probe, ProbeError, Sink};
use device::Contact;
use firstline_model::{Component, ComponentKind, Value, order};
use queue::{Jobs, Queue};
use source::Source;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many queues are asked about at the same time.
const PARALLEL: usize = 6;
/// After this long no further queue is begun; one takes at most 18 s (jobs, name, connection, answer, SNMP).
const BEGIN_LIMIT: Duration = Duration::from_secs(25);

/// Queues, jobs, supplies and the devices behind them.
#[derive(Debug, Default)]
pub struct Printer {
    /// What each queue's printer said in the last run: what is gone is reported as gone.
    last: BTreeMap<String, told::Told>,
    /// What is known of the printers over SNMP.
    known: Known,
}

/// What is known of a queue's printer over SNMP, and where the queue led to then.
type Known = BTreeMap<String, (Option<String>, snmp::Known)>;

impl Probe for Printer {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "printer",
            interval: Duration::from_secs(60),
            trigger_interval: None,
            time_limit: Duration::from_secs(45),
            cpu_budget: Duration::from_millis(50),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        self.report(context, &Source::of(context), sink);
    }
}

impl Printer {
    fn report(&mut self, context: &Context, source: &Source, sink: &mut Sink) {
        match examine(context, source, &self.known) {
            Ok(queues) => {
                let mut seen = BTreeMap::new();
                for examined in &queues {
                    let before = self.last.get(&examined.queue.name);
                    if let Some(told) = report::queue(examined, before, sink) {
                        seen.insert(examined.queue.name.clone(), told);
                    }
                    // A printer that is off for a moment is not a new one afterwards.
                    if let Some(known) = examined.snmp.clone() {
                        let leads_to = examined.queue.device_uri.clone();
                        self.known.insert(examined.queue.name.clone(), (leads_to, known));
                    }
                }
                identities(&seen, sink);
                self.known.retain(|name, _| seen.contains_key(name));
                self.last = seen;
                if queues.is_empty() {
                    absent(&ProbeError::NotPresent("this machine has no print queue".to_owned()), sink);
                }
            }
            // A machine without a print server is no fault; where one should run, the check of services says so.
            Err(error) => absent(&error, sink),
        }
    }
}

/// Which device each queue leads to: what computers with the same printer have in common. A queue whose device is not
/// known is left out, and what was told of it stays.
fn identities(seen: &BTreeMap<String, told::Told>, sink: &mut Sink) {
    let known = |(name, told): (&String, &told::Told)| {
        Some((name.clone(), Value::from(told.identity.as_ref()?.text())))
    };
    let known: Vec<(String, Value)> = seen.iter().filter_map(known).collect();
    if !known.is_empty() {
        let facts = Value::map([("printers", Value::map(known))]);
        sink.facts(&Component::only(ComponentKind::Os), facts);
    }
}

/// Reports what a captured spooler of Windows says.
pub fn report_spooler(spooler: on_windows::Spooler, context: &Context, sink: &mut Sink) {
    let source = Source::Spooler { said: std::sync::Arc::new(spooler), live: false };
    Printer::default().report(context, &source, sink);
}

fn absent(error: &ProbeError, sink: &mut Sink) {
    if let Ok(component) =
        Component::new(ComponentKind::Service, if cfg!(windows) { "Spooler" } else { "cups" })
    {
        sink.failed(&component, "printer", error);
    }
}

/// A queue with everything that was found out about it.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) queue: Queue,
    pub(crate) jobs: Result<Jobs, ProbeError>,
    pub(crate) contact: Result<Contact, ProbeError>,
    /// What it said over SNMP; `None` when it was not asked.
    pub(crate) snmp: Option<snmp::Known>,
}

impl Examined {
    /// What the device says of itself.
    pub(crate) fn device(&self) -> Option<Queue> {
        let said = self.contact.as_ref().ok()?.said.as_ref()?.as_ref().ok()?;
        said.groups().first().map(|group| Queue::read_as(self.queue.name.clone(), group))
    }

    /// Why a device that accepted the connection said nothing usable.
    pub(crate) fn device_error(&self) -> Option<String> {
        let said = self.contact.as_ref().ok()?.said.as_ref()?;
        said.as_ref().err().map(ToString::to_string)
    }
}

fn examine(context: &Context, source: &Source, known: &Known) -> Result<Vec<Examined>, ProbeError> {
    let settings = snmp::Settings::of(context);
    let queues = source.queues()?;
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(queues.len()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(queues.len()) {
            scope.spawn(|| {
                while let Some(queue) = queues.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let same = known.get(&queue.name).filter(|(uri, _)| *uri == queue.device_uri);
                    let examined = if begun.elapsed() < BEGIN_LIMIT {
                        one(source, settings, queue.clone(), same.map(|(_, known)| known))
                    } else {
                        let late = || ProbeError::TimedOut("other printers took all the time".to_owned());
                        Examined { queue: queue.clone(), jobs: Err(late()), contact: Err(late()), snmp: None }
                    };
                    if let Ok(mut done) = done.lock() {
                        done.push(examined);
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    order::sort_by(&mut done, |one, other| one.queue.name.cmp(&other.queue.name));
    Ok(done)
}

fn one(
    source: &Source,
    settings: Option<snmp::Settings<'_>>,
    queue: Queue,
    before: Option<&snmp::Known>,
) -> Examined {
    let jobs = source.jobs(&queue.name);
    let contact = match &queue.device_uri {
        Some(uri) => source.contact(&queue.name, uri),
        None => {
            Err(ProbeError::NotPermitted("the print server does not tell the device's address".to_owned()))
        }
    };
    let snmp = contact.as_ref().ok().and_then(|contact| source.snmp(&queue, contact, settings, before));
    Examined { queue, jobs, contact, snmp }
}

/// Reads an IPP reply and everything that the probe would take from it; `false` when it is refused. For the fuzz
/// targets: whoever answers at a printer's address chooses these bytes.
pub fn reads_reply(bytes: &[u8]) -> bool {
    let Ok(reply) = message::parse(bytes) else { return false };
    for queue in queue::queues(&reply) {
        if let Some(uri) = &queue.device_uri {
            // Redacting must work for what parsing refuses.
            let _ = (device::redacted(uri), device::DeviceUri::parse(uri));
        }
    }
    queue::jobs(&reply);
    true
}

/// Examines the one queue called `name`. Not present when there is no such queue.
pub(crate) fn examine_one(context: &Context, name: &str) -> Result<Examined, ProbeError> {
    let source = Source::of(context);
    let found = source.queues()?.into_iter().find(|queue| queue.name == name);
    found
        .map(|queue| one(&source, snmp::Settings::of(context), queue, None))
        .ok_or_else(|| ProbeError::NotPresent(format!("no queue is called {name}")))
}

/// The reasons of queue and device as they were said.
pub(crate) fn all_said(examined: &Examined) -> Vec<String> {
    report::said(examined, examined.device().as_ref())
}

#[cfg(test)]
mod tests {
    use super::http::testing::{reply, send, serve};
    use super::message::testing::Writer;
    use super::*;
    use crate::{Overrides, Root};
    use firstline_model::{Body, Observation, Timestamp, UnavailableReason, semconv};
    use std::net::SocketAddr;

    const GET_PRINTERS: u16 = 0x4002;
    const GET_JOBS: u16 = 0x000a;

    fn operation(request: &[u8]) -> u16 {
        u16::from_be_bytes([request[2], request[3]])
    }

    fn collect(printer: &mut Printer, server: SocketAddr) -> Vec<Observation> {
        let overrides = Overrides { cups_server: Some(server), ..Overrides::default() };
        let context = Context { overrides, ..Context::new(Root::system(), Timestamp::from_millis(0)) };
        let mut sink = Sink::new(context.now);
        printer.collect(&context, &mut sink);
        sink.into_parts().0
    }

    fn samples(observations: &[Observation], wanted: &str) -> Vec<(Option<String>, f64)> {
        let sample = |observation: &Observation| {
            if let Body::Sample { metric, attributes, value } = &observation.body {
                (metric == wanted).then(|| (attributes.get("keyword").map(str::to_owned), *value))
            } else {
                None
            }
        };
        observations.iter().filter_map(sample).collect()
    }

    fn queue_reply(reasons: &[&str], device_uri: &str) -> Vec<u8> {
        Writer::new(0)
            .group(4)
            .value(0x42, "printer-name", b"finance")
            .integer(0x23, "printer-state", 3)
            .texts(0x44, "printer-state-reasons", reasons)
            .value(0x45, "device-uri", device_uri.as_bytes())
            .end()
    }

    #[test]
    fn a_jam_that_only_the_device_knows_is_reported_and_its_end_too() {
        let asked = AtomicUsize::new(0);
        let device = serve(Box::new(move |_, stream| {
            let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            let reason = if first { "media-jam-error" } else { "none" };
            send(stream, &reply(&queue_reply(&[reason], "")));
        }));
        let server = serve(Box::new(move |request, stream| {
            let body = match operation(request) {
                GET_PRINTERS => queue_reply(&["none"], &format!("ipp://{device}/ipp/print")),
                GET_JOBS => Writer::new(0).end(),
                _ => Writer::new(0x0501).end(),
            };
            send(stream, &reply(&body));
        }));
        let mut printer = Printer::default();
        let first = collect(&mut printer, server);
        let jam = |value| (Some("media-jam".to_owned()), value);
        assert_eq!(samples(&first, semconv::PRINTER_STATE_REASON), [jam(1.0)]);
        assert_eq!(samples(&first, semconv::PRINTER_REACHABLE), [(None, 1.0)]);
        assert_eq!(samples(&first, semconv::PRINTER_JOB_AGE), [(None, 0.0)]);
        let second = collect(&mut printer, server);
        let none = (Some("none".to_owned()), 1.0);
        assert_eq!(samples(&second, semconv::PRINTER_STATE_REASON), [jam(0.0), none]);
    }

    #[test]
    fn a_printer_that_falls_silent_takes_nothing_back_and_stays_the_same_printer() {
        let uuid = "f119f7ed-31f1-3647-5d3d-79b700c9950a";
        let asked = AtomicUsize::new(0);
        let device = serve(Box::new(move |_, stream| {
            let reason = ["media-jam-error", "", "none"][asked.fetch_add(1, Ordering::Relaxed)];
            if reason.is_empty() {
                return;
            }
            let says = Writer::new(0)
                .group(4)
                .texts(0x44, "printer-state-reasons", &[reason])
                .value(0x45, "printer-uuid", format!("urn:uuid:{uuid}").as_bytes())
                .texts(0x42, "marker-names", &["Black"])
                .integer(0x21, "marker-levels", 0);
            send(stream, &reply(&says.end()));
        }));
        let server = serve(Box::new(move |request, stream| {
            let says = || queue_reply(&["none"], &format!("ipp://{device}/ipp/print"));
            let body = match operation(request) {
                GET_PRINTERS => says(),
                GET_JOBS => Writer::new(0).end(),
                _ => Writer::new(0x0501).end(),
            };
            send(stream, &reply(&body));
        }));
        let mut printer = Printer::default();
        let (reason, level) = (semconv::PRINTER_STATE_REASON, semconv::PRINTER_SUPPLY_LEVEL);
        let word = |keyword: &str, value| (Some(keyword.to_owned()), value);
        let first = collect(&mut printer, server);
        assert_eq!(samples(&first, reason), [word("media-jam", 1.0)]);
        assert_eq!(samples(&first, level), [(None, 0.0)]);
        let silent = collect(&mut printer, server);
        assert_eq!((samples(&silent, reason), samples(&silent, level)), (vec![], vec![]));
        for what in [reason, level] {
            let is_said =
                |one: &Observation| matches!(&one.body, Body::Unavailable { what: of, .. } if of == what);
            assert!(silent.iter().any(is_said), "{what}: {silent:?}");
        }
        let last = collect(&mut printer, server);
        assert_eq!(samples(&last, reason), [word("media-jam", 0.0), word("none", 1.0)]);
        for run in [&first, &silent, &last] {
            let facts = run.iter().find_map(|one| {
                let Body::Facts(facts) = &one.body else { return None };
                facts.get("printers")?.get("finance")?.as_text()
            });
            assert_eq!(facts, Some(format!("uuid:{uuid}").as_str()));
        }
    }

    #[test]
    fn a_hostile_print_server_costs_one_unavailable_value() {
        let endless: http::testing::Behaviour = Box::new(|_, stream| {
            if send(
                stream,
                b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\n\r\n\x02\0\0\0\0\0\0\x01\x04",
            ) {
                while send(stream, &[0x42; 4096]) {}
            }
        });
        let truncated: http::testing::Behaviour = Box::new(|_, stream| {
            let mut body = queue_reply(&["none"], "ipp://127.0.0.1:9/");
            body.truncate(60);
            send(stream, &reply(&body));
        });
        let long_text: http::testing::Behaviour = Box::new(|_, stream| {
            let long = "x".repeat(60_000);
            let texts: Vec<&str> = (0..20).map(|_| long.as_str()).collect();
            send(stream, &reply(&Writer::new(0).group(4).texts(0x41, "printer-info", &texts).end()));
        });
        for behaviour in [endless, truncated, long_text] {
            let observations = collect(&mut Printer::default(), serve(behaviour));
            assert_eq!(observations.len(), 1);
            let Body::Unavailable { reason, .. } = &observations[0].body else {
                panic!("{observations:?}");
            };
            assert_eq!(*reason, UnavailableReason::Malformed);
        }
    }

    #[test]
    fn a_machine_without_a_print_server_is_no_error() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let observations = collect(&mut Printer::default(), nobody);
        let Body::Unavailable { reason, .. } = &observations[0].body else { panic!("{observations:?}") };
        assert_eq!((*reason, observations.len()), (UnavailableReason::NotPresent, 1));
    }
}
