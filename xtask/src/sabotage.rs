//! `cargo xtask sabotage`: tests the tests. Both programs are built with faults compiled in (the feature `sabotage`), one
//! fault at a time is switched on, and the smallest part of the suite that should notice is run: it has to fail. Without a
//! fault every one of these parts has to pass, otherwise a failure would say nothing.
//!
//! The programs in the target folder are replaced while this runs, and built without the feature again at its end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::Process;
use crate::test::path_with_nextest;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the faults that are noticed within seconds
    #[arg(long)]
    quick: bool,
    /// The faults; all when none is named
    faults: Vec<String>,
}

/// A fault, and who has to notice it.
struct Fault {
    name: &'static str,
    package: &'static str,
    test: &'static str,
    is_quick: bool,
}

const STORE: &str = "firstline-collector-store";
const AGENT: &str = "firstline-agent";
const TESTS: &str = "firstline-tests";

const FAULTS: &[Fault] = &[
    Fault {
        name: "ack-before-commit",
        package: TESTS,
        test: "r21_a_collector_killed_again_and_again_under_load_loses_and_doubles_nothing",
        is_quick: false,
    },
    Fault {
        name: "synchronous-normal",
        package: TESTS,
        test: "r21_every_ack_follows_a_sync_of_its_own",
        is_quick: true,
    },
    Fault {
        name: "fsync-skipped",
        package: TESTS,
        test: "r22_an_agent_that_loses_power_on_xfs_delivers_every_durable_record_once",
        is_quick: false,
    },
    Fault {
        name: "fsync-error-ignored",
        package: TESTS,
        test: "r21_a_commit_whose_sync_failed_is_not_acked",
        is_quick: true,
    },
    Fault {
        name: "unlink-before-watermark",
        package: AGENT,
        test: "records_go_only_after_the_watermark_that_covers_them_is_durable",
        is_quick: true,
    },
    Fault {
        name: "no-dedupe-key",
        package: TESTS,
        test: "r19_a_batch_sent_a_thousand_times_counts_once",
        is_quick: false,
    },
    Fault {
        name: "mark-in-second-transaction",
        package: TESTS,
        test: "r21_a_collector_killed_again_and_again_under_load_loses_and_doubles_nothing",
        is_quick: false,
    },
    Fault {
        name: "ticket-without-unique-index",
        package: STORE,
        test: "one_fault_has_one_open_ticket",
        is_quick: true,
    },
    Fault {
        name: "outbox-without-key",
        package: STORE,
        test: "a_diagnostic_is_asked_once_and_finished_only_by_its_own_device",
        is_quick: true,
    },
    Fault {
        name: "token-check-in-read-transaction",
        package: STORE,
        test: "sixty_four_clients_with_a_one_time_token_make_one_device",
        is_quick: true,
    },
    Fault {
        name: "revoke-not-broadcast",
        package: TESTS,
        test: "r4_a_revoked_device_that_says_nothing_is_cut_as_fast",
        is_quick: false,
    },
    Fault {
        name: "spool-reset-on-bad-record",
        package: AGENT,
        test: "r22_a_file_that_sqlite_refuses_gives_up_nothing_that_is_whole",
        is_quick: true,
    },
];

const FEATURES: &str =
    "firstline-agent/sabotage,firstline-collector/sabotage,firstline-collector-store/sabotage";
const PACKAGES: &[&str] = &["-p", AGENT, "-p", "firstline-collector", "-p", STORE, "-p", TESTS];

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(unknown) = args.faults.iter().find(|name| !FAULTS.iter().any(|fault| fault.name == **name)) {
        let known: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        bail!("there is no fault {unknown:?}; there are {}", known.join(", "));
    }
    let is_chosen = |fault: &&Fault| {
        (args.faults.is_empty() || args.faults.iter().any(|name| name == fault.name))
            && (!args.quick || fault.is_quick)
    };
    let chosen: Vec<&Fault> = FAULTS.iter().filter(is_chosen).collect();
    cargo()?.arg("build").args(PACKAGES).args(["--bins", "--tests", "--features", FEATURES]).run()?;
    let outcome = all(&chosen);
    // Nobody should find programs that can be broken where the whole ones lay.
    cargo()?.args(["build", "--quiet"]).args(PACKAGES).args(["--bins", "--tests"]).run()?;
    outcome
}

fn all(chosen: &[&Fault]) -> Result<()> {
    println!("\n=== no fault: every test has to pass");
    let mut tests: Vec<(&str, &str)> = chosen.iter().map(|fault| (fault.package, fault.test)).collect();
    tests.sort_unstable();
    tests.dedup();
    for (package, test) in tests {
        if !nextest(package, test, None)?.0 {
            bail!("{test} fails without a fault, so its failures say nothing");
        }
    }
    let mut rows = Vec::new();
    for fault in chosen {
        println!("\n=== {}: {} has to fail", fault.name, fault.test);
        let (passed, took) = nextest(fault.package, fault.test, Some(fault.name))?;
        rows.push((fault, !passed, took));
    }
    println!("\nfault                             caught     time  by");
    for (fault, is_caught, took) in &rows {
        let verdict = if *is_caught { "yes" } else { "NO" };
        println!("{:<33} {verdict:<6} {:>6.1} s  {}", fault.name, took.as_secs_f64(), fault.test);
    }
    let caught = rows.iter().filter(|(_, is_caught, _)| *is_caught).count();
    println!("caught {caught}/{}", rows.len());
    println!("FIGURE sabotage.caught {caught} count");
    println!("FIGURE sabotage.faults {} count", rows.len());
    if caught < rows.len() {
        bail!(
            "{} of {} faults were not noticed by the test that should have",
            rows.len() - caught,
            rows.len()
        );
    }
    Ok(())
}

/// Runs one test; whether it passed, and how long it took. A test that is not there, or that was skipped because the machine
/// lacks something, is neither.
fn nextest(package: &str, test: &str, fault: Option<&str>) -> Result<(bool, Duration)> {
    let begun = Instant::now();
    let process = cargo()?
        .env("PATH", path_with_nextest()?)
        // A test that cannot run on this machine must not look as if it had noticed nothing.
        .env("CI", "true")
        .args(["nextest", "run"])
        .args(PACKAGES)
        .args(["--features", FEATURES, "--retries", "0", "-E"])
        .arg(format!("package({package}) and test({test})"));
    let process = match fault {
        Some(fault) => process.env("FIRSTLINE_SABOTAGE", fault),
        None => process,
    };
    let (passed, lines) = process.watch()?;
    let is_run = lines.iter().any(|line| line.contains("Summary [") && !line.contains(" 0 tests run"));
    if !is_run {
        bail!("{test} of {package} was not run; is it still called that?");
    }
    if !passed && lines.iter().any(|line| line.contains("cannot run: ")) {
        bail!("{test} needs something that this machine lacks; cargo xtask test installs it");
    }
    Ok((passed, begun.elapsed()))
}

fn cargo() -> Result<Process> {
    Ok(Process::cargo().dir(&workspace::root()?))
}
