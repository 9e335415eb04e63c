//! rustfmt over every Rust file of the tree: `cargo fmt` sees only the modules that it can follow.

use anyhow::{Result, bail};

use super::{Problem, Tree};
use crate::process::Process;

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let files: Vec<&str> = tree
        .sources
        .iter()
        .filter(|source| source.is_rust() && !source.is_testdata())
        .map(|source| source.path.as_str())
        .collect();
    let finished = Process::new("rustfmt")
        .quiet()
        .args(["--check", "-l", "--edition", "2024", "--color", "never"])
        .unshown_args(files)
        .dir(&tree.root)
        .finish()?;
    let problems = unformatted(&finished.stdout, &tree.root.to_string_lossy());
    if !finished.succeeded && problems.is_empty() {
        bail!("rustfmt failed: {}", finished.stderr.trim());
    }
    Ok(problems)
}

/// The files that `rustfmt --check -l` names; it names a module once for each parent that it was given.
fn unformatted(listed: &str, root: &str) -> Vec<Problem> {
    let mut files: Vec<&str> = listed
        .lines()
        .map(|line| line.trim().strip_prefix(root).unwrap_or(line.trim()).trim_start_matches('/'))
        .filter(|file| file.ends_with(".rs"))
        .collect();
    files.sort_unstable();
    files.dedup();
    files
        .into_iter()
        .map(|file| Problem::new(file, 0, "not formatted", format!("run rustfmt --edition 2024 {file}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unformatted_file_is_named_once_and_relative() {
        let listed = "/tree/agent/src/run.rs\n/tree/agent/src/main.rs\n/tree/agent/src/run.rs\n";
        let files: Vec<String> =
            unformatted(listed, "/tree").into_iter().map(|problem| problem.file).collect();
        assert_eq!(files, ["agent/src/main.rs", "agent/src/run.rs"]);
        assert!(unformatted("", "/tree").is_empty());
    }
}
