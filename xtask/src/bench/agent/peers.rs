//! Programs of the same kind that run beside our agent in the same windows: how each is started, and how its data is
//! fetched or taken. They come from the system's packages; one that cannot be had is left out by name.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::traffic::Port;
use super::zabbix;
use crate::install::{self, Package};
use crate::process::{Process, find_program};
use crate::service::{Command, Service};

/// How often each peer's data is fetched; those that send have the same interval in their configuration.
const INTERVAL: Duration = Duration::from_secs(60);

const PACKAGES: &[Package] = &[
    Package::program("prometheus-node-exporter", "prometheus-node-exporter", "a peer beside the agent"),
    Package::program("zabbix-agent2", "zabbix_agent2", "a peer beside the agent"),
    Package::program("collectd-core", "collectd", "a peer beside the agent"),
    Package::program("monit", "monit", "a peer beside the agent"),
];

/// A peer that runs.
pub(super) struct Peer {
    pub name: &'static str,
    pub service: Service,
    pub port: Port,
    /// Whether it sends to the port; else it answers from there.
    pub is_sender: bool,
}

/// All peers of this machine, and what fetches from those that do not send by themselves.
pub(super) struct Peers {
    pub running: Vec<Peer>,
    /// Fetching ends when these go.
    _fetching: Vec<mpsc::Sender<()>>,
}

impl Peers {
    pub(super) fn none() -> Self {
        Self { running: Vec::new(), _fetching: Vec::new() }
    }

    pub(super) fn start(folder: &Path) -> Result<Self> {
        for missing in install::packages(PACKAGES) {
            println!("left out: {missing}");
        }
        let mut running = Vec::new();
        let mut fetching = Vec::new();
        let candidates: [(&'static str, &str, Start); 4] = [
            ("node_exporter, fetched every 60 s", "prometheus-node-exporter", node_exporter),
            ("zabbix-agent2, stock active template", "zabbix_agent2", zabbix_agent2),
            ("collectd, 60 s", "collectd", collectd),
            ("monit, 60 s", "monit", monit),
        ];
        for (name, program, start) in candidates {
            let Some(path) = find_program(program) else { continue };
            let home = folder.join(program);
            std::fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
            let started = start(&path, &home)?;
            let service = Service::start(program, started.command, &home.join("output.log"))?;
            let is_sender = started.fetch.is_none();
            if let Some(url) = started.fetch {
                fetching.push(fetch_again_and_again(url));
            }
            running.push(Peer { name, service, port: started.port, is_sender });
        }
        Ok(Self { running, _fetching: fetching })
    }
}

type Start = fn(&Path, &Path) -> Result<Started>;

struct Started {
    command: Command,
    port: Port,
    /// What is fetched from it every minute.
    fetch: Option<String>,
}

fn node_exporter(program: &Path, _home: &Path) -> Result<Started> {
    let address = free_tcp()?;
    Ok(Started {
        command: Command::new(program).arg(format!("--web.listen-address={address}")),
        port: Port { number: address.port(), is_udp: false },
        fetch: Some(format!("http://{address}/metrics")),
    })
}

fn zabbix_agent2(program: &Path, home: &Path) -> Result<Started> {
    let server = zabbix::serve()?;
    let own = free_low_tcp()?;
    let text = format!(
        "LogFile={0}/agent.log\nServer=127.0.0.1\nServerActive={server}\nListenIP=127.0.0.1\nListenPort={1}\nHostname=bench\nPidFile={0}/pid\nControlSocket={0}/control.sock\n",
        home.display(),
        own.port()
    );
    let file = written(home, "agent.conf", &text)?;
    Ok(Started {
        command: Command::new(program).args(["-f", "-c"]).arg(file),
        port: Port { number: server.port(), is_udp: false },
        fetch: None,
    })
}

fn collectd(program: &Path, home: &Path) -> Result<Started> {
    // Held by this process until it ends: packets without a receiver would cost the sender an error each.
    let sink = UdpSocket::bind("127.0.0.1:0").context("no port for collectd's receiver")?;
    let port = sink.local_addr()?.port();
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while sink.recv(&mut packet).is_ok() {}
    });
    let plugins: String = "cpu df disk entropy interface irq load memory processes swap users network"
        .split(' ')
        .map(|plugin| format!("LoadPlugin {plugin}\n"))
        .collect();
    let text = format!(
        "FQDNLookup false\nHostname \"bench\"\nInterval {}\nPIDFile \"{1}/pid\"\nBaseDir \"{1}\"\n{plugins}<Plugin network>\nServer \"127.0.0.1\" \"{port}\"\n</Plugin>\n",
        INTERVAL.as_secs(),
        home.display()
    );
    let file = written(home, "collectd.conf", &text)?;
    Ok(Started {
        command: Command::new(program).args(["-f", "-C"]).arg(file),
        port: Port { number: port, is_udp: true },
        fetch: None,
    })
}

fn monit(program: &Path, home: &Path) -> Result<Started> {
    let address = free_tcp()?;
    let text = format!(
        "set daemon {0}\nset log {1}/monit.log\nset idfile {1}/id\nset statefile {1}/state\nset pidfile {1}/pid\nset httpd port {2} and use address 127.0.0.1 allow localhost\ncheck system bench\n if loadavg (1min) > 400 then alert\n if memory usage > 99% then alert\ncheck filesystem root with path /\n if space usage > 99% then alert\n if inode usage > 99% then alert\n",
        INTERVAL.as_secs(),
        home.display(),
        address.port()
    );
    let file = written(home, "monitrc", &text)?;
    Ok(Started {
        command: Command::new(program).args(["-I", "-c"]).arg(file),
        port: Port { number: address.port(), is_udp: false },
        fetch: Some(format!("http://{address}/_status?format=xml")),
    })
}

/// A configuration file that only its owner can read, as monit demands.
fn written(home: &Path, name: &str, text: &str) -> Result<std::path::PathBuf> {
    let path = home.join(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).with_context(|| format!("cannot write {}", path.display()))?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(path)
}

/// A port that was free a moment ago; these peers cannot be told to take any.
fn free_tcp() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?)
}

/// The same below 32768, above which this agent accepts none; the system hands those out from there on.
fn free_low_tcp() -> Result<SocketAddr> {
    let free = (20_000..32_768).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    Ok(free.context("no free port below 32768")?.local_addr()?)
}

fn fetch_again_and_again(url: String) -> mpsc::Sender<()> {
    let (keep, end) = mpsc::channel();
    std::thread::spawn(move || {
        let mut wait = Duration::ZERO;
        while end.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Timeout) {
            let begun = Instant::now();
            // A fetch that fails shows as a peer that sends nothing.
            let _ = Process::new("curl")
                .quiet()
                .apart()
                .args(["--disable", "--silent", "--noproxy", "*", "--compressed", "--max-time", "20"])
                .args(["--output", "/dev/null"])
                .arg(&url)
                .finish();
            wait = INTERVAL.saturating_sub(begun.elapsed());
        }
    });
    keep
}
