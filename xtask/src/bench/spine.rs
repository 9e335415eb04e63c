//! The path from a probe to a ticket, in figures: how long until what was received is durable, how long from a fault
//! to its ticket, what the agent costs, what 200 agents cost the collector.
//!
//! Everything is the shipped program: the collector in release mode, the agent in its own profile, agents of the load
//! over real mutual TLS. Each figure is printed beside its goal; a missed goal makes the command fail.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::procfs;
use super::report::{self, Row};
use crate::instance::{self, Binaries, Collector};
use crate::interrupt::Interrupt;
use crate::process::Process;
use crate::service::{Command, Service};
use crate::workspace;

/// Agents of the load.
const AGENTS: u32 = 200;
/// How often each of them reports, in milliseconds.
const INTERVAL_MS: u32 = 60_000;
/// The agent runs this long before it is measured: its first minute has inventory and connecting in it.
const SETTLE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(super) struct Args {
    /// How long the agent and the load are each measured, in seconds
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(60..=3600))]
    window: u64,
    /// How many real faults are timed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    faults: u32,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let root = workspace::root()?;
    let built = build(&root)?;
    let interrupt = Interrupt::listen()?;
    let window = Duration::from_secs(args.window);
    let folder = root.join(".firstline").join(format!("bench-{}", std::process::id()));
    instance::private_folder(&folder)?;
    let measured = measure(&root, &built, &folder, window, args.faults, &interrupt);
    std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    report::print(&measured?)
}

struct Built {
    programs: Binaries,
    load: PathBuf,
}

fn build(root: &Path) -> Result<Built> {
    let programs = super::shipped(root, None, None)?;
    Process::cargo()
        .dir(root)
        .args(["build", "--release", "-p", "firstline-tests", "--bin", "load"])
        .run()?;
    let release = programs.collector.parent().context("the collector has no folder")?;
    let load = release.join(format!("load{}", std::env::consts::EXE_SUFFIX));
    Ok(Built { programs, load })
}

fn measure(
    root: &Path,
    built: &Built,
    folder: &Path,
    window: Duration,
    faults: u32,
    interrupt: &Interrupt,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    rows.extend(one_agent(built, &folder.join("one"), window, interrupt)?);
    rows.extend(many_agents(built, &folder.join("many"), window, interrupt)?);
    rows.extend(real_faults(root, faults)?);
    Ok(rows)
}

fn start(built: &Built, folder: &Path, interrupt: &Interrupt) -> Result<Collector> {
    instance::private_folder(folder)?;
    let (data, log) = (folder.join("collector"), folder.join("collector.log"));
    Collector::start(&built.programs, &data, &log, ("127.0.0.1:0", "127.0.0.1:0"), interrupt)
}

/// This machine's real agent at its default intervals.
fn one_agent(built: &Built, folder: &Path, window: Duration, interrupt: &Interrupt) -> Result<Vec<Row>> {
    println!("measuring one agent for {} s", window.as_secs());
    let mut collector = start(built, folder, interrupt)?;
    let data = folder.join("agent");
    collector.enroll(&built.programs.agent, &data, false)?;
    let mut agent = instance::start_agent(&built.programs, &data, &folder.join("agent.log"), &[])?;
    interrupt.wait(SETTLE)?;
    agent.check_alive()?;
    let pid = agent.pid()?;
    let before = procfs::processor_time(pid)?;
    interrupt.wait(window)?;
    agent.check_alive()?;
    let used = procfs::processor_time(pid)?.saturating_sub(before);
    let resident = procfs::resident_mib(pid)?;
    let figures = metrics(&collector, folder)?;
    agent.stop()?;
    collector.service.stop()?;
    let durable = quantile(&figures, "0.95").context("the collector has no figure for durability")?;
    Ok(vec![
        Row::at_most("received to durable with its tickets, p95, one agent", durable, "ms", 100.0),
        Row::at_most("agent, resident memory with the stream up", resident, "MiB", 10.0),
        Row::at_most(
            "agent, processor time per hour at default intervals",
            used.as_secs_f64() * 3600.0 / window.as_secs_f64(),
            "s/h",
            1.0,
        ),
    ])
}

/// Many simulated agents, one report a minute each.
fn many_agents(built: &Built, folder: &Path, window: Duration, interrupt: &Interrupt) -> Result<Vec<Row>> {
    println!("measuring {AGENTS} agents for {} s", window.as_secs());
    let mut collector = start(built, folder, interrupt)?;
    let token = collector
        .admin()
        .args(["token", "create", "--ttl", "10m", "--json", "--uses", &AGENTS.to_string()])
        .read()?;
    let token: Value = serde_json::from_str(token.trim()).context("`token create` printed no JSON")?;
    let url = token["url"].as_str().context("`token create` gave no address")?;
    let command = Command::new(&built.load).arg(url).arg(collector.authority()).args([
        AGENTS.to_string(),
        INTERVAL_MS.to_string(),
        window.as_secs().to_string(),
    ]);
    let mut load = Service::start("load", command, &folder.join("load.log"))?;
    interrupt.until("the connection of all agents", Duration::from_secs(120), LOOK_EVERY, || {
        let up = load.output().lines().any(|line| line == "connected");
        if !up {
            load.check_alive()?;
        }
        Ok(up.then_some(()))
    })?;
    let pid = collector.service.pid()?;
    let before = procfs::processor_time(pid)?;
    interrupt.wait(window)?;
    let used = procfs::processor_time(pid)?.saturating_sub(before);
    let result = interrupt.until("the result of the load", Duration::from_secs(60), LOOK_EVERY, || {
        Ok(load.output().lines().find(|line| line.starts_with('{')).map(str::to_owned))
    })?;
    let result: Value = serde_json::from_str(&result).context("the load printed no JSON")?;
    if result["failed"] != 0 {
        bail!("agents of the load failed: {}", result["failure"]);
    }
    println!("the load: {result}");
    let figures = metrics(&collector, folder)?;
    collector.service.stop()?;
    let durable = quantile(&figures, "0.95").context("the collector has no figure for durability")?;
    Ok(vec![
        Row::at_most("received to durable with its tickets, p95, 200 agents", durable, "ms", 100.0),
        Row::at_most(
            "collector, share of a core with 200 agents at 60 s",
            used.as_secs_f64() * 100.0 / window.as_secs_f64(),
            "%",
            2.0,
        ),
    ])
}

/// Real faults on this machine, from the moment of the fault to the ticket, less the rule's hold time.
fn real_faults(root: &Path, faults: u32) -> Result<Vec<Row>> {
    let mut beyond = Vec::new();
    for number in 1..=faults {
        println!("fault {number} of {faults}");
        let line = Process::cargo().dir(root).args(["xtask", "drill", "disk-full", "--json"]).read()?;
        let line = line.lines().rfind(|line| line.starts_with('{')).context("the drill printed no JSON")?;
        let drill: Value = serde_json::from_str(line).context("the drill printed no JSON")?;
        beyond.push(drill["ticket_after_hold_s"].as_f64().context("the drill has no figure")?);
    }
    beyond.sort_by(f64::total_cmp);
    let (median, worst) = (beyond[beyond.len() / 2], beyond[beyond.len() - 1]);
    Ok(vec![
        Row::at_most("fault to ticket beyond the hold time, median", median, "s", 5.0),
        Row::at_most("fault to ticket beyond the hold time, worst", worst, "s", 5.0),
    ])
}

/// The collector's own figures.
fn metrics(collector: &Collector, folder: &Path) -> Result<String> {
    let token = collector.admin().args(["api-token", "create", "--role", "viewer"]).read()?;
    let header = folder.join("authorization");
    std::fs::write(&header, format!("Authorization: Bearer {}\n", token.trim()))
        .with_context(|| format!("cannot write {}", header.display()))?;
    Process::new("curl")
        .quiet()
        .apart()
        .args([
            "--disable",
            "--silent",
            "--show-error",
            "--fail",
            "--noproxy",
            "*",
            "--max-time",
            "10",
            "--cacert",
        ])
        .arg(collector.authority())
        .arg("--header")
        .arg(format!("@{}", header.display()))
        .arg(format!("{}/metrics", collector.web))
        .read()
}

fn quantile(metrics: &str, quantile: &str) -> Option<f64> {
    let start = format!("firstline_durable_milliseconds{{quantile=\"{quantile}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&start))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_taken_from_its_own_line() {
        let text = "firstline_durable_milliseconds{quantile=\"0.5\"} 4\nfirstline_durable_milliseconds{quantile=\"0.95\"} 23\n";
        assert_eq!(quantile(text, "0.95"), Some(23.0));
        assert_eq!(quantile(text, "0.99"), None);
    }
}
