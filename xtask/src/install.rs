//! Installing what tasks need: system packages through apt, prebuilt tools from PyPI into folders of their own.
//!
//! Nothing is compiled and nothing is skipped silently: what is installed is printed, and what cannot be had is
//! returned by name, so that the caller decides (a failure in CI, a named skip on a desk).

use std::fmt;
use std::path::PathBuf;

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
