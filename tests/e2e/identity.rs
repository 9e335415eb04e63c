//! A device is who its certificate says, and nobody else.

use firstline_tests::database::{number, stored};
use firstline_tests::stranger::Stranger;
use firstline_tests::wait::{never, seconds, until};
use firstline_tests::{Agent, Collector};
use tonic::Code;

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
