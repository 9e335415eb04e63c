//! Members take lints, publishing and dependency versions from the workspace, so that each is decided once.

use anyhow::Result;
use toml::{Table, Value};

use super::{Problem, Source, Tree};

const DEPENDENCY_TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    Ok(tree
        .sources
        .iter()
        .filter(|source| source.path.ends_with("/Cargo.toml") && !source.is_testdata())
        .flat_map(check_source)
        .collect())
}

fn check_source(source: &Source) -> Vec<Problem> {
    let manifest = match source.text.parse::<Table>() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Problem::new(&source.path, 0, error.message(), "mend the file")],
    };
    // A workspace of its own (the fuzz programs) has no other place to decide.
    if manifest.contains_key("workspace") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    if !is_inherited(manifest.get("lints")) {
        let remedy = "add [lints] workspace = true";
        problems.push(Problem::new(&source.path, 0, "the crate does not take the workspace's lints", remedy));
    }
    let publish = manifest.get("package").and_then(|package| package.get("publish"));
    if !is_inherited(publish) && publish != Some(&Value::Boolean(false)) {
        let remedy = "add publish.workspace = true";
        problems.push(Problem::new(&source.path, 0, "the crate could be published", remedy));
    }
    let targets = manifest.get("target").and_then(Value::as_table);
    let scopes =
        std::iter::once(&manifest).chain(targets.into_iter().flatten().filter_map(|(_, v)| v.as_table()));
    for (name, dependency) in scopes.flat_map(dependencies) {
        if !is_inherited(Some(dependency)) {
            problems.push(Problem::new(
                &source.path,
                line_of(&source.text, name),
                format!("{name} has a version of its own"),
                format!("pin it in [workspace.dependencies] and write {name}.workspace = true"),
            ));
        }
    }
    problems
}

fn dependencies(scope: &Table) -> impl Iterator<Item = (&String, &Value)> {
    DEPENDENCY_TABLES.iter().filter_map(|table| scope.get(*table)?.as_table()).flatten()
}

fn is_inherited(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")) == Some(&Value::Boolean(true))
}

fn line_of(text: &str, key: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(key)).map_or(0, |n| n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"x\"\npublish.workspace = true\n[lints]\nworkspace = true\n";

    fn found(extra: &str, base: &str) -> Vec<String> {
        let source = Source { path: "agent/Cargo.toml".to_owned(), text: format!("{base}{extra}") };
        check_source(&source).into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn inherited_manifest_passes() {
        let extra = "[dependencies]\nserde.workspace = true\n[dev-dependencies]\ninsta = { workspace = true }\n\
                     [target.\"cfg(unix)\".dependencies]\nrustix.workspace = true\n";
        assert!(found(extra, GOOD).is_empty());
    }

    #[test]
    fn own_versions_are_found_in_every_table() {
        for table in
            ["dependencies", "dev-dependencies", "build-dependencies", "target.\"cfg(unix)\".dependencies"]
        {
            let extra = format!("[{table}]\nserde = \"1\"\n");
            assert_eq!(found(&extra, GOOD), ["serde has a version of its own"], "{table}");
        }
    }

    #[test]
    fn missing_lints_and_publish_are_found() {
        assert_eq!(found("", "[package]\nname = \"x\"\n").len(), 2);
        assert_eq!(found("", "[package]\npublish = true\n[lints]\nworkspace = true\n").len(), 1);
    }
}
