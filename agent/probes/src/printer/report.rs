//! Turns an examined queue into observations.

use crate::Sink;
use crate::printer::Examined;
use crate::printer::device::redacted;
use crate::printer::identity::Identity;
use crate::printer::queue::{Queue, state_name};
use crate::printer::reasons::Reason;
use crate::printer::snmp::{Known, Said};
use crate::printer::supplies::Supply;
use crate::printer::told::{self, Heard, Reasons, Told, Voice, over_snmp};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason, Value};

/// Reports one queue; what it returns is passed in as `before` of the next run.
pub(super) fn queue(examined: &Examined, before: Option<&Told>, sink: &mut Sink) -> Option<Told> {
    let queue = &examined.queue;
    let component = Component::new(ComponentKind::Printer, queue.name.as_str()).ok()?;
    let named = || Attributes::none().with(attribute::PRINTER, queue.name.as_str());
    match queue.state {
        Some(state) => sink.sample(&component, semconv::PRINTER_STATE, named(), f64::from(state)),
        None => sink.unavailable(
            &component,
            semconv::PRINTER_STATE,
            UnavailableReason::Malformed,
            "the print server gave no state from 3 to 5",
        ),
    }
    let device = examined.device();
    let device = device.as_ref();
    // Where the queue leads to another device, nobody will take back what the earlier one said.
    let before = before.filter(|told| told.device_uri == queue.device_uri);
    let heard = Heard::of(examined, device);
    let reasons = reasons(examined, device, before, &heard, &component, &named, sink);
    contact(examined, &component, &named, sink);
    let snmp = snmp(examined, &component, &named, before.and_then(|told| told.snmp.as_ref()), sink);
    jobs(examined, &component, &named, sink);
    let levels =
        levels(examined, device, before.and_then(|told| told.supplies), &heard, &component, &named, sink);
    let known = before.and_then(|told| told.identity.clone());
    let identity = Identity::of(examined, device).max(known);
    sink.state(&component, "printer", document(examined, device, identity.as_ref()));
    Some(Told { reasons, snmp, supplies: levels, device_uri: queue.device_uri.clone(), identity })
}

/// Reports the reasons that are given and those that are over, and gives what is to be remembered of them.
fn reasons(
    examined: &Examined,
    device: Option<&Queue>,
    before: Option<&Told>,
    heard: &Heard,
    component: &Component,
    named: &dyn Fn() -> Attributes,
    sink: &mut Sink,
) -> Reasons {
    let none = Reasons::new();
    let judged =
        told::judge(told::reasons(examined, device), before.map_or(&none, |told| &told.reasons), heard);
    if judged.unknown {
        // Before what is known, which then is known again.
        let (reason, why) = heard.silence();
        sink.unavailable(component, semconv::PRINTER_STATE_REASON, reason, why);
    }
    // What is over comes first: when only the severity changed, the last word of the run is that the reason holds.
    let over = judged.over.iter().map(|reason| (reason, 0.0));
    for ((keyword, severity, from_device), value) in
        over.chain(judged.given.iter().map(|reason| (reason, 1.0)))
    {
        let attributes = named()
            .with(attribute::KEYWORD, keyword.as_str())
            .with(attribute::SEVERITY, severity.as_str())
            .with(attribute::SOURCE, if *from_device { "device" } else { "queue" });
        sink.sample(component, semconv::PRINTER_STATE_REASON, attributes, value);
    }
    judged.reasons
}

/// Reports the levels of the supplies, and gives who told them. Those that a device told are not replaced by what the
/// print server remembers when the device falls silent.
fn levels(
    examined: &Examined,
    device: Option<&Queue>,
    before: Option<Voice>,
    heard: &Heard,
    component: &Component,
    named: &dyn Fn() -> Attributes,
    sink: &mut Sink,
) -> Option<Voice> {
    let missed = before.filter(|voice| !heard.is_heard(*voice));
    if missed.is_some() {
        let (reason, why) = heard.silence();
        sink.unavailable(component, semconv::PRINTER_SUPPLY_LEVEL, reason, why);
    }
    let (voice, supplies) = supplies(examined, device);
    if voice == Voice::Queue && missed.is_some() {
        return missed;
    }
    let mut any = false;
    for supply in supplies {
        if let Some(share) = supply.share_left() {
            any = true;
            let attributes = named().with(attribute::SUPPLY, supply.name.as_str());
            sink.sample(component, semconv::PRINTER_SUPPLY_LEVEL, attributes, share);
        }
    }
    any.then_some(voice).or(missed)
}

fn contact(examined: &Examined, component: &Component, named: &dyn Fn() -> Attributes, sink: &mut Sink) {
    match &examined.contact {
        Ok(contact) => {
            let value = f64::from(u8::from(contact.reachable));
            sink.sample(component, semconv::PRINTER_REACHABLE, named(), value);
        }
        Err(error) => sink.failed(component, semconv::PRINTER_REACHABLE, error),
    }
}

fn snmp(
    examined: &Examined,
    component: &Component,
    named: &dyn Fn() -> Attributes,
    before: Option<&Attributes>,
    sink: &mut Sink,
) -> Option<Attributes> {
    match examined.snmp.as_ref().map(Known::said) {
        Some(Ok(said)) => {
            let status = &said.status;
            let attributes = named()
                .with(attribute::HR_DEVICE_STATUS, status.device)
                .with(attribute::HR_PRINTER_STATUS, status.printer)
                .with(attribute::ERRORS, status.errors.join(","));
            if let Some(gone) = before.filter(|before| **before != attributes) {
                sink.sample(component, semconv::PRINTER_SNMP, gone.clone(), 0.0);
            }
            sink.sample(component, semconv::PRINTER_SNMP, attributes.clone(), 1.0);
            Some(attributes)
        }
        Some(Err(error)) => {
            sink.failed(component, semconv::PRINTER_SNMP, error);
            before.cloned()
        }
        None => {
            if before.is_some() {
                let why = "the printer could not be asked";
                sink.unavailable(component, semconv::PRINTER_SNMP, UnavailableReason::TimedOut, why);
            }
            before.cloned()
        }
    }
}

fn jobs(examined: &Examined, component: &Component, named: &dyn Fn() -> Attributes, sink: &mut Sink) {
    match &examined.jobs {
        Ok(jobs) => {
            let age = jobs.oldest.as_ref().map_or(0, |job| job.age_s);
            sink.sample(component, semconv::PRINTER_JOBS_QUEUED, named(), queued(examined).unwrap_or(0.0));
            sink.sample(component, semconv::PRINTER_JOB_AGE, named(), f64::from(age));
        }
        Err(error) => {
            if let Some(count) = queued(examined) {
                sink.sample(component, semconv::PRINTER_JOBS_QUEUED, named(), count);
            }
            sink.failed(component, semconv::PRINTER_JOB_AGE, error);
        }
    }
}

/// The number of jobs: the server's own count, or the listed ones where they are more.
pub(crate) fn queued(examined: &Examined) -> Option<f64> {
    let listed = examined.jobs.as_ref().ok().map(|jobs| jobs.count as f64);
    let counted = examined.queue.queued.map(f64::from);
    [listed, counted].into_iter().flatten().reduce(f64::max)
}

/// The device knows its supplies better than the print server, which only hears of them while it prints. Of what it says
/// over IPP and over SNMP, the answer with more levels counts, and IPP's when both have as many.
fn supplies<'a>(examined: &'a Examined, device: Option<&'a Queue>) -> (Voice, &'a [Supply]) {
    let levels = |supplies: &[Supply]| supplies.iter().filter(|supply| supply.share_left().is_some()).count();
    let over_ipp = device.map(|device| device.supplies.as_slice()).unwrap_or_default();
    let over_snmp = over_snmp(examined).map(|said| said.supplies.as_slice()).unwrap_or_default();
    if over_ipp.is_empty() && over_snmp.is_empty() {
        (Voice::Queue, &examined.queue.supplies)
    } else if over_ipp.is_empty() || levels(over_snmp) > levels(over_ipp) {
        (Voice::Snmp, over_snmp)
    } else {
        (Voice::Ipp, over_ipp)
    }
}

fn document(examined: &Examined, device: Option<&Queue>, identity: Option<&Identity>) -> Value {
    let queue = &examined.queue;
    let (_, supplies) = supplies(examined, device);
    let supplies = supplies.iter().map(Supply::document).collect();
    let over_snmp = over_snmp(examined);
    let mut pairs = vec![
        ("printer_state", Value::from(queue.state.map_or("unknown", state_name))),
        ("printer_state_reasons", Value::texts(said(examined, device))),
        ("supplies", Value::List(supplies)),
    ];
    let device_message = device.and_then(|device| device.message.clone());
    let device_model = device
        .and_then(|device| device.model.clone())
        .or_else(|| over_snmp.and_then(|said| said.model.clone()));
    let texts = [
        ("printer_state_message", queue.message.clone()),
        ("device_uri", queue.device_uri.as_deref().map(redacted)),
        ("uuid", queue.uuid.clone()),
        ("make_and_model", queue.model.clone()),
        ("location", queue.location.clone()),
        ("device_uuid", device.and_then(|device| device.uuid.clone())),
        ("device_identity", identity.map(Identity::text)),
        ("device_make_and_model", device_model),
        ("device_serial", over_snmp.and_then(|said| said.serial.clone())),
        ("device_state", device.and_then(|device| device.state).map(|state| state_name(state).to_owned())),
        ("device_state_message", device_message),
        ("device_error", examined.device_error()),
        ("unreachable_because", examined.contact.as_ref().ok().and_then(|contact| contact.detail.clone())),
    ];
    pairs.extend(texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text?)))));
    let truths = [
        ("accepting", queue.accepting),
        ("shared", queue.shared),
        ("reachable", examined.contact.as_ref().ok().map(|contact| contact.reachable)),
    ];
    pairs.extend(truths.into_iter().filter_map(|(name, truth)| Some((name, Value::from(truth?)))));
    pairs.extend(queued(examined).map(|count| ("queued_jobs", Value::from(count))));
    pairs.extend(over_snmp.and_then(|said| said.pages).map(|pages| ("pages", Value::from(pages as f64))));
    pairs.extend(over_snmp.map(|said| ("snmp", said.document())));
    if let Some(job) = examined.jobs.as_ref().ok().and_then(|jobs| jobs.oldest.as_ref()) {
        let job = Value::map([
            ("id", Value::from(f64::from(job.id))),
            ("age_s", Value::from(f64::from(job.age_s))),
            ("state", Value::from(job.state)),
        ]);
        pairs.push(("oldest_job", job));
    }
    Value::map(pairs)
}

/// The reasons as they were said, the queue's first, each once; `none` only where there is nothing else. What is heard
/// over SNMP is said in IPP's words, and only where IPP does not name it.
pub(crate) fn said(examined: &Examined, device: Option<&Queue>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for text in examined.queue.said.iter().chain(device.iter().flat_map(|device| &device.said)) {
        if text != "none" && !all.contains(text) {
            all.push(text.clone());
        }
    }
    for reason in over_snmp(examined).into_iter().flat_map(Said::reasons) {
        let is_said = |text: &String| Reason::parse(text).is_some_and(|said| said.keyword == reason.keyword);
        if !all.iter().any(is_said) {
            all.push(format!("{}-{}", reason.keyword, reason.severity.as_str()));
        }
    }
    if all.is_empty() {
        all.push("none".to_owned());
    }
    all
}
