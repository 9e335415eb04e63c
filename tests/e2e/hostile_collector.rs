//! A collector that does its worst: it has the certificate that the agent trusts and sends every message that the schema
//! knows, filled with what an attacker would try. The agent starts nothing, writes nowhere but into its folder, talks to
//! nobody else, keeps its bounds and its size, and afterwards delivers everything to an honest collector.

mod server;
mod values;

use firstline_model::Body;
use firstline_proto::convert::decode_record;
use firstline_tests::database::stored;
use firstline_tests::effort::effort;
use firstline_tests::figure::figure;
use firstline_tests::needs::{Need, met};
use firstline_tests::tracer::Tracer;
use firstline_tests::wait::{seconds, until, until_ok};
use firstline_tests::{Agent, Collector};
use server::HostileCollector;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Instant;

/// Values of one stream; then the agent begins a life anew, because after a refusal it would stay away for long.
const OF_A_LIFE: u64 = 2_500;
/// How much larger the agent may be at its largest. A message may have 4 MiB, and is held more than once.
const MOST_GROWTH: u64 = 48 << 20;
/// Services of this very machine that the agent's tests ask: its resolver and its print service.
const LOCAL: [u16; 2] = [53, 631];
/// Calls that start, write, or reach somebody.
const WATCHED: &str = "execve,execveat,fork,vfork,openat,open,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,\
    mkdirat,symlink,symlinkat,link,linkat,chmod,fchmodat,chown,fchownat,truncate,mknod,mknodat,connect,bind,listen,\
    sendto,sendmsg,sendmmsg,ptrace,mount,setuid";

/// What a line of strace says that must not be, if it does.
fn offence(line: &str, data: &Path, collector: u16) -> Option<&'static str> {
    let call = line.split_once(' ').map_or(line, |(_, rest)| rest.trim_start());
    let name = call.split('(').next().unwrap_or_default();
    // A connection that does not block is "in progress", which is no failure.
    let failed = call.contains(" = -1 ") && !call.contains("EINPROGRESS");
    if failed || call.starts_with("+++") || call.starts_with("---") {
        return None;
    }
    let paths = || call.split('"').skip(1).step_by(2);
    let is_ours = |path: &str| Path::new(path).starts_with(data) && !path.contains("/../");
    match name {
        "execve" | "execveat" | "fork" | "vfork" | "ptrace" | "mount" | "setuid" => {
            Some("it starts something")
        }
        "listen" => Some("it listens"),
        "openat" | "open" | "creat" => {
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"];
            let writes = name == "creat" || writes.iter().any(|flag| call.contains(flag));
            (writes && !paths().all(is_ours)).then_some("it writes outside of its folder")
        }
        "connect" | "bind" | "sendto" | "sendmsg" | "sendmmsg" => {
            let is_known = |port: &u16| {
                call.contains(&format!("sin_port=htons({port}), sin_addr=inet_addr(\"127.0.0.1\")"))
            };
            let elsewhere = call.contains("AF_INET6")
                || (call.contains("AF_INET") && !LOCAL.iter().chain([&collector]).any(is_known));
            elsewhere.then_some("it talks to somebody else")
        }
        _ => (!paths().all(is_ours)).then_some("it changes something outside of its folder"),
    }
}

/// Children of any thread.
fn children(process: u32) -> String {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok()).collect()
}

fn captured_machine(folder: &Path) -> std::path::PathBuf {
    let machine = folder.join("machine");
    std::fs::create_dir_all(machine.join("proc")).expect("a captured machine");
    let text = "MemTotal: 16000000 kB\nMemFree: 8000000 kB\nMemAvailable: 8000000 kB\nSwapTotal: 0 kB\n";
    std::fs::write(machine.join("proc/meminfo"), text).expect("a captured machine");
    machine
}

#[test]
fn r12_a_hostile_collector_makes_the_agent_start_write_and_reach_nothing_and_costs_no_record() {
    if !met(&[Need::Root, Need::Program("strace")]) {
        return;
    }
    let values: u64 = effort(5_000, 100_000);
    let honest = Collector::started();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let machine = captured_machine(folder.path());
    let arguments = [OsStr::new("--root"), machine.as_ref()];
    let mut agent = Agent::enrolled(&honest).probing(&["memory"], "").with_arguments(&arguments);
    let config = std::fs::read_to_string(agent.data().join("agent.toml")).expect("a configuration");
    agent.write_config(&format!("log = \"info,firstline_agent::ledger=debug\"\n{config}"));
    let identity = agent.data().join("identity.toml");
    let honest_identity = std::fs::read_to_string(&identity).expect("an identity");

    let hostile = HostileCollector::started(values);
    let turned = hostile.trusted_by(&honest_identity);
    let mut durable: BTreeSet<(String, u64)> = BTreeSet::new();
    let (mut least, mut most) = (u64::MAX, 0);
    let begun = Instant::now();
    let mut lives = 0_u32;
    while hostile.sent() < values {
        std::fs::write(&identity, &turned).expect("the identity can be replaced");
        hostile.next_life(OF_A_LIFE);
        agent.start();
        lives += 1;
        until("a stream to the hostile collector is open", seconds(30), || hostile.is_open().then_some(()));
        let tracer = Tracer::of(agent.process_id(), WATCHED, None);
        let resting = agent.memory();
        hostile.begin();
        until_ok("the hostile collector says what it has to say", seconds(300), || {
            most = most.max(agent.memory().saturating_sub(resting));
            least = least.min(resting);
            assert_eq!(children(agent.process_id()), "", "the agent has a child");
            if hostile.is_over() { Ok(()) } else { Err(format!("{} of {values} are said", hostile.sent())) }
        });
        // What was said last has been heard, or the stream was left: both show in the log.
        agent.log().wait("the agent heard the end", seconds(60), |line| {
            (line.contains(&format!("revision={}", values::LAST_REVISION)) || line.contains("no stream to"))
                .then_some(())
        });
        assert!(!agent.has_ended(), "the agent ended by itself");
        for line in tracer.lines() {
            if let Some(offence) = offence(&line, agent.data(), hostile.port()) {
                panic!("{offence}: {line}");
            }
        }
        let log = agent.kill_for_log();
        for line in log.iter().filter(|line| line.contains("firstline_agent::ledger: durable")) {
            let field = |name: &str| {
                line.split(' ').find_map(|word| word.strip_prefix(name)).expect("a field").to_owned()
            };
            durable.insert((field("epoch="), field("seq=").parse().expect("a number")));
        }
    }
    assert!(most < MOST_GROWTH, "the agent grew by {most} bytes from {least}");
    // While a collector says that somebody watches, it is looked at every second, and never more often.
    let looks = hostile.distinct_times_of("system.memory.utilization");
    let bound = begun.elapsed().as_secs() + u64::from(lives) * 3;
    assert!(looks <= bound, "{looks} looks at the memory in {:?}", begun.elapsed());
    figure("hostile_collector.values", hostile.sent(), "count");
    figure("hostile_collector.lives", u64::from(lives), "count");
    figure("hostile_collector.growth", most >> 10, "KiB");

    // Back to the honest one, with the same folder.
    std::fs::write(&identity, &honest_identity).expect("the identity can be replaced");
    agent.start();
    let database = honest.database();
    // What is more than a week's backlog comes at the pace that the collector allows a device: five records a second.
    let pace = u64::try_from(durable.len()).unwrap_or(u64::MAX) / 5;
    until_ok("the honest collector has every record", seconds(effort(60, pace + 300)), || {
        let there: BTreeSet<(String, u64)> = stored(&database, agent.device())
            .into_iter()
            .filter(|(_, payload)| decode_record(payload).is_ok())
            .map(|((epoch, seq), _)| (firstline_tests::oracle::ledger::hex(&epoch), seq))
            .collect();
        let missing = durable.difference(&there).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} are missing", durable.len())) }
    });
    assert!(!durable.is_empty(), "nothing was at stake");
    let named = stored(&database, agent.device())
        .into_values()
        .flat_map(|payload| decode_record(&payload).unwrap_or_default())
        .filter(|seen| matches!(seen.body, Body::Gap { .. }))
        .count();
    assert_eq!(named, 0, "records were given up");
}

#[test]
fn an_offence_is_seen() {
    let data = Path::new("/var/lib/agent");
    let says = |line: &str| offence(line, data, 7443);
    assert!(says("12 execve(\"/bin/sh\", [\"sh\"], 0x1) = 0").is_some());
    assert!(says("12 openat(AT_FDCWD, \"/etc/cron.d/x\", O_WRONLY|O_CREAT, 0600) = 5").is_some());
    assert!(says("12 openat(AT_FDCWD, \"/var/lib/agent/../x\", O_RDWR) = 5").is_some());
    assert!(says("12 openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY) = 5").is_none());
    assert!(says("12 openat(AT_FDCWD, \"/var/lib/agent/spool.db\", O_RDWR) = 5").is_none());
    assert!(says("12 rename(\"/var/lib/agent/a\", \"/etc/a\") = 0").is_some());
    let to = "sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr(\"10.0.0.1\")";
    assert!(says(&format!("12 connect(5, {{{to}}}, 16) = -1 EINPROGRESS (now)")).is_some());
    assert!(says(&format!("12 sendto(5, \"x\", 1, 0, {{{to}}}, 16) = 1")).is_some());
    assert!(says("12 unlink(\"/var/lib/agent/spool.tally.new\") = 0").is_none());
}
