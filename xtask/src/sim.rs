//! `cargo xtask sim`: the whole-system simulation of `tests/sim`, by seed.

use anyhow::{Result, bail};

use crate::process::Process;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The first one
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// One seed alone, with its whole trace
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (succeeded, _) = simulate(args.seeds, args.from, args.seed)?;
    if !succeeded {
        bail!("the simulation failed; the lines above say which seed and how to run it again");
    }
    Ok(())
}

/// Runs the seeds; whether all hold, and everything that was printed.
pub(crate) fn simulate(seeds: u64, from: u64, seed: Option<u64>) -> Result<(bool, Vec<String>)> {
    let mut process = Process::cargo()
        .dir(&workspace::root()?)
        // A crash of the product inside of a seed is told with its place.
        .env("RUST_BACKTRACE", "1")
        .env("FIRSTLINE_SIM_SEEDS", seeds.to_string())
        .env("FIRSTLINE_SIM_FROM", from.to_string());
    if let Some(seed) = seed {
        process = process.env("FIRSTLINE_SIM_SEED", seed.to_string());
    }
    let process = process.args(["test", "--profile", "sim", "-p", "firstline-tests", "--test", "sim", "--"]);
    let process = match seed {
        Some(_) => process.args(["--nocapture", "f28_whatever"]),
        None => process.args(["--nocapture", "--test-threads", "1"]),
    };
    process.watch()
}
