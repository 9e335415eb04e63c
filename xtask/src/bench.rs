//! `cargo xtask bench <name>`: figures, measured on this machine with the real programs, in a table.

mod procfs;
mod spine;

use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// The path from a probe to a ticket: latency, the agent's footprint, 200 agents on one collector
    Spine(spine::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.bench {
        Bench::Spine(args) => spine::run(args),
    }
}
