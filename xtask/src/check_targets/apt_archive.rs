//! One suite of this machine's Debian mirror, read by apt with a state of its own: no root, no change of the system.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{Process, find_program};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

pub(super) struct Archive {
    /// apt's lists, cache and downloads of this suite.
    dir: PathBuf,
}

impl Archive {
    /// Reads the suite's package lists into a folder below `home`.
    pub(super) fn open(suite: &str, home: &Path) -> Result<Self> {
        for program in ["apt-get", "dpkg"] {
            if find_program(program).is_none() {
                bail!("there is no {program} on this system; the sources come as a Debian package");
            }
        }
        let mirror = mirror(&system_sources()).context("no Debian mirror in this machine's apt sources")?;
        let archive = Self { dir: home.join(suite) };
        for folder in ["lists/partial", "cache/archives/partial", "download"] {
            let folder = archive.dir.join(folder);
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        archive.write("status", "")?;
        archive.write("sources.list", &format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"))?;
        archive.apt("apt-get").args(["-qq", "update"]).run()?;
        Ok(archive)
    }

    /// The package's full version that packs this upstream version, if the suite has it.
    pub(super) fn version_of(&self, package: &str, upstream: &str) -> Result<Option<String>> {
        let listed = self.apt("apt-cache").args(["madison", package]).read()?;
        Ok(version_in(&listed, upstream).map(str::to_owned))
    }

    /// Downloads the package and unpacks it to `to`, without installing it.
    pub(super) fn unpack(&self, package: &str, version: &str, to: &Path) -> Result<()> {
        let download = self.dir.join("download");
        self.apt("apt-get")
            .args(["-qq", "download", &format!("{package}={version}")])
            .dir(&download)
            .run()?;
        let entries =
            std::fs::read_dir(&download).with_context(|| format!("cannot list {}", download.display()))?;
        let deb = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt has downloaded no {package}"))?;
        Process::new("dpkg").arg("-x").arg(&deb).arg(to).run()?;
        std::fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn apt(&self, program: &str) -> Process {
        let mut process = Process::new(program).quiet();
        for (option, value) in [
            ("Dir::Etc::sourcelist", self.dir.join("sources.list")),
            ("Dir::Etc::sourceparts", PathBuf::from("/dev/null")),
            ("Dir::State", self.dir.clone()),
            ("Dir::State::lists", self.dir.join("lists")),
            ("Dir::State::status", self.dir.join("status")),
            ("Dir::Cache", self.dir.join("cache")),
        ] {
            process = process.arg("-o").arg(format!("{option}={}", value.display()));
        }
        process.args(["-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=root"])
    }
}

/// The text of every sources file of the system's own apt.
fn system_sources() -> String {
    let parts = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let files =
        parts.filter_map(|entry| Some(entry.ok()?.path())).chain([PathBuf::from("/etc/apt/sources.list")]);
    files.filter_map(|file| std::fs::read_to_string(file).ok()).collect::<Vec<_>>().join("\n")
}

/// The first mirror of the Debian archive, in either of apt's formats.
fn mirror(sources: &str) -> Option<String> {
    sources
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
        .map(|word| word.trim_end_matches('/'))
        .find_map(|word| word.ends_with("/debian").then_some(word).or_else(|| word.strip_suffix("-security")))
        .map(str::to_owned)
}

/// From lines like `rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://... Packages`.
fn version_in<'a>(madison: &'a str, upstream: &str) -> Option<&'a str> {
    madison.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim).find(|version| {
        // 1.95.0 must not find 1.95.01 or 1.95.0~beta.
        version.strip_prefix(upstream).is_some_and(|rest| rest.starts_with(['+', '-']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_is_found_in_both_formats_and_not_in_comments() {
        for (sources, expected) in [
            ("deb http://first.example/debian bookworm main", Some("http://first.example/debian")),
            (
                "Types: deb\n# http://old.example/debian\nURIs: https://mirror.example/debian/\nSuites: bookworm",
                Some("https://mirror.example/debian"),
            ),
            ("URIs: http://mirror.example/debian-security", Some("http://mirror.example/debian")),
            ("deb http://archive.example/ubuntu noble main", None),
            ("", None),
        ] {
            assert_eq!(mirror(sources).as_deref(), expected, "{sources}");
        }
    }

    #[test]
    fn only_the_exact_upstream_version_is_taken() {
        let listed = "rust-src | 1.96.1+dfsg1-1~bpo13+1 | http://x trixie-backports/main all Packages\n\
                      rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://x trixie-backports/main all Packages\n";
        assert_eq!(version_in(listed, "1.95.0"), Some("1.95.0+dfsg1-2~bpo13+1"));
        for absent in ["1.95", "1.94.1", "1.96.0"] {
            assert_eq!(version_in(listed, absent), None, "{absent}");
        }
    }
}
