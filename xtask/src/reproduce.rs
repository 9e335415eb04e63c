//! `cargo xtask reproduce`: builds both programs twice, from two clones of the same commit in folders with different
//! names, and compares them byte by byte. Whoever has the source can so find out whether a program that he was given
//! was made from it. What differs is said with the place of the first difference.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::Process;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The programs; both when none is named
    programs: Vec<String>,
}

/// A program and the profile in which it is shipped.
const PROGRAMS: &[(&str, &str)] = &[("firstline-agent", "agent"), ("firstline-collector", "release")];

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(unknown) = args.programs.iter().find(|name| !PROGRAMS.iter().any(|(known, _)| known == name))
    {
        bail!("there is no program {unknown:?}; there are firstline-agent, firstline-collector");
    }
    let root = workspace::root()?;
    if !Process::new("git").quiet().dir(&root).args(["diff", "--quiet", "HEAD"]).succeeds() {
        println!("note: what is not committed is not built");
    }
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let trees = [folder.path().join("one"), folder.path().join("a-folder-with-another-name")];
    for tree in &trees {
        Process::new("git")
            .quiet()
            .args(["clone", "--quiet", "--no-hardlinks"])
            .arg(&root)
            .arg(tree)
            .run()?;
    }
    let mut different = Vec::new();
    for (name, profile) in PROGRAMS {
        if !args.programs.is_empty() && !args.programs.iter().any(|chosen| chosen == name) {
            continue;
        }
        let mut built = Vec::new();
        for (n, tree) in trees.iter().enumerate() {
            println!("\n=== {name}, profile {profile}, build {} of {}", n + 1, trees.len());
            let path = build(tree, name, profile)?;
            built.push(std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
        match first_difference(&built[0], &built[1]) {
            None => println!("FIGURE reproduce.{name}.equal {} bytes", built[0].len()),
            Some(at) => {
                println!(
                    "{name}: {} and {} bytes, different from byte {at} on",
                    built[0].len(),
                    built[1].len()
                );
                different.push(*name);
            }
        }
    }
    if !different.is_empty() {
        bail!("two builds of one commit differ: {}", different.join(", "));
    }
    Ok(())
}

fn build(tree: &Path, name: &str, profile: &str) -> Result<PathBuf> {
    let target = tree.join("target");
    Process::cargo()
        .dir(tree)
        .env("CARGO_TARGET_DIR", &target)
        .args(["build", "--locked", "--quiet", "--profile", profile, "--package", name])
        .run()?;
    Ok(target.join(profile).join(name))
}

/// Where two files begin to differ.
fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    let common = one.iter().zip(other).position(|(one, other)| one != other);
    common.or_else(|| (one.len() != other.len()).then_some(one.len().min(other.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_differ_where_they_begin_to() {
        assert_eq!(first_difference(b"same", b"same"), None);
        assert_eq!(first_difference(b"same", b"sane"), Some(2));
        assert_eq!(first_difference(b"same", b"same and more"), Some(4));
    }
}
