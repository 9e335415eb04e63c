//! What the agent costs the machine that it watches, beside programs of the same kind in the same windows: memory,
//! processor time, bytes on the wire, disk writes; and alone: how soon after its start something of it is safe at the
//! collector, how large it is, what one look at everything costs, and whether it grows when it works without rest.
//!
//! Our traffic is encrypted and acknowledged, the peers' is neither; that is in the figures and not taken out of them.

mod overhead;
mod peers;
mod traffic;
mod zabbix;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::ZlibEncoder;

use self::peers::Peers;
use self::traffic::{Counters, Port};
use super::procfs::{self, Footprint};
use super::report::{self, Row};
use crate::instance::{self, Binaries, Collector};
use crate::interrupt::Interrupt;
use crate::process::{Process, find_program};
use crate::service::{Command, Service};
use crate::workspace;

/// Idle processes, so that a list of processes costs what it costs on a person's machine.
const IDLE_PROCESSES: u32 = 200;
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Time from the start to the first ack is the median of so many starts.
const STARTS: u32 = 5;
/// The shortest interval that the agent accepts: with it every probe runs 12 to 17,280 times as often as by default.
const SHORTEST_INTERVAL_S: u32 = 5;
/// A run without rest is judged from here on: caches and the collector's tables have filled by then.
const WARM: f64 = 0.3;

#[derive(clap::Args)]
pub(super) struct Args {
    /// How many windows are measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    windows: u32,
    /// How long each is, in seconds
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(30..=3600))]
    seconds: u64,
    /// How long everything runs before the first window, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    settle: u64,
    /// How long the agent then works without rest, in minutes; 0 leaves it out
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=600))]
    restless: u64,
    /// Measure our agent alone
    #[arg(long)]
    alone: bool,
    /// Measure this program instead of building one
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Let it talk to this collector instead of building one
    #[arg(long, value_name = "FILE")]
    collector: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let root = workspace::root()?;
    let programs = super::shipped(&root, args.agent.as_deref(), args.collector.as_deref())?;
    let interrupt = Interrupt::listen()?;
    let folder = root.join(".firstline").join(format!("bench-agent-{}", std::process::id()));
    instance::private_folder(&folder)?;
    let rows = measure(args, &programs, &folder, &interrupt);
    std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    report::print(&rows?)
}

fn measure(args: &Args, programs: &Binaries, folder: &Path, interrupt: &Interrupt) -> Result<Vec<Row>> {
    let mut collector = start_collector(programs, folder, interrupt)?;
    let data = folder.join("agent");
    collector.enroll(&programs.agent, &data, false)?;
    let mut rows = vec![size(&programs.agent)?];
    rows.extend(one_look(programs, &data)?);
    rows.push(start_to_ack(programs, &data, folder, interrupt)?);
    rows.extend(side_by_side(args, programs, &collector, &data, folder, interrupt)?);
    if args.restless > 0 {
        rows.extend(without_rest(args, programs, &data, folder, interrupt)?);
    }
    collector.service.stop()?;
    Ok(rows)
}

fn start_collector(programs: &Binaries, folder: &Path, interrupt: &Interrupt) -> Result<Collector> {
    let (data, log) = (folder.join("collector"), folder.join("collector.log"));
    Collector::start(programs, &data, &log, ("127.0.0.1:0", "127.0.0.1:0"), interrupt)
}

fn size(agent: &Path) -> Result<Row> {
    let bytes = std::fs::metadata(agent).with_context(|| format!("cannot read {}", agent.display()))?.len();
    Ok(Row::at_most("agent, size of the program", bytes as f64 / 1e6, "MB", 5.5))
}

/// Every probe once, as `probe` prints it: what an inventory programme does in its run.
fn one_look(programs: &Binaries, data: &Path) -> Result<Vec<Row>> {
    let mut used = Vec::new();
    let mut packed = 0;
    for _ in 0..3 {
        let before = procfs::children_time()?;
        let finished = Process::new(&programs.agent)
            .quiet()
            .arg("--data")
            .arg(data)
            .args(["probe", "--json"])
            .finish()?;
        used.push(procfs::children_time()?.saturating_sub(before).as_secs_f64());
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(finished.stdout.as_bytes())?;
        packed = encoder.finish()?.len();
    }
    Ok(vec![
        Row::at_most("full inventory, processor time, median of 3", median(&mut used), "s", 0.1),
        Row::at_most(
            "full inventory, every probe's observations as JSON, zlib",
            packed as f64 / 1e3,
            "kB",
            29.0,
        ),
    ])
}

/// From the start of the program to the first record that the collector has confirmed as durable.
fn start_to_ack(programs: &Binaries, data: &Path, folder: &Path, interrupt: &Interrupt) -> Result<Row> {
    configure(data, "log = \"info,firstline_agent::ledger=debug\"\n")?;
    let mut times = Vec::new();
    for number in 0..STARTS {
        let log = folder.join(format!("start-{number}.log"));
        let begun = Instant::now();
        let mut agent = instance::start_agent(programs, data, &log, &[])?;
        interrupt.until("the first ack", Duration::from_secs(60), LOOK_EVERY, || {
            agent.check_alive()?;
            Ok(agent.output().contains("acked").then_some(()))
        })?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        agent.stop()?;
    }
    configure(data, "")?;
    Ok(Row::at_most("start to the first acked batch, median of 5", median(&mut times), "ms", 200.0))
}

/// What one program used in one window, per hour where that makes sense.
struct Window {
    resident: f64,
    proportional: f64,
    processor: f64,
    written: f64,
    sent: f64,
    both_ways: f64,
}

/// Our agent and its peers in the same windows.
fn side_by_side(
    args: &Args,
    programs: &Binaries,
    collector: &Collector,
    data: &Path,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<Vec<Row>> {
    let _idle = idle_processes(folder)?;
    let mut peers = if args.alone { Peers::none() } else { Peers::start(folder)? };
    let mut agent = instance::start_agent(programs, data, &folder.join("agent.log"), &[])?;
    let number = collector.agents.rsplit(':').next().and_then(|port| port.parse().ok());
    let port = Port { number: number.context("the collector's port is not known")?, is_udp: false };
    let ports: Vec<Port> = std::iter::once(port).chain(peers.running.iter().map(|peer| peer.port)).collect();
    let counters = Counters::start(&ports)?;
    println!("everything runs for {} s before it is measured", args.settle);
    interrupt.wait(Duration::from_secs(args.settle))?;
    // Whoever is fetched from answers from its port; whoever sends, sends to the other's.
    let mut programs: Vec<(&str, u32, u16, bool)> =
        vec![("firstline-agent", agent.pid()?, port.number, true)];
    for peer in &mut peers.running {
        peer.service.check_alive()?;
        programs.push((peer.name, peer.service.pid()?, peer.port.number, peer.is_sender));
    }
    let mut windows: Vec<Vec<Window>> = programs.iter().map(|_| Vec::new()).collect();
    let mut before = look(&programs, &counters)?;
    for number in 1..=args.windows {
        println!("window {number} of {}: {} s", args.windows, args.seconds);
        interrupt.wait(Duration::from_secs(args.seconds))?;
        agent.check_alive()?;
        let after = look(&programs, &counters)?;
        let hours = after.0.duration_since(before.0).as_secs_f64() / 3600.0;
        for (n, (_, _, port, is_sender)) in programs.iter().enumerate() {
            let (old, new) = (&before.1[n], &after.1[n]);
            let bytes = |look: &Look| look.2.get(port).copied().unwrap_or_default();
            let to = (bytes(&after).to - bytes(&before).to) as f64 / 1024.0 / hours;
            let from = (bytes(&after).from - bytes(&before).from) as f64 / 1024.0 / hours;
            windows[n].push(Window {
                resident: new.resident as f64 / 1024.0,
                proportional: new.proportional as f64 / 1024.0,
                processor: new.processor.saturating_sub(old.processor).as_secs_f64() / hours,
                written: (new.written - old.written) as f64 / 1024.0 / hours,
                sent: if *is_sender { to } else { from },
                both_ways: to + from,
            });
        }
        before = after;
    }
    let own = overhead::of_running(data)?;
    agent.stop()?;
    for peer in &mut peers.running {
        peer.service.stop()?;
    }
    table(&programs, &windows);
    own.print();
    let mut rows = judge(&programs, &windows);
    rows.push(own.costliest_run());
    Ok(rows)
}

type Look = (Instant, Vec<Footprint>, std::collections::BTreeMap<u16, traffic::Bytes>);

fn look(programs: &[(&str, u32, u16, bool)], counters: &Counters) -> Result<Look> {
    let footprints =
        programs.iter().map(|(_, pid, _, _)| procfs::footprint(*pid)).collect::<Result<Vec<_>>>()?;
    Ok((Instant::now(), footprints, counters.read()?))
}

fn table(programs: &[(&str, u32, u16, bool)], windows: &[Vec<Window>]) {
    println!("\nmedians of the windows; bytes are whole IP packets");
    println!(
        "{:<38} {:>8} {:>8} {:>10} {:>12} {:>12} {:>12}",
        "program", "RSS MiB", "PSS MiB", "CPU s/h", "disk KiB/h", "sent KiB/h", "both KiB/h"
    );
    for ((name, ..), windows) in programs.iter().zip(windows) {
        let of = |value: fn(&Window) -> f64| median(&mut windows.iter().map(value).collect::<Vec<_>>());
        println!(
            "{name:<38} {:>8.2} {:>8.2} {:>10.2} {:>12.1} {:>12.1} {:>12.1}",
            of(|window| window.resident),
            of(|window| window.proportional),
            of(|window| window.processor),
            of(|window| window.written),
            of(|window| window.sent),
            of(|window| window.both_ways)
        );
    }
}

fn judge(programs: &[(&str, u32, u16, bool)], windows: &[Vec<Window>]) -> Vec<Row> {
    let of =
        |n: usize, value: fn(&Window) -> f64| median(&mut windows[n].iter().map(value).collect::<Vec<_>>());
    let peer = |start: &str| programs.iter().position(|(name, ..)| name.starts_with(start));
    let mut rows = vec![
        Row::at_most("agent, resident memory", of(0, |window| window.resident), "MiB", 8.0),
        Row::at_most("agent, processor time per hour", of(0, |window| window.processor), "s/h", 0.86),
        Row::at_most(
            "agent, bytes both ways per hour, TLS included",
            of(0, |window| window.both_ways),
            "KiB/h",
            50.0,
        ),
        Row::at_most("agent, disk writes per hour", of(0, |window| window.written), "KiB/h", 64.0),
    ];
    if let Some(n) = peer("zabbix-agent2") {
        let share = of(0, |window| window.resident) / of(n, |window| window.resident);
        rows.push(Row::at_most("agent, resident memory beside zabbix-agent2's", share, "x", 0.35));
    }
    if let Some(n) = peer("collectd") {
        let share = of(0, |window| window.processor) / of(n, |window| window.processor).max(0.01);
        rows.push(Row::at_most("agent, processor time beside collectd's at 60 s", share, "x", 1.0));
    }
    rows
}

/// The agent with every probe at its shortest interval: neither memory nor file handles may grow.
fn without_rest(
    args: &Args,
    programs: &Binaries,
    data: &Path,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<Vec<Row>> {
    let names = Process::new(&programs.agent).quiet().args(["probe", "--list"]).read()?;
    // With its usual allowance it would slow down.
    let mut text = "[limits]\ncpu_s_per_hour = 3600\n".to_owned();
    for name in names.lines() {
        text += &format!("[probes.{name}]\ninterval_s = {SHORTEST_INTERVAL_S}\n");
    }
    configure(data, &text)?;
    let mut agent = instance::start_agent(programs, data, &folder.join("restless.log"), &[])?;
    let pid = agent.pid()?;
    let whole = Duration::from_secs(args.restless * 60);
    println!("the agent works without rest for {} min", args.restless);
    let begun = Instant::now();
    let mut looks: Vec<Footprint> = Vec::new();
    while begun.elapsed() < whole {
        interrupt.wait(Duration::from_secs(5))?;
        agent.check_alive()?;
        if begun.elapsed() > whole.mul_f64(WARM) {
            looks.push(procfs::footprint(pid)?);
        }
    }
    agent.stop()?;
    configure(data, "")?;
    let third = looks.len() / 3;
    if third == 0 {
        bail!("{} min are too short to see growth", args.restless);
    }
    let early = |value: fn(&Footprint) -> u64| looks[..third].iter().map(value).max().unwrap_or(0) as f64;
    let late = |value: fn(&Footprint) -> u64| {
        looks[looks.len() - third..].iter().map(value).max().unwrap_or(0) as f64
    };
    let grown = (late(|look| look.resident) - early(|look| look.resident)) / 1024.0;
    let handles = late(|look| look.handles) - early(|look| look.handles);
    Ok(vec![
        Row::at_most("every probe at 5 s, growth of resident memory", grown.max(0.0), "MiB", 0.5),
        Row::at_most("every probe at 5 s, growth of open file handles", handles.max(0.0), "", 0.0),
    ])
}

fn configure(data: &Path, text: &str) -> Result<()> {
    let path = data.join("agent.toml");
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn idle_processes(folder: &Path) -> Result<Vec<Service>> {
    let sleep = find_program("sleep").context("there is no program called sleep")?;
    (0..IDLE_PROCESSES)
        .map(|n| {
            Service::start("sleep", Command::new(&sleep).arg("86400"), &folder.join(format!("sleep-{n}")))
        })
        .collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
