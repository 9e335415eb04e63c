//! `doctor`: why the collector does not work, as a list of what was looked at: what is wrong, since when where that is
//! known, and what to do. It works whether the collector runs or not.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

mod listeners;
mod looks;

use crate::cli::OutputArgs;
use crate::clock;
use anyhow::Result;
use firstline_model::Timestamp;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What is wrong with something.
#[derive(Debug)]
struct Trouble {
    detail: String,
    since: Option<Timestamp>,
    /// What a person does about it; empty when the detail says it.
    remedy: String,
}

/// What one look saw.
type Seen = Result<String, Trouble>;

impl Trouble {
    fn new(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { detail: detail.into(), since: None, remedy: remedy.into() }
    }

    fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }
}

/// Errors of the collector say themselves what to do.
impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format!("{error:#}"), "")
    }
}

pub(crate) fn command(data: &Path, args: &OutputArgs) -> Result<ExitCode> {
    let now = clock::now();
    let store = looks::survey(data);
    let looks: Vec<(&str, Seen)> = vec![
        ("data folder", looks::folder(data)),
        ("file modes", looks::modes(data)),
        ("disk", looks::disk(data)),
        ("clock", looks::clock(data, &store, now)),
        ("authority", looks::authority(data, now)),
        ("store", looks::store(&store, now)),
        ("knowledge", looks::knowledge(data)),
        ("backup", looks::backup(data, &store, now)),
        ("agents' listener", listeners::agents(data, now)),
        ("web listener", listeners::web(data, now)),
    ];
    let is_well = looks.iter().all(|(_, seen)| seen.is_ok());
    if args.json {
        let findings: Vec<_> = looks.iter().map(|(what, seen)| as_json(what, seen)).collect();
        println!("{}", json!({"ok": is_well, "findings": findings}));
    } else {
        for (what, seen) in &looks {
            println!("{}", in_words(what, seen, now));
        }
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn as_json(what: &str, seen: &Seen) -> serde_json::Value {
    match seen {
        Ok(detail) => json!({"what": what, "ok": true, "detail": detail}),
        Err(trouble) => json!({
            "what": what, "ok": false, "detail": trouble.detail,
            "since": trouble.since.map(|at| at.to_string()),
            "remedy": Some(&trouble.remedy).filter(|remedy| !remedy.is_empty()),
        }),
    }
}

fn in_words(what: &str, seen: &Seen, now: Timestamp) -> String {
    match seen {
        Ok(detail) => format!("ok      {what:<17} {detail}"),
        Err(Trouble { detail, since, remedy }) => {
            let mut line = format!("TROUBLE {what:<17} {detail}");
            if let Some(since) = since {
                line += &format!("\n{:<26}since {since} ({})", "", ago(*since, now));
            }
            if !remedy.is_empty() {
                line += &format!("\n{:<26}do: {remedy}", "");
            }
            line
        }
    }
}

/// How long ago, for a person.
fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now { "in the future".to_owned() } else { format!("{} ago", long(now.since(at))) }
}

/// A length of time, for a person.
fn long(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// An end that lies ahead or behind, for a person.
fn until(end: Timestamp, now: Timestamp) -> String {
    if end > now {
        format!("{end}, in {}", long(end.since(now)))
    } else {
        format!("{end}, {}", ago(end, now))
    }
}
