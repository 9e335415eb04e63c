//! Whether the listeners answer, and with which certificate: asked as agents and browsers ask, over TLS.

use super::{Seen, Trouble, until};
use crate::authority::{self, Authority, COLLECTOR_NAME, tls, validity_of};
use crate::serve::Listeners;
use anyhow::{Context, Result, bail};
use firstline_model::Timestamp;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(3);
/// A running collector replaces its certificate long before this is left.
const NEAR: Duration = Duration::from_secs(60 * 24 * 3600);
const RUN: &str = "is the collector running? firstline-collector serve";

pub(super) fn agents(data: &Path, now: Timestamp) -> Seen {
    look(data, |listeners| listeners.agents, COLLECTOR_NAME, now)
}

pub(super) fn web(data: &Path, now: Timestamp) -> Seen {
    look(data, |listeners| listeners.web, "localhost", now)
}

fn look(data: &Path, which: impl Fn(&Listeners) -> SocketAddr, name: &'static str, now: Timestamp) -> Seen {
    let Some(listeners) = Listeners::read(data) else {
        return Err(Trouble::new("no collector has served this folder yet", RUN));
    };
    let address = reachable(which(&listeners));
    let socket = TcpStream::connect_timeout(&address, LIMIT)
        .map_err(|error| Trouble::new(format!("nothing answers on {address}: {error}"), RUN))?;
    let end = end_of_certificate(data, socket, name).map_err(|error| {
        Trouble::new(
            format!("{address} does not answer as this collector: {error:#}"),
            "another program may have taken the port, or a collector of another data folder runs there",
        )
    })?;
    if end.since(now) < NEAR {
        return Err(Trouble::new(
            format!("{address} answers with a certificate that ends at {}", until(end, now)),
            "restart the collector, which makes a new one",
        ));
    }
    Ok(format!("{address} answers, certificate until {}", until(end, now)))
}

/// A listener on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other @ (IpAddr::V4(_) | IpAddr::V6(_)) => other,
    };
    SocketAddr::new(ip, address.port())
}

fn end_of_certificate(data: &Path, mut socket: TcpStream, name: &'static str) -> Result<Timestamp> {
    // Opening an authority that is not there would make one.
    if !data.join(authority::FOLDER).join("certificate.pem").exists() {
        bail!("there is no authority to compare with");
    }
    let mut roots = RootCertStore::empty();
    for authority in Authority::open(data)?.trusted() {
        roots.add(authority).context("the authority cannot be used")?;
    }
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("this build has no TLS 1.3")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name).context("the name cannot be used")?;
    let mut tls = ClientConnection::new(Arc::new(config), name).context("TLS cannot be begun")?;
    socket.set_read_timeout(Some(LIMIT)).context("the connection is gone")?;
    socket.set_write_timeout(Some(LIMIT)).context("the connection is gone")?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).context("the handshake failed")?;
    }
    let shown = tls.peer_certificates().and_then(|chain| chain.first()).context("it shows no certificate")?;
    Ok(validity_of(shown)?.not_after)
}
