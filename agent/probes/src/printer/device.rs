//! The device behind a queue. CUPS keeps saying "processing, no reasons" for a printer that has been dead for an hour,
//! so the device is asked itself: whether it accepts a connection, and over IPP what it says of its own state.

use crate::ProbeError;
use crate::printer::http::{self, Connection};
use crate::printer::message::{self, Reply};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const RESOLVE_LIMIT: Duration = Duration::from_secs(3);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
const MAX_ADDRESSES: usize = 3;
const LPD_PORT: u16 = 515;
const MAX_HOST_BYTES: usize = 253;
const MAX_PATH_BYTES: usize = 256;
/// Look-ups that hang in the system's resolver hold a thread each; beyond this many no further one starts.
const MAX_RESOLVING: usize = 8;

static RESOLVING: AtomicUsize = AtomicUsize::new(0);

/// What is asked of a device.
pub(crate) const WANTED: &[&str] = &[
    "printer-name",
    "printer-state",
    "printer-state-reasons",
    "printer-state-message",
    "printer-uuid",
    "printer-make-and-model",
    "marker-names",
    "marker-types",
    "marker-levels",
    "marker-low-levels",
    "printer-supply",
    "printer-supply-description",
];

/// How a device is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceUri {
    scheme: Scheme,
    host: String,
    port: u16,
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// Asked for its attributes.
    Ipp,
    /// Only connected to: encrypted IPP, raw port, LPD and web addresses.
    ConnectOnly,
}

/// The device's URI without user name and password, fit to be shown. Everything up to the last `@` goes, because a
/// password may hold any other separator.
pub(crate) fn redacted(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) => {
            let shown = rest.rsplit_once('@').map_or(rest, |(_, shown)| shown);
            format!("{scheme}://{shown}")
        }
        None => uri.rsplit_once('@').map_or(uri, |(_, shown)| shown).to_owned(),
    }
}

impl DeviceUri {
    /// Takes a `device-uri` apart. Devices that are not reached over an address are unsupported.
    pub(crate) fn parse(uri: &str) -> Result<Self, ProbeError> {
        let uri = redacted(uri);
        let Some((scheme, rest)) = uri.split_once("://") else {
            let scheme = uri.split(':').next().unwrap_or_default();
            return Err(ProbeError::Unsupported(format!("a printer at \"{scheme}\" has no address to ask")));
        };
        let (scheme, default_port) = match scheme {
            "ipp" => (Scheme::Ipp, 631),
            "http" => (Scheme::Ipp, 80),
            "ipps" => (Scheme::ConnectOnly, 631),
            "https" => (Scheme::ConnectOnly, 443),
            "socket" => (Scheme::ConnectOnly, 9100),
            "lpd" => (Scheme::ConnectOnly, LPD_PORT),
            other => {
                let why = format!("printers behind {other}:// are not asked directly");
                return Err(ProbeError::Unsupported(why));
            }
        };
        let bad = || ProbeError::Malformed("the device URI has no usable host".to_owned());
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
            let (host, port) = bracketed.split_once(']').ok_or_else(bad)?;
            host.parse::<Ipv6Addr>().map_err(|_| bad())?;
            (host, port.strip_prefix(':'))
        } else {
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
        };
        let port = match port {
            None | Some("") => default_port,
            Some(port) => port.parse().map_err(|_| bad())?,
        };
        let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || host.len() > MAX_HOST_BYTES || !host.bytes().all(host_byte) {
            return Err(bad());
        }
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = if path.is_empty() { "/" } else { path };
        if path.len() > MAX_PATH_BYTES || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ProbeError::Malformed("the device URI has no usable path".to_owned()));
        }
        Ok(Self { scheme, host: host.to_owned(), port, path: path.to_owned() })
    }

    /// Whether the address is that of another print server, whose SNMP agent would speak of the server.
    pub(crate) fn is_queue_of_a_server(&self) -> bool {
        self.path.starts_with("/printers/") || self.path.starts_with("/classes/")
    }

    /// The device's place at `address`; `None` where many printers share one: another print server, and LPD, whose queues
    /// are called as each computer likes.
    pub(crate) fn place(&self, address: IpAddr) -> Option<String> {
        match self.port {
            LPD_PORT => None,
            _ if self.is_queue_of_a_server() => None,
            80 | 443 | 631 | 9100 => Some(address.to_string()),
            other => Some(SocketAddr::new(address, other).to_string()),
        }
    }

    fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

/// What asking a device directly gave.
#[derive(Debug)]
pub(crate) struct Contact {
    /// Whether it accepted a connection.
    pub(crate) reachable: bool,
    /// What it said of itself, when it was asked over IPP.
    pub(crate) said: Option<Result<Reply, ProbeError>>,
    /// Why it is not reachable, for a person.
    pub(crate) detail: Option<String>,
    /// The address that accepted the connection; none of a captured machine.
    pub(crate) address: Option<IpAddr>,
}

impl Contact {
    /// A device that does not answer.
    pub(crate) fn unreachable(detail: impl Into<String>) -> Self {
        Self { reachable: false, said: None, detail: Some(detail.into()), address: None }
    }
}

/// Connects to the device, and asks it for its attributes when it speaks plain IPP. Fails when that cannot be tried.
pub(crate) fn contact(uri: &DeviceUri) -> Result<Contact, ProbeError> {
    let addresses = match resolve(&uri.host, uri.port)? {
        Ok(addresses) => addresses,
        Err(detail) => return Ok(Contact::unreachable(detail)),
    };
    let (connection, address) = match connect(&addresses) {
        Ok(connected) => connected,
        Err(detail) => return Ok(Contact::unreachable(detail)),
    };
    let said = match uri.scheme {
        Scheme::ConnectOnly => None,
        Scheme::Ipp => Some(ask(uri, connection)),
    };
    Ok(Contact { reachable: true, said, detail: None, address: Some(address) })
}

fn ask(uri: &DeviceUri, connection: Connection) -> Result<Reply, ProbeError> {
    let authority = uri.authority();
    let printer_uri = format!("ipp://{authority}:{}{}", uri.port, uri.path);
    let request = message::get_printer_attributes(&printer_uri, WANTED)?;
    let host = format!("{authority}:{}", uri.port);
    message::parse(&http::post(connection, &host, &uri.path, &request, ANSWER_LIMIT)?)
}

fn connect(addresses: &[SocketAddr]) -> Result<(Connection, IpAddr), String> {
    let deadline = Instant::now() + CONNECT_LIMIT;
    let mut last = "the name has no address".to_owned();
    for &address in addresses.iter().take(MAX_ADDRESSES) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match Connection::tcp(address, left) {
            Ok(connection) => return Ok((connection, address.ip())),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

/// Looks a name up in a thread of its own, because the system's resolver has no time limit. A name that is not found
/// is an answer about the printer; a look-up that does not end is none.
fn resolve(host: &str, port: u16) -> Result<Result<Vec<SocketAddr>, String>, ProbeError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Ok(vec![SocketAddr::new(address, port)]));
    }
    let more = |running: usize| (running < MAX_RESOLVING).then_some(running + 1);
    if RESOLVING.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
        return Err(ProbeError::TimedOut("earlier look-ups of names have not ended".to_owned()));
    }
    let (sender, found) = mpsc::sync_channel(1);
    let name = host.to_owned();
    let thread = std::thread::Builder::new().name("printer-name".to_owned()).spawn(move || {
        let result = (name.as_str(), port).to_socket_addrs().map(|all| all.take(MAX_ADDRESSES).collect());
        RESOLVING.fetch_sub(1, Ordering::AcqRel);
        // Nobody waits any more when the limit has passed.
        drop(sender.send(result));
    });
    if let Err(error) = thread {
        RESOLVING.fetch_sub(1, Ordering::AcqRel);
        return Err(ProbeError::TimedOut(format!("no thread to look the name up: {error}")));
    }
    match found.recv_timeout(RESOLVE_LIMIT) {
        Ok(result) => Ok(result.map_err(|error| format!("{host}: {error}"))),
        Err(_) => Err(ProbeError::TimedOut(format!("looking up {host} takes too long"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::UnavailableReason;

    #[test]
    fn credentials_never_show() {
        for (uri, shown) in [
            ("ipp://user:secret@printer.example/ipp/print", "ipp://printer.example/ipp/print"),
            ("smb://user:p@ss/word@server/queue", "smb://server/queue"),
            ("socket://10.0.0.9:9100", "socket://10.0.0.9:9100"),
            ("lpd://u@h/q", "lpd://h/q"),
            ("mailto:a@b", "b"),
        ] {
            assert_eq!(redacted(uri), shown);
        }
    }

    #[test]
    fn uris_are_taken_apart_with_the_port_of_their_scheme() {
        for (uri, host, port, path) in [
            ("ipp://printer.example/ipp/print", "printer.example", 631, "/ipp/print"),
            ("ipp://u:p@10.0.0.9:8631", "10.0.0.9", 8631, "/"),
            ("ipps://[fd00::9]/ipp?x=y", "fd00::9", 631, "/ipp"),
            ("socket://10.0.0.9", "10.0.0.9", 9100, "/"),
            ("lpd://host/queue#x", "host", 515, "/queue"),
            ("http://host:631/ipp", "host", 631, "/ipp"),
        ] {
            let parsed = DeviceUri::parse(uri).unwrap();
            assert_eq!(
                (parsed.host.as_str(), parsed.port, parsed.path.as_str()),
                (host, port, path),
                "{uri}"
            );
        }
    }

    #[test]
    fn a_place_is_one_printer_and_not_a_server_of_many() {
        let place = |uri: &str| DeviceUri::parse(uri).unwrap().place([203, 0, 113, 9].into());
        for (uri, expected) in [
            ("ipp://printer.example/ipp/print", Some("203.0.113.9")),
            ("socket://printer.example", Some("203.0.113.9")),
            // The second printer at a box with several sockets.
            ("socket://printer.example:9101", Some("203.0.113.9:9101")),
            ("lpd://printer.example/queue", None),
            ("ipp://server.example/printers/finance", None),
        ] {
            assert_eq!(place(uri).as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn devices_without_an_address_are_unsupported_and_hostile_uris_malformed() {
        for uri in [
            "usb://HP/LaserJet?serial=1",
            "dnssd://HP._ipp._tcp.local/?uuid=1",
            "cups-brf:/",
            "file:///dev/null",
        ] {
            assert_eq!(DeviceUri::parse(uri).unwrap_err().reason(), UnavailableReason::Unsupported, "{uri}");
        }
        for uri in [
            "ipp://",
            "ipp:///ipp",
            "ipp://ho st/",
            "ipp://host\r\nX: y/",
            "ipp://host/a\r\nX: y",
            "ipp://host:99999/",
            "ipp://[fd00::9/",
            &format!("ipp://{}/", "h".repeat(300)),
        ] {
            assert_eq!(DeviceUri::parse(uri).unwrap_err().reason(), UnavailableReason::Malformed, "{uri:?}");
        }
    }

    #[test]
    fn a_closed_port_is_unreachable_and_an_open_one_is_reachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let uri = DeviceUri::parse(&format!("socket://127.0.0.1:{port}")).unwrap();
        assert!(contact(&uri).unwrap().reachable);
        drop(listener);
        let contact = contact(&uri).unwrap();
        assert!(!contact.reachable && contact.detail.is_some());
    }
}
