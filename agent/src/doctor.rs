//! `doctor`: why the agent does not work, as a list of what was looked at and what to do.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

use crate::cli::{Cli, OutputArgs};
use crate::uplink::{channel, tls};
use crate::{collect, config, identity, status};
use anyhow::{Context, Result, anyhow};
use firstline_agent_platform::{disk, private_file, trust};
use firstline_model::deceptive::lines;
use serde_json::{Value, json};
use std::io::ErrorKind;
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
    let mut findings = vec![
        look("trust", trusted(&data)),
        look("data folder", folder(&data)),
        look("configuration", configuration(&data)),
    ];
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
    findings.extend(running(&data));
    findings.push(look("disk", writable(&data)));
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
                None => println!("ok      {:<14} {}", finding.what, lines(&finding.detail)),
                Some(trouble) => println!("TROUBLE {:<14} {}", finding.what, lines(trouble)),
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

fn trusted(data: &Path) -> Result<String> {
    if !trust::LOOKS {
        return Ok(
            "access lists are not looked at on this operating system; the installer sets them".to_owned()
        );
    }
    crate::trust::look(data, Some(&config::path(None, data)))?;
    Ok("nobody but root and the agent's user can change its program, configuration or data".to_owned())
}

/// What the running agent says of itself.
fn running(data: &Path) -> Vec<Finding> {
    let status = match status::of_running(data) {
        Ok(line) => {
            serde_json::from_str::<Value>(&line).context("the running agent's answer is not readable")
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Err(anyhow!("no agent runs with {}; run: firstline-agent run", data.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot ask {}", status::path(data).display())),
    };
    let status = match status {
        Ok(status) => status,
        Err(error) => return vec![bad("service", &error)],
    };
    let since = |at: &Value| at.as_i64().map_or_else(|| "an unknown time".to_owned(), when);
    let mut findings = vec![good("service", format!("runs since {}", since(&status["started_ms"])))];
    let stream = &status["disconnected"];
    findings.push(if status["connected"] == true {
        let acked = match status["last_ack_ms"].as_i64() {
            None => "nothing acknowledged yet".to_owned(),
            Some(at) => format!("last acknowledgement {}", when(at)),
        };
        good("stream", format!("connected since {}, {acked}", since(&status["connected_since_ms"])))
    } else if stream.is_null() {
        good("stream", "is being opened")
    } else {
        let why = stream["text"].as_str().unwrap_or_default();
        bad("stream", &anyhow!("none since {}: {why}{}", since(&stream["since_ms"]), remedy(why)))
    });
    let trouble = &status["spool_trouble"];
    if !trouble.is_null() {
        let why = trouble["text"].as_str().unwrap_or_default();
        let waiting = &status["records_in_memory"];
        let left_out = &status["records_left_out"];
        let since = since(&trouble["since_ms"]);
        findings.push(bad(
            "records",
            &anyhow!(
                "nothing can be written since {since}, {waiting} records wait in memory, {left_out} found no room: {why}; \
                 make room or repair the disk, the agent goes on by itself"
            ),
        ));
    }
    findings.push(good("overhead", overhead(&status["overhead"])));
    if let Some(why) = status["configuration_refused"].as_str() {
        findings.push(bad("new config", &anyhow!("is not in force: {why}")));
    }
    findings
}

/// What the agent itself costs this machine, in words.
fn overhead(told: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let allowed = number(&told["cpu_s_per_hour_allowed"]);
    let mut text = match told["cpu_s_per_hour"].as_f64() {
        Some(hourly) => format!("{hourly:.2} s of processor time an hour ({allowed} are allowed)"),
        None => format!("{:.2} s of processor time since the start", number(&told["cpu_s"])),
    };
    if let Some(bytes) = told["resident_bytes"].as_u64() {
        text += &format!(", {:.1} MiB of memory", bytes as f64 / 1024.0 / 1024.0);
    }
    let probes = told["probes"].as_object().into_iter().flatten();
    let costliest =
        probes.max_by(|one, other| number(&one.1["longest_ms"]).total_cmp(&number(&other.1["longest_ms"])));
    if let Some((name, spent)) = costliest {
        text += &format!(", the costliest run was {} ms of {name}", number(&spent["longest_ms"]));
    }
    let slowed: Vec<&str> =
        told["slowed_down"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !slowed.is_empty() {
        text += &format!("; slowed down until that is less: {}", slowed.join(", "));
    }
    text
}

/// What to do when the collector does not want this device, by what it said.
fn remedy(why: &str) -> &'static str {
    if why.contains("identity was withdrawn") {
        "; it was revoked, retired, or is in quarantine because two machines use its identity. An administrator sees which \
         with `firstline-collector device list`; a copy gets an identity of its own with `enroll --replace`, and \
         `device release ID` lets the original in again"
    } else if why.contains("not known here") {
        "; the collector was restored from a backup made before this machine was enrolled, or is another one: enroll again \
         with `firstline-agent enroll --replace ADDRESS`, which keeps what waits"
    } else if why.contains("was replaced by a newer one") {
        "; another machine may have a copy of this disk, or this one was set back to a snapshot: enroll again with \
         `firstline-agent enroll --replace ADDRESS`"
    } else {
        ""
    }
}

/// How long ago, for a person.
fn when(at_ms: i64) -> String {
    let ago = collect::wall_clock().as_millis().saturating_sub(at_ms);
    match ago / 1000 {
        ..0 => "a time in the future (the clock was changed)".to_owned(),
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
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

/// Writes a small file and makes it durable, as the agent has to.
fn writable(data: &Path) -> Result<String> {
    if !data.exists() {
        return Ok(format!("{} is not there yet", data.display()));
    }
    let path = data.join("doctor.probe");
    let written = private_file::replace(&path, &[0; 4096]);
    let removed = std::fs::remove_file(&path);
    let free =
        disk::space(data).map_or_else(String::new, |space| format!(", {} MiB are free", space.free >> 20));
    written.map_err(anyhow::Error::from).and_then(|()| Ok(removed?)).with_context(|| {
        format!(
            "nothing can be written to {}{free}; make room or repair the disk, the agent goes on by itself",
            data.display()
        )
    })?;
    Ok(format!("{} can be written{free}", data.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overhead_names_the_costliest_probe_and_what_is_slowed_down() {
        let told = json!({
            "cpu_s": 3.0, "cpu_s_per_hour": 4.2, "cpu_s_per_hour_allowed": 3.6, "resident_bytes": 8_388_608,
            "slowed_down": ["software", "process"],
            "probes": {"os": {"longest_ms": 12.5}, "software": {"longest_ms": 80.0}},
        });
        assert_eq!(
            overhead(&told),
            "4.20 s of processor time an hour (3.6 are allowed), 8.0 MiB of memory, the costliest run was 80 ms of \
             software; slowed down until that is less: software, process"
        );
    }

    #[test]
    fn a_device_that_the_collector_does_not_want_is_told_what_to_do() {
        for (said, expected) in [
            ("AccessDenied: this device's identity was withdrawn", "device release ID"),
            ("this device is not known here; enroll again", "enroll --replace"),
            ("this certificate was replaced by a newer one", "copy of this disk"),
            ("the collector stops", ""),
        ] {
            assert!(
                remedy(said).contains(expected) && remedy(said).is_empty() == expected.is_empty(),
                "{said}"
            );
        }
    }
}
