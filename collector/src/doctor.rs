//! `doctor`: why the collector does not work, as a list of what was looked at and what to do.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

use crate::authority::{self, Authority};
use crate::cli::OutputArgs;
use crate::clock;
use crate::knowledge::{self, Knowledge};
use crate::private;
use crate::serve::{Listeners, open_store};
use anyhow::{Context, Result, bail};
use firstline_collector_store::engines::sqlite;
use serde_json::json;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn command(data: &Path, args: &OutputArgs) -> Result<ExitCode> {
    let looks: Vec<(&str, Result<String>)> = vec![
        ("data folder", folder(data)),
        ("authority", authority(data)),
        ("store", store(data)),
        ("knowledge", knowledge(data)),
        ("agents' listener", listener(data, |listeners| listeners.agents)),
        ("web listener", listener(data, |listeners| listeners.web)),
    ];
    let trouble = looks.iter().any(|(_, seen)| seen.is_err());
    if args.json {
        let findings: Vec<_> = looks
            .iter()
            .map(|(what, seen)| {
                let detail = seen.as_ref().map_or_else(|error| format!("{error:#}"), Clone::clone);
                json!({"what": what, "ok": seen.is_ok(), "detail": detail})
            })
            .collect();
        println!("{}", json!({"ok": !trouble, "findings": findings}));
    } else {
        for (what, seen) in &looks {
            match seen {
                Ok(detail) => println!("ok      {what:<17} {detail}"),
                Err(error) => println!("TROUBLE {what:<17} {error:#}"),
            }
        }
    }
    Ok(if trouble { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn folder(data: &Path) -> Result<String> {
    if !data.exists() {
        bail!("{} is not there; start the collector once (serve)", data.display());
    }
    private::check_closed(data)?;
    Ok(data.display().to_string())
}

fn authority(data: &Path) -> Result<String> {
    if !data.join("authority/certificate.pem").exists() {
        bail!("there is none yet; start the collector once (serve)");
    }
    private::check_closed(&data.join("authority/key.pem"))?;
    let authority = Authority::open(data)?;
    for (fingerprint, end) in authority.ends()? {
        if authority::is_near_its_end(end, clock::now()) {
            bail!("sha256:{fingerprint} ends at {end}; replace it: firstline-collector authority rotate");
        }
    }
    Ok(format!("sha256:{}", authority.fingerprint()))
}

fn store(data: &Path) -> Result<String> {
    if !data.join(sqlite::FILE_NAME).exists() {
        bail!("there is none yet; start the collector once (serve)");
    }
    let store = open_store(data, "sqlite")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let totals = runtime.block_on(store.totals()).context("the store cannot be read")?;
    let devices: u64 = totals.devices.iter().map(|(_, count)| count).sum();
    Ok(format!("{devices} devices, {} records, {} findings in force", totals.records, totals.firing))
}

fn knowledge(data: &Path) -> Result<String> {
    let knowledge = Knowledge::open(&data.join(knowledge::FOLDER)).context("the rule pack is refused")?;
    if let Some(problem) = knowledge.problems().first() {
        bail!("{problem}");
    }
    let running = knowledge.running();
    Ok(format!("{} entries, {} overrides", running.set.entries.len(), running.overrides))
}

fn listener(data: &Path, which: impl Fn(&Listeners) -> SocketAddr) -> Result<String> {
    let listeners =
        Listeners::read(data).context("no collector has served this folder yet; start it (serve)")?;
    let address = which(&listeners);
    TcpStream::connect_timeout(&address, Duration::from_secs(2))
        .with_context(|| format!("nothing answers on {address}; is the collector running (serve)?"))?;
    Ok(format!("{address} answers"))
}
