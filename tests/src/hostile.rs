//! Texts that no device should send, and records that hold one of them in every place where a device can put a text.
//!
//! The texts stand in `testdata/hostile_strings.jsonl`, one class and one text a line.

use firstline_model::{
    Attributes, Body, Component, ComponentKind, DiagnosticOutcome, DiagnosticReport, Epoch, Observation,
    Presence, Timestamp, UnavailableReason, Value, semconv,
};
use std::collections::BTreeSet;

/// Every text, each once.
///
/// # Panics
/// When the file is damaged or has become short.
pub fn payloads() -> Vec<String> {
    let lines = include_str!("../testdata/hostile_strings.jsonl").lines();
    let texts: BTreeSet<String> = lines
        .map(|line| {
            let (_, text): (String, String) = serde_json::from_str(line).expect("a class and a text");
            text
        })
        .collect();
    assert!(texts.len() >= 500, "there are only {} texts", texts.len());
    texts.into_iter().collect()
}

/// What can be told of a text once it has been cleaned, cut and put among others: its letters, digits and signs of ASCII,
/// without spaces and without letters that nobody sees.
pub fn core(text: &str) -> String {
    let blank = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'];
    let is_seen = |c: &char| (c.is_alphanumeric() && !blank.contains(c)) || c.is_ascii_punctuation();
    text.chars().filter(is_seen).collect()
}

/// A character with which a text deceives whoever reads it, by a list of this crate's own.
pub fn deceives(character: char) -> bool {
    let code = u32::from(character);
    character.is_control()
        || [0xad, 0x34f, 0x61c, 0x180e, 0xfeff].contains(&code)
        || [(0x200b, 0x200f), (0x2028, 0x202e), (0x2060, 0x206f), (0xfff9, 0xfffb), (0xe0000, 0xe007f)]
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&code))
}

/// The text, cut where a name of so many bytes ends.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// One observation for each place of the model that takes a text from a device, all of them saying `text`.
pub fn everywhere(text: &str, at: Timestamp) -> Vec<Observation> {
    let name = if text.is_empty() { "empty" } else { cut(text, 500) };
    let component = |kind| Component::new(kind, name).expect("a name of at most 512 bytes");
    let os = || Component::only(ComponentKind::Os);
    let attributes = || Attributes::none().with("name", text).with(name.to_owned(), text);
    let document = || {
        Value::map([
            ("printer_state_message", Value::from(text)),
            ("list", Value::texts([text, text])),
            (
                "deep",
                Value::map([(name.to_owned(), Value::List(vec![Value::map([("x", Value::from(text))])]))]),
            ),
        ])
    };
    let mut all: Vec<(Component, Body)> = ComponentKind::ALL
        .iter()
        .map(|kind| {
            (
                component(*kind),
                Body::Sample { metric: semconv::HW_STATUS.into(), attributes: attributes(), value: 1.0 },
            )
        })
        .collect();
    all.push((os(), Body::Sample { metric: name.to_owned().into(), attributes: attributes(), value: 1.0 }));
    all.push((os(), Body::State { name: name.to_owned().into(), document: document() }));
    all.push((
        component(ComponentKind::Printer),
        Body::State { name: "printer".into(), document: document() },
    ));
    all.push((os(), Body::Event { name: name.to_owned().into(), attributes: attributes() }));
    for reason in [UnavailableReason::NotPermitted, UnavailableReason::Malformed] {
        let body = Body::Unavailable { what: name.to_owned().into(), reason, detail: text.to_owned() };
        all.push((component(ComponentKind::PhysicalDisk), body));
    }
    all.push((os(), Body::Presence(Presence::Online)));
    all.push((os(), Body::Diagnostic(report(cut(text, 128), text))));
    let gap = Body::Gap { epoch: Epoch([9; 16]), first: 1, last: 2, reason: text.to_owned().into() };
    all.push((Component::only(ComponentKind::Agent), gap));
    let observed = |(component, body)| Observation { component, observed_at: at, body };
    let all: Vec<Observation> = all.into_iter().map(observed).collect();
    // A new way for a device to say something has to be added above.
    for observation in &all {
        match &observation.body {
            Body::Sample { .. } | Body::State { .. } | Body::Event { .. } | Body::Unavailable { .. } => {}
            Body::Presence(_) | Body::Diagnostic(_) | Body::Facts(_) | Body::Gap { .. } => {}
        }
    }
    all
}

/// A report of a test, all of whose texts are this one.
pub fn report(request: &str, text: &str) -> DiagnosticReport {
    DiagnosticReport {
        request_id: request.to_owned(),
        name: cut(text, 60).to_owned(),
        subject: text.to_owned(),
        outcome: DiagnosticOutcome::Problem,
        summary: text.to_owned(),
        facts: Value::map([(cut(text, 200).to_owned(), Value::from(text))]),
        took_ms: 1,
        finished_at: Timestamp::from_millis(0),
    }
}

/// What a device says of itself, all of it this text.
pub fn facts(text: &str) -> Value {
    let names = [
        "hostname",
        "site",
        "model",
        "manufacturer",
        "serial",
        "os",
        "os_version",
        "bios_version",
        "subnet",
        "gateway_mac",
        "bssid",
        "ssid",
        "dns_server",
        "vpn_gateway",
        "switch",
        "owner",
        "asset_tag",
        "user",
    ];
    let each = |key: &str| {
        let named = Value::map([(
            if text.is_empty() { "x".to_owned() } else { cut(text, 200).to_owned() },
            Value::from(text),
        )]);
        (key.to_owned(), named)
    };
    let texts = names.iter().map(|name| ((*name).to_owned(), Value::from(text)));
    Value::map(texts.chain(["drivers", "software", "printers"].map(each)))
}

/// What makes two tickets at once: a person's report, and a printer that has stood still for long enough.
pub fn faults(text: &str, at: Timestamp) -> Vec<Observation> {
    let name = if text.is_empty() { "empty" } else { cut(text, 500) };
    let observed = |kind, at, body| Observation {
        component: Component::new(kind, name).expect("a name of at most 512 bytes"),
        observed_at: at,
        body,
    };
    let category = Attributes::none().with("category", text);
    let stopped = || Body::Sample {
        metric: semconv::PRINTER_STATE.into(),
        attributes: Attributes::none().with("printer", text),
        value: 5.0,
    };
    let long_ago = Timestamp::from_millis(at.as_millis() - 600_000);
    vec![
        observed(ComponentKind::Printer, long_ago, stopped()),
        observed(ComponentKind::Printer, at, stopped()),
        observed(
            ComponentKind::User,
            at,
            Body::Event { name: "endpoint.user.report".into(), attributes: category },
        ),
    ]
}
