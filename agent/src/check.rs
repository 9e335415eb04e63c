//! `check`: this machine's health in plain words, by domain, worst first, without a collector.
//!
//! All probes run side by side under one deadline, because a person waits. A probe that hangs is left behind and said to
//! be late; the rest is judged without it. Where only the difference of two looks says something, two are taken.

mod report;

use crate::cli::{Cli, ReadArgs, complain};
use crate::collect::wall_clock;
use crate::probe;
use anyhow::{Context as _, Result};
use firstline_agent_core::health::{Level, Reading, assess, worst};
use firstline_agent_probes::isolate::{Isolated, Outcome, Run};
use firstline_agent_probes::{Context, PROBES, ProbeEntry, process};
use firstline_model::Observation;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Probes that say nothing about health and take long.
const LEFT_OUT: &[&str] = &["software"];
/// Probes of which two looks are taken.
const TWO_LOOKS: &[&str] = &["cpu", "disk_io", "process", "sensor"];
/// Between two looks.
const APART: Duration = Duration::from_millis(1500);
/// The answer is there within 5 s; what is left after this is for judging and printing.
const DEADLINE: Duration = Duration::from_millis(4500);

/// When no health can be told: 1 and 2 are what it is.
const COULD_NOT_CHECK: u8 = 3;

pub(crate) fn command(cli: &Cli, args: &ReadArgs) -> ExitCode {
    checked(cli, args).unwrap_or_else(|error| {
        complain(&error);
        ExitCode::from(COULD_NOT_CHECK)
    })
}

fn checked(cli: &Cli, args: &ReadArgs) -> Result<ExitCode> {
    let context = probe::context(cli, args.root.as_deref())?;
    let seen = look(&entries(), &context, DEADLINE);
    let reading = Reading { earlier: &seen.earlier, latest: &seen.latest, incomplete: &seen.incomplete };
    let lines = assess(&reading);
    let mut out = std::io::stdout().lock();
    let text = if args.json {
        format!("{}\n", report::json(&lines))
    } else {
        // https://no-color.org: set and not empty means no colours.
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        report::text(&lines, out.is_terminal() && !is_unwanted)
    };
    say(&mut out, &text)?;
    Ok(match worst(&lines) {
        Level::Healthy | Level::Note | Level::Unknown => ExitCode::SUCCESS,
        Level::Warning => ExitCode::from(1),
        Level::Problem => ExitCode::from(2),
    })
}

/// Writes the answer. A reader that has seen enough (`head`) ends it.
fn say(out: &mut impl Write, text: &str) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("the answer cannot be written"),
    }
}

/// The probes that run, the busy programs as they are right now instead of over minutes.
fn entries() -> Vec<ProbeEntry> {
    let wanted = PROBES.iter().filter(|entry| !LEFT_OUT.contains(&entry.name));
    wanted
        .map(|entry| match entry.name {
            "process" => ProbeEntry { name: "process", new: || Box::new(process::Process::right_now()) },
            _ => *entry,
        })
        .collect()
}

/// What the probes saw.
#[derive(Debug, Default)]
struct Seen {
    earlier: Vec<Observation>,
    latest: Vec<Observation>,
    incomplete: Vec<(&'static str, &'static str)>,
}

/// One probe's two looks: the first one only where two are taken.
struct Looks {
    at: usize,
    first: Option<Run>,
    last: Run,
}

fn look(entries: &[ProbeEntry], context: &Context, deadline: Duration) -> Seen {
    let begin = Instant::now();
    let (sender, results) = mpsc::channel();
    let mut outcomes: Vec<Option<Looks>> = entries.iter().map(|_| None).collect();
    for (at, entry) in entries.iter().enumerate() {
        let (entry, context, sender) = (*entry, context.clone(), sender.clone());
        // A thread that the system does not give is a probe without a result.
        let _ = std::thread::Builder::new().name(format!("check-{}", entry.name)).spawn(move || {
            // Nobody listens any more after the deadline.
            let _ = sender.send(look_at(at, &entry, context));
        });
    }
    drop(sender);
    while let Some(left) = deadline.checked_sub(begin.elapsed()) {
        let Ok(looks) = results.recv_timeout(left) else { break };
        let at = looks.at;
        outcomes[at] = Some(looks);
    }
    let mut seen = Seen::default();
    // In the order of the registry, so that equal machines give equal answers.
    for (entry, looks) in entries.iter().zip(outcomes) {
        let Some(looks) = looks else {
            seen.incomplete.push((entry.name, Outcome::TimedOut.as_str()));
            continue;
        };
        if looks.last.outcome == Outcome::Completed {
            seen.latest.extend(looks.last.observations);
        } else {
            seen.incomplete.push((entry.name, looks.last.outcome.as_str()));
        }
        seen.earlier.extend(looks.first.map(|run| run.observations).unwrap_or_default());
    }
    seen
}

fn look_at(at: usize, entry: &ProbeEntry, context: Context) -> Looks {
    let mut probe = Isolated::new(entry);
    // A captured machine stands still: a second look would see no difference.
    if !TWO_LOOKS.contains(&entry.name) || !context.root.is_system() {
        return Looks { at, first: None, last: probe.run(context) };
    }
    let first = probe.run(context.clone());
    let begin = Instant::now();
    while let Some(left) = APART.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
    let last = probe.run(Context { now: wall_clock(), ..context });
    Looks { at, first: Some(first), last }
}

#[cfg(test)]
mod tests;
