//! Who may depend on whom, as data. What a crate may not import is what makes it easy to test and to reason about.

use anyhow::Result;
use serde_json::Value;

use super::scan::{code_only, find_word, line_at};
use super::{Problem, Source, Tree};
use crate::workspace;

/// What one crate of the workspace may import directly.
struct Layer {
    /// Name without the prefix `firstline-`.
    name: &'static str,
    /// Crates of the workspace, by the same short names.
    workspace: &'static [&'static str],
    outside: Outside,
}

/// Crates from outside the workspace. Development dependencies are free: tests may use what they like.
enum Outside {
    Any,
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

/// Anything that does I/O, encodes for a wire or a disk, or runs tasks.
const MACHINERY: &[&str] = &[
    "tokio",
    "tokio-stream",
    "tokio-util",
    "futures-util",
    "async-trait",
    "tonic",
    "tonic-prost",
    "prost",
    "serde",
    "serde_json",
    "toml",
    "axum",
    "hyper",
    "hyper-util",
    "tower",
    "rusqlite",
    "sqlx",
    "tokio-postgres",
    "rustls",
    "tokio-rustls",
    "ring",
    "sysinfo",
    "notify",
    "rand",
    "jiff",
    "chrono",
];
const PURE: Outside = Outside::Only(&["thiserror", "tracing"]);
const PREFIX: &str = "firstline-";

const LAYERS: &[Layer] = &[
    Layer { name: "model", workspace: &[], outside: Outside::AllBut(MACHINERY) },
    Layer { name: "delivery", workspace: &["model"], outside: Outside::AllBut(MACHINERY) },
    Layer { name: "agent-core", workspace: &["model", "delivery"], outside: PURE },
    Layer { name: "collector-core", workspace: &["model", "delivery"], outside: PURE },
    Layer { name: "proto", workspace: &["model"], outside: Outside::Any },
    Layer {
        name: "agent-probes",
        workspace: &["model"],
        outside: Outside::AllBut(&["tokio", "tonic", "prost"]),
    },
    Layer { name: "agent-platform", workspace: &[], outside: Outside::AllBut(&["tonic", "prost"]) },
    Layer { name: "agent-spool", workspace: &["model", "delivery"], outside: Outside::AllBut(&["tonic"]) },
    Layer {
        name: "agent",
        workspace: &[
            "model",
            "delivery",
            "proto",
            "agent-core",
            "agent-probes",
            "agent-platform",
            "agent-spool",
        ],
        outside: Outside::AllBut(&["axum"]),
    },
    Layer {
        name: "collector-store",
        workspace: &["model", "collector-core"],
        outside: Outside::AllBut(&["tonic", "prost", "axum"]),
    },
    Layer {
        name: "collector-connectors",
        workspace: &["model", "collector-core"],
        outside: Outside::AllBut(&["tonic", "rusqlite", "tokio-postgres"]),
    },
    Layer {
        name: "collector-web",
        workspace: &["model", "collector-core", "collector-store"],
        outside: Outside::AllBut(&["tonic", "rusqlite", "tokio-postgres"]),
    },
    Layer {
        name: "collector",
        workspace: &[
            "model",
            "delivery",
            "proto",
            "collector-core",
            "collector-store",
            "collector-connectors",
            "collector-web",
        ],
        outside: Outside::Any,
    },
    Layer { name: "xtask", workspace: &[], outside: Outside::Any },
    Layer {
        name: "tests",
        workspace: &[
            "model",
            "delivery",
            "proto",
            "agent-core",
            "agent-probes",
            "agent-platform",
            "agent-spool",
            "agent",
            "collector-core",
            "collector-store",
            "collector-connectors",
            "collector-web",
            "collector",
        ],
        outside: Outside::Any,
    },
];

/// Crates without an async runtime: their sources hold no `async` at all.
const SYNCHRONOUS: &[&str] =
    &["proto/model/src/", "proto/delivery/src/", "agent/core/src/", "collector/core/src/"];

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let mut problems = check_dependencies(&workspace::metadata(&tree.root)?, &tree.root.to_string_lossy());
    problems.extend(tree.written_rust().filter_map(check_synchronous));
    Ok(problems)
}

fn check_dependencies(metadata: &Value, root: &str) -> Vec<Problem> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages.iter().flat_map(|package| check_package(package, root)).collect()
}

fn check_package(package: &Value, root: &str) -> Vec<Problem> {
    let full_name = package["name"].as_str().unwrap_or_default();
    let manifest = package["manifest_path"].as_str().unwrap_or_default();
    let manifest = manifest.strip_prefix(root).unwrap_or(manifest).trim_start_matches('/');
    let name = short(full_name);
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
        let remedy = "decide what it may import and add it to LAYERS in xtask/src/tidy/layers.rs";
        return vec![Problem::new(manifest, 0, format!("the crate {full_name} has no layer"), remedy)];
    };
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    dependencies
        .iter()
        .filter_map(|dependency| {
            let imported = dependency["name"].as_str()?;
            let refused = if imported.starts_with(PREFIX) {
                !layer.workspace.contains(&short(imported))
            } else {
                dependency["kind"].as_str() != Some("dev") && !layer.outside.admits(imported)
            };
            refused.then(|| {
                Problem::new(
                    manifest,
                    0,
                    format!("{full_name} must not import {imported}"),
                    "move the code that needs it to a crate above, or pass the value in",
                )
            })
        })
        .collect()
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

impl Outside {
    fn admits(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => names.contains(&name),
            Self::AllBut(names) => !names.contains(&name),
        }
    }
}

fn check_synchronous(source: &Source) -> Option<Problem> {
    if !SYNCHRONOUS.iter().any(|folder| source.path.starts_with(folder)) {
        return None;
    }
    let code = code_only(&source.text);
    let offset = *find_word(&code, "async").first()?;
    let remedy = "return what is to be done as data; the binaries await";
    Some(Problem::new(&source.path, line_at(&code, offset), "async in a crate without a runtime", remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, dependencies: &[(&str, Option<&str>)]) -> Vec<String> {
        let dependencies: Vec<Value> = dependencies
            .iter()
            .map(|(name, kind)| serde_json::json!({ "name": name, "kind": kind }))
            .collect();
        let metadata = serde_json::json!({
            "packages": [{ "name": name, "manifest_path": "/tree/x/Cargo.toml", "dependencies": dependencies }]
        });
        check_dependencies(&metadata, "/tree").into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn imports_across_the_layers_are_refused() {
        for (name, imported) in [
            ("firstline-model", "serde"),
            ("firstline-model", "firstline-delivery"),
            ("firstline-delivery", "tokio"),
            ("firstline-agent-core", "anyhow"),
            ("firstline-agent-core", "firstline-collector-core"),
            ("firstline-collector-core", "jiff"),
            ("firstline-agent-probes", "firstline-agent-platform"),
            ("firstline-collector-store", "firstline-proto"),
            ("firstline-agent", "firstline-collector-core"),
            ("firstline-collector", "firstline-agent-core"),
            ("xtask", "firstline-model"),
        ] {
            assert_eq!(found(name, &[(imported, None)]), [format!("{name} must not import {imported}")]);
        }
    }

    #[test]
    fn imports_downwards_and_test_crates_pass() {
        for (name, imported, kind) in [
            ("firstline-agent-core", "firstline-delivery", None),
            ("firstline-agent-core", "thiserror", None),
            ("firstline-collector-core", "proptest", Some("dev")),
            ("firstline-collector", "firstline-collector-store", None),
            ("firstline-tests", "firstline-agent-core", None),
        ] {
            assert!(found(name, &[(imported, kind)]).is_empty(), "{name} {imported}");
        }
    }

    #[test]
    fn workspace_crates_are_held_to_their_layer_in_tests_too() {
        assert_eq!(found("firstline-agent", &[("firstline-collector", Some("dev"))]).len(), 1);
    }

    #[test]
    fn crate_without_a_layer_is_a_problem() {
        assert_eq!(found("firstline-surprise", &[]), ["the crate firstline-surprise has no layer"]);
    }

    #[test]
    fn async_is_refused_in_the_cores_only() {
        let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        assert!(check_synchronous(&source("agent/core/src/lib.rs", "pub async fn f() {}")).is_some());
        assert!(check_synchronous(&source("agent/core/src/lib.rs", "// not async")).is_none());
        assert!(check_synchronous(&source("agent/src/run.rs", "pub async fn f() {}")).is_none());
    }
}
