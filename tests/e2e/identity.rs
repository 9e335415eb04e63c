//! A device is who its certificate says, and nobody else.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use firstline_model::{Body, Component, ComponentKind, Observation, Timestamp, Value};
use firstline_proto::convert::encode_record;
use firstline_tests::agent::Identity;
use firstline_tests::database::{number, stored};
use firstline_tests::stranger::Stranger;
use firstline_tests::wait::{never, seconds, until};
use firstline_tests::{Agent, Collector};
use std::path::Path;
use tonic::Code;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A record that would be conspicuous if it were stored.
fn forged() -> Vec<u8> {
    b"forged".to_vec()
}

#[test]
fn nobody_speaks_for_another_device() {
    let mut collector = Collector::started();
    let victim = Agent::enrolled(&collector).probing(&["memory"], "").started();
    collector.wait_for_device(victim.device());
    let other = Agent::enrolled(&collector);

    let foreign = Stranger::of_another_authority(&victim.identity());
    assert_ne!(foreign.offers_a_record(collector.agents(), forged()).unwrap_err().code(), Code::Ok);
    let refused = foreign.shakes_hands(collector.agents()).unwrap_err();
    assert!(refused.contains("UnknownCA"), "TLS itself refuses it: {refused}");

    let bare =
        Stranger::without_certificate(&victim.identity()).offers_a_record(collector.agents(), forged());
    assert_eq!(bare.unwrap_err().code(), Code::Unauthenticated);

    for name in ["x-device-id", "device", "x-forwarded-client-cert"] {
        let pretending = Stranger::with_identity(&other.identity())
            .saying(name, victim.device())
            .offers_a_record(collector.agents(), forged());
        assert_eq!(pretending.unwrap_err().code(), Code::PermissionDenied, "{name}");
    }

    let database = collector.database();
    assert!(stored(&database, victim.device()).values().all(|payload| *payload != forged()));
    assert!(stored(&database, other.device()).is_empty());

    // The same device without a foreign name is heard: what was refused above was refused for its name.
    let answers =
        Stranger::with_identity(&other.identity()).offers_a_record(collector.agents(), forged()).unwrap();
    assert!(answers.len() >= 2, "{answers:?}");
    assert_eq!(stored(&database, other.device()).len(), 1);
}

/// Every RPC of the schema, as `Service.Method`.
fn rpcs() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/schema/firstline/v1");
    let mut rpcs = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut service = String::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split([' ', '(']).filter(|word| !word.is_empty()).collect();
            match words.as_slice() {
                ["service", name, ..] => service = (*name).to_owned(),
                ["rpc", name, ..] => rpcs.push(format!("{service}.{name}")),
                _ => {}
            }
        }
    }
    rpcs.sort();
    rpcs
}

/// Ways to name a device beside a certificate.
fn pretenders(own: &Identity, victim: &str) -> Vec<(String, Stranger)> {
    let headers = [
        "x-device-id",
        "device",
        "device-id",
        "grpc-metadata-device-id",
        "grpc-metadata-x-device",
        "x-forwarded-for",
        "x-forwarded-client-cert",
        "x-forwarded-user",
        "x-client-cert",
        "x-ssl-client-s-dn",
        "x-ssl-cert",
        "ssl-client-cert",
        "forwarded",
        "x-real-ip",
        "authorization",
        "cookie",
        "x-remote-user",
        "x-original-uri",
        "x-http-method-override",
        "from",
        "firstline-device",
    ];
    let mut all: Vec<_> = headers
        .iter()
        .map(|name| (format!("header {name}"), Stranger::with_identity(own).saying(name, victim)))
        .collect();
    let around = |before: &str, after: &str| Stranger::with_identity(own).asking_around(before, after);
    all.push(("path before".to_owned(), around(&format!("/{victim}"), "")));
    all.push(("path after".to_owned(), around("", &format!("/{victim}"))));
    all
}

#[test]
fn r2_no_rpc_lets_a_device_speak_for_another() {
    let mut collector = Collector::started();
    let victim = Agent::enrolled(&collector).probing(&["memory"], "").started();
    collector.wait_for_device(victim.device());
    let own = Agent::enrolled(&collector).identity();
    let name = victim.device();
    let database = collector.database();
    let identities = || number(&database, "SELECT count(*) FROM device");
    let devices = identities();

    for rpc in rpcs() {
        match rpc.as_str() {
            "Session.Stream" => {
                for (what, stranger) in pretenders(&own, name) {
                    let refused = stranger.offers_a_record(collector.agents(), forged()).unwrap_err();
                    let codes = [Code::PermissionDenied, Code::Unimplemented];
                    assert!(codes.contains(&refused.code()), "{rpc}, {what}: {refused:?}");
                }
                assert!(stored(&database, &own.device_id).is_empty(), "a pretender was heard");
                // What is looked for in the handshake, what stands behind a question mark and what a record says
                // do not name anybody: these are heard, as who the certificate says.
                let heard = [
                    Stranger::with_identity(&own).looking_for(name),
                    Stranger::with_identity(&own).asking_around("", &format!("?device={name}")),
                    Stranger::with_identity(&own),
                ];
                for stranger in heard {
                    stranger.offers_a_record(collector.agents(), impostor(name)).unwrap();
                }
                assert_eq!(stored(&database, &own.device_id).len(), 3);
            }
            "Enrollment.Enroll" => {
                for (what, stranger) in pretenders(&own, name) {
                    let refused = stranger.enrolls(collector.agents(), name).unwrap_err();
                    let codes = [Code::PermissionDenied, Code::Unimplemented];
                    assert!(codes.contains(&refused.code()), "{rpc}, {what}: {refused:?}");
                }
                assert_eq!(identities(), devices, "a pretender became a device");
            }
            "Enrollment.Renew" => {
                for (what, stranger) in pretenders(&own, name) {
                    let refused = stranger.renews(collector.agents()).unwrap_err();
                    let codes = [Code::PermissionDenied, Code::Unimplemented];
                    assert!(codes.contains(&refused.code()), "{rpc}, {what}: {refused:?}");
                }
                let bare = Stranger::without_certificate(&own).renews(collector.agents()).unwrap_err();
                assert_eq!(bare.code(), Code::Unauthenticated, "{rpc}");
                // Who asks without a foreign name gets a certificate of its own.
                let answer = Stranger::with_identity(&own).renews(collector.agents()).unwrap();
                let (_, leaf) = X509Certificate::from_der(&answer.certificate).unwrap();
                assert_eq!(leaf.subject().to_string(), format!("CN={}", own.device_id));
                let renewed = format!(
                    "SELECT count(*) FROM audit WHERE action = 'device.renew' AND subject = '{name}'"
                );
                assert_eq!(number(&database, &renewed), 0, "a pretender renewed the other's certificate");
            }
            other => panic!("{other} is new: say here how a device could name another one in it"),
        }
    }
    let foreign = |payload: &Vec<u8>| *payload == forged() || *payload == impostor(name);
    assert!(!stored(&database, name).values().any(foreign), "something was stored under the other's name");
    let shown = collector.rest().get_json(&format!("/api/v1/devices/{name}"));
    assert_ne!(shown["serial"], "IMPOSTOR", "{shown}");
}

/// A record that says to be of another device, in every way that a record can.
fn impostor(victim: &str) -> Vec<u8> {
    let facts = [("hostname", victim), ("device_id", victim), ("serial", "IMPOSTOR"), ("id", victim)];
    encode_record(&[Observation {
        component: Component::only(ComponentKind::Os),
        observed_at: Timestamp::from_millis(1_700_000_000_000),
        body: Body::Facts(Value::map(facts.map(|(key, value)| (key, Value::from(value))))),
    }])
}

#[test]
fn a_revoked_device_is_cut_and_stays_out() {
    let mut collector = Collector::started();
    let agent = Agent::enrolled(&collector).probing(&["memory"], "").started();
    collector.wait_for_device(agent.device());

    let begun = std::time::Instant::now();
    let output = collector.run(&["device", "revoke", agent.device()]);
    assert!(output.status.success());
    collector
        .log()
        .wait("the stream is cut", seconds(10), |line| line.contains("stream refused").then_some(()));
    assert!(begun.elapsed() < seconds(3), "the stream was cut after {:?}", begun.elapsed());
    agent.log().wait("the agent is told", seconds(10), |line| line.contains("Revoked").then_some(()));

    let refused = Stranger::with_identity(&agent.identity()).offers_a_record(collector.agents(), forged());
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let database = collector.database();
    let before = number(&database, "SELECT count(*) FROM record");
    never("a revoked device's record is stored", seconds(7), || {
        let now = number(&database, "SELECT count(*) FROM record");
        (now != before).then(|| format!("{before} records became {now}"))
    });
    let rest = collector.rest();
    until("the device is shown as revoked", seconds(5), || {
        (rest.get_json(&format!("/api/v1/devices/{}", agent.device()))["status"] == "revoked").then_some(())
    });
}
