//! The disk that the agent's data lie on refuses: full, read-only, failing writes, failing syncs, before the start and during
//! the run. The agent stays, nothing of what it then holds counts as durable, and within ten seconds after the disk is
//! well again it goes on without anybody's help. The oracle judges what arrived.

use crate::agent_dies::{Scene, Synced};
use firstline_tests::Agent;
use firstline_tests::database::number;
use firstline_tests::disk::SmallDisk;
use firstline_tests::figure::figure;
use firstline_tests::needs::{Need, met};
use firstline_tests::process;
use firstline_tests::tracer::Tracer;
use firstline_tests::volume::{FileSystem, Volume};
use firstline_tests::wait::{seconds, until, until_ok};
use serde_json::Value as Json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// From the repair of the disk to the next durable record.
const HEALS_WITHIN: Duration = seconds(10);
const REFUSES: &str = "records wait in memory";
const ORACLE: Need = Need::Program("python3");

fn durable(agent: &Agent) -> usize {
    agent.log().lines().iter().filter(|line| line.contains("firstline_agent::ledger: durable")).count()
}

/// How often the agent said that its disk refuses. It says so once each time.
fn refusals(agent: &Agent) -> usize {
    agent.log().lines().iter().filter(|line| line.contains(REFUSES)).count()
}

fn status(agent: &Agent) -> Option<Json> {
    let mut stream = UnixStream::connect(agent.data().join("status.sock")).ok()?;
    stream.set_read_timeout(Some(seconds(5))).ok()?;
    stream.write_all(b"status\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(&answer).ok()
}

fn doctor(agent: &Agent) -> String {
    let mut command = process::command(process::binary("firstline-agent"));
    command.args(["doctor", "--data"]).arg(agent.data());
    String::from_utf8_lossy(&process::run_with_input(command, "").stdout).into_owned()
}

/// Waits for `more` further durable records and says how long the first one took.
fn heals(agent: &Agent, part: &str, before: usize, more: usize) {
    let repaired = Instant::now();
    until("a record is durable again", HEALS_WITHIN, || (durable(agent) > before).then_some(()));
    figure(&format!("agent_disk.{part}.heal"), repaired.elapsed().as_millis(), "ms");
    until("what waited is durable", seconds(30), || (durable(agent) >= before + more).then_some(()));
}

#[test]
fn r23_agent_on_a_disk_that_fills_up_waits_and_goes_on_when_there_is_room() {
    if !met(&[ORACLE, Need::Root]) {
        return;
    }
    let disk = SmallDisk::mounted(12);
    let mut scene =
        Scene::with_agent_in(Some(&disk.path().join("agent")), crate::agent_dies::seed(0), Synced::Always);
    let said = scene.begin(0);
    let agent = &scene.agent;
    agent.log().wait("a record is durable", seconds(15), crate::agent_dies::is_durable);
    disk.fill();
    until("the agent says that its disk refuses", seconds(30), || (refusals(agent) == 1).then_some(()));
    let state = until("records wait in memory", seconds(30), || {
        status(agent).filter(|state| state["records_in_memory"].as_u64() >= Some(2))
    });
    let why = state["spool_trouble"]["text"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("spool.db") && why.contains("full"), "{why}");
    let before = durable(agent);
    let told = doctor(agent);
    assert!(told.contains("records wait in memory") && told.contains("make room"), "{told}");
    assert_eq!(durable(agent), before, "a record counts as durable though the disk refuses");
    disk.empty();
    heals(agent, "full", before, 3);
    assert_eq!(refusals(agent), 1, "it repeats itself");
    let log = scene.agent.kill_for_log();
    scene.note(&log, said);
    scene.judged();
}

#[test]
fn r23_agent_that_starts_on_a_full_disk_runs_and_moves_to_its_spool_when_there_is_room() {
    if !met(&[ORACLE, Need::Root]) {
        return;
    }
    let disk = SmallDisk::mounted(12);
    let mut scene =
        Scene::with_agent_in(Some(&disk.path().join("agent")), crate::agent_dies::seed(0), Synced::Always);
    // So much inventory each time that memory is full of it soon.
    scene.reports_inventory();
    disk.fill();
    let said = scene.begin(0);
    scene.agent.log().wait("the spool cannot be opened", seconds(10), |line| {
        (line.contains("the spool cannot be opened") && line.contains(REFUSES)).then_some(())
    });
    let left_out = until("memory is full", seconds(120), || {
        status(&scene.agent).and_then(|state| state["records_left_out"].as_u64().filter(|count| *count > 2))
    });
    assert_eq!(durable(&scene.agent), 0, "a record counts as durable though there is no spool");
    assert!(scene.agent.memory() < 64 << 20, "{} bytes", scene.agent.memory());
    disk.empty();
    heals(&scene.agent, "full_at_start", 0, 4);
    let database = scene.collector.database();
    let query = "SELECT coalesce(sum(substr(detail, 1, instr(detail, ' ') - 1)), 0) FROM audit
                 WHERE action = 'record.gap' AND detail LIKE '%disk_refused'";
    until_ok("a gap record names what found no room", seconds(30), || {
        let named = u64::try_from(number(&database, query)).unwrap_or(0);
        if named >= left_out { Ok(()) } else { Err(format!("{named} of {left_out} are named")) }
    });
    let log = scene.agent.kill_for_log();
    scene.note(&log, said);
    scene.judged();
}

#[test]
fn r23_agent_that_starts_on_a_read_only_disk_runs_and_moves_to_its_spool_when_it_can_be_written() {
    if !met(&[ORACLE, Need::Root, Need::Program("mkfs.ext4"), Need::Program("xfs_io")]) {
        return;
    }
    let volume = Volume::formatted(FileSystem::Ext4);
    let mut scene =
        Scene::with_agent_in(Some(&volume.path().join("agent")), crate::agent_dies::seed(0), Synced::Always);
    // A life before, so that there is a spool with something in it.
    let said = scene.begin(0);
    until("records are durable", seconds(20), || (durable(&scene.agent) >= 3).then_some(()));
    let log = scene.agent.kill_for_log();
    scene.note(&log, said);
    volume.remount("ro");
    let said = scene.begin(1);
    scene.agent.log().wait("the spool cannot be opened", seconds(10), |line| {
        (line.contains("the spool cannot be opened") && line.contains(REFUSES)).then_some(())
    });
    let told = doctor(&scene.agent);
    assert!(told.contains("Read-only file system"), "{told}");
    assert!(!scene.agent.has_ended());
    volume.remount("rw");
    heals(&scene.agent, "read_only_at_start", 0, 3);
    until("its status can be asked for again", seconds(15), || status(&scene.agent).map(drop));
    let log = scene.agent.kill_for_log();
    scene.note(&log, said);
    scene.judged();
}

#[test]
fn r23_agent_whose_writes_and_syncs_fail_calls_nothing_durable_until_they_work() {
    if !met(&[ORACLE, Need::Root, Need::Program("strace")]) {
        return;
    }
    let mut scene = Scene::with_agent_in(None, crate::agent_dies::seed(0), Synced::Always);
    let said = scene.begin(0);
    until("records are durable", seconds(20), || (durable(&scene.agent) >= 3).then_some(()));
    for (number, (calls, error)) in
        [("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("pwrite64", "EROFS"), ("fdatasync,fsync", "EIO")]
            .into_iter()
            .enumerate()
    {
        let agent = &scene.agent;
        let tracer = Tracer::of(agent.process_id(), calls, Some(&format!("{calls}:error={error}")));
        let what = format!("the agent says that {calls} fails with {error}");
        until(&what, seconds(20), || (refusals(agent) == number + 1).then_some(()));
        let (before, injected) = (durable(agent), tracer.count("(INJECTED)"));
        tracer.wait_for("(INJECTED)", injected + 3, seconds(30));
        assert_eq!(durable(agent), before, "{calls} fails with {error}, and a record counts as durable");
        drop(tracer);
        heals(agent, &format!("{}.{error}", calls.split(',').next().unwrap_or(calls)), before, 2);
    }
    let log = scene.agent.kill_for_log();
    scene.note(&log, said);
    scene.judged();
}

#[test]
fn r23_agent_that_loses_power_after_failed_syncs_had_called_nothing_durable_that_is_lost() {
    let needs =
        [ORACLE, Need::Root, Need::Program("strace"), Need::Program("xfs_io"), Need::Program("mkfs.xfs")];
    if !met(&needs) {
        return;
    }
    let mut volume = Volume::formatted(FileSystem::Xfs);
    let mut scene =
        Scene::with_agent_in(Some(&volume.path().join("agent")), crate::agent_dies::seed(0), Synced::Always);
    for round in 0..firstline_tests::effort::effort(2, 20) {
        let said = scene.begin(round);
        until("records are durable", seconds(20), || (durable(&scene.agent) >= 3).then_some(()));
        let syncs = "fdatasync,fsync,sync_file_range";
        let tracer = Tracer::of(scene.agent.process_id(), syncs, Some(&format!("{syncs}:error=EIO")));
        tracer.wait_for("(INJECTED)", 3, seconds(30));
        // No sync is under way, because none is carried out.
        volume.cut_power();
        drop(tracer);
        let log = scene.agent.kill_for_log();
        scene.note(&log, said);
        volume.restore_power();
    }
    scene.judged();
}
