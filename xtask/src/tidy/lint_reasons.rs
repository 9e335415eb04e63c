//! Whoever silences a lint or a test says why, so that the next reader can tell whether it still holds.

use anyhow::Result;

use super::scan::{bracketed, code_only, find_word, line_at};
use super::{Problem, Source, Tree};

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    Ok(tree.written_rust().flat_map(check_source).collect())
}

fn check_source(source: &Source) -> Vec<Problem> {
    let code = code_only(&source.text);
    let mut problems = Vec::new();
    for (hash, _) in code.match_indices('#') {
        let Some(attribute) = attribute_at(&code, hash) else { continue };
        let line = line_at(&code, hash);
        for word in ["expect", "allow"] {
            for at in find_word(attribute, word) {
                if let Some(lints) = bracketed(attribute, at + word.len())
                    && find_word(lints, "reason").is_empty()
                {
                    let what = format!("{word}({}) without a reason", lints.trim());
                    problems.push(Problem::new(
                        &source.path,
                        line,
                        what,
                        "add reason = \"...\", or mend the cause",
                    ));
                }
            }
        }
        if attribute.trim() == "ignore" {
            problems.push(Problem::new(
                &source.path,
                line,
                "a test is ignored without a reason",
                "write #[ignore = \"why, and the command that runs it\"]",
            ));
        }
    }
    problems
}

fn attribute_at(code: &str, hash: usize) -> Option<&str> {
    let after = code[hash + 1..].trim_start_matches('!');
    after.starts_with('[').then(|| bracketed(code, hash + 1)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n_problems(text: &str) -> usize {
        check_source(&Source { path: "agent/src/run.rs".to_owned(), text: text.to_owned() }).len()
    }

    #[test]
    fn silence_without_reason_is_refused() {
        for text in [
            "#[allow(dead_code)]",
            "#![expect(unsafe_code)]",
            "#[cfg_attr(test, expect(clippy::unwrap_used))]",
            "#[expect(\n    clippy::a,\n    clippy::b,\n)]",
            "#[ignore]",
        ] {
            assert_eq!(n_problems(text), 1, "{text}");
        }
    }

    #[test]
    fn silence_with_reason_and_other_code_passes() {
        for text in [
            "#[allow(dead_code, reason = \"used by the macro\")]",
            "#![expect(unsafe_code, reason = \"ioctl\")]",
            "#[ignore = \"needs a printer; cargo nextest run --run-ignored all\"]",
            "value.expect(\"set above\")",
            "// #[allow(dead_code)]",
            "#[derive(Debug)]",
        ] {
            assert_eq!(n_problems(text), 0, "{text}");
        }
    }
}
