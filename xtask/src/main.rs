//! The only task runner: `cargo xtask <task>`. This file only dispatches; each task has a file of its own.
//!
//! xtask imports no crate of the workspace, so that it builds and judges a tree whose crates do not compile.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program that talks to a person"
)]

mod bench;
mod check_targets;
mod codegen;
mod drill;
mod fleet;
mod fuzz;
mod install;
mod instance;
mod interrupt;
mod process;
mod reproduce;
mod sabotage;
mod sbom;
mod service;
mod sim;
mod soak;
mod test;
mod tidy;
mod up;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Firstline workspace")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Generate the wire types in proto/src/generated from proto/schema
    Codegen(codegen::Args),
    /// Check the house rules that the compiler and clippy do not know
    Tidy(tidy::Args),
    /// Install what the tests need, then check, lint and run every test
    Test(test::Args),
    /// Measure figures on this machine with the real programs
    Bench(bench::Args),
    /// Give the doors of both programs random bytes, for as long as one likes
    Fuzz(fuzz::Args),
    /// Build faults into both programs, one at a time, and see that a test notices each
    Sabotage(sabotage::Args),
    /// Build both programs twice in different folders and compare them byte by byte
    Reproduce(reproduce::Args),
    /// Write what each program is made of (CycloneDX)
    Sbom(sbom::Args),
    /// Run the long forms of the tests, and print what they measured
    Soak(soak::Args),
    /// Make up a fleet with faults as a trace with ground truth, or judge a replay of one
    Fleet(fleet::Args),
    /// Simulate agents, network and collector by seed
    Sim(sim::Args),
    /// Check the agent for Windows and macOS from this machine
    CheckTargets(check_targets::Args),
    /// Build both programs, run a collector and this machine's agent until Ctrl-C
    Up(up::Args),
    /// Put a harmless real fault into this machine and watch its ticket appear and resolve
    Drill(drill::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Codegen(args) => codegen::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Sabotage(args) => sabotage::run(&args),
        Task::Reproduce(args) => reproduce::run(&args),
        Task::Sbom(args) => sbom::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Fleet(args) => fleet::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::CheckTargets(args) => check_targets::run(&args),
        Task::Up(args) => up::run(&args),
        Task::Drill(args) => drill::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
