//! `cargo xtask soak`: the long forms of what `cargo xtask test` runs in a tenth: the counts that the product's promises
//! name. Parts run one after the other and can be named, so that a run that was broken off goes on where it stopped. What
//! the tests measure and judge they print as `FIGURE` lines; the table at the end is made of those alone, a line for each name.

#[cfg(unix)]
mod vm;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::Process;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Begin no further part after so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Of the part `vm`, only this kind of fault; may be given several times
    #[arg(long = "kind", value_name = "NAME")]
    kinds: Vec<String>,
    /// The parts; all when none is named
    parts: Vec<String>,
}

/// A part: what it is called, what it proves, and how it is run.
struct Part {
    name: &'static str,
    what: &'static str,
    how: How,
}

enum How {
    /// Tests of the end-to-end crate whose names contain this.
    Tests(&'static str),
    /// Another task of this program.
    Task(&'static [&'static str]),
    /// Faults of hardware in a virtual machine.
    VirtualMachine,
}

const PARTS: &[Part] = &[
    Part {
        name: "collector_kill",
        what: "2,000 kills of a collector under load",
        how: How::Tests("r21_a_collector_killed"),
    },
    Part {
        name: "collector_power_cut",
        what: "200 power cuts of a collector, on XFS and ext4",
        how: How::Tests("r21_a_collector_that_loses_power"),
    },
    Part { name: "agent_kill", what: "2,000 kills of an agent", how: How::Tests("r22_an_agent_killed") },
    Part {
        name: "agent_power_cut",
        what: "200 power cuts of an agent, on XFS and ext4",
        how: How::Tests("r22_an_agent_that_loses_power"),
    },
    Part {
        name: "sync",
        what: "a sync for every ack, no ack for a failed sync",
        how: How::Tests("r21_every_ack"),
    },
    Part { name: "replay", what: "a batch sent 4,000 times", how: How::Tests("r19_") },
    Part { name: "race", what: "64 clients with one token, 1,000 rounds", how: How::Tests("r1_") },
    Part { name: "signing", what: "10,000 signing requests", how: How::Tests("r3_") },
    Part { name: "revocation", what: "100 revocations", how: How::Tests("r4_") },
    Part { name: "frames", what: "10,000 mutated frames", how: How::Tests("r15_") },
    Part { name: "corruption", what: "10,000 damaged spools", how: How::Tests("r22_a_damaged_spool") },
    Part { name: "reconnect", what: "1,000 agents that come back at once", how: How::Tests("f13_") },
    Part { name: "flood", what: "one flooding device among 1,000", how: How::Tests("r18_") },
    Part { name: "peers", what: "5,000 idle connections, floods of HTTP/2", how: How::Tests("r17_") },
    Part { name: "hostile", what: "hostile collectors", how: How::Tests("r12_") },
    Part {
        name: "sim",
        what: "5,000 seeds of the whole system, simulated",
        how: How::Task(&["sim", "--seeds", "5000"]),
    },
    Part { name: "strings", what: "hostile texts through every page", how: How::Tests("r26_") },
    Part {
        name: "reproduce",
        what: "both programs built twice, byte by byte",
        how: How::Task(&["reproduce"]),
    },
    Part { name: "sabotage", what: "faults built in on purpose", how: How::Task(&["sabotage"]) },
    Part {
        name: "fuzz",
        what: "eight doors, ten minutes each",
        how: How::Task(&["fuzz", "--seconds", "600"]),
    },
    Part {
        name: "vm",
        what: "faults of drives, memory, sensors, Wi-Fi and the kernel in a virtual machine",
        how: How::VirtualMachine,
    },
];

enum Verdict {
    Passed,
    Failed,
    /// No test of that name is there.
    Empty,
    /// The time was over.
    NotBegun,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(unknown) = args.parts.iter().find(|name| !PARTS.iter().any(|part| part.name == **name)) {
        let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        bail!("there is no part {unknown:?}; there are {}", known.join(", "));
    }
    check_kinds(&args.kinds)?;
    let is_chosen = |part: &&Part| args.parts.is_empty() || args.parts.iter().any(|name| name == part.name);
    let chosen: Vec<&Part> = PARTS.iter().filter(is_chosen).collect();
    let begun = Instant::now();
    cargo()?.args(["build", "-p", "firstline-agent", "-p", "firstline-collector", "--bins"]).run()?;
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for (n, part) in chosen.iter().enumerate() {
        let is_over =
            args.minutes.is_some_and(|minutes| begun.elapsed() >= Duration::from_secs(minutes * 60));
        let (verdict, took) = if is_over {
            (Verdict::NotBegun, Duration::ZERO)
        } else {
            println!("\n=== {} ({} of {}): {}", part.name, n + 1, chosen.len(), part.what);
            let since = Instant::now();
            (run_part(part, &args.kinds, &mut figures)?, since.elapsed())
        };
        rows.push((part.name, verdict, took));
    }
    report(&rows, &figures)
}

fn run_part(part: &Part, kinds: &[String], figures: &mut Vec<String>) -> Result<Verdict> {
    let (succeeded, lines) = match part.how {
        // libtest and not nextest: the long forms know no time limit, and their figures are shown as they come.
        How::Tests(filter) => cargo()?
            .env("FIRSTLINE_SOAK", "1")
            .args([
                "test",
                "-p",
                "firstline-tests",
                "--tests",
                "--",
                "--nocapture",
                "--test-threads",
                "1",
                filter,
            ])
            .watch()?,
        How::Task(task) => cargo()?.arg("xtask").args(task).watch()?,
        // What cannot be had here is said, and the other parts go on.
        How::VirtualMachine => virtual_machine(kinds).unwrap_or_else(|error| {
            println!("    FAILED: {error:#}");
            (false, Vec::new())
        }),
    };
    figures.extend(
        lines.iter().filter_map(|line| line.split_once("FIGURE ")).map(|(_, figure)| figure.to_owned()),
    );
    let has_run = match part.how {
        How::Tests(_) => {
            lines.iter().any(|line| line.starts_with("test ") && line.contains(" ... ") || line == "ok")
        }
        How::Task(_) | How::VirtualMachine => true,
    };
    Ok(match (succeeded, has_run) {
        (false, _) => Verdict::Failed,
        (true, true) => Verdict::Passed,
        (true, false) => Verdict::Empty,
    })
}

#[cfg(unix)]
fn virtual_machine(kinds: &[String]) -> Result<(bool, Vec<String>)> {
    vm::run(kinds)
}

#[cfg(not(unix))]
fn virtual_machine(_: &[String]) -> Result<(bool, Vec<String>)> {
    bail!("the virtual machine needs Linux")
}

#[cfg(unix)]
fn check_kinds(kinds: &[String]) -> Result<()> {
    if let Some(unknown) = kinds.iter().find(|name| !vm::names().any(|known| known == **name)) {
        bail!("there is no kind {unknown:?}; there are {}", vm::names().collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_kinds(_: &[String]) -> Result<()> {
    Ok(())
}

fn report(rows: &[(&str, Verdict, Duration)], figures: &[String]) -> Result<()> {
    println!("\npart                      time  result");
    for (name, verdict, took) in rows {
        let verdict = match verdict {
            Verdict::Passed => "ok".to_owned(),
            Verdict::Failed => format!("FAILED; again with cargo xtask soak {name}"),
            Verdict::Empty => "no such test".to_owned(),
            Verdict::NotBegun => format!("not begun; go on with cargo xtask soak {name}"),
        };
        println!("{name:<20} {:>7.0} s  {verdict}", took.as_secs_f64());
    }
    println!("\nfigure                                               times       lowest      highest  unit");
    for ((name, unit), values) in gathered(figures) {
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        println!("{name:<52} {:>5} {lowest:>12} {highest:>12}  {unit}", values.len());
    }
    let bad =
        rows.iter().filter(|(_, verdict, _)| matches!(verdict, Verdict::Failed | Verdict::Empty)).count();
    if bad > 0 {
        bail!("{bad} of {} parts are not good", rows.len());
    }
    Ok(())
}

/// What was measured under one name, however often: many agents, rounds and seeds give the same figure.
fn gathered(figures: &[String]) -> BTreeMap<(&str, &str), Vec<f64>> {
    let mut gathered: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for figure in figures {
        let mut words = figure.split_whitespace();
        if let (Some(name), Some(value), Some(unit)) = (words.next(), words.next(), words.next())
            && let Ok(value) = value.parse()
        {
            gathered.entry((name, unit)).or_default().push(value);
        }
    }
    gathered
}

fn cargo() -> Result<Process> {
    Ok(Process::cargo().dir(&workspace::root()?))
}
