//! `cargo xtask test`: what CI runs, and what a person runs before a change leaves the desk.
//!
//! Cheap judgements come first, the slow ones last; a failed step does not hide what the others would say, only what
//! depends on it is left out. All steps that compile select the same packages, so that features unify the same way
//! and nothing is built twice; xtask itself is tested in a run of its own because `cargo xtask` has built it alone.

mod report;
mod requirements;
mod steps;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::builder::PossibleValuesParser;

use self::report::{Counts, Row, Verdict};
pub(crate) use self::requirements::path_with_nextest;
use self::steps::STEPS;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only what takes little time: formatting, house rules, lints, unit and integration tests
    #[arg(long)]
    quick: bool,
    /// Only this step (may be repeated)
    #[arg(long, value_name = "STEP", conflicts_with = "quick", value_parser = PossibleValuesParser::new(STEPS.iter().map(|step| step.name)))]
    only: Vec<String>,
}

/// What steps share: where they run and what they have counted.
struct Run {
    root: PathBuf,
    is_ci: bool,
    counts: Counts,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut run = Run { root: workspace::root()?, is_ci: workspace::is_ci(), counts: Counts::default() };
    let start = Instant::now();
    let mut rows: Vec<Row> = Vec::new();
    for step in STEPS.iter().filter(|step| is_selected(args, step)) {
        println!("\n=== {}", step.name);
        let begun = Instant::now();
        let missing_base = step.needs.filter(|base| rows.iter().any(|row| row.has_failed(base)));
        let verdict = match missing_base {
            Some(base) => Verdict::NotRun(format!("{base} failed")),
            None => match (step.run)(&mut run) {
                Ok(verdict) => verdict,
                Err(error) => Verdict::Failed(format!("{error:#}")),
            },
        };
        let row = Row { name: step.name, took: begun.elapsed(), verdict };
        println!("--- {row}");
        rows.push(row);
    }
    let is_good = report::print(&rows, start.elapsed(), &run.counts);
    if rows.is_empty() {
        bail!("no step was selected");
    }
    if !is_good {
        // The table has said everything; the counts stay the last line.
        std::process::exit(1);
    }
    Ok(())
}

fn is_selected(args: &Args, step: &steps::Step) -> bool {
    match (args.quick, args.only.is_empty()) {
        (true, _) => step.is_quick,
        (false, true) => true,
        (false, false) => args.only.iter().any(|name| name == step.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(quick: bool, only: &[&str]) -> Vec<&'static str> {
        let args = Args { quick, only: only.iter().map(|name| (*name).to_owned()).collect() };
        STEPS.iter().filter(|step| is_selected(&args, step)).map(|step| step.name).collect()
    }

    #[test]
    fn quick_run_is_the_cheap_steps_and_plain_run_is_all() {
        assert_eq!(selected(true, &[]), ["fmt", "tidy", "clippy", "unit"]);
        assert_eq!(selected(false, &[]).len(), STEPS.len());
        assert_eq!(selected(false, &["deny"]), ["deny"]);
    }

    #[test]
    fn every_base_of_a_step_is_an_earlier_step() {
        for (n, step) in STEPS.iter().enumerate() {
            if let Some(base) = step.needs {
                assert!(STEPS[..n].iter().any(|earlier| earlier.name == base), "{} needs {base}", step.name);
            }
        }
    }
}
