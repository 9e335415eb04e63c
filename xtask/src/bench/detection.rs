//! How well the rules detect, in figures: fleets of 1,000 devices over 14 days with 400 faults each, streamed through
//! `firstline-collector replay` and judged by ground truth; what an observation costs, and what a device takes of memory.
//!
//! The cost of judging is what is left of the replay's processor time when the same trace is replayed with every rule
//! switched off: reading lines and remembering values is not judging. Both figures are printed.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::procfs;
use super::report::{self, Row};
use crate::fleet::score::{Score, Scorer};
use crate::fleet::{self, Fleet, Written};
use crate::process::Process;
use crate::workspace;

/// After so many bytes of a trace the memory of the replay is looked at.
const WATCH_EVERY: usize = 4 << 20;
/// How many small fleets every test run judges.
const SMALL_SEEDS: u64 = 5;
/// The small fleet that memory is compared with.
const FEW: u32 = 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many devices
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    devices: u32,
    /// How many days
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=90))]
    days: u32,
    /// How many fleets
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Faults in each fleet
    #[arg(long, default_value_t = 400)]
    faults: u32,
    /// Print every miss, false ticket and wrong cause
    #[arg(long)]
    explain: bool,
    /// Print the score as JSON as well
    #[arg(long)]
    json: bool,
    /// Measure this collector instead of building one
    #[arg(long)]
    program: Option<PathBuf>,
}

/// What one replay did.
struct Measured {
    score: Score,
    written: Written,
    cpu: Duration,
    /// The largest resident memory, in KiB.
    memory: f64,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let root = workspace::root()?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => {
            Process::cargo().dir(&root).args(["build", "--release", "-p", "firstline-collector"]).run()?;
            collector(&root, "release")?
        }
    };
    let fleet = |seed| Fleet { devices: args.devices, days: args.days, seed, faults: args.faults };
    let mut total: Option<Score> = None;
    let mut replayed = Vec::new();
    for seed in args.from..args.from + args.seeds {
        let measured = replay(&program, fleet(seed), None)?;
        println!(
            "seed {seed}: {} observations in {:.1} s of processor time, at most {:.0} MiB; recall {:.2} %, {} false tickets",
            measured.written.observations,
            measured.cpu.as_secs_f64(),
            measured.memory / 1024.0,
            measured.score.recall() * 100.0,
            measured.score.false_tickets
        );
        replayed.push((measured.written.observations, measured.cpu, measured.memory));
        match &mut total {
            Some(total) => total.add(measured.score),
            None => total = Some(measured.score),
        }
    }
    let score = total.context("there was no seed")?;
    let idle = idle(&root, &program, fleet(args.from))?;
    print!("\n{}", score.table());
    if args.explain {
        score.examples.iter().for_each(|line| println!("{line}"));
    }
    if args.json {
        println!("{}", score.to_json());
    }
    let (observations, cpu, memory) = replayed[0];
    let mut rows = goals(&score);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / observations as f64;
    rows.push(Row::at_most("judging one observation", each(cpu.saturating_sub(idle.cpu)), "us", 1.0));
    let per_second = observations as f64 / cpu.as_secs_f64();
    rows.push(Row::at_least(
        "observations read and judged in a second on one core",
        per_second,
        "/s",
        200_000.0,
    ));
    // Two sizes of fleet tell a device's memory from the program's own; rules that are off still remember.
    let few = replay(&program, Fleet { devices: FEW, faults: 0, ..fleet(args.from) }, None)?;
    let more = f64::from(args.devices.saturating_sub(FEW).max(1));
    let state = (memory - few.memory).max(0.0) / more;
    rows.push(Row::at_most("rule state of one device", state, "KiB", 8.0));
    report::print(&rows)
}

/// The replay of the same trace with every rule switched off.
fn idle(root: &Path, program: &Path, fleet: Fleet) -> Result<Measured> {
    let folder = tempfile::tempdir().context("there is no room for a folder")?;
    let pack = root.join("collector/core/knowledge");
    for entry in std::fs::read_dir(&pack).with_context(|| format!("cannot read {}", pack.display()))? {
        let path = entry.context("an entry of the rule pack")?.path();
        let Some(id) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let text = format!("override = \"{id}\"\nenabled = false\n");
        std::fs::write(folder.path().join(format!("{id}.off.toml")), text)
            .context("an override cannot be written")?;
    }
    replay(program, fleet, Some(folder.path()))
}

/// The goals that a score has to meet.
fn goals(score: &Score) -> Vec<Row> {
    vec![
        Row::at_least("faults found", score.recall() * 100.0, "%", 99.0),
        Row::at_most("false tickets per 100 devices and week", score.false_rate(), "", 1.0),
        Row::at_most("delay beyond the hold time, median, in intervals", score.delay(0.5).1, "", 2.0),
        Row::at_least("likely cause right", score.causes() * 100.0, "%", 90.0),
        Row::at_least("shared causes found", score.parents() * 100.0, "%", 95.0),
        Row::at_most("false parents", score.false_parents as f64, "", 0.0),
    ]
}

/// The small form for every test run: a few small fleets through a program that is built already.
pub(crate) fn small(program: &Path) -> Result<()> {
    // One false ticket among 100 devices in three days is more than two a week already: several fleets tell more than one.
    let fleet = |seed| Fleet { devices: 100, days: 3, seed, faults: 40 };
    let mut score = replay(program, fleet(1), None)?.score;
    for seed in 2..=SMALL_SEEDS {
        score.add(replay(program, fleet(seed), None)?.score);
    }
    print!("{}", score.table());
    score.examples.iter().for_each(|line| println!("{line}"));
    report::print(&goals(&score))
}

/// Makes up a fleet, pipes it through a replay and judges what comes out.
fn replay(program: &Path, fleet: Fleet, knowledge: Option<&Path>) -> Result<Measured> {
    let prepared = fleet::prepare(fleet);
    let mut scorer = Scorer::new(prepared.truths.clone());
    let mut process = Process::new(program).quiet().args(["replay", "-", "--json"]);
    if let Some(folder) = knowledge {
        process = process.arg("--knowledge").arg(folder);
    }
    let mut child = process.piped()?;
    let pid = child.id();
    let (input, output) =
        (child.stdin.take().context("no input")?, child.stdout.take().context("no output")?);
    let mut feed = Feed { input, pid, unwatched: 0, memory: 0.0 };
    let (written, memory) = std::thread::scope(|scope| -> Result<_> {
        let feeder = scope.spawn(move || {
            let written = prepared.play(BufWriter::with_capacity(1 << 16, &mut feed));
            feed.watch();
            (written, feed.memory)
        });
        let mut told = Ok(());
        for line in BufReader::new(output).lines() {
            told = line.context("the replay's output cannot be read").and_then(|line| scorer.take(&line));
            if told.is_err() {
                break;
            }
        }
        let (written, memory) = feeder.join().map_err(|_| anyhow::anyhow!("the generator panicked"))?;
        told?;
        Ok((written?, memory))
    })?;
    // A process that has ended keeps its times until it is waited for.
    let cpu = procfs::processor_time(pid)?;
    ended(child)?;
    Ok(Measured { score: scorer.finish(), written, cpu, memory })
}

/// The input of the replay, which looks at its memory now and then.
struct Feed {
    input: ChildStdin,
    pid: u32,
    unwatched: usize,
    /// The largest resident memory so far, in KiB.
    memory: f64,
}

impl Feed {
    fn watch(&mut self) {
        if let Ok(resident) = procfs::resident_mib(self.pid) {
            self.memory = self.memory.max(resident * 1024.0);
        }
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.input.write(bytes)?;
        self.unwatched += written;
        if self.unwatched >= WATCH_EVERY {
            self.unwatched = 0;
            self.watch();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.flush()
    }
}

fn ended(mut child: Child) -> Result<()> {
    let status = child.wait().context("the replay cannot be waited for")?;
    if !status.success() {
        bail!("the replay failed: {status}");
    }
    Ok(())
}

/// The collector that was built with a profile.
pub(crate) fn collector(root: &Path, profile: &str) -> Result<PathBuf> {
    let metadata = workspace::metadata(root)?;
    let target = metadata["target_directory"].as_str().context("cargo does not tell its target folder")?;
    Ok(Path::new(target).join(profile).join(format!("firstline-collector{}", std::env::consts::EXE_SUFFIX)))
}
