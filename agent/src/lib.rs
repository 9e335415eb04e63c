//! The agent: collects this machine's health and streams it to the collector.
//!
//! This file is a table of contents; each command's work stands in the file of its name. It is a library so that the
//! whole-system simulation and the fuzz targets reach the loop, the spool and the parsers; the program is `main.rs`.

mod check;
mod cli;
pub mod collect;
pub mod config;
mod doctor;
mod enroll;
pub mod identity;
mod overhead;
mod probe;
mod recorder;
pub mod run;
mod sabotage;
pub mod seams;
mod service;
mod spool;
mod status;
mod steady;
mod telemetry;
mod trust;
pub mod untrusted;
mod uplink;

use cli::{Cli, Command};
use std::process::ExitCode;

/// The program: reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::of_process() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if let Err(error) = firstline_agent_platform::core_files::forbid() {
        cli::complain(&anyhow::Error::from(error).context("core files cannot be forbidden"));
        return ExitCode::from(1);
    }
    firstline_agent_platform::resident::be_small();
    let done = match &cli.command {
        Command::Enroll(args) => enroll::command(&cli, args),
        Command::Run(args) => run::command(&cli, args),
        Command::Check(args) => Ok(check::command(&cli, args)),
        Command::Probe(args) => probe::command(&cli, args),
        Command::Diagnose(args) => probe::diagnose_command(&cli, args),
        Command::Doctor(args) => doctor::command(&cli, args),
        Command::Service(args) => service::command(&cli, args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&error);
            ExitCode::from(1)
        }
    }
}
