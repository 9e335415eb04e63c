//! The collector's command line.

mod knowledge;
#[expect(dead_code, unused_imports, reason = "`serve`, which serves it, is not there yet")]
mod web;

use clap::{Parser, Subcommand};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "firstline-collector", version, about = "Takes the agents' streams in and opens tickets")]
struct Cli {
    /// The data folder
    #[arg(long, env = "FIRSTLINE_DATA", default_value = "data", global = true)]
    data: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check, test and show knowledge entries
    #[command(subcommand)]
    Knowledge(knowledge::KnowledgeCommand),
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let exit = match &cli.command {
        Command::Knowledge(command) => {
            knowledge::run(command, &cli.data, &mut io::stdout().lock(), &mut io::stderr().lock())?
        }
    };
    Ok(ExitCode::from(exit as u8))
}
