//! Generated files that are committed must be what their generator gives today.
//!
//! To add one: a function that returns the stale files, and a line in `GENERATORS`.

use std::path::Path;

use anyhow::Result;

use super::{Problem, Tree};
use crate::codegen;

/// What makes the files, which of them are stale, and the command that makes them anew.
struct Generator {
    name: &'static str,
    stale_files: fn(&Path) -> Result<Vec<String>>,
    remedy: &'static str,
}

const GENERATORS: &[Generator] = &[Generator {
    name: "proto/schema",
    stale_files: codegen::stale_files,
    remedy: "run cargo xtask codegen and commit the result",
}];

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    check_all(&tree.root, GENERATORS)
}

fn check_all(root: &Path, generators: &[Generator]) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for generator in generators {
        for file in (generator.stale_files)(root)? {
            let what = format!("differs from what {} gives", generator.name);
            problems.push(Problem::new(&file, 0, what, generator.remedy));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_files_of_every_generator_are_problems() {
        let generators = [
            Generator { name: "a", stale_files: |_| Ok(vec!["one.rs".to_owned()]), remedy: "make one" },
            Generator { name: "b", stale_files: |_| Ok(Vec::new()), remedy: "make two" },
        ];
        let problems = check_all(Path::new("/nowhere"), &generators).unwrap();
        assert_eq!(problems, [Problem::new("one.rs", 0, "differs from what a gives", "make one")]);
    }
}
