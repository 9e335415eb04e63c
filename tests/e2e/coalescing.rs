//! What does not change costs nothing on the wire and is seen all the same, whatever the collector forgets.

use firstline_proto::convert::decode_record_with;
use firstline_tests::database::{number, stored, texts};
use firstline_tests::figure::figure;
use firstline_tests::link::Link;
use firstline_tests::wait::{seconds, until};
use firstline_tests::{Agent, Collector};
use rusqlite::Connection;

/// When the size of the memory was seen last, which never changes.
fn seen(collector: &Collector) -> i64 {
    number(
        &collector.database(),
        "SELECT coalesce(max(observed_at), 0) FROM latest WHERE name = 'system.memory.limit'",
    )
}

fn seen_after(collector: &Collector, before: i64) -> i64 {
    until("an unchanged value is seen again", seconds(40), || {
        Some(seen(collector)).filter(|seen| *seen > before)
    })
}

fn audited(collector: &Collector, action: &str) -> i64 {
    number(&collector.database(), &format!("SELECT count(*) FROM audit WHERE action = '{action}'"))
}

/// How many of the stored records only repeat others, and the size of the largest of those.
fn repeating(collector: &Collector, agent: &Agent) -> (usize, usize) {
    let records = stored(&collector.database(), agent.device());
    let only = records.values().filter(|payload| {
        decode_record_with(payload).is_ok_and(|record| record.own.is_empty() && !record.repeats.is_empty())
    });
    (only.clone().count(), only.map(Vec::len).max().unwrap_or(0))
}

#[test]
fn an_unchanged_value_is_seen_in_every_look_over_a_restart_and_after_a_loss() {
    let mut collector = Collector::started();
    let link = Link::to(collector.agents());
    let url = collector.enrollment_url(&["--host", &link.address().to_string()]);
    let mut agent = Agent::enrolled_at(&url).probing(&["memory"], "").started();
    let mut last = 0;
    until("looks that repeat earlier ones", seconds(60), || {
        (repeating(&collector, &agent).0 >= 3).then_some(())
    });
    for _ in 0..2 {
        last = seen_after(&collector, last);
    }
    let (_, largest) = repeating(&collector, &agent);
    assert!(largest < 100, "an unchanged look takes {largest} bytes");

    // What it knows is not needed: everything is in the store.
    collector.kill();
    collector.start();
    link.lead_to(collector.agents());
    last = seen_after(&collector, last);
    last = seen_after(&collector, last);
    assert_eq!(audited(&collector, "record.repeats_missing"), 0);

    // What is repeated is gone from the store: it is told, asked for, and said again.
    collector.stop();
    let database = Connection::open(collector.database()).expect("the database can be opened");
    database.execute("DELETE FROM record", []).expect("records can be deleted");
    drop(database);
    collector.start();
    link.lead_to(collector.agents());
    until("the loss is told", seconds(40), || {
        (audited(&collector, "record.repeats_missing") > 0).then_some(())
    });
    last = seen_after(&collector, last);
    assert!(seen_after(&collector, last) > last);
    agent.stop();
}

#[test]
fn an_unchanged_inventory_is_a_digest_after_a_restart_of_the_agent_and_whole_for_a_collector_that_lost_it() {
    let packages = |collector: &Collector| {
        let query = "SELECT content FROM latest WHERE name = 'software' AND device = ?";
        (query, collector.database())
    };
    let mut collector = Collector::started();
    let link = Link::to(collector.agents());
    let url = collector.enrollment_url(&["--host", &link.address().to_string()]);
    let mut agent = Agent::enrolled_at(&url).probing(&["software"], "").started();
    let known = |collector: &Collector, agent: &Agent| {
        let (query, database) = packages(collector);
        texts(&database, query, agent.device()).pop().filter(|content| content.contains("state"))
    };
    let whole = until("the inventory is known", seconds(40), || known(&collector, &agent));
    let largest = |collector: &Collector, agent: &Agent| {
        let records = stored(&collector.database(), agent.device());
        records.values().map(Vec::len).sum::<usize>()
    };
    let before = largest(&collector, &agent);
    assert!(before > whole.len() / 2, "the first time it is said in full");
    agent.stop();
    agent.start();
    let inventories = |collector: &Collector, agent: &Agent| {
        let records = stored(&collector.database(), agent.device());
        let read = records.values().filter_map(|payload| decode_record_with(payload).ok());
        read.map(|record| record.inventories.len()).sum::<usize>()
    };
    until("a digest of it", seconds(40), || (inventories(&collector, &agent) > 0).then_some(()));
    let cost = largest(&collector, &agent) - before;
    figure("coalescing.unchanged_inventory", cost, "bytes");
    assert!(cost < 2_000, "{cost} bytes for an unchanged machine");

    collector.stop();
    let database = Connection::open(collector.database()).expect("the database can be opened");
    database.execute("DELETE FROM latest WHERE name = 'software'", []).expect("it can be deleted");
    drop(database);
    agent.stop();
    collector.start();
    link.lead_to(collector.agents());
    agent.start();
    let again = until("it is said in full again", seconds(40), || known(&collector, &agent));
    assert_eq!(again, whole);
    agent.stop();
}
