//! The authority comes to its end: one ticket, said on the page of devices, ended by its rotation.

use firstline_tests::Collector;
use firstline_tests::fake_clock::{self, FakeClock};
use firstline_tests::wait::seconds;

/// The authority lives for 3650 days.
const DAYS: u32 = 3650;

#[test]
fn r6_an_authority_near_its_end_has_one_ticket_until_it_is_rotated() {
    if !fake_clock::is_there() {
        return;
    }
    let clock = FakeClock::right();
    let mut collector = Collector::prepared().with_clock(&clock);
    collector.start();
    collector.kill();
    let turn = |collector: &mut Collector, days: u32| {
        clock.turn(i64::from(days));
        collector.is_ahead(u64::from(days));
    };
    // Ten years later: the jump is real, and somebody says so.
    let mut collector = collector.with_arguments(&["--believe-clock"]);
    turn(&mut collector, DAYS - 50);
    collector.start();
    let is_there = |ticket: &serde_json::Value| ticket["state"] == "new";
    let first = collector.ticket("collector.certificate", "is there", seconds(30), is_there);
    assert!(first["device"].is_null());
    assert!(first["component"]["id"].as_str().unwrap().starts_with("authority-"), "{first:#}");
    assert_eq!(collector.rest().get("/readyz").status, 200);

    collector.kill();
    turn(&mut collector, DAYS - 5);
    collector.start();
    // P1 is before P2.
    let priority = first["priority"].as_str().unwrap();
    let grew = |ticket: &serde_json::Value| ticket["priority"].as_str().unwrap() < priority;
    let later = collector.ticket("collector.certificate", "grew", seconds(30), grew);
    assert_eq!(later["id"], first["id"]);

    assert!(collector.run(&["authority", "rotate", "--overlap", "1s"]).status.success());
    // Who asks over REST believes the new one from here on, so it has to be shown.
    collector.log().wait("only the new authority is in force", seconds(30), |line| {
        (line.contains("authorities in force") && line.contains("trusted=1")).then_some(())
    });
    let over = collector
        .ticket("collector.certificate", "is resolved", seconds(30), |ticket| ticket["state"] == "resolved");
    assert_eq!(over["id"], first["id"]);
}
