//! Networks and collectors that fail in the ways they do, and everybody coming back at once.

use firstline_tests::agent::SYNCED;
use firstline_tests::backlog::Backlog;
use firstline_tests::database::{WriteLock, delivered_exactly_once, number};
use firstline_tests::effort::effort;
use firstline_tests::figure::{figure, percentile};
use firstline_tests::healthy::{Healthy, enrolled, runtime};
use firstline_tests::keeper::{Keeper, bulky};
use firstline_tests::link::Link;
use firstline_tests::needs::{self, Need};
use firstline_tests::office::Office;
use firstline_tests::simulated::{ComeAgain, healthy_minute};
use firstline_tests::wait::{seconds, until, until_ok};
use firstline_tests::{Agent, Collector, process};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Barrier, watch};

/// How long everything takes on a slow network, in each direction, give or take a third.
const SLOW: Duration = Duration::from_millis(300);
/// A dead connection has to be noticed within this.
const NOTICED: Duration = Duration::from_secs(30);
/// An agent that says nothing is given up by the collector within this.
const SILENT: Duration = Duration::from_secs(110);
/// What a connection may cost the collector: what it holds, a batch, slices with the writer, TLS and HTTP/2 buffers.
const PER_CONNECTION: u64 = 2 << 20;
/// So many agents that are turned away are to come again each second, as `collector/README.md` tells operators.
const PACE: u64 = 50;

fn spooled(agent: &Agent) -> i64 {
    number(&agent.spool(), "SELECT count(*) FROM record")
}

fn everything_arrives(collector: &Collector, agent: &Agent) {
    until_ok("every record is stored exactly once", seconds(120), || {
        delivered_exactly_once(&agent.spool(), &collector.database(), agent.device())
    });
}

/// A running agent whose way to the collector is this link.
fn behind_a_link(collector: &mut Collector) -> (Link, Agent) {
    let link = Link::to(collector.agents());
    let url = collector.enrollment_url(&["--host", &link.address().to_string()]);
    let agent = Agent::enrolled_at(&url).probing(&["memory"], SYNCED).started();
    collector.wait_for_device(agent.device());
    (link, agent)
}

/// How long until the agent says, after `begun`, that it has no stream.
fn noticed(agent: &Agent, begun: Instant, lines_before: usize) -> Duration {
    let lost =
        |line: &String| line.contains("no stream to the collector") || line.contains("stream is closed");
    until("the agent notices", NOTICED + seconds(10), || {
        agent.log().lines().iter().skip(lines_before).any(lost).then_some(())
    });
    begun.elapsed()
}

#[test]
fn f11_a_network_that_loses_a_third_is_slow_and_narrow_delays_and_loses_nothing() {
    if !needs::met(&[Need::Root, Need::Program("ip"), Need::Program("tc"), Need::Program("nft")]) {
        return;
    }
    let office = Office::opened();
    let mut collector = Collector::prepared().listening_on(office.gateway());
    collector.start();
    // Packets are lost between agent and gateway, and what passed there is slow from there on.
    let link = Link::at(office.gateway(), collector.agents());
    link.is_slow(SLOW, SLOW / 3);
    let url = collector.enrollment_url(&["--host", &link.address().to_string()]);
    let mut agent = Agent::enrolled_at(&url).in_office(&office).probing(&["memory"], SYNCED).started();
    collector.wait_for_device(agent.device());
    agent.stop();
    Backlog { records: 800, full_drives: 1 }.write(&agent.spool());
    office.is_bad(30, 64);
    agent.start();
    until("the backlog arrives over the bad network", seconds(180), || {
        delivered_exactly_once(&agent.spool(), &collector.database(), agent.device())
            .is_ok_and(|records| records > 800)
            .then_some(())
    });
    let lost = office.lost();
    figure("f11.lost", lost, "packets");
    assert!(lost >= 20, "the network was not bad: {lost} packets lost");
    let opened =
        agent.log().lines().iter().filter(|line| line.contains("stream to the collector is open")).count();
    figure("f11.streams", opened, "count");
    assert!(opened <= 5, "{opened} streams: a bad network is no reason to come again and again");
}

#[test]
fn f11_f12_a_machine_that_is_gone_is_noticed_by_the_collector_within_half_a_minute() {
    if !needs::met(&[Need::Root, Need::Program("ip"), Need::Program("tc"), Need::Program("nft")]) {
        return;
    }
    let office = Office::opened();
    let mut collector = Collector::prepared().listening_on(office.gateway());
    collector.start();
    let url = collector.enrollment_url(&["--host", &collector.agents().to_string()]);
    // With the interval that a machine has, so that there is nothing in flight when it goes.
    let agent = Agent::enrolled_at(&url)
        .in_office(&office)
        .configured(&firstline_tests::agent::probes(&["memory"]).replace("interval_s = 5", "interval_s = 60"))
        .started();
    collector.wait_for_device(agent.device());
    let rest = collector.rest();
    let path = format!("/api/v1/devices/{}", agent.device());
    office.unplug();
    let begun = Instant::now();
    until_ok("the collector notices", NOTICED, || {
        let device = rest.get_json(&path);
        if device["presence"] == "online" { Err(device["presence"].to_string()) } else { Ok(()) }
    });
    figure("f12.gone_noticed", begun.elapsed().as_millis(), "ms");
}

#[test]
fn f12_a_dead_a_one_way_and_a_reset_connection_are_noticed_within_half_a_minute() {
    let mut collector = Collector::started();
    let (dead, dead_agent) = behind_a_link(&mut collector);
    let (deaf, deaf_agent) = behind_a_link(&mut collector);
    let (reset, reset_agent) = behind_a_link(&mut collector);
    let lines = [&dead_agent, &deaf_agent, &reset_agent].map(|agent| agent.log().lines().len());
    let begun = Instant::now();
    dead.go_dead();
    deaf.lose_acks();
    reset.cut();
    let took = noticed(&reset_agent, begun, lines[2]);
    figure("f12.reset_noticed", took.as_millis(), "ms");
    assert!(took <= seconds(2), "{took:?}");
    for (what, agent, before) in
        [("f12.blackhole_noticed", &dead_agent, lines[0]), ("f12.one_way_noticed", &deaf_agent, lines[1])]
    {
        let took = noticed(agent, begun, before);
        figure(what, took.as_millis(), "ms");
        assert!(took <= NOTICED, "{what}: {took:?}");
    }
    // The collector notices half-open connections too, and says where the device is. A link that answers for its other side
    // is only found out by the agent's silence.
    let rest = collector.rest();
    until_ok("the collector notices as well", SILENT, || {
        let device = rest.get_json(&format!("/api/v1/devices/{}", dead_agent.device()));
        if device["presence"] == "online" { Err(device["presence"].to_string()) } else { Ok(()) }
    });
    dead.heal();
    deaf.heal();
    for agent in [&dead_agent, &deaf_agent, &reset_agent] {
        everything_arrives(&collector, agent);
    }
}

#[test]
fn f14_while_the_collector_stands_still_the_spool_takes_over_and_memory_stays_small() {
    let mut collector = Collector::started();
    let mut agent = Agent::enrolled(&collector).probing(&["memory", "filesystem"], SYNCED).started();
    collector.wait_for_device(agent.device());
    agent.stop();
    Backlog { records: 6_000, full_drives: 8 }.write(&agent.spool());
    agent.start();
    let stored = || number(&collector.database(), "SELECT count(*) FROM record");
    until("the backlog is on its way", seconds(30), || (stored() > 100).then_some(()));
    let before = process::memory_of(agent.process_id());
    collector.freeze();
    let (begun, kept, lines) = (Instant::now(), spooled(&agent), agent.log().lines().len());
    let took = noticed(&agent, begun, lines);
    figure("f14.frozen_noticed", took.as_millis(), "ms");
    // Whoever still reads what was under way when the connection began to stand still has a second more.
    assert!(took <= NOTICED + seconds(2), "{took:?}");
    until("the spool takes over", seconds(30), || (spooled(&agent) >= kept + 6).then_some(()));
    let grown = process::memory_of(agent.process_id()).saturating_sub(before);
    figure("f14.agent_grew", grown >> 10, "KiB");
    assert!(grown <= 8 << 20, "{grown} bytes");
    collector.thaw();
    everything_arrives(&collector, &agent);
}

#[test]
fn f13_a_fleet_that_comes_back_is_served_live_data_first_and_loses_nothing() {
    let (devices, backlog) = (effort(200, 1_000), 100);
    let mut collector = Collector::started();
    let runtime = runtime();
    let agents = enrolled(&collector, &runtime, devices);
    collector.kill();
    let (stop, stopped) = watch::channel(false);
    let (address, at) = watch::channel(collector.agents());
    let names: Vec<String> = agents.iter().map(|agent| agent.device_id.clone()).collect();
    let keepers: Vec<Arc<Keeper>> = agents
        .into_iter()
        .zip(0_u64..)
        .map(|(agent, number)| {
            let keeper = Keeper::new();
            keeper.begin(epoch(number, b'o'), backlog);
            // As the agent does after a long outage.
            keeper.begin(epoch(number, b'n'), 1);
            let (delivering, at, stopped) = (Arc::clone(&keeper), at.clone(), stopped.clone());
            runtime.spawn(async move { delivering.deliver(&agent, at, stopped).await });
            keeper
        })
        .collect();
    collector.start();
    let idle = collector.memory();
    let begun = Instant::now();
    let _ = address.send(collector.agents());
    let mut most = idle;
    let waiting = || keepers.iter().map(|keeper| keeper.waiting()).sum::<u64>();
    until("what every device observes now is stored", seconds(90), || {
        most = most.max(collector.memory());
        keepers.iter().all(|keeper| keeper.newest_acked() >= 1).then_some(())
    });
    figure("f13.live_of_all_after", begun.elapsed().as_millis(), "ms");
    // Each device's own: when the last one comes, the first ones' backlog may be through.
    let least = keepers.iter().filter_map(|keeper| keeper.behind_live()).min().unwrap_or_default();
    figure("f13.backlog_behind_live", least, "records");
    assert!(least >= backlog / 2, "live data waited for the backlog: {least} of {backlog} were left");
    // Whoever observes something while the backlog drains does not wait for it either.
    let observed = Instant::now();
    keepers.iter().for_each(|keeper| keeper.observe());
    until("what is observed meanwhile is stored", seconds(60), || {
        most = most.max(collector.memory());
        keepers.iter().all(|keeper| keeper.newest_acked() >= 2).then_some(())
    });
    figure("f13.live_while_draining", observed.elapsed().as_millis(), "ms");
    figure("f13.backlog_left_later", waiting(), "records");
    until("the backlog is through", seconds(effort(180, 900)), || {
        most = most.max(collector.memory());
        (waiting() == 0).then_some(())
    });
    figure("f13.drained_after", begun.elapsed().as_millis(), "ms");
    figure("f13.collector_grew", (most - idle) >> 20, "MiB");
    assert!(most - idle <= devices as u64 * PER_CONNECTION / 4 + (64 << 20), "{} bytes", most - idle);
    let streams: u64 = keepers.iter().map(|keeper| keeper.streams()).sum();
    figure("f13.streams", streams, "count");
    assert!(streams <= 2 * devices as u64, "{streams} streams of {devices} devices: a storm");
    for (name, keeper) in names.iter().zip(&keepers) {
        assert_eq!(keeper.is_stored(name, &collector.database()), Ok(backlog + 2));
    }
    let _ = stop.send(true);
}

#[test]
fn f13_hundreds_that_come_in_the_same_second_are_let_in_at_a_steady_pace_and_nobody_else_notices() {
    let devices = effort(300, 1_000);
    let collector = Collector::started();
    let runtime = runtime();
    let agents = enrolled(&collector, &runtime, devices);
    let healthy = Healthy::start(&collector, 20);
    let begun = Instant::now();
    let all_connected = Arc::new(Barrier::new(devices));
    let coming: Vec<_> = agents
        .into_iter()
        .zip(0_u64..)
        .map(|(agent, number)| {
            let all_connected = Arc::clone(&all_connected);
            runtime.spawn(async move {
                let mut connected = agent.channel().await;
                while connected.is_err() {
                    // Too many handshakes: it is closed, and this agent's own pause follows.
                    tokio::time::sleep(Duration::from_millis(500 + number % 10 * 100)).await;
                    connected = agent.channel().await;
                }
                let channel = connected?;
                all_connected.wait().await;
                let (came, mut told) = (Instant::now(), Vec::new());
                let mut stream = loop {
                    match agent.stream_over(channel.clone(), epoch(number, b'c')).await {
                        Ok(stream) => break stream,
                        Err(error) => {
                            let later = error.downcast::<ComeAgain>()?;
                            told.push(later.after);
                            let jitter = Duration::from_millis(number * 7 % 1_000);
                            tokio::time::sleep(later.after + jitter).await;
                        }
                    }
                };
                stream.deliver(healthy_minute(number)).await?;
                anyhow::Ok((came.elapsed(), told))
            })
        })
        .collect();
    let came: Vec<(Duration, Vec<Duration>)> = coming
        .into_iter()
        .map(|coming| runtime.block_on(coming).expect("an agent ends").expect("it is let in"))
        .collect();
    let acks = percentile("f13.ack_while_all_come", 99, &healthy.since(begun));
    let last = came.iter().map(|(took, _)| *took).max().unwrap_or_default();
    figure("f13.all_in_after", last.as_millis(), "ms");
    let told: Vec<u64> = came.iter().flat_map(|(_, told)| told).map(Duration::as_secs).collect();
    figure("f13.turned_away", told.len(), "times");
    let first_told = |second: u64| {
        came.iter().filter(|(_, told)| told.first().is_some_and(|first| first.as_secs() == second)).count()
    };
    assert!(told.len() >= devices / 4, "{} were turned away: they did not come at once", told.len());
    // The seconds that they take at the pace, and the second of jitter that each told time may have on top.
    let window = told.len() as u64 / PACE + 2;
    for second in 1..=window {
        let count = first_told(second);
        assert!(count as u64 <= PACE * 3 / 2, "{count} of those that came first are told second {second}");
    }
    assert!(told.iter().all(|second| (1..=window).contains(second)), "{told:?}");
    assert!(last <= Duration::from_secs(window) * 2 + seconds(5), "the last one is in after {last:?}");
    assert!(acks <= seconds(2), "{acks:?}");
    healthy.stop();
}

fn epoch(number: u64, kind: u8) -> [u8; 16] {
    let mut name = [kind; 16];
    name[..8].copy_from_slice(&number.to_be_bytes());
    name
}

#[test]
fn f15_what_a_connection_holds_is_bounded_and_dies_with_the_collector_without_loss() {
    let (devices, records) = (20, 80);
    let mut collector = Collector::prepared().expecting_error("cannot store");
    collector.start();
    let runtime = runtime();
    let agents = enrolled(&collector, &runtime, devices);
    let (stop, stopped) = watch::channel(false);
    let (address, at) = watch::channel(collector.agents());
    let names: Vec<String> = agents.iter().map(|agent| agent.device_id.clone()).collect();
    let keepers: Vec<Arc<Keeper>> = agents
        .into_iter()
        .zip(0_u64..)
        .map(|(agent, number)| {
            let keeper = Keeper::new();
            keeper.begin(epoch(number, b'b'), 1);
            let (delivering, at, stopped) = (Arc::clone(&keeper), at.clone(), stopped.clone());
            runtime.spawn(async move { delivering.deliver(&agent, at, stopped).await });
            keeper
        })
        .collect();
    until("all streams are open", seconds(30), || {
        keepers.iter().all(|keeper| keeper.newest_acked() == 1).then_some(())
    });
    // Nothing can be stored, and each device has 4 MiB that its credit lets it send.
    let lock = WriteLock::on(&collector.database());
    let idle = collector.memory();
    keepers.iter().for_each(|keeper| keeper.fill(records, bulky));
    let begun = Instant::now();
    let mut most = idle;
    until("all of them press", seconds(30), || {
        most = most.max(collector.memory());
        (begun.elapsed() > seconds(4)).then_some(())
    });
    figure("f15.per_connection", ((most - idle) / devices as u64) >> 10, "KiB");
    assert!(most - idle <= devices as u64 * PER_CONNECTION + (16 << 20), "{} bytes", most - idle);
    // As the kernel does when memory runs out.
    collector.kill();
    drop(lock);
    collector.start();
    let _ = address.send(collector.agents());
    until("everything is delivered", seconds(240), || {
        keepers.iter().all(|keeper| keeper.waiting() == 0).then_some(())
    });
    for (name, keeper) in names.iter().zip(&keepers) {
        assert_eq!(keeper.is_stored(name, &collector.database()), Ok(records + 1));
    }
    let _ = stop.send(true);
}
