//! Every file says first why it exists, and is short enough to be read in one go.

use anyhow::Result;

use super::{Problem, Source, Tree};

const WARN_ABOVE: usize = 450;
const FAIL_ABOVE: usize = 600;

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    Ok(tree.written_rust().flat_map(check_source).collect())
}

fn check_source(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if first.strip_prefix("//!").is_none_or(|doc| doc.trim().is_empty()) {
        problems.push(Problem::new(
            &source.path,
            1,
            "the file does not say why it exists",
            "begin it with a //! paragraph",
        ));
    }
    let n_lines = source.text.lines().count();
    if n_lines > WARN_ABOVE {
        let remedy = "split it by meaning, not by size";
        let mut problem = Problem::new(&source.path, n_lines, format!("{n_lines} lines"), remedy);
        problem.is_warning = n_lines <= FAIL_ABOVE;
        problems.push(problem);
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<Problem> {
        check_source(&Source { path: "agent/src/run.rs".to_owned(), text: text.to_owned() })
    }

    #[test]
    fn file_must_begin_with_its_reason() {
        assert!(problems("//! The event loop.\nfn main() {}").is_empty());
        for text in ["", "fn main() {}", "// Not a doc.\n", "//!\nfn main() {}", "use std::fs;\n//! Late."] {
            assert_eq!(problems(text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn long_files_warn_and_very_long_ones_fail() {
        for (n_lines, expected) in [(450, None), (451, Some(true)), (600, Some(true)), (601, Some(false))] {
            let text = format!("//! Why.\n{}", "x\n".repeat(n_lines - 1));
            let found = problems(&text).first().map(|problem| problem.is_warning);
            assert_eq!(found, expected, "{n_lines} lines");
        }
    }

    #[test]
    fn generated_code_and_testdata_are_not_judged() {
        let tree = Tree::of(&[("proto/src/generated/a.rs", ""), ("agent/probes/testdata/x/a.rs", "")]);
        assert!(check(&tree).unwrap().is_empty());
    }
}
