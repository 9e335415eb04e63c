//! `probe` and `diagnose`: what the agent sees, printed once for a person or a test.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

use crate::cli::{Cli, DiagnoseArgs, ProbeArgs};
use crate::collect::wall_clock;
use crate::config;
use anyhow::{Result, bail};
use firstline_agent_probes::isolate::{Isolated, Outcome};
use firstline_agent_probes::{Context, PROBES, ProbeEntry, Root, diagnose, json};
use firstline_model::deceptive::{lines, one_line};
use firstline_model::{DiagnosticOutcome, DiagnosticRequest, Observation};
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn command(cli: &Cli, args: &ProbeArgs) -> Result<ExitCode> {
    if args.list {
        for entry in PROBES {
            println!("{}", entry.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let entries = select(args.name.as_deref())?;
    let context = context(cli, args.read.root.as_deref())?;
    let mut failed = false;
    for entry in entries {
        let (observations, outcome) = run(entry, &context);
        if let Some(why) = outcome {
            tracing::warn!(probe = entry.name, outcome = why, "a probe did not complete");
            failed = true;
        }
        for observation in observations {
            let value = json::observation(&observation);
            if args.read.json {
                println!("{value}");
            } else {
                println!("{}", line(&observation, &value));
            }
        }
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

pub(crate) fn diagnose_command(cli: &Cli, args: &DiagnoseArgs) -> Result<ExitCode> {
    let names: Vec<&str> = DiagnosticRequest::NAMES.iter().map(|(name, _)| *name).collect();
    let Some((_, parameter)) = DiagnosticRequest::NAMES.iter().find(|(name, _)| *name == args.name) else {
        bail!("there is no test called {:?}; known are {}", args.name, names.join(", "));
    };
    if let (Some(parameter), None) = (parameter, &args.subject) {
        bail!(
            "the test {} needs its {parameter}: firstline-agent diagnose {} {}",
            args.name,
            args.name,
            parameter.to_uppercase()
        );
    }
    let subject = args.subject.as_deref().unwrap_or_default();
    let Some(request) = DiagnosticRequest::from_name(&args.name, subject) else {
        bail!("there is no test called {:?}; known are {}", args.name, names.join(", "));
    };
    let report = diagnose::run(&request, &context(cli, args.read.root.as_deref())?);
    if args.read.json {
        println!("{}", json::diagnostic(&report));
    } else {
        println!("{}: {}", report.outcome.as_str().replace('_', " "), one_line(&report.summary));
        println!("{}", lines(&format!("{:#}", json::value(&report.facts))));
    }
    Ok(match report.outcome {
        DiagnosticOutcome::Ok => ExitCode::SUCCESS,
        DiagnosticOutcome::Problem | DiagnosticOutcome::CouldNotTell => ExitCode::from(1),
    })
}

/// The probes that `name` means; all without one.
pub(crate) fn select(name: Option<&str>) -> Result<Vec<&'static ProbeEntry>> {
    match name {
        None => Ok(PROBES.iter().collect()),
        Some(name) => match firstline_agent_probes::probe(name) {
            Some(entry) => Ok(vec![entry]),
            None => {
                let known: Vec<&str> = PROBES.iter().map(|entry| entry.name).collect();
                bail!("there is no probe called {name:?}; known are {}", known.join(", "))
            }
        },
    }
}

/// The circumstances of a run from the command line: nothing is written, this machine's overrides hold.
pub(crate) fn context(cli: &Cli, root: Option<&Path>) -> Result<Context> {
    let root = self::root(root)?;
    let mut context = Context::new(root, wall_clock());
    // A person without administrator rights cannot read the data folder, and need not.
    let file = config::path(None, &cli.data_folder());
    if std::fs::File::open(&file).is_ok() {
        context.overrides = config::load(&file, false)?.overrides;
    }
    Ok(context)
}

/// The running system, or a captured machine whose folder must be there: an empty one would look healthy.
pub(crate) fn root(given: Option<&Path>) -> Result<Root> {
    match given {
        None => Ok(Root::system()),
        Some(path) if path.is_dir() => Ok(Root::at(path)),
        Some(path) => bail!("--root {} is not a folder", path.display()),
    }
}

/// Runs one probe isolated; says how it ended unless it completed.
pub(crate) fn run(entry: &ProbeEntry, context: &Context) -> (Vec<Observation>, Option<&'static str>) {
    let run = Isolated::new(entry).run(context.clone());
    let failed = (!matches!(run.outcome, Outcome::Completed)).then(|| run.outcome.as_str());
    (run.observations, failed)
}

fn line(observation: &Observation, value: &serde_json::Value) -> String {
    let mut rest = value.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.remove("t");
        fields.remove("component");
    }
    format!("{:<32} {}", one_line(&observation.component.to_string()), one_line(&rest.to_string()))
}
