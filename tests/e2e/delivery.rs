//! Nothing is lost and nothing is doubled between an agent's spool and the collector's store, whatever dies in between.

use firstline_tests::agent::SYNCED;
use firstline_tests::backlog::{Backlog, drive_name};
use firstline_tests::database::{WriteLock, delivered_exactly_once, number, openings, stored};
use firstline_tests::link::Link;
use firstline_tests::wait::{seconds, until, until_ok};
use firstline_tests::{Agent, Collector};
use std::time::Duration;

const BACKLOG: Backlog = Backlog { records: 6_000, full_drives: 8 };

/// The most records that an agent puts into one batch.
const BATCH: usize = 1_000;

/// A collector, an agent that reaches it through a link, and a backlog in the agent's spool.
struct Scene {
    collector: Collector,
    link: Link,
    agent: Agent,
}

impl Scene {
    fn with_backlog() -> Self {
        let mut collector = Collector::started();
        let link = Link::to(collector.agents());
        let url = collector.enrollment_url(&["--host", &link.address().to_string()]);
        let mut agent = Agent::enrolled_at(&url).probing(&["memory", "filesystem"], SYNCED).started();
        collector.wait_for_device(agent.device());
        agent.stop();
        BACKLOG.write(&agent.spool());
        Self { collector, link, agent }
    }

    /// How many records of the backlog are stored.
    fn arrived(&self) -> usize {
        stored(&self.collector.database(), self.agent.device()).len()
    }

    /// About how many bytes a full batch of the backlog has.
    fn batch_bytes(&self) -> usize {
        let query = "SELECT sum(length(payload) + 3) / count(*) FROM record";
        usize::try_from(number(&self.agent.spool(), query)).expect("a size") * BATCH
    }

    fn restart_collector(&mut self) {
        self.collector.start();
        self.link.lead_to(self.collector.agents());
    }

    /// Everything is delivered, each record once, and each full drive has one ticket that was opened once.
    fn is_whole(&self) {
        let (spool, database) = (self.agent.spool(), self.collector.database());
        let records = until_ok("every record is stored exactly once", seconds(90), || {
            let records = delivered_exactly_once(&spool, &database, self.agent.device())?;
            if records as u64 > BACKLOG.records {
                Ok(records)
            } else {
                Err(format!("only {records} records"))
            }
        });
        assert!(records as u64 > BACKLOG.records);
        let openings = openings(&database, self.agent.device());
        for drive in 0..BACKLOG.full_drives {
            let fault = ("fs.space".to_owned(), drive_name(drive));
            assert_eq!(openings.get(&fault), Some(&1), "drive {drive}: {openings:?}");
        }
    }
}

#[test]
fn a_collector_killed_while_it_stores_loses_and_doubles_nothing() {
    let mut scene = Scene::with_backlog();
    scene.link.stop_after(150_000);
    scene.agent.start();
    for _ in 0..3 {
        // In the middle of a batch: its beginning has arrived, its end has not, and acks are under way.
        scene.link.wait_until_stopped(seconds(30));
        let before = scene.arrived();
        assert!((before as u64) < BACKLOG.records, "the backlog is too small for this test");
        scene.collector.kill();
        scene.link.cut();
        scene.restart_collector();
        scene.link.stop_after(150_000);
    }
    scene.link.heal();
    scene.is_whole();
}

#[test]
fn nothing_is_acked_before_it_is_stored() {
    let mut scene = Scene::with_backlog();
    let batch = scene.batch_bytes();
    scene.link.stop_after(batch * 3 / 2);
    scene.agent.start();
    scene.link.wait_until_stopped(seconds(30));
    until("the first batch is stored", seconds(30), || (scene.arrived() > BATCH).then_some(()));
    // From here on the collector hears but cannot commit. The second batch becomes whole, the third only half.
    let lock = WriteLock::on(&scene.collector.database());
    scene.link.stop_after(batch);
    scene.link.wait_until_stopped(seconds(30));
    assert!(scene.arrived() < BATCH * 2, "the second batch was stored before the lock");
    scene.collector.kill();
    drop(lock);
    scene.link.cut();
    scene.link.heal();
    scene.restart_collector();
    scene.is_whole();
    // An agent that holds an ack for more than the collector has says so (and sends it again).
    let lines = scene.agent.log().lines();
    let broken = lines.iter().find(|line| line.contains("restored from a backup"));
    assert!(broken.is_none(), "an ack was not kept: {broken:?}");
}

#[test]
fn records_whose_acks_were_lost_are_not_stored_twice() {
    let mut scene = Scene::with_backlog();
    scene.agent.start();
    until("some of the backlog arrives", seconds(30), || (scene.arrived() > 100).then_some(()));
    scene.link.lose_acks();
    let stuck = scene.arrived();
    until("more is stored than the agent knows", seconds(30), || (scene.arrived() > stuck).then_some(()));
    scene.collector.kill();
    scene.link.cut();
    scene.link.heal();
    scene.restart_collector();
    scene.is_whole();
}

#[test]
fn an_agent_killed_while_it_sends_loses_and_doubles_nothing() {
    let mut scene = Scene::with_backlog();
    for _ in 0..3 {
        scene.link.stop_after(100_000);
        scene.agent.start();
        scene.link.wait_until_stopped(seconds(30));
        scene.agent.kill();
        scene.link.cut();
    }
    assert!((scene.arrived() as u64) < BACKLOG.records, "the backlog is too small for this test");
    scene.link.heal();
    scene.agent.start();
    scene.is_whole();
    let lives = number(&scene.agent.spool(), "SELECT count(*) FROM epoch");
    assert!(lives >= 4, "each life of the agent numbers its records anew: {lives} epochs");
}

#[test]
fn a_link_that_is_dead_for_two_minutes_delays_and_loses_nothing() {
    const DEAD: Duration = Duration::from_secs(120);
    let mut scene = Scene::with_backlog();
    scene.agent.start();
    until("the backlog is on its way", seconds(30), || (scene.arrived() > 100).then_some(()));
    scene.link.go_dead();
    let spool = scene.agent.spool();
    let newest = "SELECT max(spooled_at) FROM record";
    let begun = number(&spool, newest);
    let arrived = scene.arrived();
    until("the agent collects for two minutes", DEAD + seconds(30), || {
        let since = number(&spool, newest) - begun;
        (u128::try_from(since).ok()? >= DEAD.as_millis()).then_some(())
    });
    assert!((scene.arrived() as u64) < BACKLOG.records, "the link was not dead: {arrived} records before");
    scene.link.heal();
    scene.is_whole();
    scene.collector.wait_for_device(scene.agent.device());
}
