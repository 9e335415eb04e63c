//! The steps of `cargo xtask test`, in the order in which they run. To add one: a function and a line in `STEPS`.

use anyhow::{Result, bail};

use super::Run;
use super::report::{Counts, Verdict};
use super::requirements;
use crate::bench::detection;
use crate::check_targets::{self, Outcome};
use crate::process::Process;
use crate::{sim, tidy, workspace};

pub(super) struct Step {
    pub name: &'static str,
    pub is_quick: bool,
    /// The step without which this one says nothing.
    pub needs: Option<&'static str>,
    pub run: fn(&mut Run) -> Result<Verdict>,
}

pub(super) const STEPS: &[Step] = &[
    Step { name: "install", is_quick: false, needs: None, run: install },
    Step { name: "fmt", is_quick: true, needs: None, run: fmt },
    Step { name: "tidy", is_quick: true, needs: None, run: tidy },
    Step { name: "deny", is_quick: false, needs: None, run: deny },
    Step { name: "clippy", is_quick: true, needs: None, run: clippy },
    Step { name: "alone", is_quick: false, needs: None, run: alone },
    Step { name: "build", is_quick: false, needs: None, run: build },
    Step { name: "unit", is_quick: true, needs: Some("build"), run: unit },
    Step { name: "e2e", is_quick: false, needs: Some("build"), run: e2e },
    Step { name: "sim", is_quick: false, needs: Some("build"), run: simulation },
    Step { name: "detection", is_quick: false, needs: Some("build"), run: detection_score },
    Step { name: "docs", is_quick: false, needs: None, run: docs },
    Step { name: "targets", is_quick: false, needs: None, run: targets },
];

/// The packages that are built together. xtask stays out: it was built alone, and its tests reuse that.
const TOGETHER: &[&str] = &["--workspace", "--exclude", "xtask"];

/// The crates that must compile without what others would bring in, with their features.
const ALONE: &[(&str, &[&str])] = &[
    ("firstline-model", &[""]),
    ("firstline-delivery", &[""]),
    ("firstline-agent-core", &[""]),
    ("firstline-collector-core", &[""]),
    ("firstline-agent-probes", &[""]),
    ("firstline-agent-platform", &[""]),
    ("firstline-collector-store", &[""]),
    ("firstline-proto", &["client", "server"]),
];

/// A run of cargo that builds. CI judges what is committed: a stale Cargo.lock fails there instead of being mended quietly.
fn locked(run: &Run, command: &str) -> Process {
    let cargo = cargo(run).args(command.split(' '));
    if run.is_ci { cargo.arg("--locked") } else { cargo }
}

fn cargo(run: &Run) -> Process {
    let cargo = Process::cargo().dir(&run.root);
    if run.is_ci { cargo.env("CARGO_TERM_COLOR", "never") } else { cargo }
}

fn install(run: &mut Run) -> Result<Verdict> {
    let missing = requirements::install();
    if missing.is_empty() {
        return Ok(Verdict::Passed);
    }
    let list = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n    ");
    if run.is_ci {
        bail!("missing:\n    {list}");
    }
    Ok(Verdict::Skipped(format!("the tests that need these will skip:\n    {list}")))
}

fn fmt(run: &mut Run) -> Result<Verdict> {
    cargo(run).args(["fmt", "--all", "--check"]).run()?;
    Ok(Verdict::Passed)
}

fn tidy(_: &mut Run) -> Result<Verdict> {
    tidy::run(&tidy::Args {})?;
    Ok(Verdict::Passed)
}

fn deny(run: &mut Run) -> Result<Verdict> {
    let program = match requirements::cargo_deny() {
        Ok(program) => program,
        Err(error) if run.is_ci => return Err(error),
        Err(error) => return Ok(Verdict::Skipped(format!("cargo-deny: {error:#}"))),
    };
    // Advisories are left out: their database is a git repository that a build machine may not reach.
    Process::new(program)
        .args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
        .dir(&run.root)
        .run()?;
    Ok(Verdict::Passed)
}

fn clippy(run: &mut Run) -> Result<Verdict> {
    locked(run, "clippy").args(["--workspace", "--all-targets", "--", "-D", "warnings"]).run()?;
    Ok(Verdict::Passed)
}

fn alone(run: &mut Run) -> Result<Verdict> {
    for (package, feature_sets) in ALONE {
        for features in *feature_sets {
            let check = locked(run, "check").args(["--quiet", "--no-default-features", "-p", package]);
            if features.is_empty() { check } else { check.args(["--features", features]) }.run()?;
        }
    }
    Ok(Verdict::Passed)
}

/// The end-to-end tests start both binaries, so these are built before any test runs.
fn build(run: &mut Run) -> Result<Verdict> {
    locked(run, "build").args(TOGETHER).args(["--bins", "--tests"]).run()?;
    Ok(Verdict::Passed)
}

fn unit(run: &mut Run) -> Result<Verdict> {
    let mut are_good = nextest(run, TOGETHER, &["-E", "not package(firstline-tests)"])?;
    are_good &= nextest(run, &["-p", "xtask"], &[])?;
    if !are_good {
        bail!("tests failed");
    }
    Ok(Verdict::Passed)
}

fn e2e(run: &mut Run) -> Result<Verdict> {
    // The simulation is built with a profile of its own, by a step of its own.
    if !nextest(run, TOGETHER, &["-E", "package(firstline-tests) and not binary(sim)"])? {
        bail!("tests failed");
    }
    Ok(Verdict::Passed)
}

fn simulation(run: &mut Run) -> Result<Verdict> {
    const SEEDS: u64 = 500;
    let (succeeded, lines) = sim::simulate(SEEDS, 1, None)?;
    run.counts.add(Counts::of_libtest(&lines));
    if !succeeded {
        bail!("seeds fail; the lines above say which and how to run one again");
    }
    Ok(Verdict::Passed)
}

/// A small fleet with faults through the collector that the build step has built.
fn detection_score(run: &mut Run) -> Result<Verdict> {
    detection::small(&detection::collector(&run.root, "debug")?)?;
    Ok(Verdict::Passed)
}

fn nextest(run: &mut Run, packages: &[&str], filter: &[&str]) -> Result<bool> {
    let path = requirements::path_with_nextest()?;
    let (succeeded, lines) =
        locked(run, "nextest run").env("PATH", path).args(packages).args(filter).watch()?;
    run.counts.add(Counts::of_nextest(&lines));
    Ok(succeeded)
}

fn docs(run: &mut Run) -> Result<Verdict> {
    cargo(run)
        // Private items are documented here, so links to them lead somewhere.
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")
        .args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"])
        .run()?;
    // nextest does not run the examples in documentation.
    let (succeeded, lines) = cargo(run).args(["test", "--quiet", "--doc"]).args(TOGETHER).watch()?;
    run.counts.add(Counts::of_libtest(&lines));
    if !succeeded {
        bail!("examples in the documentation failed");
    }
    Ok(Verdict::Passed)
}

fn targets(_: &mut Run) -> Result<Verdict> {
    Ok(match check_targets::check(workspace::is_ci())? {
        Outcome::Checked => Verdict::Passed,
        Outcome::Skipped(why) => Verdict::Skipped(why),
    })
}
