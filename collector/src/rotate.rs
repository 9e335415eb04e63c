//! `authority rotate` and `authority status`: one command that can be interrupted and called again.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

use crate::authority::Authority;
use crate::authority::rotation::{self, Phase};
use crate::cli::AuthorityCommand;
use crate::serve::open_store;
use crate::{clock, private};
use anyhow::{Context, Result, bail};
use firstline_collector_store::Store;
use firstline_collector_store::record::AuditEntry;
use firstline_model::Timestamp;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How often a waiting command looks.
const LOOK: Duration = Duration::from_secs(1);
/// How often it says that it waits.
const SAY: Duration = Duration::from_secs(30);

pub(crate) fn command(data: &Path, command: &AuthorityCommand) -> Result<ExitCode> {
    private::create_folder(data)?;
    let store = open_store(data, "sqlite")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    match command {
        AuthorityCommand::Status { json } => runtime.block_on(status(data, &store, *json))?,
        AuthorityCommand::Rotate { step, overlap, force } => {
            // Made here when the collector was never started.
            Authority::open(data)?;
            let _lock = rotation::lock(data)?;
            runtime.block_on(rotate(data, &store, *step, *overlap, *force))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn rotate(
    data: &Path,
    store: &Arc<dyn Store>,
    step: bool,
    overlap: Duration,
    force: bool,
) -> Result<()> {
    let mut made = 0;
    let mut said: Option<Timestamp> = None;
    loop {
        if step && made > 0 {
            return Ok(());
        }
        let wait_for = match rotation::phase(data)? {
            Phase::Settled if made > 0 => return Ok(()),
            Phase::Settled => {
                rotation::prepare(data, clock::now())?;
                note(data, store, "authority.prepare").await?;
                println!("prepared: agents learn to trust the new authority; it issues nothing yet");
                made += 1;
                continue;
            }
            Phase::Prepared { since } => {
                let left = overlap.saturating_sub(clock::now().since(since));
                if left.is_zero() || step {
                    rotation::activate(data)?;
                    note(data, store, "authority.activate").await?;
                    println!("activated: devices renew their certificates with the new authority");
                    made += 1;
                    continue;
                }
                format!("agents get to know the new authority for another {} s", left.as_secs())
            }
            Phase::Activated => {
                let behind = behind(data, store).await?;
                if behind == 0 || force {
                    rotation::retire(data)?;
                    note(data, store, "authority.retire").await?;
                    println!("retired: the old authority is gone; {behind} devices must be enrolled again");
                    return Ok(());
                }
                if step {
                    bail!(
                        "{behind} devices hold certificates of the old authority; they renew when they come. Call this \
                         again then, or revoke what will not come back, or leave them behind with --force (each must \
                         be enrolled again with --replace)"
                    );
                }
                format!("{behind} devices still hold certificates of the old authority")
            }
        };
        let now = clock::now();
        if said.is_none_or(|at| now.since(at) >= SAY) {
            println!("waiting: {wait_for} (this can be interrupted and called again)");
            said = Some(now);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How many devices hold certificates of another authority than the one that issues.
async fn behind(data: &Path, store: &Arc<dyn Store>) -> Result<u64> {
    let issuing = Authority::open(data)?.issuing_fingerprint();
    let issuers = store.issuers().await.context("devices cannot be counted")?;
    let behind = issuers.iter().filter(|(issuer, _)| issuer.as_deref() != Some(issuing.as_str()));
    Ok(behind.map(|(_, count)| count).sum())
}

async fn note(data: &Path, store: &Arc<dyn Store>, action: &str) -> Result<()> {
    let line = AuditEntry {
        at: clock::now(),
        actor: "command line".to_owned(),
        action: action.to_owned(),
        subject: Authority::open(data)?.issuing_fingerprint(),
        detail: String::new(),
    };
    store.append_audit(&line).await.context("the step cannot be noted in the audit log")
}

async fn status(data: &Path, store: &Arc<dyn Store>, json: bool) -> Result<()> {
    let authority = Authority::open(data)?;
    let phase = match rotation::phase(data)? {
        Phase::Settled => "settled",
        Phase::Prepared { .. } => "prepared",
        Phase::Activated => "activated",
    };
    let issuers = store.issuers().await.context("devices cannot be counted")?;
    let devices = |fingerprint: Option<&str>| {
        issuers.iter().find(|(issuer, _)| issuer.as_deref() == fingerprint).map_or(0, |(_, count)| *count)
    };
    let issuing = authority.issuing_fingerprint();
    let ends = authority.ends()?;
    if json {
        let authorities: Vec<_> = ends
            .iter()
            .map(|(fingerprint, end)| {
                json!({"fingerprint": fingerprint, "not_after": end.to_string(),
                       "issues": *fingerprint == issuing, "devices": devices(Some(fingerprint))})
            })
            .collect();
        println!("{}", json!({"phase": phase, "authorities": authorities, "devices_unknown": devices(None)}));
        return Ok(());
    }
    println!("phase: {phase}");
    for (fingerprint, end) in &ends {
        let role = if *fingerprint == issuing { "issues" } else { "trusted" };
        println!("sha256:{fingerprint} {role:<8} until {end}, {} devices", devices(Some(fingerprint)));
    }
    if devices(None) > 0 {
        println!("{} devices have not connected since this was noted", devices(None));
    }
    Ok(())
}
