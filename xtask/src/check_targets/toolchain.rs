//! A private copy of the toolchain with the standard library's sources in it.
//!
//! The sources must be those of exactly this compiler. Debian packages them apart (`rust-src`); the package of the
//! right version is taken from the mirror that this machine's apt already uses. The user's toolchain stays as it is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::apt_archive::Archive;
use crate::process::Process;
use crate::workspace;

/// Where the sources stand inside a toolchain.
const SOURCES: &str = "lib/rustlib/src/rust";
/// The suite that keeps older versions beside the newest comes first.
const SUITES: &[&str] = &["trixie-backports", "bookworm-backports", "testing", "sid"];

pub(super) struct Toolchain {
    dir: PathBuf,
}

impl Toolchain {
    /// The installed toolchain when it has the sources, else the private copy, made on the first run.
    pub(super) fn prepare() -> Result<Self> {
        let installed =
            PathBuf::from(Process::new("rustc").quiet().args(["--print", "sysroot"]).read()?.trim());
        if has_sources(&installed) {
            return Ok(Self { dir: installed });
        }
        let compiler = Compiler::parse(&Process::new("rustc").quiet().arg("-vV").read()?)?;
        let home =
            workspace::cache_dir()?.join(format!("toolchain-{}-{}", compiler.release, compiler.commit));
        let dir = home.join("toolchain");
        if !has_sources(&dir) {
            println!("preparing a toolchain with the standard library's sources in {}", home.display());
            fetch_sources(&compiler, &home)?;
            copy_toolchain(&installed, &home, &compiler)?;
        }
        Ok(Self { dir })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// `PATH` with this toolchain before any other.
    pub(super) fn path(&self) -> Result<OsString> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths(std::iter::once(self.dir.join("bin")).chain(std::env::split_paths(&path)))
            .context("the cache folder's name cannot stand in PATH")
    }
}

fn has_sources(toolchain: &Path) -> bool {
    toolchain.join(SOURCES).join("library/std/src/lib.rs").is_file()
}

/// Which compiler this is, from `rustc -vV`.
#[derive(Debug, PartialEq, Eq)]
struct Compiler {
    release: String,
    /// The first digits of its commit: two builds may carry the same release.
    commit: String,
}

impl Compiler {
    fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
        };
        let (Some(release), Some(commit)) = (field("release"), field("commit-hash")) else {
            bail!("rustc -vV does not name its release and commit: {text}");
        };
        Ok(Self { release: release.to_owned(), commit: commit.chars().take(9).collect() })
    }
}

/// Unpacks the sources of this compiler to `home/src`.
fn fetch_sources(compiler: &Compiler, home: &Path) -> Result<()> {
    for suite in SUITES {
        let archive = Archive::open(suite, &home.join("apt"))?;
        let Some(version) = archive.version_of("rust-src", &compiler.release)? else { continue };
        println!("unpacking rust-src {version} from {suite}");
        return archive.unpack("rust-src", &version, &home.join("src"));
    }
    bail!(
        "no rust-src of version {} in {} of this machine's Debian mirror; \
         `rustup component add rust-src` gives the same sources where its server can be reached",
        compiler.release,
        SUITES.join(", ")
    )
}

/// Copies by hard links where possible, and lays the sources in. The copy gets its name when it is complete.
fn copy_toolchain(installed: &Path, home: &Path, compiler: &Compiler) -> Result<()> {
    let sources = home.join("src/usr/src").join(format!("rustc-{}", compiler.release));
    if !sources.join("library/std/src/lib.rs").is_file() {
        bail!("the package rust-src holds no {}", sources.display());
    }
    let (partial, complete) = (home.join("toolchain.partial"), home.join("toolchain"));
    for leftover in [&partial, &complete] {
        if leftover.exists() {
            std::fs::remove_dir_all(leftover)
                .with_context(|| format!("cannot remove {}", leftover.display()))?;
        }
    }
    let copy = |how| Process::new("cp").quiet().arg(how).arg(installed).arg(&partial);
    if !copy("-al").succeeds() {
        // Another filesystem takes no hard links.
        let _ = std::fs::remove_dir_all(&partial);
        copy("-a").run()?;
    }
    let place = partial.join(SOURCES);
    let parent = place.parent().context("the sources have no folder")?;
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    Process::new("ln").quiet().arg("-s").arg(&sources).arg(&place).run()?;
    std::fs::rename(&partial, &complete).with_context(|| format!("cannot finish {}", complete.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiler_is_known_by_release_and_commit() {
        let text = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\ncommit-hash: 59807616e1fa25\nhost: x\nrelease: 1.95.0\n";
        let compiler = Compiler { release: "1.95.0".to_owned(), commit: "59807616e".to_owned() };
        assert_eq!(Compiler::parse(text).unwrap(), compiler);
        assert!(Compiler::parse("rustc 1.95.0").is_err());
    }

    #[test]
    fn half_copied_toolchain_is_not_taken() {
        let home = tempfile::tempdir().unwrap();
        let compiler = Compiler { release: "1.0.0".to_owned(), commit: "a".to_owned() };
        let installed = home.path().join("installed");
        std::fs::create_dir_all(installed.join("bin")).unwrap();
        assert!(copy_toolchain(&installed, home.path(), &compiler).is_err(), "no sources yet");

        let library = home.path().join("src/usr/src/rustc-1.0.0/library/std/src");
        std::fs::create_dir_all(&library).unwrap();
        std::fs::write(library.join("lib.rs"), "").unwrap();
        std::fs::create_dir_all(home.path().join("toolchain.partial/leftover")).unwrap();
        copy_toolchain(&installed, home.path(), &compiler).unwrap();

        let copy = home.path().join("toolchain");
        assert!(has_sources(&copy) && copy.join("bin").is_dir() && !copy.join("leftover").exists());
    }
}
