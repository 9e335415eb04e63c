//! A collector and an agent on this machine, built from this tree: how they are built, started, introduced to each
//! other and asked. `up` keeps one between runs, a drill throws its own away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::interrupt::Interrupt;
use crate::process::Process;
use crate::service::{Command, Service};
use crate::workspace;

/// How long a collector may take to listen; a first start makes keys and tables.
const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The two programs.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    pub agent: PathBuf,
    pub collector: PathBuf,
}

impl Binaries {
    /// Builds both, with cargo's progress on the terminal.
    pub(crate) fn build(root: &Path, release: bool) -> Result<Self> {
        let mut build = Process::cargo().dir(root).arg("build");
        if release {
            build = build.arg("--release");
        }
        build.args(["-p", "firstline-agent", "-p", "firstline-collector"]).run()?;
        let metadata = workspace::metadata(root)?;
        let target =
            metadata["target_directory"].as_str().context("cargo does not tell its target folder")?;
        let dir = Path::new(target).join(if release { "release" } else { "debug" });
        let file = |name: &str| dir.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        Ok(Self { agent: file("firstline-agent"), collector: file("firstline-collector") })
    }
}

/// A running collector with its data folder.
pub(crate) struct Collector {
    pub service: Service,
    program: PathBuf,
    data: PathBuf,
    pub agents: String,
    pub web: String,
}

impl Collector {
    /// Starts it and waits until it listens.
    pub(crate) fn start(
        binaries: &Binaries,
        data: &Path,
        log: &Path,
        (agents, web): (&str, &str),
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let command = Command::new(&binaries.collector)
            .args(["--data".as_ref(), data.as_os_str()])
            .args(["serve", "--agents", agents, "--web", web]);
        let mut service = Service::start("collector", command, log)?;
        let (agents, web) = interrupt.until("the collector's start", START_LIMIT, LOOK_EVERY, || {
            let found = listeners(&service.output());
            if found.is_none() {
                service.check_alive()?;
            }
            Ok(found)
        })?;
        let (program, data) = (binaries.collector.clone(), data.to_path_buf());
        Ok(Self { service, program, data, agents, web })
    }

    /// A command of its own program for its data folder.
    pub(crate) fn admin(&self) -> Process {
        Process::new(&self.program).quiet().apart().arg("--data").arg(&self.data)
    }

    /// The certificate that its web listener is believed by.
    pub(crate) fn authority(&self) -> PathBuf {
        self.data.join("authority").join("certificate.pem")
    }

    /// The one-time sign-in link that it printed, if it has no user yet.
    pub(crate) fn sign_in_link(&mut self, interrupt: &Interrupt) -> Result<Option<String>> {
        if !self.admin().args(["user", "list", "--json"]).read()?.trim().is_empty() {
            return Ok(None);
        }
        interrupt
            .until("the one-time sign-in link", START_LIMIT, LOOK_EVERY, || {
                self.service.check_alive()?;
                Ok(after(&self.service.output(), "first sign-in "))
            })
            .map(Some)
    }

    /// Makes the agent of `data` known to it.
    pub(crate) fn enroll(&self, agent: &Path, data: &Path, replace: bool) -> Result<()> {
        let text = self.admin().args(["token", "create", "--ttl", "10m", "--json"]).read()?;
        let token: Value = serde_json::from_str(text.trim()).context("`token create` printed no JSON")?;
        let url = token["url"].as_str().context("`token create` gave no address")?;
        // By its input, because arguments are visible to everybody on the machine.
        let enroll = Process::new(agent).quiet().apart().arg("--data").arg(data).args(["enroll", "-"]);
        let enroll = if replace { enroll.arg("--replace") } else { enroll };
        enroll.read_with_input(&format!("{url}\n")).map(drop).context("this machine's agent was not enrolled")
    }
}

/// Starts the agent of `data`.
pub(crate) fn start_agent(binaries: &Binaries, data: &Path, log: &Path, args: &[String]) -> Result<Service> {
    let command =
        Command::new(&binaries.agent).args(["--data".as_ref(), data.as_os_str()]).args(["run"]).args(args);
    Service::start("agent", command, log)
}

/// A folder that only its owner may enter.
pub(crate) fn private_folder(path: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).with_context(|| format!("cannot create {}", path.display()))?;
    if !path.is_dir() {
        bail!("{} is not a folder", path.display());
    }
    Ok(())
}

/// The two addresses, once both have been printed.
fn listeners(output: &str) -> Option<(String, String)> {
    Some((after(output, "listening agents ")?, after(output, "listening web ")?))
}

/// The rest of the complete line that begins with `start`.
fn after(output: &str, start: &str) -> Option<String> {
    let line = output.split_inclusive('\n').find_map(|line| line.strip_prefix(start))?;
    line.strip_suffix('\n').map(|rest| rest.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_only_from_complete_lines() {
        let start = "2026-01-05 INFO listening agents soon\nlistening agents 127.0.0.1:40001\n";
        assert_eq!(listeners(start), None);
        assert_eq!(listeners(&format!("{start}listening web https://127.0.0.1:4")), None);
        assert_eq!(
            listeners(&format!("{start}listening web https://127.0.0.1:40002\n")),
            Some(("127.0.0.1:40001".to_owned(), "https://127.0.0.1:40002".to_owned()))
        );
    }

    #[cfg(unix)]
    #[test]
    fn folders_are_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        private_folder(&path).unwrap();
        private_folder(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
