//! `cargo xtask sbom`: writes what each program is made of, as CycloneDX 1.6 JSON: every crate that is linked into it,
//! with version, licence and the checksum that Cargo.lock holds it to. What only builds or tests a program (macros,
//! build scripts, test crates) is not in it. The same tree gives the same bytes: nothing in it is a time or a random number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process::Process;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = "target/sbom")]
    out: PathBuf,
    /// Of programs for this target triple [default: this machine's]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

/// The programs, by package.
const PROGRAMS: &[&str] = &["firstline-agent", "firstline-collector"];

/// One crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    name: String,
    version: String,
    /// As its manifest says it.
    licence: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root()?;
    let out = root.join(&args.out);
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let checksums = checksums(&std::fs::read_to_string(root.join("Cargo.lock")).context("no Cargo.lock")?)?;
    for program in PROGRAMS {
        let parts = parts(&root, program, args.target.as_deref())?;
        let document = document(program, &parts, &checksums)?;
        let path = out.join(format!("{program}.cdx.json"));
        std::fs::write(&path, format!("{document:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}: {} crates", path.display(), parts.len() - 1);
    }
    Ok(())
}

/// The crates that are linked into a program, itself included. Cargo's tree knows features and targets.
fn parts(root: &Path, program: &str, target: Option<&str>) -> Result<Vec<Part>> {
    let tree = Process::cargo().quiet().args(["tree", "--locked", "--offline", "--package", program]).args([
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}\t{l}",
    ]);
    let tree = match target {
        Some(target) => tree.args(["--target", target]),
        None => tree,
    };
    let mut parts = tree.dir(root).read()?.lines().map(part).collect::<Result<Vec<_>>>()?;
    parts.sort();
    parts.dedup();
    Ok(parts)
}

/// A line of the tree: `serde v1.0.229<tab>MIT OR Apache-2.0`, with ` (*)` when it stood there before, and with the
/// folder of a crate of this workspace.
fn part(line: &str) -> Result<Part> {
    let (package, licence) = line.split_once('\t').with_context(|| format!("cargo tree says {line:?}"))?;
    let mut words = package.split_whitespace();
    let (Some(name), Some(version)) = (words.next(), words.next().and_then(|text| text.strip_prefix('v')))
    else {
        bail!("cargo tree says {line:?}");
    };
    let licence = licence.trim_end_matches(" (*)").trim();
    Ok(Part { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned() })
}

/// The checksums of Cargo.lock, by name and version. The workspace's own crates have none.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    let lock: toml::Table = toml::from_str(lock).context("Cargo.lock is damaged")?;
    let packages =
        lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock names no package")?;
    let text =
        |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    Ok(packages
        .iter()
        .filter_map(|package| {
            Some(((text(package, "name")?, text(package, "version")?), text(package, "checksum")?))
        })
        .collect())
}

fn document(program: &str, parts: &[Part], checksums: &BTreeMap<(String, String), String>) -> Result<Value> {
    let component = |part: &Part, kind: &str| {
        let purl = format!("pkg:cargo/{}@{}", part.name, part.version);
        let mut component = json!({
            "type": kind, "bom-ref": purl, "name": part.name, "version": part.version, "purl": purl,
        });
        if !part.licence.is_empty() {
            // Old manifests write a slash where an expression has OR.
            component["licenses"] = json!([{"expression": part.licence.replace('/', " OR ")}]);
        }
        if let Some(checksum) = checksums.get(&(part.name.clone(), part.version.clone())) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        component
    };
    let itself = parts.iter().find(|part| part.name == program);
    let itself = itself.with_context(|| format!("cargo tree does not name {program}"))?;
    let libraries: Vec<Value> =
        parts.iter().filter(|part| part.name != program).map(|part| component(part, "library")).collect();
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(itself, "application")},
        "components": libraries,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(program: &str) -> Value {
        let root = workspace::root().unwrap();
        let checksums = checksums(&std::fs::read_to_string(root.join("Cargo.lock")).unwrap()).unwrap();
        document(program, &parts(&root, program, None).unwrap(), &checksums).unwrap()
    }

    fn names(document: &Value) -> Vec<&str> {
        let components = document["components"].as_array().unwrap();
        components.iter().map(|component| component["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn r30_the_list_names_what_a_program_links_and_nothing_that_only_builds_or_tests_it() {
        for (program, linked, foreign) in [
            ("firstline-agent", ["rustls", "rusqlite", "libsqlite3-sys", "firstline-agent-probes"], "axum"),
            ("firstline-collector", ["rustls", "axum", "argon2", "firstline-collector-store"], "ipp"),
        ] {
            let document = of(program);
            let names = names(&document);
            for name in linked {
                assert!(names.contains(&name), "{program} links {name}");
            }
            for name in [foreign, program, "xtask", "firstline-tests", "proptest", "serde_derive", "cc"] {
                assert!(!names.contains(&name), "{program} does not link {name}");
            }
        }
    }

    #[test]
    fn r30_every_component_is_named_once_with_a_licence_and_what_is_downloaded_with_its_checksum() {
        for program in PROGRAMS {
            let document = of(program);
            assert_eq!(
                (&document["bomFormat"], &document["specVersion"]),
                (&"CycloneDX".into(), &"1.6".into())
            );
            assert_eq!(document["metadata"]["component"]["name"], *program);
            let components = document["components"].as_array().unwrap();
            let mut references: Vec<&str> =
                components.iter().map(|component| component["bom-ref"].as_str().unwrap()).collect();
            references.sort_unstable();
            let all = references.len();
            references.dedup();
            assert_eq!(references.len(), all, "a reference names two components");
            for component in components {
                let name = component["name"].as_str().unwrap();
                assert_eq!(component["type"], "library");
                assert!(component["purl"].as_str().unwrap().starts_with("pkg:cargo/"), "{component}");
                assert!(component["licenses"][0]["expression"].as_str().is_some(), "{name} has no licence");
                let checksum = component["hashes"][0]["content"].as_str().unwrap_or_default();
                assert!(name.starts_with("firstline-") || checksum.len() == 64, "{component}");
            }
        }
    }

    #[test]
    fn lines_of_the_tree_are_read_in_each_form() {
        let read = |line| part(line).map(|part| (part.name, part.version, part.licence)).unwrap();
        let expected = |name: &str, version: &str, licence: &str| {
            (name.to_owned(), version.to_owned(), licence.to_owned())
        };
        assert_eq!(
            read("serde v1.0.229\tMIT OR Apache-2.0"),
            expected("serde", "1.0.229", "MIT OR Apache-2.0")
        );
        assert_eq!(read("a v0.1.0 (/x/a)\tMIT (*)"), expected("a", "0.1.0", "MIT"));
        assert!(part("").is_err() && part("serde\tMIT").is_err());
    }
}
