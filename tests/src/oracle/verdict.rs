//! Asks the checker, a Python program without any code of the product, what is wrong with a collector's database.

use super::ledger::Ledger;
use crate::process;
use std::path::{Path, PathBuf};

/// The checker.
pub fn checker() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/check.py")
}

/// What the checker counted; all of it judged right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Records that were durable on the device's side.
    pub records: u64,
    /// Of these, records that the collector had promised.
    pub acked: u64,
    /// Tickets.
    pub tickets: u64,
}

/// Judges. `options` are further ones of `check.py`.
///
/// # Errors
/// Every fault that was found, one a line.
///
/// # Panics
/// When the checker itself fails.
pub fn judge(ledger: &Ledger, database: &Path, options: &[&str]) -> Result<Counted, String> {
    let mut command = process::command("python3");
    command.arg(checker()).arg("--ledger").arg(ledger.finished()).arg("--store").arg(database).args(options);
    let output = process::run_with_input(command, "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) => {
            let number = |name: &str| {
                let line = said.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|rest| rest.trim().parse().ok())
                    .unwrap_or_else(|| panic!("no {name} in {said}"))
            };
            Ok(Counted { records: number("records"), acked: number("acked"), tickets: number("tickets") })
        }
        Some(1) => Err(said),
        _ => panic!("the checker failed: {said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
