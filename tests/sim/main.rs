//! The whole system, simulated by seed: the real loops of agents and collector on virtual time, with crashes, power cuts,
//! partitions and clocks that jump. A failing seed says how to run it again, and runs the same way again.
//!
//! `FIRSTLINE_SIM_FROM` and `FIRSTLINE_SIM_SEEDS` choose the seeds, `FIRSTLINE_SIM_SEED` one of them with its whole trace;
//! `cargo xtask sim` sets them.

mod clocks;
mod disk;
mod ledger;
mod network;
mod plan;
mod random;
mod trace;
mod world;

use firstline_tests::effort::effort;
use firstline_tests::figure::figure;
use firstline_tests::process::say;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use world::Outcome;

/// Seeds that failed once.
const CORPUS: &str = include_str!("corpus.txt");

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: {text:?} is not a number")))
}

fn explain(seed: u64, outcome: &Outcome) -> String {
    let failure = outcome.failure.as_deref().unwrap_or("nothing failed");
    format!(
        "seed {seed} fails: {failure}\nrun it again with: cargo xtask sim --seed {seed}\nthe end of its trace:\n{}",
        outcome.newest.join("\n")
    )
}

/// Runs seeds on every core and reports how far it is.
fn run_all(seeds: Vec<u64>) {
    let knowledge = firstline_collector::knowledge::built_in().expect("the rule pack");
    let (next, virtual_ms) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    let failed = std::sync::Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&seed) = usize::try_from(at).ok().and_then(|at| seeds.get(at)) else { return };
                    let outcome = world::run(seed, &knowledge, false);
                    let millis = u64::try_from(outcome.virtual_time.as_millis()).unwrap_or(0);
                    virtual_ms.fetch_add(millis, Ordering::Relaxed);
                    if outcome.failure.is_some() {
                        say(&explain(seed, &outcome));
                        failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(seed);
                    }
                    if at % 50 == 49 {
                        say(&format!("{} of {} seeds, {} s", at + 1, seeds.len(), begun.elapsed().as_secs()));
                    }
                }
            });
        }
    });
    let hours = virtual_ms.load(Ordering::Relaxed) / 3_600_000;
    figure("sim.seeds", seeds.len(), "count");
    figure("sim.virtual_time", hours, "h");
    figure("sim.real_time", begun.elapsed().as_secs(), "s");
    let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    figure("sim.failed_seeds", failed.len(), "count");
    assert!(failed.is_empty(), "seeds that fail: {failed:?}");
}

#[test]
fn f28_whatever_happens_nothing_is_lost_and_nothing_is_doubled() {
    if let Some(seed) = number("FIRSTLINE_SIM_SEED") {
        let knowledge = firstline_collector::knowledge::built_in().expect("the rule pack");
        let outcome = world::run(seed, &knowledge, true);
        say(&format!("trace hash {:016x}, {} lines", outcome.hash, outcome.lines));
        assert!(outcome.failure.is_none(), "{}", explain(seed, &outcome));
        return;
    }
    let from = number("FIRSTLINE_SIM_FROM").unwrap_or(1);
    let count = number("FIRSTLINE_SIM_SEEDS").unwrap_or_else(|| effort(500, 10_000));
    let corpus = CORPUS.lines().filter_map(|line| line.split('#').next()?.trim().parse::<u64>().ok());
    run_all(corpus.chain(from..from + count).collect());
}

#[test]
fn f28_the_same_seed_is_the_same_story_to_the_last_line() {
    let knowledge = firstline_collector::knowledge::built_in().expect("the rule pack");
    for seed in [3, 77] {
        let (first, second) = (world::run(seed, &knowledge, false), world::run(seed, &knowledge, false));
        assert_eq!((first.hash, first.lines), (second.hash, second.lines), "seed {seed} does not replay");
        assert!(first.lines > 200 && first.records > 300 && first.streams > 5, "{first:?}");
        assert!(first.virtual_time > Duration::from_hours(2));
    }
    let (one, other) = (world::run(3, &knowledge, false), world::run(4, &knowledge, false));
    assert_ne!(one.hash, other.hash, "two seeds are the same story");
}
