//! `cargo xtask bench <name>`: figures, measured on this machine with the real programs, in a table.

mod agent;
pub(crate) mod detection;
mod procfs;
mod report;
mod spine;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::instance::Binaries;
use crate::process::Process;
use crate::workspace;

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

/// The programs as they are shipped: the collector in release mode, the agent in its own profile. One that is given is not
/// built.
fn shipped(root: &Path, agent: Option<&Path>, collector: Option<&Path>) -> Result<Binaries> {
    let metadata = workspace::metadata(root)?;
    let target = metadata["target_directory"].as_str().context("cargo does not tell its target folder")?;
    let program = |given: Option<&Path>, profile: &str, package: &str| -> Result<PathBuf> {
        if let Some(given) = given {
            return given.canonicalize().with_context(|| format!("cannot find {}", given.display()));
        }
        Process::cargo().dir(root).args(["build", "--profile", profile, "-p", package]).run()?;
        Ok(Path::new(target).join(profile).join(format!("{package}{}", std::env::consts::EXE_SUFFIX)))
    };
    Ok(Binaries {
        agent: program(agent, "agent", "firstline-agent")?,
        collector: program(collector, "release", "firstline-collector")?,
    })
}
