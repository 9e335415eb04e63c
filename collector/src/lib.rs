//! The collector: takes the agents' streams in, opens tickets, shows the fleet.
//!
//! This file is a table of contents; each command's work stands in the file of its name. It is a library so that the
//! whole-system simulation and the fuzz targets reach the ingest and the parsers; the program is `main.rs`.

mod admin;
mod authority;
mod backtest;
mod backup;
mod cli;
pub mod clock;
mod doctor;
mod expiry;
pub mod ingest;
pub mod knowledge;
mod limits;
mod maintenance;
mod private;
mod quiet_times;
mod replay;
mod restore;
mod retention;
mod rotate;
mod seal;
mod secret;
mod serve;
mod site;
pub mod telemetry;
mod trust;
pub mod untrusted;
mod web;
mod writable;

use clap::Parser;
use cli::{Cli, Command};
use std::io;
use std::process::ExitCode;

/// The program: reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = private::forbid_core_files() {
        cli::complain(&error);
        return ExitCode::from(1);
    }
    let believe_clock = matches!(&cli.command, Command::Serve(args) if args.believe_clock);
    clock::open(&cli.data, believe_clock);
    let done = match &cli.command {
        Command::Serve(args) => serve::command(&cli.data, args),
        Command::Token(command) => admin::token(&cli.data, command),
        Command::User(command) => admin::user(&cli.data, command),
        Command::ApiToken(command) => admin::api_token(&cli.data, command),
        Command::Device(command) => admin::device(&cli.data, command),
        Command::Knowledge(command) => {
            knowledge::run(command, &cli.data, &mut io::stdout().lock(), &mut io::stderr().lock())
                .map(|exit| ExitCode::from(exit as u8))
                .map_err(anyhow::Error::from)
        }
        Command::Replay(args) => replay::command(args),
        Command::Authority(command) => rotate::command(&cli.data, command),
        Command::Backup(args) => backup::command(&cli.data, args),
        Command::Restore(args) => restore::command(&cli.data, args),
        Command::Doctor(args) => doctor::command(&cli.data, args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&error);
            ExitCode::from(1)
        }
    }
}
