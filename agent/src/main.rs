//! The agent's program. Everything is in the library, so that tests can reach it; see `lib.rs` for the contents.

use std::process::ExitCode;

fn main() -> ExitCode {
    firstline_agent::main()
}
