//! Every kind of observation survives the wire, and what is too large or not of this schema is refused.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use firstline_model::{
    Attributes, Body, ComponentKind, DiagnosticOutcome, DiagnosticReport, DiagnosticRequest, Epoch,
    Observation, Presence, Repeat, SequenceNumber, Timestamp, UnavailableReason, Value,
};
use firstline_proto::convert::{
    DecodeError, Leads, decode_record, decode_record_with, diagnostic_from_wire, diagnostic_to_wire,
    encode_record, encode_record_with, leads_of,
};
use firstline_proto::{limits, v1};
use prost::Message;

fn observe(component: &str, at: i64, body: Body) -> Observation {
    Observation { component: component.parse().unwrap(), observed_at: Timestamp::from_millis(at), body }
}

fn one_of_each() -> Vec<Observation> {
    let at = 1_767_603_300_000;
    vec![
        observe(
            "filesystem//home",
            at,
            Body::Sample {
                metric: "system.filesystem.utilization".into(),
                attributes: Attributes::none().with("system.filesystem.type", "ext4"),
                value: 0.973,
            },
        ),
        observe(
            "printer/finance-2",
            at - 5,
            Body::State {
                name: "printer".into(),
                document: Value::map([
                    ("printer_state", Value::from("stopped")),
                    ("printer_state_reasons", Value::texts(["media-jam-error"])),
                    ("accepting", Value::from(false)),
                    ("supplies", Value::List(vec![Value::map([("level", Value::from(-3.0))])])),
                ]),
            },
        ),
        observe(
            "os/0",
            at + 1,
            Body::Event { name: "os.bugcheck".into(), attributes: Attributes::none().with("code", "0x7A") },
        ),
        observe(
            "physical_disk/S4EVNF0M",
            at,
            Body::Unavailable {
                what: "hw.status".into(),
                reason: UnavailableReason::NotPermitted,
                detail: "cannot open /dev/sda".into(),
            },
        ),
        observe("os/0", at + 7_200_000, Body::Presence(Presence::Asleep)),
        observe(
            "agent/0",
            at,
            Body::Diagnostic(DiagnosticReport {
                request_id: "17-1".into(),
                name: "gateway".into(),
                subject: String::new(),
                outcome: DiagnosticOutcome::Ok,
                summary: "The gateway 10.0.0.1 answered 3 of 3 requests.".into(),
                facts: Value::map([("reachable", Value::from(true))]),
                finished_at: Timestamp::from_millis(at),
                took_ms: 12,
            }),
        ),
        observe("os/0", at, Body::Facts(Value::map([("model", Value::from("Latitude 5440"))]))),
        observe(
            "agent/0",
            at,
            Body::Gap { epoch: Epoch([9; 16]), first: 4, last: 6, reason: "corrupt".into() },
        ),
    ]
}

#[test]
fn every_kind_of_observation_survives_the_wire() {
    let sent = one_of_each();
    assert_eq!(decode_record(&encode_record(&sent)).unwrap(), sent);
}

#[test]
fn every_component_kind_survives_the_wire() {
    for kind in ComponentKind::ALL {
        let sent = vec![observe(&format!("{kind}/x"), 0, Body::Presence(Presence::Online))];
        assert_eq!(decode_record(&encode_record(&sent)).unwrap(), sent);
    }
}

#[test]
fn every_diagnostic_survives_the_wire() {
    for (name, _) in DiagnosticRequest::NAMES {
        let request = DiagnosticRequest::from_name(name, "C:").unwrap();
        let (id, back) = diagnostic_from_wire(diagnostic_to_wire("1-1", &request)).unwrap();
        assert_eq!((id.as_str(), back), ("1-1", request));
    }
}

#[test]
fn no_beginning_of_a_record_panics_and_flipped_bytes_never_do() {
    let bytes = encode_record(&one_of_each());
    for end in 0..bytes.len() {
        let _ = decode_record(&bytes[..end]);
    }
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            let _ = decode_record(&damaged);
        }
    }
}

#[test]
fn what_is_larger_than_the_limits_is_refused() {
    let many = vec![observe("os/0", 0, Body::Presence(Presence::Online)); limits::RECORD_OBSERVATIONS + 1];
    assert!(matches!(decode_record(&encode_record(&many)), Err(DecodeError::TooLarge { .. })));

    let mut deep = v1::Value { kind: Some(v1::value::Kind::Truth(true)) };
    for _ in 0..=Value::MAX_DEPTH {
        deep = v1::Value { kind: Some(v1::value::Kind::List(v1::ValueList { items: vec![deep] })) };
    }
    let record = v1::Record {
        base_ms: 0,
        texts: vec!["0".into()],
        observations: vec![v1::Observation {
            component_kind: v1::ComponentKind::Os.into(),
            component_id_text: 0,
            offset_ms: 0,
            body: Some(v1::observation::Body::Facts(deep)),
        }],
        repeats: vec![],
        inventories: vec![],
    };
    assert!(matches!(decode_record(&record.encode_to_vec()), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn texts_are_cut_at_the_limit_and_never_inside_a_character() {
    let long = "é".repeat(limits::TEXT_BYTES);
    let sent = vec![observe(
        "os/0",
        0,
        Body::Unavailable { what: "x".into(), reason: UnavailableReason::Malformed, detail: long },
    )];
    let back = decode_record(&encode_record(&sent)).unwrap();
    let Body::Unavailable { detail, .. } = &back[0].body else { panic!("not an unavailable value") };
    assert_eq!(detail.len(), limits::TEXT_BYTES);
}

#[test]
fn a_place_outside_the_table_of_texts_is_refused() {
    let record = v1::Record {
        base_ms: 0,
        texts: vec![],
        observations: vec![v1::Observation {
            component_kind: v1::ComponentKind::Os.into(),
            component_id_text: 7,
            offset_ms: 0,
            body: Some(v1::observation::Body::Presence(v1::Presence::Online.into())),
        }],
        repeats: vec![],
        inventories: vec![],
    };
    assert!(decode_record(&record.encode_to_vec()).is_err());
}

fn repeat(record: u64, count: usize, changed: &[(usize, i64)]) -> Repeat {
    let at = Timestamp::from_millis(1_767_603_360_000);
    Repeat { record: SequenceNumber(record), first: 3, count, at, changed: changed.to_vec() }
}

#[test]
fn what_a_record_repeats_survives_the_wire_with_its_place() {
    let own = one_of_each();
    let repeats = vec![
        (0, repeat(7, 200, &[(0, 1), (1, -1), (199, i64::MIN)])),
        (2, repeat(7, 1, &[])),
        (own.len(), repeat(u64::MAX, 1, &[(0, 0)])),
    ];
    let record = decode_record_with(&encode_record_with(&own, &repeats, &[])).unwrap();
    assert_eq!(record.repeats, repeats);
    assert_eq!(record.clone().into_own(), own);
    let alone = encode_record_with(&[], &repeats[..1], &[]);
    // The place of a record of nothing but repeats is before its own observations, of which there are none.
    assert_eq!(decode_record_with(&alone).unwrap().repeats, repeats[..1]);
    assert_eq!(leads_of(&alone).records, [SequenceNumber(7)]);
    assert_eq!(leads_of(b"\xff"), Leads::default());
}

#[test]
fn an_unchanged_minute_of_200_series_is_a_few_bytes() {
    let bytes = encode_record_with(&[], &[(0, repeat(1_000, 200, &[]))], &[]).len();
    assert!(bytes <= 24, "{bytes} bytes");
}

#[test]
fn repeats_that_cannot_be_are_refused() {
    let wire = |change: fn(&mut v1::Repeat)| {
        let mut record =
            v1::Record::decode(&*encode_record_with(&[], &[(0, repeat(1, 9, &[(3, 1), (4, 1)]))], &[]))
                .unwrap();
        change(&mut record.repeats[0]);
        record.encode_to_vec()
    };
    assert!(decode_record_with(&wire(|_| {})).is_ok());
    for bad in [
        wire(|repeat| repeat.place = 1),
        wire(|repeat| repeat.changed = vec![3, 0]),
        wire(|repeat| repeat.changed = vec![u32::MAX; 2]),
        wire(|repeat| repeat.differences = vec![1]),
        wire(|repeat| repeat.count = 1),
        wire(|repeat| repeat.count = u32::MAX),
    ] {
        let read = decode_record_with(&bad);
        // A place far behind what is repeated is refused when it is looked for.
        assert!(
            read.is_err() || read.unwrap().repeats[0].1.expand(&[]).is_err(),
            "accepted: {:?}",
            v1::Record::decode(&*bad)
        );
    }
    let many = vec![(0, repeat(1, 1, &[])); limits::RECORD_REPEATS + 1];
    assert!(matches!(
        decode_record_with(&encode_record_with(&[], &many, &[])),
        Err(DecodeError::TooLarge { .. })
    ));
}
