//! `service`: the agent as a service of the machine. On Linux systemd runs it, from a unit that gives it no more rights than
//! its probes need (`service/firstline-agent.service`). Elsewhere the command says that it is not there yet.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

use crate::cli::{Cli, ServiceAction, ServiceArgs};
use crate::{identity, trust};
use anyhow::{Context, Result, bail};
use firstline_agent_probes::Root;
use firstline_agent_probes::exec::{self, Finished, Limits, Program};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The unit's name.
const UNIT: &str = "firstline-agent.service";
/// The unit, with places for what depends on the machine.
const TEMPLATE: &str = include_str!("service/firstline-agent.service");
/// Where an administrator's units lie.
const UNITS: &str = "/etc/systemd/system";
/// Where systemd says that it runs the machine (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Stopping waits for the agent to say goodbye.
const LIMITS: Limits = Limits { time: Duration::from_secs(60), output: 64 << 10 };

pub(crate) fn command(cli: &Cli, args: &ServiceArgs) -> Result<ExitCode> {
    let data = std::path::absolute(cli.data_folder()).context("the data folder has no absolute path")?;
    match args.action {
        ServiceAction::Install { print: true } => print!("{}", unit(&data)?),
        ServiceAction::Install { print: false } => install(&data)?,
        ServiceAction::Uninstall => uninstall()?,
        ServiceAction::Start => {
            installed()?;
            systemctl(&["start", UNIT], "see why: journalctl -u firstline-agent")?;
            println!("started; it tells how it is: firstline-agent doctor");
        }
        ServiceAction::Stop => {
            installed()?;
            systemctl(&["stop", UNIT], "see why: journalctl -u firstline-agent")?;
            println!("stopped");
        }
        ServiceAction::Status { json } => return status(json),
    }
    Ok(ExitCode::SUCCESS)
}

/// The unit for this program and this data folder.
fn unit(data: &Path) -> Result<String> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let run = format!("{} run --data {}", quoted(&program)?, quoted(data)?);
    Ok(TEMPLATE.replace("@RUN@", &run).replace("@DATA@", &quoted(data)?))
}

/// A path as systemd reads it in a command and in a list of paths.
fn quoted(path: &Path) -> Result<String> {
    let Some(text) = path.to_str() else { bail!("{} is no text; use a plain path", path.display()) };
    if text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\' | '\'' | '$')) {
        bail!("{text:?} has characters that a unit cannot hold; use a plain path");
    }
    let text = text.replace('%', "%%");
    Ok(if text.contains(' ') { format!("\"{text}\"") } else { text })
}

fn install(data: &Path) -> Result<()> {
    booted()?;
    trust::establish(data, None)?;
    let place = place();
    let text = unit(data)?;
    let fresh = place.with_extension("service.new");
    std::fs::write(&fresh, text)
        .and_then(|()| readable(&fresh))
        .and_then(|()| std::fs::rename(&fresh, &place))
        .with_context(|| format!("cannot write {}; run it as root", place.display()))?;
    systemctl(&["daemon-reload"], "see why: systemctl status firstline-agent")?;
    systemctl(&["enable", UNIT], "see why: systemctl status firstline-agent")?;
    println!("installed as {}; it starts with the machine", place.display());
    if identity::load(data)?.is_none() {
        println!("first make this machine known: firstline-agent enroll ADDRESS");
    }
    println!("now: firstline-agent service start");
    Ok(())
}

/// Units are read by whoever wants to know what runs here.
fn readable(path: &Path) -> std::io::Result<()> {
    firstline_agent_platform::private_file::open_to_readers(path)
}

fn uninstall() -> Result<()> {
    installed()?;
    systemctl(&["disable", "--now", UNIT], "see why: systemctl status firstline-agent")?;
    std::fs::remove_file(place()).with_context(|| format!("cannot remove {}", place().display()))?;
    systemctl(&["daemon-reload"], "see why: systemctl status")?;
    println!("uninstalled; its data folder is as it was");
    Ok(())
}

fn status(as_json: bool) -> Result<ExitCode> {
    installed()?;
    let shown = ["show", UNIT, "--property=ActiveState,SubState,UnitFileState,MainPID,NRestarts"];
    let answer = systemctl(&shown, "see why: systemctl status firstline-agent")?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or("unknown").to_owned()
    };
    let (state, detail) = (value("ActiveState"), value("SubState"));
    let (at_boot, process, restarts) = (value("UnitFileState"), value("MainPID"), value("NRestarts"));
    if as_json {
        println!(
            "{}",
            json!({"state": state, "detail": detail, "at_boot": at_boot, "process": process, "restarts": restarts})
        );
    } else {
        println!("{state} ({detail}), at boot: {at_boot}, process {process}, {restarts} restarts");
    }
    Ok(if state == "active" { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn place() -> PathBuf {
    Path::new(UNITS).join(UNIT)
}

/// Whether there is a service manager that this command knows.
fn booted() -> Result<()> {
    if std::env::consts::OS != "linux" {
        bail!(
            "services on {} are not there yet; let the system's own means start: firstline-agent run",
            std::env::consts::OS
        );
    }
    if !Path::new(BOOTED).is_dir() {
        bail!(
            "systemd does not run this machine ({BOOTED} is not there); let its own means start: firstline-agent run"
        );
    }
    Ok(())
}

fn installed() -> Result<()> {
    booted()?;
    if !place().exists() {
        bail!(
            "the service is not installed ({} is not there); run: firstline-agent service install",
            place().display()
        );
    }
    Ok(())
}

fn systemctl(arguments: &[&str], next: &str) -> Result<Finished> {
    let finished = exec::run(&Root::system(), Program::Systemctl, arguments, LIMITS)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    if finished.exit_code != Some(0) {
        let code =
            finished.exit_code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        bail!("systemctl {} ended with {code}; {next}", arguments.join(" "));
    }
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_holds_paths_as_they_are_or_refuses_them() {
        assert_eq!(quoted(Path::new("/var/lib/agent")).unwrap(), "/var/lib/agent");
        assert_eq!(quoted(Path::new("/srv/my data/100%")).unwrap(), "\"/srv/my data/100%%\"");
        for odd in ["/a\nExecStartPre=/bin/sh", "/a\"b", "/a$HOME", "/a\\x20"] {
            assert!(quoted(Path::new(odd)).is_err(), "{odd:?}");
        }
        let unit = unit(Path::new("/srv/agent")).unwrap();
        assert!(!unit.lines().any(|line| line.contains("@RUN@") || line.contains("@DATA@")), "{unit}");
        assert!(
            unit.contains(" run --data /srv/agent\n") && unit.contains("ReadWritePaths=/srv/agent\n"),
            "{unit}"
        );
    }
}
