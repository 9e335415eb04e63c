//! `check`: this machine's health in plain words, worst first, without a collector.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

use crate::cli::{Cli, ReadArgs};
use crate::probe;
use anyhow::Result;
use firstline_agent_core::health::{Level, assess, worst};
use firstline_agent_probes::PROBES;
use serde_json::json;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Probes that say nothing about health and take long.
const LEFT_OUT: &[&str] = &["software"];

pub(crate) fn command(cli: &Cli, args: &ReadArgs) -> Result<ExitCode> {
    let context = probe::context(cli, args.root.as_deref())?;
    // Side by side, because the network probe waits for answers while the others only read files.
    let runs: Vec<_> = PROBES
        .iter()
        .filter(|entry| !LEFT_OUT.contains(&entry.name))
        .map(|entry| {
            let context = context.clone();
            (entry.name, std::thread::spawn(move || probe::run(entry, &context)))
        })
        .collect();
    let mut observations = Vec::new();
    let mut incomplete = Vec::new();
    for (name, thread) in runs {
        match thread.join() {
            Ok((seen, None)) => observations.extend(seen),
            Ok((_, Some(why))) => incomplete.push((name, why)),
            Err(_) => incomplete.push((name, "panicked")),
        }
    }
    let lines = assess(&observations);
    let level = worst(&lines);
    if args.json {
        let lines: Vec<_> = lines
            .iter()
            .map(|l| json!({"level": l.level.to_string(), "domain": l.domain, "text": l.text, "advice": l.advice}))
            .collect();
        let incomplete: Vec<_> =
            incomplete.iter().map(|(name, why)| json!({"probe": name, "outcome": why})).collect();
        println!("{}", json!({"health": level.to_string(), "lines": lines, "incomplete": incomplete}));
    } else {
        let colours = std::io::stdout().is_terminal();
        println!("{}", headline(level));
        for line in &lines {
            let mark = mark(line.level, colours);
            println!("{mark} {:<8} {}", line.domain, line.text);
            if !line.advice.is_empty() {
                println!("{:>12}{}", "-> ", line.advice);
            }
        }
        for (name, why) in &incomplete {
            println!(
                "{} {:<8} The look at {name} did not complete ({why}).",
                mark(Level::Unknown, colours),
                "agent"
            );
        }
    }
    Ok(match level {
        Level::Healthy | Level::Unknown => ExitCode::SUCCESS,
        Level::Warning => ExitCode::from(1),
        Level::Problem => ExitCode::from(2),
    })
}

fn headline(level: Level) -> &'static str {
    match level {
        Level::Healthy => "This machine is healthy.",
        Level::Unknown => "Nothing is wrong in what could be seen.",
        Level::Warning => "This machine works, but something should be looked at.",
        Level::Problem => "Something is wrong with this machine.",
    }
}

fn mark(level: Level, colours: bool) -> String {
    let (text, colour) = match level {
        Level::Healthy => ("ok     ", "32"),
        Level::Unknown => ("unknown", "90"),
        Level::Warning => ("warning", "33"),
        Level::Problem => ("PROBLEM", "31"),
    };
    if colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}
