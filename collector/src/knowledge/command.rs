//! `firstline-collector knowledge check|test|show|backtest`: what an author of entries needs before files go live.

use super::describe;
use super::problem::{Problem, advice};
use super::schema;
use super::set::{self, ExampleRun, Judged, Loaded, Origin};
use super::watch::{Knowledge, Reload, watch};
use crate::backtest::{self, command::BacktestArgs};
use firstline_collector_core::knowledge::KnowledgeEntry;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder within the data folder in which administrators keep their files.
pub(crate) const FOLDER: &str = "knowledge.d";

/// What is asked for.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KnowledgeCommand {
    /// Judge all files as `serve` would: syntax, keys, references, worked examples
    Check {
        /// The folder with your files; without it, knowledge.d in the data folder
        dir: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Stay, and judge the files again at every change until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Run every worked example, of the built-in entries and of yours
    Test {
        /// The folder with your files; without it, knowledge.d in the data folder
        dir: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Play the stored history with a file that is not in force yet: how many tickets more or fewer, and which
    Backtest(BacktestArgs),
    /// Print the reference of knowledge files: every table and key
    Schema,
    /// List the entries in force, or show one in full
    Show {
        /// The check id, such as fs.space
        code: Option<String>,
        /// The folder with your files; without it, knowledge.d in the data folder
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// How a command ended, as the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Ok = 0,
    /// Something is wrong with the files.
    Failed = 1,
    /// Something is wrong with the arguments.
    Usage = 2,
}

/// Runs a command and writes its answer to `out`, and what went wrong to `err`.
pub(crate) fn run(
    command: &KnowledgeCommand,
    data: &Path,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    let (dir, json) = match command {
        KnowledgeCommand::Schema => {
            write!(out, "{}", schema::page())?;
            return Ok(Exit::Ok);
        }
        KnowledgeCommand::Backtest(args) => return backtest::command::run(args, data, out, err),
        KnowledgeCommand::Check { dir, json, .. }
        | KnowledgeCommand::Test { dir, json }
        | KnowledgeCommand::Show { dir, json, .. } => (dir.as_deref(), *json),
    };
    let folder = match dir {
        Some(dir) if !dir.is_dir() => {
            writeln!(err, "{} is not a folder; name the folder that holds your .toml files", dir.display())?;
            return Ok(Exit::Usage);
        }
        Some(dir) => dir.to_owned(),
        None => data.join(FOLDER),
    };
    if let KnowledgeCommand::Check { watch: true, .. } = command {
        return follow(&folder, json, out, err);
    }
    let sources = match set::sources(&folder) {
        Ok(sources) => sources,
        Err(error) => {
            writeln!(err, "{} cannot be read: {error}; make it readable for you", folder.display())?;
            return Ok(Exit::Failed);
        }
    };
    let judged = set::judge(&sources);
    match command {
        // Answered above.
        KnowledgeCommand::Schema | KnowledgeCommand::Backtest(_) => Ok(Exit::Ok),
        KnowledgeCommand::Check { .. } => check(&judged, json, out),
        KnowledgeCommand::Test { .. } => test(&judged, json, out),
        KnowledgeCommand::Show { code, .. } => match (&judged.loaded, code) {
            (None, _) => {
                print_problems(&judged.problems, err)?;
                Ok(Exit::Failed)
            }
            (Some(loaded), None) => list(loaded, json, out),
            (Some(loaded), Some(code)) => show(loaded, code, json, out, err),
        },
    }
}

fn check(judged: &Judged, json: bool, out: &mut dyn Write) -> io::Result<Exit> {
    let ok = judged.problems.is_empty();
    let (entries, overrides) =
        judged.loaded.as_ref().map_or((0, 0), |loaded| (loaded.set.entries.len(), loaded.overrides));
    if json {
        let answer = json!({
            "ok": ok,
            "entries": entries,
            "overrides": overrides,
            "examples": judged.examples.len(),
            "problems": judged.problems.iter().map(problem).collect::<Vec<_>>(),
        });
        writeln!(out, "{answer}")?;
    } else if ok {
        let examples = judged.examples.len();
        writeln!(out, "ok: {entries} entries, {overrides} overrides, {examples} worked examples hold")?;
    } else {
        print_problems(&judged.problems, out)?;
    }
    Ok(exit(ok))
}

/// Tells what every change of the files would do to a running collector.
fn follow(folder: &Path, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    let knowledge = match Knowledge::open(folder) {
        Ok(knowledge) => Arc::new(knowledge),
        Err(broken) => {
            writeln!(err, "{broken}")?;
            return Ok(Exit::Failed);
        }
    };
    let loaded = knowledge.running();
    let first = match knowledge.problems().as_slice() {
        [] => Reload::Replaced { entries: loaded.set.entries.len(), overrides: loaded.overrides },
        problems => Reload::Refused(problems.to_vec()),
    };
    print_reload(&first, json, out)?;
    let (_watch, mut reloads) = match watch(knowledge) {
        Ok(watching) => watching,
        Err(error) => {
            writeln!(err, "{} cannot be watched: {error}; make it readable for you", folder.display())?;
            return Ok(Exit::Failed);
        }
    };
    while let Some(reload) = reloads.blocking_recv() {
        print_reload(&reload, json, out)?;
    }
    Ok(Exit::Ok)
}

fn print_reload(reload: &Reload, json: bool, out: &mut dyn Write) -> io::Result<()> {
    match (reload, json) {
        (Reload::Replaced { entries, overrides }, true) => {
            writeln!(
                out,
                "{}",
                json!({"ok": true, "entries": entries, "overrides": overrides, "problems": []})
            )?;
        }
        (Reload::Replaced { entries, overrides }, false) => {
            writeln!(out, "ok: {entries} entries, {overrides} overrides")?;
        }
        (Reload::Refused(problems), true) => {
            let problems: Vec<Value> = problems.iter().map(problem).collect();
            writeln!(out, "{}", json!({"ok": false, "problems": problems}))?;
        }
        (Reload::Refused(problems), false) => print_problems(problems, out)?,
    }
    out.flush()
}

fn test(judged: &Judged, json: bool, out: &mut dyn Write) -> io::Result<Exit> {
    let failed = judged.examples.iter().filter(|run| run.failure.is_some()).count();
    let passed = judged.examples.len() - failed;
    let ok = judged.problems.is_empty();
    if json {
        let answer = json!({
            "ok": ok,
            "passed": passed,
            "failed": failed,
            "examples": judged.examples.iter().map(example).collect::<Vec<_>>(),
            "problems": judged.problems.iter().map(problem).collect::<Vec<_>>(),
        });
        writeln!(out, "{answer}")?;
        return Ok(exit(ok));
    }
    for run in &judged.examples {
        match &run.failure {
            None => writeln!(out, "ok    {}: {}", run.code, run.name)?,
            Some(failure) => writeln!(out, "FAIL  {}: {} ({}): {failure}", run.code, run.name, run.place)?,
        }
    }
    let of_examples = |problem: &&Problem| {
        judged.examples.iter().any(|run| run.failure.is_some() && run.place == problem.place)
    };
    let others: Vec<Problem> = judged.problems.iter().filter(|one| !of_examples(one)).cloned().collect();
    if !others.is_empty() {
        print_problems(&others, out)?;
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(exit(ok))
}

fn list(loaded: &Loaded, json: bool, out: &mut dyn Write) -> io::Result<Exit> {
    if json {
        let entries: Vec<Value> =
            loaded.set.entries.values().map(|entry| with_origin(loaded, entry)).collect();
        writeln!(out, "{}", json!({ "entries": entries }))?;
        return Ok(Exit::Ok);
    }
    for entry in loaded.set.entries.values() {
        let state = match (entry.enabled, entry.opens_ticket) {
            (false, _) => " (disabled)",
            (true, false) => " (context only)",
            (true, true) => "",
        };
        writeln!(out, "{:<20} {}{state}", entry.code.as_str(), entry.title)?;
    }
    Ok(Exit::Ok)
}

fn show(
    loaded: &Loaded,
    code: &str,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    let Some(entry) = loaded.set.entries.values().find(|entry| entry.code.as_str() == code) else {
        let known = loaded.set.entries.keys().map(firstline_model::RuleCode::as_str);
        writeln!(err, "there is no entry {code:?}; {}", advice(code, known))?;
        return Ok(Exit::Failed);
    };
    if json {
        writeln!(out, "{}", with_origin(loaded, entry))?;
        return Ok(Exit::Ok);
    }
    print_entry(loaded, entry, out)?;
    Ok(Exit::Ok)
}

fn print_entry(loaded: &Loaded, entry: &KnowledgeEntry, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {}", entry.code, entry.title)?;
    if let Some(origin) = loaded.origins.get(&entry.code) {
        let by = if origin.built_in { "built in" } else { "yours" };
        let changed = match origin.overridden_by.as_slice() {
            [] => String::new(),
            files => format!(", changed by {}", files.join(", ")),
        };
        writeln!(out, "  file: {} ({by}){changed}", origin.file)?;
    }
    writeln!(
        out,
        "  category: {}; impact {}; about each {}",
        entry.category,
        entry.impact,
        entry.detection.about()
    )?;
    for level in &entry.detection.levels {
        writeln!(out, "  {} when {}", level.severity, describe::raises(level))?;
        writeln!(out, "    over when {}", describe::clears(level, entry.detection.latched))?;
    }
    for dependency in &entry.detection.depends_on {
        let same = if dependency.same_component { " on the same component" } else { "" };
        writeln!(out, "  hidden while {} fires{same}", dependency.rule)?;
    }
    writeln!(out, "\nFor the person:\n  {}", indented(&entry.explanation.person))?;
    writeln!(out, "\nFor a technician:\n  {}", indented(&entry.explanation.technician))?;
    section("Tests", entry.tests.iter().map(|test| test.diagnostic.clone()), out)?;
    let causes = entry.causes.iter().map(|cause| {
        let outs = cause.ruled_out_by.iter().map(|out| {
            let facts: Vec<String> = out.facts.iter().map(describe::clue).collect();
            format!("\n      not when {}: {}", facts.join(" and "), out.because)
        });
        format!("{}{}", cause.text, outs.collect::<String>())
    });
    section("Causes", causes, out)?;
    section("Steps", entry.steps.iter().cloned(), out)?;
    if let Some(article) = &entry.article {
        writeln!(out, "\nArticle: {}", article.title)?;
        for text in article.url.iter().chain(&article.body) {
            writeln!(out, "  {}", indented(text))?;
        }
    }
    section("Worked examples", entry.examples.iter().map(|example| example.name.clone()), out)
}

fn section(title: &str, lines: impl Iterator<Item = String>, out: &mut dyn Write) -> io::Result<()> {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}:")?;
    for (at, line) in lines.iter().enumerate() {
        writeln!(out, "  {}. {}", at + 1, line.trim())?;
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.trim().replace('\n', "\n  ")
}

fn with_origin(loaded: &Loaded, entry: &KnowledgeEntry) -> Value {
    let mut shown = describe::entry(entry);
    if let Some(Origin { file, built_in, overridden_by }) = loaded.origins.get(&entry.code) {
        shown["file"] = json!(file);
        shown["built_in"] = json!(built_in);
        shown["overridden_by"] = json!(overridden_by);
    }
    shown
}

/// A problem as JSON, for the command line, `doctor` and pages.
pub(crate) fn problem(problem: &Problem) -> Value {
    json!({
        "file": &*problem.place.file,
        "line": problem.place.line,
        "what": problem.what,
        "advice": problem.advice,
    })
}

fn example(run: &ExampleRun) -> Value {
    json!({
        "rule": run.code.as_str(),
        "name": run.name,
        "file": &*run.place.file,
        "line": run.place.line,
        "ok": run.failure.is_none(),
        "failure": run.failure,
    })
}

fn print_problems(problems: &[Problem], out: &mut dyn Write) -> io::Result<()> {
    for problem in problems {
        writeln!(out, "{problem}")?;
    }
    writeln!(out, "{} problems; the files are refused as a whole", problems.len())
}

fn exit(ok: bool) -> Exit {
    if ok { Exit::Ok } else { Exit::Failed }
}
