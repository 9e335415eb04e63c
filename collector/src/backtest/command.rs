//! `firstline-collector knowledge backtest FILE`: the same on the command line, also while the collector runs.

use super::play::{self, Plan, Progress};
use super::report::{Difference, Report};
use super::{MOST_DAYS, USUAL_DAYS, judge};
use crate::knowledge::{self, Exit};
use crate::{clock, serve};
use firstline_collector_store::engines::sqlite;
use firstline_model::deceptive::one_line;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a person is told how far it is.
const TELL: Duration = Duration::from_secs(2);
/// Tickets that are printed on either side.
const MOST_PRINTED: usize = 40;

/// What to try.
#[derive(Debug, clap::Args)]
pub(crate) struct BacktestArgs {
    /// An entry or an override, as it would stand in knowledge.d
    file: PathBuf,
    /// How many days back; raw records are kept for 7 days unless `serve --keep-records` says otherwise
    #[arg(long, default_value_t = USUAL_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_DAYS)))]
    days: u32,
    /// Only devices of this site
    #[arg(long)]
    site: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(
    args: &BacktestArgs,
    data: &Path,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    let shown = args.file.display();
    let text = match std::fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) => {
            writeln!(err, "{shown} cannot be read: {error}; name a .toml file with an entry or an override")?;
            return Ok(Exit::Failed);
        }
    };
    if !data.join(sqlite::FILE_NAME).exists() {
        writeln!(
            err,
            "there is no history in {}; name the collector's data folder: --data DIR",
            data.display()
        )?;
        return Ok(Exit::Failed);
    }
    let name =
        args.file.file_name().map_or_else(|| shown.to_string(), |name| name.to_string_lossy().into_owned());
    let folder = data.join(knowledge::FOLDER);
    let sources = match knowledge::sources(&folder) {
        Ok(sources) => sources,
        Err(error) => {
            writeln!(err, "{} cannot be read: {error}; make it readable for you", folder.display())?;
            return Ok(Exit::Failed);
        }
    };
    let running = knowledge::judge_to_run(&sources);
    let Some(running) = running.loaded else {
        for problem in running.problems {
            writeln!(err, "{problem}")?;
        }
        writeln!(err, "the files in {} are refused; correct them first", folder.display())?;
        return Ok(Exit::Failed);
    };
    let rules = match judge(&running.set, &sources, &name, &text) {
        Ok(rules) => rules,
        Err(problems) => {
            for problem in problems {
                writeln!(err, "{problem}")?;
            }
            return Ok(Exit::Failed);
        }
    };
    let plan = Plan {
        rules,
        days: args.days,
        site: args.site.clone(),
        now: clock::now(),
        // Whoever started it sees it run and can end it.
        longest: Duration::MAX,
        // The running collector knows.
        kept_for: None,
    };
    match play_here(data, &plan, err) {
        Ok(Some(report)) if args.json => {
            serde_json::to_writer_pretty(&mut *out, &report)?;
            writeln!(out)?;
            Ok(Exit::Ok)
        }
        Ok(Some(report)) => print(&report, out).map(|()| Exit::Ok),
        Ok(None) => Ok(Exit::Failed),
        Err(error) => {
            writeln!(err, "{error:#}")?;
            Ok(Exit::Failed)
        }
    }
}

/// Plays it in this process, and tells a person how far it is.
fn play_here(data: &Path, plan: &Plan, err: &mut dyn Write) -> anyhow::Result<Option<Report>> {
    let store = serve::open_store(data, "sqlite")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let progress = Progress::default();
    let is_told = io::stderr().is_terminal();
    std::thread::scope(|scope| {
        let playing = scope.spawn(|| runtime.block_on(play::play(&*store, plan, &progress)));
        let mut told = std::time::Instant::now();
        while !playing.is_finished() {
            std::thread::park_timeout(Duration::from_millis(50));
            if is_told && told.elapsed() >= TELL {
                told = std::time::Instant::now();
                // Who cannot be told goes without.
                let _ = writeln!(
                    err,
                    "{} %: played until {}, {} observations",
                    progress.percent(),
                    progress.reached(),
                    progress.observations()
                );
            }
        }
        playing.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the back-test broke off; this is a defect")))
    })
}

fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", report.summary)?;
    let history = &report.history;
    writeln!(
        out,
        "  history: {} to {}, {} devices, {} records, {} observations",
        history.from.as_deref().unwrap_or("nothing"),
        history.until,
        history.devices,
        history.records,
        history.observations
    )?;
    for missing in &history.missing {
        writeln!(out, "  missing: {}", one_line(missing))?;
    }
    writeln!(out, "  stored tickets of that time: {}", report.stored)?;
    for (name, side) in [("as it is", &report.before), ("changed", &report.after)] {
        writeln!(
            out,
            "  {name}: {} tickets ({} of shared causes, {} parts of those) of {} devices",
            side.tickets, side.problems, side.children, side.devices
        )?;
        for reason in &side.suppressed {
            writeln!(out, "    no ticket {} times: {}", reason.count, one_line(&reason.reason))?;
        }
    }
    if let Some(later) = report.later_by_s.filter(|later| *later != 0.0) {
        let word = if later > 0.0 { "later" } else { "sooner" };
        writeln!(out, "  {} tickets stay; the middle one opens {:.0} s {word}", report.kept, later.abs())?;
    }
    list("lost", report.lost_total, &report.lost, out)?;
    list("gained", report.gained_total, &report.gained, out)?;
    for one in &report.others {
        writeln!(out, "  other entry {}: {} -> {} tickets", one.rule, one.before, one.after)?;
    }
    for note in &report.notes {
        writeln!(out, "  note: {}", one_line(note))?;
    }
    Ok(())
}

fn list(name: &str, total: u64, tickets: &[Difference], out: &mut dyn Write) -> io::Result<()> {
    for one in tickets.iter().take(MOST_PRINTED) {
        let place = one.device.as_ref().map(|device| device.hostname.as_str()).or(one.site.as_deref());
        let key = one.ticket.as_ref().map_or("-", |ticket| ticket.key.as_str());
        writeln!(
            out,
            "  {name:<6} {}  {key:<11} {:<20} {}",
            one.opened_at,
            one_line(place.unwrap_or("-")),
            one_line(&one.title)
        )?;
    }
    let printed = tickets.len().min(MOST_PRINTED) as u64;
    if total > printed {
        writeln!(out, "  {name:<6} and {} more (--json lists up to {})", total - printed, tickets.len())?;
    }
    Ok(())
}
