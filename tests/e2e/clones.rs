//! Two machines with one disk are found out, set apart, and said to a person.

use firstline_tests::database::{number, stored};
use firstline_tests::wait::{seconds, until};
use firstline_tests::{Agent, Collector};
use serde_json::Value as Json;

fn is_there(_: &Json) -> bool {
    true
}

fn status(collector: &mut Collector, agent: &Agent) -> Json {
    collector.rest().get_json(&format!("/api/v1/devices/{}", agent.device()))["status"].clone()
}

#[test]
fn r7_a_cloned_disk_is_found_out_within_a_minute_and_released_by_a_person() {
    let mut collector = Collector::started();
    let mut first = Agent::enrolled(&collector).probing(&["memory"], "").started();
    collector.wait_for_device(first.device());
    first.stop();
    let mut second = first.cloned();
    let before = stored(&collector.database(), first.device());
    first.start();
    second.start();
    let ticket = collector.ticket("agent.cloned", "is there", seconds(60), is_there);
    assert_eq!(ticket["device"]["id"], first.device());
    assert_eq!(status(&mut collector, &first), "quarantined");
    let after = stored(&collector.database(), first.device());
    assert!(before.iter().all(|(name, payload)| after.get(name) == Some(payload)), "a row was overwritten");

    // The copy gets an identity of its own, the original is let in again.
    second.stop();
    first.stop();
    second.enroll_again(&collector.enrollment_url(&[]));
    assert!(collector.run(&["device", "release", first.device()]).status.success());
    first.start();
    second.start();
    collector.wait_for_device(first.device());
    collector.wait_for_device(second.device());
    let resolved =
        collector.ticket("agent.cloned", "is resolved", seconds(30), |ticket| ticket["state"] == "resolved");
    assert_eq!(resolved["id"], ticket["id"]);
    assert_eq!(status(&mut collector, &first), "active");
}

#[test]
fn r7_a_machine_set_back_to_a_snapshot_is_found_out_and_a_restored_spool_is_not() {
    let mut collector = Collector::started();
    let mut agent = Agent::enrolled(&collector).probing(&["memory"], "");
    let spool = agent.spool();
    let lives = |collector: &mut Collector, agent: &mut Agent, count: usize| {
        for _ in 0..count {
            let records = format!("SELECT count(*) FROM record WHERE device = '{}'", agent.device());
            let before = number(&collector.database(), &records);
            agent.start();
            until("it has said something", seconds(20), || {
                (number(&collector.database(), &records) > before).then_some(())
            });
            agent.stop();
            // Its going is noted, so that the next coming is seen.
            let gone = format!(
                "SELECT count(*) FROM device WHERE id = '{}' AND presence <> 'online'",
                agent.device()
            );
            until("it is gone", seconds(10), || (number(&collector.database(), &gone) == 1).then_some(()));
        }
    };
    lives(&mut collector, &mut agent, 1);
    let older = agent.cloned();
    lives(&mut collector, &mut agent, 3);

    // An old copy of the spool alone: an administrator's restore, nothing to accuse anybody of.
    std::fs::copy(older.spool(), &spool).unwrap();
    for leftover in ["-wal", "-shm"] {
        let mut name = spool.clone().into_os_string();
        name.push(leftover);
        let _ = std::fs::remove_file(name);
    }
    lives(&mut collector, &mut agent, 2);
    assert_eq!(status(&mut collector, &agent), "active");

    // One stream is enough.
    let mut snapshot = agent.cloned();
    lives(&mut collector, &mut agent, 1);
    snapshot.start();
    collector.ticket("agent.cloned", "is there", seconds(60), is_there);
    assert_eq!(status(&mut collector, &agent), "quarantined");
}
