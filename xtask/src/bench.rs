//! `cargo xtask bench <name>`: figures, measured on this machine with the real programs, in a table.

mod agent;
pub(crate) mod detection;
mod procfs;
mod report;
mod spine;

use std::path::Path;

use anyhow::{Context, Result};

use crate::instance::Binaries;
use crate::process::Process;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// The path from a probe to a ticket: latency, the agent's footprint, 200 agents on one collector
    Spine(spine::Args),
    /// What the agent costs its machine, beside its peers
    Agent(agent::Args),
    /// How well the rules detect: made-up fleets with faults, replayed and judged by ground truth
    Detection(detection::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.bench {
        Bench::Spine(args) => spine::run(args),
        Bench::Agent(args) => agent::run(args),
        Bench::Detection(args) => detection::run(args),
    }
}

/// The programs as they are shipped: the collector in release mode, the agent in its own profile.
fn shipped(root: &Path) -> Result<Binaries> {
    let mut programs = Binaries::build(root, true)?;
    Process::cargo().dir(root).args(["build", "--profile", "agent", "-p", "firstline-agent"]).run()?;
    let release = programs.collector.parent().context("the collector has no folder")?;
    let target = release.parent().context("the release folder has no parent")?;
    let agent = programs.agent.file_name().context("the agent has no name")?;
    programs.agent = target.join("agent").join(agent);
    Ok(programs)
}
