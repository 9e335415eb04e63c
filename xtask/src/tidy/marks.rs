//! Nothing unfinished and nothing of one machine gets into the tree.

use std::path::Path;

use anyhow::Result;

use super::scan::{find_word, line_at};
use super::{Problem, Source, Tree};

/// In two halves each, so that this file does not find itself.
const MARKS: &[&str] = &[
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];
const MARKED_FILES: &[&str] =
    &["rs", "toml", "proto", "html", "css", "js", "md", "sql", "sh", "yml", "yaml", "service"];
/// Names of folders that many systems have: a path of only these betrays no particular machine.
const ANYBODYS_FOLDERS: &str = "app bin boot build builds code data dev etc firstline home lib media mnt opt \
    private proc project repo root run sbin source src srv sys tmp usr var workspace Users Library Volumes";

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let home = std::env::home_dir();
    let paths = machine_paths(&tree.root, home.as_deref());
    Ok(tree
        .sources
        .iter()
        .filter(|source| is_judged(source))
        .flat_map(|source| check_source(source, &paths))
        .collect())
}

fn is_judged(source: &Source) -> bool {
    !source.is_testdata() && !source.is_generated() && !source.path.ends_with(".lock")
}

/// Folders that exist on this machine only: the tree's own place and the user's home.
fn machine_paths(root: &Path, home: Option<&Path>) -> Vec<String> {
    let own = root.ancestors().chain(home);
    let mut paths: Vec<String> = own
        .filter(|dir| {
            let mut names = dir.iter().skip(1).map(|name| name.to_string_lossy());
            !names.all(|name| ANYBODYS_FOLDERS.split_whitespace().any(|known| known == name))
        })
        .map(|dir| format!("{}/", dir.display()))
        .collect();
    paths.extend(["/.cargo/registry/", "/.rustup/toolchains/"].map(|part| format!("/root{part}")));
    paths.sort();
    paths.dedup();
    paths
}

fn check_source(source: &Source, paths: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let extension = source.path.rsplit('.').next().unwrap_or_default();
    if MARKED_FILES.contains(&extension) {
        for mark in MARKS {
            for offset in find_word(&source.text, mark) {
                problems.push(Problem::new(
                    &source.path,
                    line_at(&source.text, offset),
                    format!("unfinished: {mark}"),
                    "finish it, or take it out and say what is missing where users look",
                ));
            }
        }
    }
    for path in paths {
        for (offset, _) in source.text.match_indices(path.as_str()) {
            let before = source.text[..offset].chars().next_back();
            // `.../x` in the middle of a longer path is another folder of the same name.
            if before
                .is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | '>' | '~' | '*'))
            {
                continue;
            }
            problems.push(Problem::new(
                &source.path,
                line_at(&source.text, offset),
                format!("a path of this machine: {path}"),
                "make it relative, or take it from an argument",
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn unfinished_marks_are_found_in_every_kind_of_text() {
        for mark in MARKS {
            let text = format!("first line\nlet x = 1; // {mark} later");
            for path in ["agent/src/run.rs", "README.md", "proto/schema/a.proto"] {
                let found = check_source(&source(path, &text), &[]);
                assert_eq!(
                    found.iter().map(|problem| problem.line).collect::<Vec<_>>(),
                    [2],
                    "{mark} in {path}"
                );
            }
        }
    }

    #[test]
    fn words_that_only_contain_a_mark_pass() {
        let text = format!("{}Y {}ING a{}", MARKS[4], MARKS[5], MARKS[3]);
        assert!(check_source(&source("a.rs", &text), &[]).is_empty());
    }

    #[test]
    fn machine_paths_are_the_tree_and_home_but_not_what_every_system_has() {
        let paths = machine_paths(Path::new("/home/ada/git/firstline"), Some(Path::new("/home/ada")));
        for own in ["/home/ada/git/firstline/", "/home/ada/git/", "/home/ada/"] {
            assert!(paths.iter().any(|path| path == own), "{own} in {paths:?}");
        }
        let paths = machine_paths(Path::new("/usr/src/firstline"), Some(Path::new("/root")));
        for anybodys in ["/", "/usr/", "/usr/src/", "/usr/src/firstline/", "/root/"] {
            assert!(!paths.iter().any(|path| path == anybodys), "{anybodys} in {paths:?}");
        }
    }

    #[test]
    fn path_of_this_machine_is_found_but_not_inside_another() {
        let paths = ["/desk/firstline/".to_owned()];
        for (text, n_problems) in [
            ("see /desk/firstline/x", 1),
            ("\"/desk/firstline/x\"", 1),
            ("/srv/desk/firstline/x", 0),
            ("/desk/firstlines/x", 0),
        ] {
            assert_eq!(check_source(&source("a.md", text), &paths).len(), n_problems, "{text}");
        }
    }
}
