//! The README says which test holds each promise; a test that was renamed or removed must not leave the promise behind.

use anyhow::Result;

use super::{Problem, Source, Tree};

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let Some(readme) = tree.sources.iter().find(|source| source.path == "README.md") else {
        return Ok(vec![Problem::new("README.md", 0, "there is no README.md", "write one")]);
    };
    let is_test = |name: &str| {
        let head = format!("fn {name}(");
        tree.sources.iter().filter(|source| source.is_rust()).any(|source| source.text.contains(&head))
    };
    Ok(named(readme)
        .filter(|(_, name)| !is_test(name))
        .map(|(line, name)| {
            let remedy = "name the test that holds the promise, or take the promise back";
            Problem::new(&readme.path, line, format!("there is no test {name}"), remedy)
        })
        .collect())
}

/// Test names in a table of promises, with their lines: words in code marks that begin like a requirement's number.
fn named(readme: &Source) -> impl Iterator<Item = (usize, &str)> {
    readme.text.lines().enumerate().filter(|(_, line)| line.starts_with('|')).flat_map(|(n, line)| {
        let words = line.split('`').skip(1).step_by(2);
        words.filter(|word| is_numbered(word)).map(move |word| (n + 1, word))
    })
}

fn is_numbered(word: &str) -> bool {
    let rest = word.strip_prefix(['r', 'f']).unwrap_or_default();
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    (1..=2).contains(&digits) && rest[digits..].starts_with('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_tests_are_told_from_other_words() {
        assert!(is_numbered("r21_a_collector") && is_numbered("f28_whatever"));
        for word in ["rs_x", "r_x", "report", "r21", "cargo xtask sabotage", "r123_x"] {
            assert!(!is_numbered(word), "{word}");
        }
    }
}
