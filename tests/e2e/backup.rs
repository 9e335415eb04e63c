//! Backups of a collector that works, and what a collector restored from one is worth: a new machine, the old one's data
//! folder gone, agents that were told that everything is safe.

use firstline_tests::agent::SYNCED;
use firstline_tests::backlog::now_ms;
use firstline_tests::database::{delivered_exactly_once, number, stored_without_a_hole};
use firstline_tests::effort::effort;
use firstline_tests::figure::figure;
use firstline_tests::link::Link;
use firstline_tests::needs::{Need, met};
use firstline_tests::oracle::fleet::Fleet;
use firstline_tests::oracle::generator::RULE_FILE;
use firstline_tests::oracle::ledger::Ledger;
use firstline_tests::oracle::verdict::judge;
use firstline_tests::process;
use firstline_tests::wait::{pass, seconds, until, until_ok};
use firstline_tests::{Agent, Collector};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ORACLE: Need = Need::Program("python3");

/// A folder outside of every data folder, with a place for the backup and one for the seal key.
struct Elsewhere {
    folder: TempDir,
}

impl Elsewhere {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Backs the collector up. What it said.
    fn back_up(&self, collector: &Collector) -> serde_json::Value {
        let file = self.path("backup.tar");
        collector.run_json(&["backup", file.to_str().expect("a path"), "--json"])
    }

    /// The collector's machine is gone; only its seal key was kept.
    fn lose(&self, collector: &mut Collector) {
        collector.kill();
        std::fs::copy(collector.data().join("seal.key"), self.path("seal.key")).expect("a seal key");
        std::fs::remove_dir_all(collector.data()).expect("the data folder can be removed");
    }

    /// A collector of another data folder that is made from the backup. It does not run yet.
    fn restored(&self, arguments: &[&str]) -> (Collector, serde_json::Value) {
        let collector = Collector::prepared_in(self.path("restored")).with_arguments(arguments);
        let file = self.path("backup.tar");
        let said = collector.run_json(&["restore", file.to_str().expect("a path"), "--json"]);
        std::fs::copy(self.path("seal.key"), collector.data().join("seal.key"))
            .expect("the seal key is kept");
        (collector, said)
    }
}

/// A collector with the oracle's rule.
fn judged_by_the_oracle() -> Collector {
    let mut collector = Collector::prepared();
    collector.write_knowledge("oracle.toml", RULE_FILE);
    collector.write_knowledge("space.toml", "override = \"fs.space\"\nenabled = false\n");
    collector.start();
    collector
}

/// What one transaction made true together is true together.
fn is_one_moment(database: &Path) {
    let query = "SELECT count(*) FROM mark m WHERE through <>
                 (SELECT max(seq) FROM record r WHERE r.device = m.device AND r.epoch = m.epoch)";
    assert_eq!(number(database, query), 0, "marks and records are of different moments");
    let query = "SELECT count(*) - (SELECT value FROM counter WHERE name = 'record') FROM record";
    assert_eq!(number(database, query), 0, "records and their count are of different moments");
}

#[test]
fn f26_a_collector_restored_from_a_backup_gets_everything_again_and_gives_no_number_twice() {
    if !met(&[ORACLE]) {
        return;
    }
    let elsewhere = Elsewhere::new();
    let mut collector = judged_by_the_oracle();
    let link = Link::to(collector.agents());
    let url = collector.enrollment_url(&["--uses", "100", "--host", &link.address().to_string()]);
    let authority = std::fs::read_to_string(collector.authority()).unwrap();
    let seed = now_ms().unsigned_abs();
    figure("backup.seed", seed, "seed");
    let ledger = Arc::new(Ledger::begin(&elsewhere.path("ledger"), seed));
    // One has every record on disk before it is sent, the other sends first, as is usual.
    let agents = [SYNCED, ""].map(|spool| Agent::enrolled_at(&url).probing(&["memory"], spool).started());
    let fleet = Fleet::keeping_a_tail(3, seed, &ledger, &url, &authority, link.address());
    for agent in &agents {
        collector.wait_for_device(agent.device());
    }
    fleet.wait_for_acks(60, seconds(30));

    let said = elsewhere.back_up(&collector);
    let backed_up = said["records"].as_i64().unwrap();
    assert!(backed_up > 60, "{said}");
    let mode = std::fs::metadata(elsewhere.path("backup.tar")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "others may read the backup");

    // More, of everybody, which is then lost with the machine.
    fleet.wait_for_acks(60, seconds(30));
    let of_agents = |collector: &Collector| {
        let ids = agents.each_ref().map(|agent| format!("'{}'", agent.device())).join(",");
        number(&collector.database(), &format!("SELECT count(*) FROM record WHERE device IN ({ids})"))
    };
    let before = of_agents(&collector);
    until("the agents send more", seconds(30), || (of_agents(&collector) > before + 1).then_some(()));
    let sent = stored_without_a_hole(&collector.database(), agents[1].device()).unwrap();
    let last_ticket = number(&collector.database(), "SELECT coalesce(max(id), 0) FROM ticket");
    elsewhere.lose(&mut collector);

    let (mut restored, said) = elsewhere.restored(&[]);
    assert_eq!(said["records"], backed_up);
    assert_eq!(said["is_within_what_agents_keep"], true, "{said}");
    is_one_moment(&restored.database());
    assert_eq!(number(&restored.database(), "SELECT count(*) FROM record"), backed_up);
    let known = number(&restored.database(), "SELECT coalesce(max(id), 0) FROM ticket");
    restored.start();
    link.lead_to(restored.agents());
    link.cut();
    fleet.wait_for_acks(60, seconds(60));
    let [synced, usual] = &agents;
    until_ok("the agent's spool is stored once", seconds(90), || {
        delivered_exactly_once(&synced.spool(), &restored.database(), synced.device())
    });
    until_ok("every number of the other agent is stored", seconds(90), || {
        let stored = stored_without_a_hole(&restored.database(), usual.device())?;
        if stored > sent { Ok(()) } else { Err(format!("{stored} records are stored, {sent} were sent")) }
    });
    for agent in &agents {
        restored.wait_for_device(agent.device());
    }
    fleet.close(seconds(60));
    restored.stop();
    let counted = judge(&ledger, &restored.database(), &["--generated", "--tickets"])
        .unwrap_or_else(|faults| panic!("seed {seed}:\n{faults}"));
    figure("backup.records", counted.records, "count");
    figure("backup.lost", 0, "count");
    figure("backup.doubled", 0, "count");
    let database = restored.database();
    let twice = format!("SELECT count(*) FROM ticket WHERE id > {known} AND id <= {last_ticket}");
    assert_eq!(number(&database, &twice), 0, "a number that was given out before has another meaning now");
    assert_eq!(
        number(&database, "SELECT count(*) FROM device WHERE status <> 'active'"),
        0,
        "somebody is accused"
    );
    assert_eq!(number(&database, "SELECT count(*) FROM audit WHERE action = 'record.gap'"), 0);
}

#[test]
fn f26_what_agents_no_longer_keep_is_named_as_lost_and_holds_nothing_up() {
    if !met(&[ORACLE]) {
        return;
    }
    let elsewhere = Elsewhere::new();
    let mut collector = judged_by_the_oracle();
    let url = collector.enrollment_url(&["--uses", "100"]);
    let authority = std::fs::read_to_string(collector.authority()).unwrap();
    let seed = now_ms().unsigned_abs();
    let ledger = Arc::new(Ledger::begin(&elsewhere.path("ledger"), seed));
    // These keep nothing of what was acked, as if the backup were older than what agents keep.
    let fleet = Fleet::started(3, seed, &ledger, &url, &authority, collector.agents());
    fleet.wait_for_acks(40, seconds(30));
    elsewhere.back_up(&collector);
    fleet.wait_for_acks(40, seconds(30));
    elsewhere.lose(&mut collector);
    let (mut restored, _) = elsewhere.restored(&[]);
    restored.start();
    fleet.lead_to(restored.agents());
    fleet.wait_for_acks(40, seconds(30));
    restored.log().wait("the loss is said", seconds(10), |line| line.contains("they are lost").then_some(()));
    fleet.close(seconds(60));
    restored.stop();
    // Every record is stored once, or named in a gap.
    judge(&ledger, &restored.database(), &["--generated"])
        .unwrap_or_else(|faults| panic!("seed {seed}:\n{faults}"));
    let gaps = "SELECT count(*) FROM audit WHERE action = 'record.gap' AND detail LIKE '%backup%'";
    assert!(number(&restored.database(), gaps) >= 3, "one for each device at least");
}

#[test]
fn f26_devices_that_renewed_after_the_backup_come_back_and_a_copy_of_a_disk_is_found_out() {
    let hasty = ["--certificate-lifetime", "20s"];
    let elsewhere = Elsewhere::new();
    let mut collector = Collector::prepared().with_arguments(&hasty);
    collector.start();
    let link = Link::to(collector.agents());
    let url = collector.enrollment_url(&["--host", &link.address().to_string()]);
    let mut agent = Agent::enrolled_at(&url).probing(&["memory"], SYNCED).started();
    collector.wait_for_device(agent.device());
    elsewhere.back_up(&collector);
    let end =
        |collector: &Collector| number(&collector.database(), "SELECT certificate_not_after FROM device");
    let first = end(&collector);
    // Twice, so that what the backup knows is not even the one before.
    let second = until("the first renewal", seconds(30), || Some(end(&collector)).filter(|&now| now > first));
    until("the second renewal", seconds(30), || Some(end(&collector)).filter(|&now| now > second));
    elsewhere.lose(&mut collector);
    let (mut restored, _) = elsewhere.restored(&hasty);
    restored.start();
    link.lead_to(restored.agents());
    link.cut();
    restored.wait_for_device(agent.device());
    until_ok("the spool is stored once", seconds(60), || {
        delivered_exactly_once(&agent.spool(), &restored.database(), agent.device())
    });
    let status = "SELECT count(*) FROM device WHERE status = 'active'";
    assert_eq!(number(&restored.database(), status), 1, "an honest device is accused");

    agent.stop();
    let mut copy = agent.cloned();
    agent.start();
    copy.start();
    let ticket = restored.ticket("agent.cloned", "is there", seconds(60), |_| true);
    assert_eq!(ticket["device"]["id"], agent.device());
}

/// An administrator's command that may be killed.
fn begun(data: &Path, arguments: &[&str]) -> Child {
    let mut command = process::command(process::binary("firstline-collector"));
    command.arg("--data").arg(data).args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command can be started")
}

/// Kills it after this share of the time that it takes. Whether it had ended by itself.
fn killed_at(mut child: Child, moment: Duration) -> bool {
    pass(moment);
    let has_ended = child.try_wait().expect("the command can be asked for").is_some();
    child.kill().expect("the command can be killed");
    child.wait().expect("the command ends");
    has_ended
}

/// Names beside the backup and the data folder that nobody uses any more.
fn leftovers(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let names = entries.map(|entry| entry.expect("the folder can be read").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with('.')).collect()
}

#[test]
fn f26_a_backup_and_a_restore_killed_at_any_moment_leave_nothing_or_a_whole_one() {
    let rounds = effort(24_u32, 400);
    let elsewhere = Elsewhere::new();
    let collector = Collector::started();
    let file = elsewhere.path("backup.tar");
    let file = file.to_str().unwrap();
    let begin = Instant::now();
    elsewhere.back_up(&collector);
    let takes = begin.elapsed();
    let seal_key = collector.data().join("seal.key");
    let mut ended = 0;
    for round in 0..rounds {
        let moment = takes * round / rounds;
        let fresh = elsewhere.path(&format!("fresh-{round}.tar"));
        let child = begun(collector.data(), &["backup", fresh.to_str().unwrap()]);
        ended += u32::from(killed_at(child, moment));
        let child = begun(collector.data(), &["backup", file, "--replace"]);
        killed_at(child, moment);
        for (path, must_be_there) in [(fresh.as_path(), false), (Path::new(file), true)] {
            if !must_be_there && !path.exists() {
                continue;
            }
            let data = elsewhere.path(&format!("from-{round}-{must_be_there}"));
            let output = Collector::prepared_in(data).run(&["restore", path.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{} is not whole: {said}", path.display());
        }
    }
    assert!(ended < rounds, "no backup was killed before its end");
    collector.run_json(&["backup", file, "--replace", "--json"]);

    let begin = Instant::now();
    let first = Collector::prepared_in(elsewhere.path("first"));
    first.run_json(&["restore", file, "--json"]);
    let takes = begin.elapsed();
    for round in 0..rounds {
        let data = elsewhere.path("target");
        killed_at(begun(&data, &["restore", file]), takes * round / rounds);
        let target = Collector::prepared_in(data);
        if !target.data().exists() {
            target.run_json(&["restore", file, "--json"]);
        }
        let faults = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'";
        assert_eq!(number(&target.database(), faults), 0, "round {round}");
        std::fs::copy(&seal_key, target.data().join("seal.key")).unwrap();
        let status = target.run(&["authority", "status"]);
        assert!(status.status.success(), "round {round}: {}", String::from_utf8_lossy(&status.stderr));
        std::fs::remove_dir_all(target.data()).unwrap();
    }
    let last = Collector::prepared_in(elsewhere.path("target"));
    last.run_json(&["restore", file, "--json"]);
    let left: Vec<String> = leftovers(elsewhere.folder.path())
        .into_iter()
        .filter(|name| name.starts_with(".target.") || name.starts_with(".backup.tar."))
        .collect();
    assert!(left.is_empty(), "killed commands left this for ever: {left:?}");
}

#[test]
fn r30_a_backup_holds_no_secret_in_clear_and_no_key_unless_it_was_asked_for() {
    let elsewhere = Elsewhere::new();
    let mut collector = Collector::started();
    let link = collector.setup_link();
    let token = collector.run_json(&["token", "create", "--json"])["token"].as_str().unwrap().to_owned();
    let bearer = collector.run_json(&["api-token", "create", "--role", "admin", "--json"])["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let seal_key = std::fs::read_to_string(collector.data().join("seal.key")).unwrap();
    let seal_key = seal_key.lines().nth(1).unwrap().to_owned();
    let setup = link.split_once("token=").unwrap().1.to_owned();
    let holds = |file: &Path, canary: &str| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
    };
    elsewhere.back_up(&collector);
    let file = elsewhere.path("backup.tar");
    for canary in [&token, &bearer, &setup, &seal_key, "PRIVATE KEY"] {
        assert!(!holds(&file, canary), "{canary} is in the backup");
    }
    // The test can find what is there.
    let with_key = elsewhere.path("with-key.tar");
    let said = collector.run_json(&["backup", with_key.to_str().unwrap(), "--with-seal-key", "--json"]);
    assert_eq!(said["seal_key"], true);
    assert!(holds(&with_key, &seal_key));
    // Such a backup needs nothing else.
    let mut restored = Collector::prepared_in(elsewhere.path("whole"));
    let said = restored.run_json(&["restore", with_key.to_str().unwrap(), "--json"]);
    assert!(said["authority"].is_null(), "{said}");
    assert_eq!(said["tokens_withdrawn"], 1, "{said}");
    restored.start();
    assert_ne!(restored.setup_link(), link, "the old link lives");
}

#[test]
fn f26_a_restore_touches_no_data_folder_that_holds_anything_and_a_backup_no_file() {
    let elsewhere = Elsewhere::new();
    let collector = Collector::started();
    elsewhere.back_up(&collector);
    let file = elsewhere.path("backup.tar");
    let file = file.to_str().unwrap();
    let refused = |collector: &Collector, arguments: &[&str], expected: &str| {
        let output = collector.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{said} does not say {expected}");
    };
    refused(&collector, &["restore", file], "stop it");
    refused(&collector, &["backup", file], "--replace");
    let inside = collector.data().join("x.tar");
    refused(&collector, &["backup", inside.to_str().unwrap()], "another disk");
    let full = elsewhere.path("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("mine"), "mine").unwrap();
    refused(&Collector::prepared_in(full.clone()), &["restore", file], "not empty");
    assert_eq!(std::fs::read_dir(&full).unwrap().count(), 1);
    // Half a backup, and one of a newer collector: nothing is left behind.
    let whole = std::fs::read(file).unwrap();
    let half = elsewhere.path("half.tar");
    std::fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    let nowhere = elsewhere.path("nowhere");
    refused(
        &Collector::prepared_in(nowhere.clone()),
        &["restore", half.to_str().unwrap()],
        "nothing was changed",
    );
    assert!(!nowhere.exists());
    assert!(leftovers(elsewhere.folder.path()).is_empty(), "{:?}", leftovers(elsewhere.folder.path()));
}
