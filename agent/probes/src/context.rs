//! What a probe may know about the run it is in: where to read, what time it is, what the policy allows.

use crate::{Root, reach};
use firstline_model::Timestamp;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The circumstances of one run. Cheap to copy; a run gets its own.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where files are read from.
    pub root: Root,
    /// The time that the observations of this run carry.
    pub now: Timestamp,
    /// The agent's own folder, the only place that a probe may write to. `None` when the agent has none (a one-off
    /// run from the command line); then nothing is written.
    pub state_dir: Option<PathBuf>,
    /// A steady look, of which everything is reported; else one in between (see `Descriptor::trigger_interval`), of
    /// which only news is. What is costly or changes slowly is read in steady looks only.
    pub steady: bool,
    /// What the policy allows.
    pub policy: Policy,
    /// Where this machine's configuration file points probes somewhere else than usual.
    pub overrides: Overrides,
}

impl Context {
    /// The circumstances of a run that writes nothing and follows the default policy.
    pub fn new(root: Root, now: Timestamp) -> Self {
        Self {
            root,
            now,
            state_dir: None,
            steady: true,
            policy: Policy::default(),
            overrides: Overrides::default(),
        }
    }
}

impl Context {
    /// Whether the files of a Linux system are what is read: on Linux itself, and of a captured machine anywhere.
    pub const fn reads_linux(&self) -> bool {
        cfg!(target_os = "linux") || !self.root.is_system()
    }
}

/// Where probes look instead of the usual places. Only the machine's own configuration may set these, never the
/// collector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// The resolver's configuration file, instead of `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
    /// The port of DNS servers, instead of 53.
    pub dns_port: Option<u16>,
    /// The names that every DNS server is asked for, instead of the built-in pair.
    pub dns_names: Option<Vec<String>>,
    /// The print server, instead of CUPS on this machine.
    pub cups_server: Option<SocketAddr>,
    /// The `http://` address that shows whether web pages open; without one that is not asked.
    pub connectivity_url: Option<String>,
    /// What the body of its answer begins with; without it, status 204 is expected.
    pub connectivity_body: Option<String>,
    /// The host whose path is measured beside the gateway's.
    pub path_target: Option<String>,
    /// `host:port` of TLS servers whose certificates are watched.
    pub tls_endpoints: Vec<String>,
    /// Absolute paths of PEM files whose first certificate is watched.
    pub tls_files: Vec<String>,
    /// The community that printers are asked with over SNMP, instead of `public`; an empty one switches SNMP off.
    pub snmp_community: Option<Community>,
    /// The port of the printers' SNMP agents, instead of 161.
    pub snmp_port: Option<u16>,
}

/// An SNMP community. It lets its holder read a printer, so no log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Community(pub String);

impl std::fmt::Debug for Community {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Community(..)")
    }
}

impl Overrides {
    /// The first setting that cannot be used, and why.
    pub fn unusable(&self) -> Option<(&'static str, String)> {
        if let Some(url) = &self.connectivity_url
            && reach::http_url(url).is_none()
        {
            let why = "is not an address such as http://host/path (https would hide a sign-in page)";
            return Some(("connectivity_url", format!("{url:?} {why}")));
        }
        if let Some(body) = &self.connectivity_body
            && !(1..=1024).contains(&body.len())
        {
            return Some(("connectivity_body", "its length is not between 1 and 1024 bytes".to_owned()));
        }
        if let Some(host) = &self.path_target
            && !reach::is_host(host)
        {
            return Some(("path_target", format!("{host:?} is neither a host name nor an address")));
        }
        if let Some(name) = self.tls_endpoints.iter().find(|name| reach::authority(name, None).is_none()) {
            return Some(("tls_endpoints", format!("{name:?} is not host:port")));
        }
        if let Some(path) = self.tls_files.iter().find(|path| !Path::new(path).is_absolute()) {
            return Some(("tls_files", format!("{path:?} is not an absolute path")));
        }
        if let Some(community) = &self.snmp_community
            && community.0.len() > 255
        {
            return Some(("snmp_community", "it is longer than 255 bytes".to_owned()));
        }
        None
    }
}

/// The part of the agent's policy that concerns reading the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How deep directory walks may report names; deeper sizes are summed into their parents.
    pub directory_depth: u8,
    /// Services whose state is reported even when they run, so that their recovery is visible.
    pub watched_services: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        let watched = [
            "cups",
            "NetworkManager",
            "systemd-networkd",
            "systemd-resolved",
            "systemd-timesyncd",
            "chrony",
            "chronyd",
            "ssh",
            "sshd",
            "dbus",
            "wpa_supplicant",
            "firewalld",
            "gdm",
            "sssd",
        ];
        Self { directory_depth: 3, watched_services: watched.iter().map(|&name| name.to_owned()).collect() }
    }
}
