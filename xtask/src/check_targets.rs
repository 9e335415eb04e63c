//! `cargo xtask check-targets`: checks and lints the agent for Windows and macOS from a Linux machine.
//!
//! rustup's toolchain holds a standard library for its own host only, so `-Zbuild-std` checks that of the target from
//! source. What this needs is kept outside the tree, in the cache folder, and so is the check's own output: a standard
//! library for each target is too much to build again for every fresh clone. Nothing is run on the targets: a passed check says that the code compiles there.

mod apt_archive;
mod toolchain;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use self::toolchain::Toolchain;
use crate::install::{self, Package, PythonTool};
use crate::process::Process;
use crate::workspace;

const PACKAGE: &str = "firstline-agent";

struct Target {
    triple: &'static str,
    prepare: fn() -> Result<Compiler>,
}

/// What compiles the target's C code, and which cargo drives it.
struct Compiler {
    /// `cargo` itself, or a program that sets cargo up for the target.
    driver: Option<PathBuf>,
    env: Vec<(&'static str, OsString)>,
}

const TARGETS: &[Target] = &[
    Target { triple: "x86_64-pc-windows-gnu", prepare: mingw },
    Target { triple: "aarch64-apple-darwin", prepare: zig },
];

const MINGW: &[Package] = &[
    Package::program("gcc-mingw-w64-x86-64-win32", "x86_64-w64-mingw32-gcc", "SQLite and ring for Windows"),
    Package::program("binutils-mingw-w64-x86-64", "x86_64-w64-mingw32-ar", "SQLite and ring for Windows"),
];
const ZIGBUILD: PythonTool =
    PythonTool { packages: &["cargo-zigbuild==0.24.0", "ziglang==0.17.1"], program: "cargo-zigbuild" };

#[derive(clap::Args)]
pub(crate) struct Args {}

/// What came of the check.
pub(crate) enum Outcome {
    Checked,
    /// Something that it needs could not be had here.
    Skipped(String),
}

pub(crate) fn run(_: &Args) -> Result<()> {
    if let Outcome::Skipped(why) = check(true)? {
        bail!("{why}");
    }
    println!(
        "{PACKAGE} compiles for {}",
        TARGETS.iter().map(|target| target.triple).collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

/// Checks every target. With `is_strict`, what cannot be had is an error instead of a reason to skip.
pub(crate) fn check(is_strict: bool) -> Result<Outcome> {
    let prepared =
        Toolchain::prepare().context("cannot get the standard library's sources").and_then(|toolchain| {
            let compilers = TARGETS
                .iter()
                .map(|target| {
                    (target.prepare)()
                        .with_context(|| format!("cannot get a C compiler for {}", target.triple))
                })
                .collect::<Result<Vec<_>>>()?;
            Ok((toolchain, compilers))
        });
    let (toolchain, compilers) = match prepared {
        Ok(prepared) => prepared,
        Err(error) if is_strict => return Err(error),
        Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
    };
    let root = workspace::root()?;
    let target_dir = target_dir()?;
    let mut failed = Vec::new();
    for (target, compiler) in TARGETS.iter().zip(&compilers) {
        println!("{PACKAGE} for {}", target.triple);
        let process =
            lint(&toolchain, compiler, target.triple)?.arg("--target-dir").arg(&target_dir).dir(&root);
        // Lints that hold on one system only show on that system. Dead code does not count here: parsers are compiled
        // on every system and called on one, and the check on this machine finds what nobody calls.
        if let Err(error) = process.args(["--", "-D", "warnings", "-A", "dead_code"]).run() {
            eprintln!("error: {}: {error:#}", target.triple);
            failed.push(target.triple);
        }
    }
    if !failed.is_empty() {
        bail!("{PACKAGE} does not compile cleanly for {}", failed.join(", "));
    }
    Ok(Outcome::Checked)
}

fn lint(toolchain: &Toolchain, compiler: &Compiler, triple: &str) -> Result<Process> {
    let cargo = toolchain.program("cargo");
    let mut process = match &compiler.driver {
        Some(driver) => Process::new(driver),
        None => Process::new(&cargo),
    };
    process = process
        .env("PATH", toolchain.path()?)
        .env("CARGO", &cargo)
        .env("RUSTC", toolchain.program("rustc"))
        // rustup and cargo put the other toolchain's libraries here, and rustc takes its sysroot from them.
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("RUSTUP_TOOLCHAIN")
        // -Zbuild-std on a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1");
    for (name, value) in &compiler.env {
        process = process.env(name, value);
    }
    if workspace::is_ci() {
        process = process.env("CARGO_TERM_COLOR", "never");
    }
    Ok(process.args([
        "clippy",
        "-Zbuild-std=std,panic_abort,panic_unwind",
        "--target",
        triple,
        "-p",
        PACKAGE,
    ]))
}

fn target_dir() -> Result<PathBuf> {
    Ok(workspace::cache_dir()?.join("targets"))
}

fn mingw() -> Result<Compiler> {
    if let Some(missing) = install::packages(MINGW).first() {
        bail!("{missing}");
    }
    let env = [
        ("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", "x86_64-w64-mingw32-gcc"),
        ("CC_x86_64_pc_windows_gnu", "x86_64-w64-mingw32-gcc"),
        ("AR_x86_64_pc_windows_gnu", "x86_64-w64-mingw32-ar"),
    ];
    Ok(Compiler { driver: None, env: env.map(|(name, value)| (name, value.into())).into() })
}

fn zig() -> Result<Compiler> {
    let bin = ZIGBUILD.install()?;
    let env = vec![("CARGO_ZIGBUILD_ZIG_PATH", bin.join("python-zig").into_os_string())];
    Ok(Compiler { driver: Some(bin.join(ZIGBUILD.program)), env })
}
