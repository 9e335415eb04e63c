//! The agent's one configuration file: what a person writes (`Config`), what the code uses (`Settings`), and the
//! watch that notices changes.
//!
//! The file is optional. An invalid one is refused with line and reason; at a change while the agent runs, the
//! settings in force stay.

use crate::telemetry;
use anyhow::{Context, Result, bail};
use firstline_agent_core::budget::HOURLY;
use firstline_agent_core::policy::clamp_interval;
use firstline_agent_probes::{Community, Overrides, PROBES};
use notify::{RecursiveMode, Watcher};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a person writes.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    log: Option<String>,
    limits: LimitsConfig,
    spool: SpoolConfig,
    probes: BTreeMap<String, ProbeConfig>,
    overrides: OverridesConfig,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct LimitsConfig {
    cpu_s_per_hour: Option<f64>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct SpoolConfig {
    quota_mib: Option<u64>,
    keep_acked_hours: Option<u64>,
    sync_every_record: Option<bool>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ProbeConfig {
    enabled: Option<bool>,
    interval_s: Option<u64>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct OverridesConfig {
    resolv_conf: Option<PathBuf>,
    dns_port: Option<u16>,
    dns_names: Option<Vec<String>>,
    cups_server: Option<SocketAddr>,
    connectivity_url: Option<String>,
    connectivity_body: Option<String>,
    path_target: Option<String>,
    tls_endpoints: Vec<String>,
    tls_files: Vec<String>,
    snmp_community: Option<String>,
    snmp_port: Option<u16>,
}

/// What the code uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The log filter.
    pub log: String,
    /// Processor time that the agent may use in an hour before it slows probes down.
    pub cpu_hourly: Duration,
    /// Most bytes of records in the spool.
    pub spool_quota: u64,
    /// How long acked records are kept, for a collector that is restored from a backup.
    pub keep_acked: Duration,
    /// No record is sent before it is on disk. It costs some 24 KiB of writes a record.
    pub sync_every_record: bool,
    /// Probes that are off.
    pub disabled: Vec<String>,
    /// Intervals that this machine sets itself; they win over the collector's.
    pub intervals: BTreeMap<String, Duration>,
    /// Where probes look instead of the usual places.
    pub overrides: Overrides,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            cpu_hourly: HOURLY,
            spool_quota: 256 << 20,
            keep_acked: Duration::from_secs(24 * 3600),
            sync_every_record: false,
            disabled: Vec::new(),
            intervals: BTreeMap::new(),
            overrides: Overrides::default(),
        }
    }
}

/// Where the file lies: as given, else `agent.toml` in the data folder.
pub(crate) fn path(given: Option<&Path>, data: &Path) -> PathBuf {
    given.map_or_else(|| data.join("agent.toml"), Path::to_path_buf)
}

/// Reads the file; a missing one gives the defaults unless it was `required`.
pub(crate) fn load(path: &Path, required: bool) -> Result<Settings> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).with_context(|| format!("{} is refused", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => Ok(Settings::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Reads a configuration's text.
pub(crate) fn parse(text: &str) -> Result<Settings> {
    let config: Config = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            // Bytes, because a span may end inside of a character.
            1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
        });
        anyhow::anyhow!("line {line}: {}", error.message())
    })?;
    let mut settings = Settings::default();
    if let Some(log) = config.log {
        if let Err(why) = telemetry::understand(&log) {
            bail!("line {}: log: {log:?} is not understood: {why}", line_of(text, "log"));
        }
        settings.log = log;
    }
    if let Some(seconds) = config.limits.cpu_s_per_hour {
        if !(0.1..=3600.0).contains(&seconds) {
            let line = line_of(text, "cpu_s_per_hour");
            bail!("line {line}: limits.cpu_s_per_hour: {seconds} is not between 0.1 and 3600");
        }
        settings.cpu_hourly = Duration::from_secs_f64(seconds);
    }
    if let Some(quota) = config.spool.quota_mib {
        if !(1..=1 << 20).contains(&quota) {
            bail!(
                "line {}: spool.quota_mib: {quota} is not between 1 and 1048576",
                line_of(text, "quota_mib")
            );
        }
        settings.spool_quota = quota << 20;
    }
    if let Some(hours) = config.spool.keep_acked_hours {
        if hours > 24 * 30 {
            let line = line_of(text, "keep_acked_hours");
            bail!("line {line}: spool.keep_acked_hours: {hours} is more than a month");
        }
        settings.keep_acked = Duration::from_secs(hours * 3600);
    }
    settings.sync_every_record = config.spool.sync_every_record.unwrap_or(false);
    for (name, probe) in config.probes {
        if !PROBES.iter().any(|entry| entry.name == name) {
            let known: Vec<&str> = PROBES.iter().map(|entry| entry.name).collect();
            let line = line_of(text, &format!("probes.{name}"));
            bail!("line {line}: probes.{name}: there is no such probe; known are {}", known.join(", "));
        }
        if let Some(seconds) = probe.interval_s {
            let wanted = Duration::from_secs(seconds);
            if clamp_interval(wanted) != wanted {
                let line = line_of(text, &seconds.to_string());
                bail!("line {line}: probes.{name}.interval_s: {seconds} is not between 5 and 86400");
            }
            settings.intervals.insert(name.clone(), wanted);
        }
        if probe.enabled == Some(false) {
            settings.disabled.push(name);
        }
    }
    settings.overrides = overrides(config.overrides);
    if let Some((key, why)) = settings.overrides.unusable() {
        bail!("line {}: overrides.{key}: {why}", line_of(text, key));
    }
    Ok(settings)
}

fn overrides(config: OverridesConfig) -> Overrides {
    Overrides {
        resolv_conf: config.resolv_conf,
        dns_port: config.dns_port,
        dns_names: config.dns_names,
        cups_server: config.cups_server,
        connectivity_url: config.connectivity_url,
        connectivity_body: config.connectivity_body,
        path_target: config.path_target,
        tls_endpoints: config.tls_endpoints,
        tls_files: config.tls_files,
        snmp_community: config.snmp_community.map(Community),
        snmp_port: config.snmp_port,
    }
}

/// The first line that holds `word` outside of a comment: where a value that is well written but out of bounds stands.
fn line_of(text: &str, word: &str) -> usize {
    let holds = |line: &str| line.split('#').next().is_some_and(|code| code.contains(word));
    text.lines().position(holds).map_or(1, |at| at + 1)
}

/// Watches the folder of the file (editors replace files, so the file itself cannot be watched) and calls `changed`
/// after each change of it. The watch ends when the returned value is dropped.
pub(crate) fn watch(path: &Path, changed: impl Fn() + Send + 'static) -> Result<notify::RecommendedWatcher> {
    let path = std::path::absolute(path).with_context(|| format!("cannot locate {}", path.display()))?;
    let name = path.file_name().map(std::ffi::OsStr::to_os_string);
    let folder = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let is_content = !matches!(event.kind, notify::EventKind::Access(_));
        if is_content && event.paths.iter().any(|p| p.file_name() == name.as_deref()) {
            changed();
        }
    })
    .context("cannot watch files")?;
    watcher
        .watch(&folder, RecursiveMode::NonRecursive)
        .with_context(|| format!("cannot watch {}", folder.display()))?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_read() {
        let settings = parse(
            "log = \"debug\"\n[limits]\ncpu_s_per_hour = 7.5\n[spool]\nquota_mib = 16\n[probes.printer]\ninterval_s = 5\n[probes.software]\nenabled = false\n[overrides]\ncups_server = \"127.0.0.1:6310\"\n",
        )
        .unwrap();
        assert_eq!(settings.cpu_hourly, Duration::from_millis(7500));
        assert_eq!(settings.spool_quota, 16 << 20);
        assert_eq!(settings.disabled, ["software"]);
        assert_eq!(settings.intervals["printer"], Duration::from_secs(5));
        assert!(settings.overrides.cups_server.is_some());
    }

    #[test]
    fn bad_files_are_refused_with_place_and_reason() {
        for (text, expected) in [
            ("log = \"info\"\n[probes.toaster]\ninterval_s = 60\n", "no such probe"),
            ("log = \"info\"\nlgo = 3\n", "line 2"),
            ("[probes.cpu]\ninterval_s = 1\n", "line 2: probes.cpu.interval_s: 1 is not between 5 and 86400"),
            ("# quota_mib\n[spool]\nquota_mib = 0\n", "line 3: spool.quota_mib"),
            ("log = \n", "line 1"),
            ("\nlog = \"info,agent=loud\"\n", "line 2: log: \"info,agent=loud\" is not understood"),
            (
                "[limits]\ncpu_s_per_hour = 0\n",
                "line 2: limits.cpu_s_per_hour: 0 is not between 0.1 and 3600",
            ),
            ("[overrides]\nconnectivity_url = \"https://a/\"\n", "line 2: overrides.connectivity_url"),
            (
                "[overrides]\ntls_endpoints = [\"a\"]\n",
                "line 2: overrides.tls_endpoints: \"a\" is not host:port",
            ),
            ("[overrides]\npath_target = \"a b\"\n", "line 2: overrides.path_target"),
            ("[overrides]\ntls_files = [\"a.pem\"]\n", "line 2: overrides.tls_files"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
    }
}
