//! Fuzz targets: for every door through which a stranger's bytes come, one function that gives bytes to the product and
//! judges what it did with them. A target fails by panicking.
//!
//! The same functions serve two masters: `tests/fuzz` runs them under libFuzzer for as long as one likes (`cargo xtask
//! fuzz`), and `tests/replay` gives them the committed corpora and a few thousand mutations in every test run.

pub mod mutate;
mod rest;
mod targets;

use std::path::PathBuf;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its program in `tests/fuzz/fuzz_targets` and of its folder in `tests/fuzz/corpus`.
    pub name: &'static str,
    /// Gives it bytes.
    pub run: fn(&[u8]),
    /// How many mutations one test run can afford.
    pub mutations: usize,
}

/// Every target. One entry a line: what is added is one line, one program and one corpus.
pub const TARGETS: &[Target] = &[
    Target { name: "frames", run: targets::frames, mutations: 20_000 },
    Target { name: "signing_request", run: targets::signing_request, mutations: 3_000 },
    Target { name: "spool", run: targets::spool, mutations: 150 },
    Target { name: "agent_config", run: targets::agent_config, mutations: 4_000 },
    Target { name: "knowledge", run: targets::knowledge, mutations: 2_000 },
    Target { name: "rest", run: rest::rest, mutations: 1_500 },
    Target { name: "smartctl", run: targets::smartctl, mutations: 4_000 },
    Target { name: "ipp", run: targets::ipp, mutations: 8_000 },
    Target { name: "snmp", run: targets::snmp, mutations: 8_000 },
];

/// Runs the target called `name`; for the programs of `tests/fuzz`.
///
/// # Panics
/// When there is no such target, and when the target finds a defect.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("there is no fuzz target {name}")).run)(bytes);
}

/// Where the committed inputs of a target lie.
pub fn corpus(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}
