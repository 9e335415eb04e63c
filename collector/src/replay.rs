//! `replay`: a recorded trace goes through the code that serves live traffic, with the trace's clock.
//!
//! Same trace and same rules give the same output, byte for byte. Memory is bounded by the devices of the trace, not
//! by its length. A line that cannot be understood is named, left out, and makes the command fail at the end: what
//! came out is then not the whole story.
#![expect(clippy::print_stderr, reason = "this is where the program speaks to the person who called it")]

mod house;
mod line;
mod output;
mod run;
#[cfg(test)]
mod tests;

use crate::cli::ReplayArgs;
use crate::{knowledge, maintenance};
use anyhow::{Context, bail};
use firstline_collector_core::quiet::Quiet;
use firstline_model::deceptive::one_line;
use output::Output;
pub(crate) use output::{Listener, Suppressed};
pub(crate) use run::Replay;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// So many bad lines are told apart; more of them mean that the file is something else.
const MOST_COMPLAINTS: u64 = 20;
/// A line of a trace is an observation, not a file; longer ones are left out without being kept in memory.
const LONGEST_LINE: usize = 4 * 1024 * 1024;
const PROGRESS: Duration = Duration::from_secs(2);

/// Runs the command.
pub(crate) fn command(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let mut rules = match knowledge::rules(args.knowledge.as_deref()) {
        Ok(rules) => rules.without_tests(),
        Err(problems) => bail!("{problems}"),
    };
    rules.quiet = Quiet::standard();
    if let Some(file) = &args.maintenance {
        rules.quiet.windows = maintenance::read(file)?;
    }
    let name = args.trace.display().to_string();
    let input: Box<dyn BufRead> = if name == "-" {
        Box::new(BufReader::with_capacity(1 << 20, io::stdin()))
    } else {
        let file = File::open(&args.trace).with_context(|| format!("the trace {name} cannot be opened"))?;
        Box::new(BufReader::with_capacity(1 << 20, file))
    };
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut player =
        Player { name, bad: 0, lines: 0, told: Instant::now(), to_person: io::stderr().is_terminal() };
    let done = player.play(input, Replay::new(&rules, Output::new(out, args.json)), args.json);
    match done {
        // Whoever reads the output has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
        Ok(()) if player.bad > 0 => {
            eprintln!(
                "firstline-collector: {} of {} lines of {} could not be read and were left out; the result is incomplete",
                player.bad, player.lines, player.name
            );
            Ok(ExitCode::from(1))
        }
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

struct Player {
    name: String,
    bad: u64,
    lines: u64,
    told: Instant,
    to_person: bool,
}

impl Player {
    fn play<W: Write>(
        &mut self,
        mut input: Box<dyn BufRead>,
        mut replay: Replay<'_, Output<W>>,
        json: bool,
    ) -> anyhow::Result<()> {
        let reader = line::Reader::new();
        let mut text = Vec::new();
        loop {
            text.clear();
            let too_long =
                next_line(&mut input, &mut text).with_context(|| format!("{} cannot be read", self.name))?;
            let Some(too_long) = too_long else { break };
            self.lines += 1;
            self.show_progress();
            if too_long {
                self.complain(&format!("the line is longer than {} MiB", LONGEST_LINE >> 20));
                continue;
            }
            let line = text.trim_ascii();
            if line.is_empty() {
                continue;
            }
            match reader.read(line) {
                Ok(seen) => {
                    if let Err(why) = replay.take(&seen.device, &seen.observation)? {
                        self.complain(&why);
                    }
                }
                Err(why) => self.complain(&why),
            }
        }
        let (figures, output) = replay.finish()?;
        if !json {
            eprintln!(
                "{} observations of {} devices: {} tickets opened, {} breaches without a ticket",
                figures.observations, figures.devices, output.opened, output.suppressed
            );
        }
        if figures.late > 0 {
            eprintln!(
                "firstline-collector: {} of {} lines are older than a line above them; a trace must be sorted by time, \
                 so they may have been judged too late",
                figures.late, self.lines
            );
        }
        Ok(())
    }

    fn complain(&mut self, why: &str) {
        self.bad += 1;
        if self.bad <= MOST_COMPLAINTS {
            eprintln!("{}:{}: {}; the line is left out", self.name, self.lines, one_line(why));
        }
        if self.bad == MOST_COMPLAINTS {
            eprintln!("further lines that cannot be read are only counted");
        }
    }

    fn show_progress(&mut self) {
        if self.to_person && self.lines.is_multiple_of(65_536) && self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            eprintln!("{} million lines of {}", self.lines / 1_000_000, self.name);
        }
    }
}

/// Reads one line. `None` at the end; `Some(true)` when it was too long and has been skipped.
fn next_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let (mut any, mut too_long) = (false, false);
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any.then_some(too_long));
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = end.map_or(buffer, |end| &buffer[..end]);
        too_long |= line.len() + part.len() > LONGEST_LINE;
        if !too_long {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(Some(too_long));
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
