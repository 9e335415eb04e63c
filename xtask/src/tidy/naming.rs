//! A module is named by what it holds. Names that hold anything make newcomers search everywhere.

use anyhow::Result;

use super::scan::{code_only, find_word, line_at};
use super::{Problem, Source, Tree};

const NAMELESS: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc"];

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    Ok(tree.sources.iter().filter(|source| !source.is_testdata()).flat_map(check_source).collect())
}

fn check_source(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (folders, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    if file == "mod.rs" {
        problems.push(Problem::new(
            &source.path,
            0,
            "mod.rs",
            format!("name it {}.rs, beside its folder", folders.rsplit('/').next().unwrap_or_default()),
        ));
    }
    let stem = file.split('.').next().unwrap_or_default();
    for name in folders.split('/').chain([stem]).filter(|name| is_nameless(name)) {
        problems.push(nameless(source, 0, name));
    }
    if source.is_rust() && !source.is_generated() {
        let code = code_only(&source.text);
        for offset in find_word(&code, "mod") {
            let name: String = code[offset + 3..]
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if is_nameless(&name) {
                problems.push(nameless(source, line_at(&code, offset), &name));
            }
        }
    }
    problems
}

fn nameless(source: &Source, line: usize, name: &str) -> Problem {
    Problem::new(
        &source.path,
        line,
        format!("the name {name} says nothing"),
        "name it by what it holds, or move its parts to where they are used",
    )
}

fn is_nameless(name: &str) -> bool {
    NAMELESS.contains(&name)
        || NAMELESS.iter().any(|word| name.strip_suffix(word).is_some_and(|n| n.ends_with('_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n_problems(path: &str, text: &str) -> usize {
        check_source(&Source { path: path.to_owned(), text: text.to_owned() }).len()
    }

    #[test]
    fn empty_names_are_refused_in_files_folders_and_modules() {
        for (path, text) in [
            ("agent/src/utils.rs", ""),
            ("agent/src/common/time.rs", ""),
            ("agent/src/mod.rs", ""),
            ("agent/src/probe_helpers.rs", ""),
            ("collector/src/session_manager.rs", ""),
            ("agent/src/run.rs", "mod misc;"),
            ("agent/src/run.rs", "mod tests { pub mod helpers {} }"),
        ] {
            assert_eq!(n_problems(path, text), 1, "{path} {text}");
        }
    }

    #[test]
    fn real_names_pass() {
        for (path, text) in [
            ("agent/src/run.rs", "mod uplink; // mod utils"),
            ("agent/probes/src/utilization.rs", "mod commons_fact;"),
            ("README.md", ""),
        ] {
            assert_eq!(n_problems(path, text), 0, "{path} {text}");
        }
    }
}
