//! What a test needs of the machine. A test whose needs are not met says so by name; in CI it fails, because there
//! everything is installed.

use std::path::{Path, PathBuf};

/// Whether the test may go on. Otherwise the reason is printed, with the test's name.
///
/// # Panics
/// In CI (`CI=true`) when something is missing.
#[must_use]
pub fn met(needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(Need::missing).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot run: {missing}");
    say(&format!("SKIPPED {test}: {missing}"));
    false
}

/// One need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Mounts and network namespaces.
    Root,
    /// A program on the path or in the system's folders.
    Program(&'static str),
}

impl Need {
    fn missing(&self) -> Option<String> {
        match self {
            Self::Root => (!rustix::process::geteuid().is_root()).then(|| "needs root".to_owned()),
            Self::Program(name) => program(name).is_none().then(|| format!("needs the program {name}")),
        }
    }
}

/// Where a program lies.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| Path::is_file(file))
}

#[expect(clippy::print_stderr, reason = "the test runner shows what a skipped test says")]
fn say(text: &str) {
    eprintln!("{text}");
}
