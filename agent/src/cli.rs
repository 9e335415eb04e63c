//! The command line.
#![expect(clippy::print_stderr, reason = "this is where the program speaks to the person who called it")]

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use firstline_agent_probes::PROBES;
use firstline_model::DiagnosticRequest;
use firstline_model::deceptive::lines;
use std::path::PathBuf;

/// Collects this machine's health and streams it to the Firstline collector.
#[derive(Debug, Parser)]
#[command(name = "firstline-agent", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The data folder: identity, spool, state of probes
    #[arg(long, global = true, env = "FIRSTLINE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make this machine known to a collector
    Enroll(EnrollArgs),
    /// Collect and stream until stopped
    Run(RunArgs),
    /// Tell this machine's health in plain words: exit code 0 healthy, 1 warnings, 2 problems
    Check(ReadArgs),
    /// Print what probes see, once
    Probe(ProbeArgs),
    /// Run one of the read-only tests that the collector may ask for
    Diagnose(DiagnoseArgs),
    /// Find out why the agent does not work
    Doctor(OutputArgs),
    /// The agent as a service of this machine
    Service(ServiceArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    pub action: ServiceAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceAction {
    /// Let the agent start with the machine
    Install {
        /// Print the unit instead of installing it
        #[arg(long)]
        print: bool,
    },
    /// Stop it and let it start no more; its data stay
    Uninstall,
    /// Start it now
    Start,
    /// Stop it until the next start
    Stop,
    /// Whether it runs: exit code 0 when it does, else 1
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct EnrollArgs {
    /// The address that `firstline-collector token create` printed; `-` reads it from standard input
    pub url: String,
    /// Replace an identity that this machine already has
    #[arg(long)]
    pub replace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration file [default: agent.toml in the data folder, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read a captured machine in this folder instead of the running system
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Read a captured machine in this folder instead of the running system
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// The probe's name; without one, all probes run
    #[arg(value_parser = PossibleValuesParser::new(PROBES.iter().map(|entry| entry.name)))]
    pub name: Option<String>,
    /// Print the probes' names, a line each, and run none
    #[arg(long, conflicts_with = "name")]
    pub list: bool,
    #[command(flatten)]
    pub read: ReadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DiagnoseArgs {
    /// The test's name
    #[arg(value_parser = PossibleValuesParser::new(DiagnosticRequest::NAMES.iter().map(|(name, _)| *name)))]
    pub name: String,
    /// What it is about, for the tests that need it: a mount point, a print queue, a service, a disk
    pub subject: Option<String>,
    #[command(flatten)]
    pub read: ReadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Cli {
    /// The data folder in force.
    pub(crate) fn data_folder(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(firstline_agent_platform::dirs::data)
    }
}

/// Says what went wrong, with every cause behind it.
pub(crate) fn complain(error: &anyhow::Error) {
    // Part of it may be what a collector or a file said.
    eprintln!("firstline-agent: {}", lines(&format!("{error:#}")));
}
