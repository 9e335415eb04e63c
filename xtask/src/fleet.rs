//! `cargo xtask fleet`: made-up fleets that behave like real ones, as traces with ground truth, and a score for what a
//! replay makes of them.
//!
//! Nothing of the product is used here, neither code nor thresholds: machines, their habits and their faults come from
//! the domain catalogue and from experience, and the score is taken from the replay's output alone.

mod benign;
mod clock;
mod connections;
mod day;
mod equipment;
mod fault;
mod office;
mod plan;
mod play;
mod random;
pub(crate) mod score;
mod series;
mod shared;
#[cfg(test)]
mod tests;
pub(crate) mod truth;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use clock::DAY;
pub(crate) use play::Written;
use score::{Score, Scorer};
use truth::Truths;

/// The trace in the folder, and what is really wrong in it.
const TRACE: &str = "trace.ndjson";
const TRUTH: &str = "truth.ndjson";

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    fleet: Fleet,
    /// The folder that gets trace.ndjson and truth.ndjson
    #[arg(long)]
    out: PathBuf,
    /// Judge the output of `firstline-collector replay --json` by the truth in the folder, and generate nothing
    #[arg(long)]
    score: Option<PathBuf>,
    /// Print the score as JSON
    #[arg(long, requires = "score")]
    json: bool,
}

/// Which fleet.
#[derive(clap::Args, Debug, Clone, Copy)]
pub(crate) struct Fleet {
    /// How many machines
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub devices: u32,
    /// How many days, beginning with a Monday
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=90))]
    pub days: u32,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many faults; fewer when they do not fit
    #[arg(long, default_value_t = 40)]
    pub faults: u32,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(output) = &args.score {
        let score = score_files(&args.out.join(TRUTH), output)?;
        if args.json {
            println!("{}", score.to_json());
        } else {
            print!("{}", score.table());
            score.examples.iter().for_each(|line| println!("{line}"));
        }
        return Ok(());
    }
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let create = |name: &str| {
        let path = args.out.join(name);
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))
    };
    let mut truth = BufWriter::new(create(TRUTH)?);
    let trace = BufWriter::with_capacity(1 << 20, create(TRACE)?);
    let (truths, written) = generate(args.fleet, trace)?;
    truths.write(&mut truth)?;
    truth.flush()?;
    println!(
        "{} observations of {} devices over {} days with {} faults in {}",
        written.observations,
        args.fleet.devices,
        args.fleet.days,
        truths.faults.len(),
        args.out.display()
    );
    Ok(())
}

/// Writes the trace of a fleet and returns what is really wrong in it.
pub(crate) fn generate(fleet: Fleet, trace: impl Write) -> Result<(Truths, Written)> {
    let prepared = prepare(fleet);
    let truths = prepared.truths.clone();
    Ok((truths, prepared.play(trace)?))
}

/// A fleet whose truth is known before its trace is written.
pub(crate) struct Prepared {
    fleet: Fleet,
    office: office::Office,
    steps: Vec<plan::Step>,
    pub truths: Truths,
}

pub(crate) fn prepare(fleet: Fleet) -> Prepared {
    let devices = usize::try_from(fleet.devices).unwrap_or(usize::MAX);
    let office = office::build(devices, fleet.days, fleet.seed);
    let faults = usize::try_from(fleet.faults).unwrap_or(usize::MAX);
    let (steps, faults) = plan::plan(&office, fleet.days, fleet.seed, faults);
    let truths = Truths { devices: fleet.devices, days: fleet.days, seed: fleet.seed, faults };
    Prepared { fleet, office, steps, truths }
}

impl Prepared {
    pub(crate) fn play(mut self, trace: impl Write) -> Result<Written> {
        play::play(&mut self.office, &self.steps, self.fleet.seed, self.fleet.days * DAY, trace)
            .context("the trace cannot be written")
    }
}

fn score_files(truth: &Path, output: &Path) -> Result<Score> {
    let open = |path: &Path| {
        File::open(path).map(BufReader::new).with_context(|| format!("cannot read {}", path.display()))
    };
    let mut scorer = Scorer::new(Truths::read(open(truth)?)?);
    for line in open(output)?.lines() {
        scorer.take(&line.with_context(|| format!("cannot read {}", output.display()))?)?;
    }
    Ok(scorer.finish())
}
