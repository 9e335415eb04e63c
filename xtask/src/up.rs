//! `cargo xtask up`: from a fresh tree to a running system in one command. The data stays for the next `up`.

use std::fs::{File, TryLockError};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::instance::{self, Binaries, Collector};
use crate::interrupt::{Interrupt, Interrupted};
use crate::service::Service;
use crate::workspace;

/// How often it is looked whether both programs still run.
const WATCH_EVERY: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where collector and agent keep their data [default: .firstline in the workspace]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where agents connect; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:7443", value_name = "ADDR")]
    agents: String,
    /// Where browsers connect; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDR")]
    web: String,
    /// Build without optimisation: quicker to build, slower to run
    #[arg(long)]
    dev: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root()?;
    let data = match &args.data {
        Some(data) => {
            std::path::absolute(data).with_context(|| format!("cannot locate {}", data.display()))?
        }
        None => root.join(".firstline"),
    };
    println!(
        "building agent and collector ({}); the first time takes some minutes",
        if args.dev { "unoptimised" } else { "release" }
    );
    let binaries = Binaries::build(&root, !args.dev)?;
    let _lock = lock(&data)?;
    let interrupt = Interrupt::listen()?;
    let mut running = Running { collector: None, agent: None };
    let outcome = serve(args, &data, &binaries, &interrupt, &mut running);
    let stopped = running.stop();
    match outcome {
        Err(error) if error.is::<Interrupted>() => {
            stopped?;
            println!("stopped; the data stays in {}", data.display());
            Ok(())
        }
        // It never returns otherwise: a task that serves ends by a signal or by a failure.
        other => other.and(stopped),
    }
}

/// One `up` per data folder: a second one would take the logs away from the first.
fn lock(data: &Path) -> Result<File> {
    instance::private_folder(data)?;
    let path = data.join("up.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another `cargo xtask up` uses {}; stop it first, or choose another --data", data.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// What runs. It is stopped in the order agent, collector, so that the agent can still say goodbye.
struct Running {
    collector: Option<Service>,
    agent: Option<Service>,
}

impl Running {
    fn stop(&mut self) -> Result<()> {
        let agent = self.agent.take().map_or(Ok(()), |mut service| service.stop());
        let collector = self.collector.take().map_or(Ok(()), |mut service| service.stop());
        agent.and(collector)
    }

    fn services(&mut self) -> impl Iterator<Item = &mut Service> {
        self.collector.iter_mut().chain(self.agent.iter_mut())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only a panic comes here with something still running.
        let _ = self.stop();
    }
}

fn serve(
    args: &Args,
    data: &Path,
    binaries: &Binaries,
    interrupt: &Interrupt,
    running: &mut Running,
) -> Result<()> {
    let (collector_data, agent_data) = (data.join("collector"), data.join("agent"));
    for folder in [&collector_data, &agent_data] {
        instance::private_folder(folder)?;
    }
    let (collector_log, agent_log) = (data.join("collector.log"), data.join("agent.log"));
    let addresses = (free_or_any("agents", &args.agents), free_or_any("web", &args.web));
    let mut collector =
        Collector::start(binaries, &collector_data, &collector_log, (&addresses.0, &addresses.1), interrupt)?;
    let sign_in = collector.sign_in_link(interrupt)?;
    let device = introduce(&collector, binaries, &agent_data)?;
    let web = collector.web.clone();
    println!("collector runs   agents {}   log {}", collector.agents, collector_log.display());
    running.collector = Some(collector.service);
    running.agent = Some(instance::start_agent(binaries, &agent_data, &agent_log, &[])?);
    println!("agent runs       device {device}   log {}", agent_log.display());
    println!("\n  {web}\n");
    match sign_in {
        Some(link) => {
            println!(
                "Sign in for the first time with this link; it works once and makes the first administrator:"
            );
            println!("\n  {link}\n");
        }
        None => println!("Sign in with the user that you made before (data: {}).", data.display()),
    }
    println!(
        "The certificate is from the collector's own authority; a browser asks once whether to trust it:"
    );
    println!("  {}", collector_data.join("authority").join("certificate.pem").display());
    println!("Next: `cargo xtask drill disk-full` in another terminal shows a ticket appear and resolve.");
    println!(
        "Further machines: {} --data {} token create",
        binaries.collector.display(),
        collector_data.display()
    );
    println!("Ctrl-C stops both.");
    loop {
        for service in running.services() {
            service.check_alive()?;
        }
        interrupt.wait(WATCH_EVERY)?;
    }
}

/// Enrols the agent unless its identity belongs to this collector; returns the device's id.
fn introduce(collector: &Collector, binaries: &Binaries, agent_data: &Path) -> Result<String> {
    let path = agent_data.join("identity.toml");
    let authority = std::fs::read_to_string(collector.authority())
        .with_context(|| format!("cannot read {}", collector.authority().display()))?;
    let before = Identity::read(&path)?;
    match before.as_ref().map(|identity| identity.fit(&collector.agents, &authority)) {
        Some(Fit::Same) => {}
        None => {
            println!("enrolling this machine's agent");
            collector.enroll(&binaries.agent, agent_data, false)?;
        }
        Some(fit @ (Fit::OtherAddress | Fit::OtherAuthority)) => {
            println!("enrolling this machine's agent again: {}", fit.reason());
            collector.enroll(&binaries.agent, agent_data, true)?;
            if let (Fit::OtherAddress, Some(old)) = (fit, &before) {
                // The machine must not stand in the fleet twice. A device that is unknown needs no retirement.
                let _ = collector.admin().args(["device", "retire", &old.device_id]).finish();
            }
        }
    }
    let now = Identity::read(&path)?.with_context(|| format!("{} was not written", path.display()))?;
    Ok(now.device_id)
}

/// What an enrolled agent knows of its collector.
struct Identity {
    device_id: String,
    collector: String,
    authorities: Vec<String>,
}

/// Whether an identity is good for the collector that runs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Same,
    OtherAddress,
    OtherAuthority,
}

impl Fit {
    fn reason(self) -> &'static str {
        match self {
            Self::Same => "nothing changed",
            Self::OtherAddress => "the collector listens on another address than before",
            Self::OtherAuthority => "the collector has another authority than before",
        }
    }
}

impl Identity {
    fn read(path: &Path) -> Result<Option<Self>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map(Some)
                .with_context(|| format!("{} is damaged; remove it and try again", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().context("it is not TOML")?;
        let word = |key: &str| {
            table
                .get(key)
                .and_then(toml::Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("it has no {key}"))
        };
        let authorities = table.get("authorities").and_then(toml::Value::as_array);
        Ok(Self {
            device_id: word("device_id")?,
            collector: word("collector")?,
            authorities: authorities
                .into_iter()
                .flatten()
                .filter_map(|pem| pem.as_str().map(str::to_owned))
                .collect(),
        })
    }

    fn fit(&self, agents: &str, authority: &str) -> Fit {
        if !self.authorities.iter().any(|known| body(known) == body(authority)) {
            Fit::OtherAuthority
        } else if self.collector != agents {
            Fit::OtherAddress
        } else {
            Fit::Same
        }
    }
}

/// A PEM block without its line breaks, which writers choose differently.
fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).flat_map(|line| line.split_whitespace()).collect()
}

/// The address, or its host with port 0 when somebody listens there already.
fn free_or_any(what: &str, address: &str) -> String {
    // What cannot be taken apart or bound for another reason is the collector's to complain about.
    match (TcpListener::bind(address), address.rsplit_once(':')) {
        (Err(error), Some((host, _))) if error.kind() == std::io::ErrorKind::AddrInUse => {
            println!("note: {address} ({what}) is taken by another program; a free port is used instead");
            format!("{host}:0")
        }
        (Ok(_) | Err(_), _) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAEC\nAwQF\n-----END CERTIFICATE-----\n";

    fn identity() -> Identity {
        let pem = PEM.replace('\n', "\\r\\n");
        Identity::parse(&format!(
            "device_id = \"d-1\"\ncollector = \"127.0.0.1:7443\"\nprivate_key = \"k\"\nauthorities = [\"{pem}\"]\n"
        ))
        .unwrap()
    }

    #[test]
    fn an_identity_is_kept_only_for_the_same_address_and_authority() {
        let other = PEM.replace("AAEC", "BBEC");
        assert_eq!(identity().fit("127.0.0.1:7443", PEM), Fit::Same);
        assert_eq!(identity().fit("127.0.0.1:7443", &PEM.replace("AAEC\nAwQF", "AAECAwQF")), Fit::Same);
        assert_eq!(identity().fit("127.0.0.1:9", PEM), Fit::OtherAddress);
        assert_eq!(identity().fit("127.0.0.1:7443", &other), Fit::OtherAuthority);
    }

    #[test]
    fn a_damaged_identity_is_an_error_and_a_missing_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.toml");
        assert!(Identity::read(&path).unwrap().is_none());
        std::fs::write(&path, "collector = 3\n").unwrap();
        assert!(Identity::read(&path).is_err());
    }

    #[test]
    fn a_second_up_of_the_same_data_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).unwrap_err().to_string().contains("stop it first"));
        drop(first);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn a_taken_port_is_left_to_its_owner() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert_eq!(free_or_any("web", &address), "127.0.0.1:0");
        assert_eq!(free_or_any("web", "127.0.0.1:0"), "127.0.0.1:0");
        assert_eq!(free_or_any("web", "nonsense"), "nonsense");
    }
}
