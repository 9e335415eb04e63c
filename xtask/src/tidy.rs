//! House rules that neither the compiler nor clippy knows, each executable and each with its remedy.
//!
//! A check is one file in `tidy/` and one line in `CHECKS`. It gets the tree as text and returns problems; only the
//! checks that must ask cargo or rustfmt look at the disk themselves.

mod cfg_and_unsafe;
mod formatting;
mod generated;
mod layers;
mod lint_reasons;
mod manifests;
mod marks;
mod module_docs;
mod naming;
mod promises;
mod registries;
mod scan;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::workspace;

type Check = fn(&Tree) -> Result<Vec<Problem>>;

const CHECKS: &[(&str, Check)] = &[
    ("layers", layers::check),
    ("cfg and unsafe", cfg_and_unsafe::check),
    ("module docs and size", module_docs::check),
    ("registries", registries::check),
    ("naming", naming::check),
    ("marks and paths", marks::check),
    ("manifests", manifests::check),
    ("lint reasons", lint_reasons::check),
    ("promises", promises::check),
    ("formatting", formatting::check),
    ("generated files", generated::check),
];

#[derive(clap::Args)]
pub(crate) struct Args {}

/// Something that breaks a rule: where, what, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub file: String,
    /// 1-based; 0 when the whole file is meant.
    pub line: usize,
    pub what: String,
    pub remedy: String,
    /// Shown, but does not fail.
    pub is_warning: bool,
}

impl Problem {
    pub(crate) fn new(file: &str, line: usize, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into(), remedy: remedy.into(), is_warning: false }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.is_warning { "warning: " } else { "" };
        write!(f, "{}:{}: {level}{}; {}", self.file, self.line.max(1), self.what, self.remedy)
    }
}

/// The files of the repository. Text is kept for files that are UTF-8; fixtures may be anything.
pub(crate) struct Tree {
    pub root: PathBuf,
    pub sources: Vec<Source>,
}

pub(crate) struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Written by a generator: only its freshness is checked.
    pub(crate) fn is_generated(&self) -> bool {
        self.path.contains("/generated/")
    }

    /// A capture or an expectation: never judged.
    pub(crate) fn is_testdata(&self) -> bool {
        self.path.contains("/testdata/") || self.path.contains("/snapshots/")
    }
}

impl Tree {
    fn read(root: PathBuf) -> Result<Self> {
        let mut sources = Vec::new();
        for path in workspace::files(&root)? {
            let bytes = std::fs::read(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                sources.push(Source { path, text });
            }
        }
        Ok(Self { root, sources })
    }

    /// Rust files that people write and read.
    fn written_rust(&self) -> impl Iterator<Item = &Source> {
        self.sources
            .iter()
            .filter(|source| source.is_rust() && !source.is_generated() && !source.is_testdata())
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let sources = files
            .iter()
            .map(|(path, text)| Source { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect();
        Self { root: PathBuf::from("/nowhere"), sources }
    }
}

pub(crate) fn run(_: &Args) -> Result<()> {
    let tree = Tree::read(workspace::root()?)?;
    let mut n_failed = 0;
    for (name, check) in CHECKS {
        let mut problems = check(&tree).with_context(|| format!("cannot check {name}"))?;
        problems.sort();
        n_failed += problems.iter().filter(|problem| !problem.is_warning).count();
        for problem in problems {
            eprintln!("{problem}");
        }
    }
    if n_failed > 0 {
        bail!("tidy: {n_failed} problem(s)");
    }
    println!("tidy: {} files, {} checks, no problem", tree.sources.len(), CHECKS.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_reads_as_place_what_and_remedy() {
        let problem = Problem::new("agent/src/main.rs", 7, "too long", "split it");
        assert_eq!(problem.to_string(), "agent/src/main.rs:7: too long; split it");
    }
}
