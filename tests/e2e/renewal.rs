//! Certificates are renewed by themselves, in time and after it; nothing waits for a person.

use firstline_proto::v1;
use firstline_tests::agent::SYNCED;
use firstline_tests::backlog::{Backlog, now_ms};
use firstline_tests::database::{delivered_exactly_once, number};
use firstline_tests::simulated::SimulatedAgent;
use firstline_tests::stranger::Stranger;
use firstline_tests::wait::{seconds, until, until_ok};
use firstline_tests::{Agent, Collector};

/// A collector whose device certificates last seconds instead of days.
fn hasty() -> Collector {
    let mut collector = Collector::prepared().with_arguments(&["--certificate-lifetime", "10s"]);
    collector.start();
    collector
}

fn fingerprint(collector: &Collector, agent: &Agent) -> i64 {
    // The times of ends differ as the fingerprints do.
    number(
        &collector.database(),
        &format!("SELECT certificate_not_after FROM device WHERE id = '{}'", agent.device()),
    )
}

#[test]
fn r5_a_certificate_is_renewed_at_half_of_its_life_again_and_again() {
    let mut collector = hasty();
    let agent = Agent::enrolled(&collector).probing(&["memory"], SYNCED).started();
    collector.wait_for_device(agent.device());
    let mut last = fingerprint(&collector, &agent);
    for renewal in 0..3 {
        last = until(&format!("renewal {renewal}"), seconds(20), || {
            let now = fingerprint(&collector, &agent);
            (now != last).then_some(now)
        });
        let left = last - now_ms();
        assert!(left > 5_000, "renewed with {left} ms left: the stream must never meet the end");
    }
    let refused = agent.log().lines().into_iter().find(|line| line.contains("Expired"));
    assert!(refused.is_none(), "it came too late: {refused:?}");
    until_ok("everything is delivered once", seconds(30), || {
        delivered_exactly_once(&agent.spool(), &collector.database(), agent.device())
    });
}

#[test]
fn r5_a_machine_that_was_away_beyond_its_certificate_comes_back_by_itself_with_its_spool() {
    let mut collector = hasty();
    let mut agent = Agent::enrolled(&collector).probing(&["memory"], SYNCED).started();
    collector.wait_for_device(agent.device());
    agent.stop();
    Backlog { records: 500, full_drives: 1 }.write(&agent.spool());
    let end = fingerprint(&collector, &agent);
    until("the certificate ends", seconds(20), || (now_ms() > end + 1_000).then_some(()));

    // With it nothing can be said any more.
    let refused = Stranger::with_identity(&agent.identity())
        .offers_a_record(collector.agents(), b"late".to_vec())
        .unwrap();
    assert!(
        matches!(
            refused.last().unwrap().message,
            Some(v1::collector_message::Message::Refusal(ref refusal))
                if refusal.reason() == v1::RefusalReason::Expired
        ),
        "{refused:?}"
    );
    agent.start();
    until_ok("the spool is delivered", seconds(60), || {
        let records = delivered_exactly_once(&agent.spool(), &collector.database(), agent.device())?;
        if records > 500 { Ok(()) } else { Err(format!("{records} records")) }
    });
    assert!(fingerprint(&collector, &agent) > end);
}

#[test]
fn r5_a_connected_device_that_does_not_renew_becomes_a_ticket_and_its_renewal_resolves_it() {
    let mut collector = Collector::prepared().with_arguments(&["--certificate-lifetime", "40s"]);
    collector.start();
    let url = collector.enrollment_url(&[]);
    let authority = std::fs::read_to_string(collector.authority()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (mut device, stream) = runtime.block_on(async {
        let device = SimulatedAgent::enroll(&url, &authority, "pc").await.unwrap();
        let stream = device.stream([1; 16]).await.unwrap();
        (device, stream)
    });
    let ticket = collector.ticket("agent.certificate", "is there", seconds(45), |_| true);
    assert_eq!(ticket["device"]["id"], device.device_id);
    drop(stream);
    let renewed = runtime.block_on(async {
        device.renew().await.unwrap();
        device.stream([2; 16]).await.unwrap()
    });
    let is_resolved = |ticket: &serde_json::Value| ticket["state"] == "resolved";
    let resolved = collector.ticket("agent.certificate", "is resolved", seconds(30), is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
    drop(renewed);
}

#[test]
fn r5_a_revoked_device_renews_nothing() {
    let collector = Collector::started();
    let agent = Agent::enrolled(&collector);
    assert!(collector.run(&["device", "revoke", agent.device()]).status.success());
    let refused = Stranger::with_identity(&agent.identity()).renews(collector.agents()).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{refused:?}");
}

#[test]
fn r5_a_machine_that_was_enrolled_again_still_delivers_its_spool() {
    let mut collector = Collector::started();
    let mut agent = Agent::enrolled(&collector).probing(&["memory"], "");
    let backlog = Backlog { records: 500, full_drives: 1 };
    agent.start();
    collector.wait_for_device(agent.device());
    agent.stop();
    assert!(collector.run(&["device", "revoke", agent.device()]).status.success());
    backlog.write(&agent.spool());
    let before = agent.device().to_owned();
    agent.enroll_again(&collector.enrollment_url(&[]));
    assert_ne!(agent.device(), before);
    agent.start();
    collector.wait_for_device(agent.device());
    let count = format!("SELECT count(*) FROM record WHERE device = '{}'", agent.device());
    until("the spool is delivered", seconds(60), || {
        (number(&collector.database(), &count) > 500).then_some(())
    });
}
