//! The network as this device sees it: links, addresses, the gateway and the DNS servers.
//!
//! Links, addresses, routes and the resolver's configuration are read from files below the root, so a captured
//! machine gives the same answers. Questions to gateways and DNS servers are asked of the running system only.

mod addresses;
pub(crate) mod dns;
mod dns_message;
pub(crate) mod echo;
pub(crate) mod gateway;
#[cfg(target_os = "linux")]
#[path = "network/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "network/other.rs"]
mod imp;
mod interfaces;
mod layers;
mod neighbour;
pub(crate) mod netlink;
pub mod on_macos;
pub mod on_windows;
mod report;
mod resolv_conf;
mod routes;
mod verdict;

use crate::{Context, Descriptor, Probe, ProbeError, Root, Sink};
pub(crate) use imp::{Protocol, dump};
pub(crate) use report::describe;

use addresses::InterfaceAddress;
use dns::Lookup;
use gateway::{Effort, GatewayCheck};
use interfaces::{Interface, Kind};
use neighbour::Neighbour;
use resolv_conf::{ResolvConf, Server};
use routes::Route;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where systemd-resolved writes the servers that its stub on 127.0.0.53 asks.
const RESOLVED_UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLV_CONF_LIMIT: u64 = 64 << 10;
/// A workstation has one or two default gateways; more come from broken configurations.
const MAX_GATEWAYS: usize = 4;
const MAX_DNS_SERVERS: usize = 6;

/// Links, addresses, gateways and DNS servers.
#[derive(Debug, Default)]
pub struct Network;

/// What earlier looks at the gateways tell, also to the tests of a ticket, which have no looks of their own before.
static GATEWAYS: Mutex<layers::Memory> = Mutex::new(layers::Memory::new());

impl Probe for Network {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "network",
            interval: Duration::from_secs(60),
            trigger_interval: Some(Duration::from_secs(30)),
            time_limit: Duration::from_secs(15),
            cpu_budget: Duration::from_millis(30),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let picture = Picture::read(context);
        report::links(context, &picture, sink);
        if picture.interfaces.is_ok() {
            report::document(&picture, sink);
        }
        let (gateways, lookups) = ask(context, &picture);
        report::gateways(context, &picture, &gateways, sink);
        let way = gateways.first().map(|check| check.way);
        let lookups = report::Lookups { answers: &lookups, way };
        report::dns(context, &picture, &lookups, sink);
        if picture.interfaces.is_ok() {
            report::verdict(&picture, &gateways, &lookups, sink);
        }
    }
}

/// Everything that files and the kernel's tables say at one moment.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) interfaces: Result<Vec<Interface>, ProbeError>,
    pub(crate) addresses: Vec<InterfaceAddress>,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) resolver: Result<ResolvConf, ProbeError>,
    /// The interfaces that carry a default route.
    pub(crate) default_interfaces: Vec<String>,
}

/// A default gateway.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) address: IpAddr,
    pub(crate) interface: String,
    pub(crate) hardware: Option<String>,
    scope: u32,
}

impl Picture {
    /// Reads everything once.
    pub(crate) fn read(context: &Context) -> Self {
        #[cfg(windows)]
        if context.root.is_system() {
            let mut picture = on_windows::picture(&crate::on_windows::Live);
            if context.overrides.resolv_conf.is_some() {
                picture.resolver = resolver(context);
            }
            return picture;
        }
        #[cfg(target_os = "macos")]
        if context.root.is_system() {
            return on_macos::picture(&crate::on_macos::Live::new(), context);
        }
        let root = &context.root;
        let table = read_routes(root);
        let interfaces = if root.is_system() && !cfg!(target_os = "linux") {
            Err(ProbeError::Unsupported(
                "interfaces and routes are not read on this operating system yet".to_owned(),
            ))
        } else {
            interfaces::read(root)
        };
        let known = interfaces.as_deref().unwrap_or_default();
        let neighbours = neighbours(root, known).unwrap_or_default();
        let defaults = routes::defaults(&table);
        let gateways = defaults
            .iter()
            .filter_map(|route| Some((route.gateway?, &route.interface)))
            .take(MAX_GATEWAYS)
            .map(|(address, interface)| Gateway {
                address,
                interface: interface.clone(),
                hardware: neighbour::find(&neighbours, address, interface)
                    .and_then(|entry| entry.hardware.clone()),
                scope: index_of(known, interface).unwrap_or(0),
            })
            .collect();
        let default_interfaces = defaults.iter().map(|route| route.interface.clone()).collect();
        let addresses = read_addresses(root, known, &table);
        Self { addresses, gateways, resolver: resolver(context), default_interfaces, interfaces }
    }

    /// The interfaces that are worth reporting: hardware, and software ones that carry the default route.
    pub(crate) fn reported(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().flatten().filter(|interface| {
            interface.kind != Kind::Virtual || self.default_interfaces.contains(&interface.name)
        })
    }

    /// The addresses of one interface.
    pub(crate) fn addresses_of(&self, name: &str) -> impl Iterator<Item = &InterfaceAddress> {
        self.addresses.iter().filter(move |entry| entry.interface == name)
    }

    /// Whether an address is in a network that this machine is in itself, so that no gateway is on the way to it.
    fn is_connected(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|entry| {
            entry.address.is_ipv4() == address.is_ipv4()
                && addresses::subnet(entry.address, entry.prefix) == addresses::subnet(address, entry.prefix)
        })
    }

    /// The configured DNS servers.
    pub(crate) fn servers(&self) -> &[Server] {
        self.resolver.as_ref().map(|conf| conf.servers.as_slice()).unwrap_or_default()
    }

    fn socket_addresses(&self, port: u16) -> Vec<SocketAddr> {
        let known = self.interfaces.as_deref().unwrap_or_default();
        self.servers()
            .iter()
            .map(|server| server.socket_address(port, |name| index_of(known, name)))
            .collect()
    }
}

/// Every route of the main tables.
fn read_routes(root: &Root) -> Vec<Route> {
    let mut table =
        root.read_text("/proc/net/route").map(|text| routes::parse_ipv4(&text)).unwrap_or_default();
    table.extend(
        root.read_text("/proc/net/ipv6_route").map(|text| routes::parse_ipv6(&text)).unwrap_or_default(),
    );
    table
}

/// Whether there is a way out of this machine; `None` where routes are not read.
pub(crate) fn has_default_route(root: &Root) -> Option<bool> {
    root.exists("/proc/net/route").then(|| !routes::defaults(&read_routes(root)).is_empty())
}

/// The gateway that traffic takes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextHop {
    pub(crate) address: IpAddr,
    pub(crate) interface: String,
    /// The interface's number, which link-local addresses need.
    pub(crate) scope: u32,
}

/// The first default gateway, without the rest of the picture.
pub(crate) fn default_gateway(root: &Root) -> Option<NextHop> {
    let table = read_routes(root);
    let defaults = routes::defaults(&table);
    let (address, interface) =
        defaults.into_iter().find_map(|route| Some((route.gateway?, route.interface.clone())))?;
    let scope = root.read_number(&format!("/sys/class/net/{interface}/ifindex"));
    Some(NextHop {
        address,
        interface,
        scope: scope.and_then(|index| u32::try_from(index).ok()).unwrap_or(0),
    })
}

fn index_of(interfaces: &[Interface], name: &str) -> Option<u32> {
    interfaces.iter().find(|interface| interface.name == name)?.index
}

fn name_of(interfaces: &[Interface], index: u32) -> Option<String> {
    Some(interfaces.iter().find(|interface| interface.index == Some(index))?.name.clone())
}

fn read_addresses(root: &Root, interfaces: &[Interface], table: &[Route]) -> Vec<InterfaceAddress> {
    let mut found = Vec::new();
    if root.is_system() {
        let name = |index| name_of(interfaces, index);
        if dump(Protocol::Route, &netlink::dump_request(netlink::RTM_GETADDR), |bytes| {
            netlink::read_addresses(bytes, name, &mut found)
        })
        .is_ok()
        {
            return found;
        }
        found.clear();
    }
    if let Ok(trie) = root.read_text("/proc/net/fib_trie") {
        found.extend(addresses::assign(&addresses::parse_fib_trie(&trie), table));
    }
    if let Ok(text) = root.read_text("/proc/net/if_inet6") {
        found.extend(addresses::parse_if_inet6(&text));
    }
    found
}

/// The neighbour table; `None` where there is none to read.
fn neighbours(root: &Root, interfaces: &[Interface]) -> Option<Vec<Neighbour>> {
    if root.is_system() {
        let mut found = Vec::new();
        let name = |index| name_of(interfaces, index);
        if dump(Protocol::Route, &netlink::dump_request(netlink::RTM_GETNEIGH), |bytes| {
            netlink::read_neighbours(bytes, name, &mut found)
        })
        .is_ok()
        {
            return Some(found);
        }
    }
    root.read_text("/proc/net/arp").ok().map(|text| neighbour::parse_arp(&text))
}

/// The resolver's configuration. Where it names a stub on this machine only, the servers behind the stub follow it,
/// because a stub that answers from its cache hides which of them is dead.
fn resolver(context: &Context) -> Result<ResolvConf, ProbeError> {
    if let Some(path) = &context.overrides.resolv_conf {
        return read_outside(path).map(|text| resolv_conf::parse(&text));
    }
    if context.root.is_system() && cfg!(windows) {
        let why = "the DNS servers of this operating system are not read yet";
        return Err(ProbeError::Unsupported(why.to_owned()));
    }
    let mut conf = resolv_conf::parse(&context.root.read_text(RESOLV_CONF)?);
    if conf.servers.iter().all(Server::is_stub)
        && let Ok(text) = context.root.read_text(RESOLVED_UPSTREAM)
    {
        let upstream = resolv_conf::parse(&text);
        for server in upstream.servers {
            if !conf.servers.iter().any(|known| known.name == server.name) {
                conf.servers.push(server);
            }
        }
        conf.domain = conf.domain.or(upstream.domain);
    }
    conf.servers.truncate(MAX_DNS_SERVERS);
    Ok(conf)
}

fn read_outside(path: &Path) -> Result<String, ProbeError> {
    let failed = |error: &std::io::Error| ProbeError::from_io(path, error);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    file.take(RESOLV_CONF_LIMIT).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The names to look up: those of the configuration, else two well-known ones, and the machine's own domain.
fn names(context: &Context, picture: &Picture) -> Vec<String> {
    let mut names = match &context.overrides.dns_names {
        Some(names) => names.clone(),
        None => dns::DEFAULT_NAMES.iter().map(|&name| name.to_owned()).collect(),
    };
    names.extend(picture.resolver.iter().filter_map(|conf| conf.domain.clone()));
    names
}

/// Asks gateways and DNS servers at the same time; nothing is asked when the machine is a captured one.
fn ask(context: &Context, picture: &Picture) -> (Vec<GatewayCheck>, Vec<Lookup>) {
    if !context.root.is_system() {
        return (Vec::new(), Vec::new());
    }
    std::thread::scope(|scope| {
        let lookups = scope.spawn(|| ask_servers(context, picture));
        let checks = check_gateways(context, picture, Effort::Quick);
        (checks, lookups.join().unwrap_or_default())
    })
}

/// Asks each configured DNS server.
pub(crate) fn ask_servers(context: &Context, picture: &Picture) -> Vec<Lookup> {
    let servers = picture.socket_addresses(context.overrides.dns_port.unwrap_or(53));
    dns::ask_all(&servers, &names(context, picture), dns::TIME_LIMIT)
}

/// Checks every default gateway, all at the same time, and judges them by earlier looks too.
pub(crate) fn check_gateways(context: &Context, picture: &Picture, effort: Effort) -> Vec<GatewayCheck> {
    let known = picture.interfaces.as_deref().unwrap_or_default();
    let one = |gateway: &Gateway| {
        let table = || neighbours(&context.root, known);
        gateway::check(gateway.address, &gateway.interface, gateway.scope, effort, table)
    };
    let mut checks: Vec<GatewayCheck> = std::thread::scope(|scope| {
        let running: Vec<_> =
            picture.gateways.iter().map(|gateway| scope.spawn(move || one(gateway))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| gateway::not_checked())).collect()
    });
    let mut memory = GATEWAYS.lock().unwrap_or_else(PoisonError::into_inner);
    let addresses: Vec<IpAddr> = picture.gateways.iter().map(|gateway| gateway.address).collect();
    memory.keep(&addresses);
    for (address, check) in addresses.into_iter().zip(&mut checks) {
        memory.weigh(address, check, Instant::now());
    }
    checks
}
