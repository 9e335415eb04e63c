//! Where things are: the root of the tree, its files, cargo's metadata, and the cache folder outside the tree.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::Process;

/// The root of the workspace: the nearest folder upwards whose Cargo.toml has a `[workspace]` table.
pub(crate) fn root() -> Result<PathBuf> {
    let start = std::env::current_dir().context("cannot read the current folder")?;
    start
        .ancestors()
        .find(|dir| {
            std::fs::read_to_string(dir.join("Cargo.toml")).is_ok_and(|text| text.contains("[workspace]"))
        })
        .map(Path::to_path_buf)
        .with_context(|| format!("no workspace above {}; run this inside the repository", start.display()))
}

/// Whether this is a continuous-integration run, where nothing may be skipped.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// The folder for what tasks keep between runs: `${XDG_CACHE_HOME:-~/.cache}/firstline`.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let base = match xdg {
        Some(dir) => dir,
        None => std::env::home_dir().context("no home folder; set HOME or XDG_CACHE_HOME")?.join(".cache"),
    };
    Ok(base.join("firstline"))
}

/// `cargo metadata` of the workspace's own members.
pub(crate) fn metadata(root: &Path) -> Result<Value> {
    let text = Process::cargo()
        .quiet()
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .dir(root)
        .read()?;
    serde_json::from_str(&text).context("cargo metadata printed something that is not JSON")
}

/// Every file that is or would be committed, relative to the root, with `/`.
pub(crate) fn files(root: &Path) -> Result<Vec<String>> {
    let listed = Process::new("git")
        .quiet()
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .dir(root)
        .finish();
    let mut files: Vec<String> = match listed {
        Ok(listed) if listed.succeeded => {
            listed.stdout.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()
        }
        // An unpacked source archive has no git folder.
        _ => walk(root, root)?,
    };
    files.retain(|path| root.join(path).is_file());
    files.sort();
    files.dedup();
    if files.is_empty() {
        bail!("no files found under {}", root.display());
    }
    Ok(files)
}

fn walk(root: &Path, dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let Ok(relative) = path.strip_prefix(root) else { continue };
        if path.is_dir() && !path.is_symlink() {
            if relative != Path::new("target") && relative != Path::new(".git") {
                found.extend(walk(root, &path)?);
            }
        } else {
            found.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_files_of_an_unpacked_archive_without_build_output() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["Cargo.toml", "agent/src/main.rs", "target/debug/x"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let mut found = walk(dir.path(), dir.path()).unwrap();
        found.sort();
        assert_eq!(found, ["Cargo.toml", "agent/src/main.rs"]);
    }
}
