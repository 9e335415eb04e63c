//! Installing what tasks need: system packages through apt, prebuilt tools from PyPI into folders of their own.
//!
//! Nothing is compiled and nothing is skipped silently: what is installed is printed, and what cannot be had is
//! returned by name, so that the caller decides (a failure in CI, a named skip on a desk).

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{Process, find_program};
use crate::workspace;

/// A system package and what proves that it is there.
#[derive(Clone, Copy)]
pub(crate) struct Package {
    pub name: &'static str,
    pub proof: Proof,
    pub needed_for: &'static str,
}

#[derive(Clone, Copy)]
pub(crate) enum Proof {
    /// A program of this name is found.
    Program(&'static str),
    /// Python can import this module.
    PythonModule(&'static str),
}

impl Package {
    pub(crate) const fn program(name: &'static str, program: &'static str, needed_for: &'static str) -> Self {
        Self { name, proof: Proof::Program(program), needed_for }
    }

    fn is_present(&self) -> bool {
        match self.proof {
            Proof::Program(name) => find_program(name).is_some(),
            Proof::PythonModule(name) => {
                Process::new("python3").args(["-c", &format!("import {name}")]).succeeds()
            }
        }
    }
}

/// Something that a task needs and that could not be had.
#[derive(Debug)]
pub(crate) struct Missing {
    pub what: String,
    pub needed_for: String,
    pub why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (needed for {}): {}", self.what, self.needed_for, self.why)
    }
}

/// Makes sure that the packages are there; returns those that are not.
pub(crate) fn packages(wanted: &[Package]) -> Vec<Missing> {
    let absent: Vec<Package> = wanted.iter().copied().filter(|package| !package.is_present()).collect();
    if absent.is_empty() {
        return Vec::new();
    }
    let outcome = apt_install(&absent);
    absent
        .iter()
        .filter(|package| !package.is_present())
        .map(|package| Missing {
            what: package.name.to_owned(),
            needed_for: package.needed_for.to_owned(),
            why: match &outcome {
                Ok(()) => "apt has installed it, but its program is not found".to_owned(),
                Err(error) => format!("{error:#}"),
            },
        })
        .collect()
}

fn apt_install(packages: &[Package]) -> Result<()> {
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    println!("installing with apt: {}", names.join(" "));
    // A fresh container has no package lists, an old one has stale ones.
    apt(&["update", "-qq"])?;
    let options = ["install", "-qq", "-y", "--no-install-recommends"];
    if apt(&[&options[..], &names].concat()).is_ok() {
        return Ok(());
    }
    // One package that this release does not have must not keep the others away.
    let mut refused = Vec::new();
    for name in names {
        if apt(&[&options[..], &[name]].concat()).is_err() {
            refused.push(name);
        }
    }
    if !refused.is_empty() {
        bail!("apt-get install failed for {}", refused.join(" "));
    }
    Ok(())
}

fn apt(args: &[&str]) -> Result<()> {
    let Some(apt) = find_program("apt-get") else {
        bail!("there is no apt-get on this system; install it with the system's package manager");
    };
    let is_root = Process::new("id").quiet().arg("-u").read().is_ok_and(|id| id.trim() == "0");
    let process = if is_root {
        Process::new(apt)
    } else if Process::new("sudo").args(["-n", "true"]).succeeds() {
        Process::new("sudo").args(["-n", "DEBIAN_FRONTEND=noninteractive"]).arg(apt)
    } else {
        bail!("not root and no sudo without a password; run: sudo apt-get {}", args.join(" "));
    };
    process.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]).args(args).run()
}

/// How a package can be had without driving out others.
pub(crate) enum Way {
    /// It was installed.
    Install,
    /// Installing it would remove other packages: these have to be unpacked beside the system.
    Unpack(Vec<String>),
}

/// Installs a package, unless that would remove another one.
pub(crate) fn harmless(name: &'static str, needed_for: &str) -> Result<Way> {
    apt(&["update", "-qq"]).with_context(|| format!("{name} (needed for {needed_for}) cannot be had"))?;
    let plan = Process::new("apt-get")
        .quiet()
        .args(["install", "--simulate", "--no-install-recommends", name])
        .read()?;
    let (installed, removed) = planned(&plan);
    if removed.is_empty() {
        apt(&["install", "-qq", "-y", "--no-install-recommends", name])?;
        return Ok(Way::Install);
    }
    println!(
        "installing {name} would remove {}; it is unpacked beside the system instead",
        removed.join(" ")
    );
    Ok(Way::Unpack(installed))
}

/// The packages that a simulated run of apt-get would install and remove.
fn planned(simulation: &str) -> (Vec<String>, Vec<String>) {
    let named = |what: &str| {
        let name = |line: &str| line.strip_prefix(what)?.split_whitespace().next().map(str::to_owned);
        simulation.lines().filter_map(name).collect()
    };
    (named("Inst "), named("Remv "))
}

/// Unpacks Debian packages into `folder`; a file `complete` in it is written last.
pub(crate) fn unpack(packages: &[String], folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let downloads = tempfile::tempdir().context("no temporary folder")?;
    Process::new("apt-get").args(["download", "-qq"]).args(packages).dir(downloads.path()).run()?;
    for entry in std::fs::read_dir(downloads.path()).context("the downloads cannot be listed")? {
        let file = entry.context("the downloads cannot be listed")?.path();
        Process::new("dpkg").quiet().arg("-x").arg(&file).arg(folder).run()?;
    }
    let complete = folder.join("complete");
    std::fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))
}

/// A prebuilt program from PyPI.
pub(crate) struct PythonTool {
    /// Packages with their exact versions; the first one names the folder.
    pub packages: &'static [&'static str],
    pub program: &'static str,
}

impl PythonTool {
    /// The folder with the tool's programs, installed there when it is not yet.
    pub(crate) fn install(&self) -> Result<PathBuf> {
        let Some(first) = self.packages.first() else { bail!("{} names no package", self.program) };
        let dir = workspace::cache_dir()?.join("python").join(first.replace("==", "-"));
        let bin = dir.join("bin");
        // Written last: a venv that was interrupted half way is made again.
        let complete = dir.join("complete");
        if complete.is_file() && bin.join(self.program).is_file() {
            return Ok(bin);
        }
        println!("installing from PyPI: {} into {}", self.packages.join(" "), dir.display());
        let venv = Package {
            name: "python3-venv",
            proof: Proof::PythonModule("ensurepip"),
            needed_for: "prebuilt tools from PyPI",
        };
        if let Some(missing) = packages(&[venv]).first() {
            bail!("{missing}");
        }
        Process::new("python3").args(["-m", "venv", "--clear"]).arg(&dir).run()?;
        Process::new(bin.join("pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"])
            .args(self.packages)
            .run()?;
        if !bin.join(self.program).is_file() {
            bail!("{} has no program {}", self.packages.join(" "), self.program);
        }
        std::fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
        Ok(bin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_is_present_only_when_its_program_is() {
        assert!(Package::program("dash", "sh", "tests").is_present());
        assert!(!Package::program("nothing", "no-such-program-anywhere", "tests").is_present());
    }

    #[test]
    fn what_a_simulated_run_would_remove_is_seen() {
        let plan = "NOTE: only a simulation\nRemv qemu-utils [10.0]\nInst seabios (1.16 Debian:12 [all])\nConf seabios (1.16)\n";
        assert_eq!(planned(plan), (vec!["seabios".to_owned()], vec!["qemu-utils".to_owned()]));
    }

    #[test]
    fn nothing_is_installed_when_everything_is_there() {
        assert!(packages(&[Package::program("dash", "sh", "tests")]).is_empty());
    }

    #[test]
    fn missing_component_is_reported_by_name_with_its_use() {
        let missing = Missing {
            what: "cups".to_owned(),
            needed_for: "printer tests".to_owned(),
            why: "no apt-get".to_owned(),
        };
        assert_eq!(missing.to_string(), "cups (needed for printer tests): no apt-get");
    }
}
