//! `doctor`: why the agent does not work, as a list of what was looked at and what to do.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

use crate::cli::{Cli, OutputArgs};
use crate::uplink::{channel, tls};
use crate::{config, identity};
use anyhow::{Context, Result};
use firstline_agent_platform::private_file;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    trouble: Option<String>,
    detail: String,
}

fn good(what: &'static str, detail: impl Into<String>) -> Finding {
    Finding { what, trouble: None, detail: detail.into() }
}

fn bad(what: &'static str, error: &anyhow::Error) -> Finding {
    Finding { what, trouble: Some(format!("{error:#}")), detail: String::new() }
}

pub(crate) fn command(cli: &Cli, args: &OutputArgs) -> Result<ExitCode> {
    let data = cli.data_folder();
    let mut findings = vec![look("data folder", folder(&data)), look("configuration", configuration(&data))];
    match identity::load(&data) {
        Ok(Some(identity)) => {
            findings.push(good("identity", format!("enrolled as {}", identity.device_id)));
            findings.push(look("collector", reach(&identity)));
        }
        Ok(None) => findings.push(Finding {
            what: "identity",
            trouble: Some("this machine is not enrolled; run: firstline-agent enroll ADDRESS".to_owned()),
            detail: String::new(),
        }),
        Err(error) => findings.push(bad("identity", &error)),
    }
    findings.push(look("spool", spool(&data)));
    let trouble = findings.iter().any(|finding| finding.trouble.is_some());
    if args.json {
        let findings: Vec<_> = findings
            .iter()
            .map(|f| json!({"what": f.what, "ok": f.trouble.is_none(), "detail": f.trouble.as_ref().unwrap_or(&f.detail)}))
            .collect();
        println!("{}", json!({"ok": !trouble, "findings": findings}));
    } else {
        for finding in &findings {
            match &finding.trouble {
                None => println!("ok      {:<14} {}", finding.what, finding.detail),
                Some(trouble) => println!("TROUBLE {:<14} {trouble}", finding.what),
            }
        }
    }
    Ok(if trouble { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn look(what: &'static str, seen: Result<String>) -> Finding {
    match seen {
        Ok(detail) => good(what, detail),
        Err(error) => bad(what, &error),
    }
}

fn folder(data: &Path) -> Result<String> {
    private_file::check_mode(data, 0o700)?;
    Ok(data.display().to_string())
}

fn configuration(data: &Path) -> Result<String> {
    let path = config::path(None, data);
    let settings = config::load(&path, false)?;
    let source = if path.exists() { path.display().to_string() } else { "built-in defaults".to_owned() };
    Ok(format!("{source}, spool quota {} MiB", settings.spool_quota >> 20))
}

fn reach(identity: &identity::Identity) -> Result<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let connect = channel(&identity.collector, tls::mutual(identity)?);
        tokio::time::timeout(Duration::from_secs(10), connect)
            .await
            .with_context(|| format!("{} does not answer", identity.collector))??;
        Ok(format!("{} answers and is the one that this machine trusts", identity.collector))
    })
}

/// Opens the file for reading only: a running agent keeps writing.
fn spool(data: &Path) -> Result<String> {
    let path = data.join("spool.db");
    if !path.exists() {
        return Ok("none yet; the agent has not run".to_owned());
    }
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(&path, flags)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let (waiting, bytes): (u64, u64) = database
        .query_row(
            "SELECT count(*), coalesce(sum(length(payload)), 0) FROM record r JOIN epoch e ON e.id = r.epoch
             WHERE r.seq > e.watermark",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("{waiting} records ({bytes} bytes) not acknowledged as of the last note"))
}
