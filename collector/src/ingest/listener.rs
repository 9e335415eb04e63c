//! Accepts connections: TLS with limits, and who is on the other side.
//!
//! The loop survives every accept error, because an operating system that is out of file handles must not end the
//! service. Handshakes are bounded in number and time, connections in number. The device's name is taken from the
//! verified certificate here and travels with every request of the connection.

use crate::authority;
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use firstline_model::DeviceId;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::{Service, ServiceExt};

/// How long a handshake may take; a peer that is slower is cut.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Handshakes at once: each costs about 0.3 ms of a processor, so more would only queue there.
const MOST_HANDSHAKES: usize = 128;
/// Connections of one listener.
const MOST_CONNECTIONS: usize = 120_000;
/// After an accept error (no file handles left) the loop waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A silent peer is asked for a sign of life this often.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long that sign may take.
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(15);

/// Who is on the other side of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The device that the verified client certificate names, and the certificate's fingerprint.
    pub device: Option<(DeviceId, String)>,
}

/// How connections of a listener are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// gRPC over HTTP/2 only; client certificates are read.
    Agents,
    /// Browsers and REST clients: HTTP/1.1 and HTTP/2.
    Web,
}

/// Accepts until `stop` is true, serving each connection with a clone of `service`.
pub(crate) async fn serve<S, B>(
    kind: Kind,
    listener: TcpListener,
    tls: Arc<ArcSwap<ServerConfig>>,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<http::Request<axum::body::Body>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let handshakes = Arc::new(Semaphore::new(MOST_HANDSHAKES));
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(listener = ?kind, error = %error, "cannot accept a connection, going on");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&connections).try_acquire_owned() else {
            tracing::warn!(listener = ?kind, "too many connections; one is refused");
            continue;
        };
        // The newest certificates, which a rotation of the authority may just have replaced.
        let acceptor = TlsAcceptor::from(tls.load_full());
        let (handshakes, service) = (Arc::clone(&handshakes), service.clone());
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let _place = place;
            let served = async {
                let (tls, peer) = handshake(kind, acceptor, &handshakes, tcp, address).await?;
                connection(kind, tls, peer, service, &mut stop).await
            };
            if let Err(error) = served.await {
                tracing::debug!(peer = %address, error = format!("{error:#}"), "a connection ended");
            }
        });
    }
}

async fn handshake(
    kind: Kind,
    acceptor: TlsAcceptor,
    handshakes: &Semaphore,
    tcp: TcpStream,
    address: SocketAddr,
) -> Result<(tokio_rustls::server::TlsStream<TcpStream>, Peer)> {
    let _turn = handshakes.acquire().await.context("the collector stops")?;
    tcp.set_nodelay(true).context("the connection is gone")?;
    let tls = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(tcp))
        .await
        .context("the handshake took too long")?
        .context("the handshake failed")?;
    let device = match tls.get_ref().1.peer_certificates() {
        Some([leaf, ..]) if kind == Kind::Agents => {
            let fingerprint = crate::secret::hex(&crate::secret::digest(leaf));
            Some((authority::device_of(leaf)?, fingerprint))
        }
        _ => None,
    };
    Ok((tls, Peer { address, device }))
}

/// Serves one connection whose other side is known. Any bytes both ways will do, so a simulated network ends here too.
pub async fn connection<T, S, B>(
    kind: Kind,
    io: T,
    peer: Peer,
    service: S,
    stop: &mut watch::Receiver<bool>,
) -> Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<http::Request<axum::body::Body>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_LIMIT)
        .initial_stream_window_size(128 << 10)
        .initial_connection_window_size(256 << 10)
        .max_concurrent_streams(if kind == Kind::Agents { 8 } else { 64 })
        .max_header_list_size(16 << 10)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(20)
        .max_send_buf_size(64 << 10);
    let builder = if kind == Kind::Agents { builder.http2_only() } else { builder };
    let mut builder = builder;
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(32 << 10);
    let service = service.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer.address));
        request.map(axum::body::Body::new)
    });
    let service = TowerToHyperService::new(service);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        served = &mut connection => return served.map_err(|error| anyhow::anyhow!("{error}")),
        () = stopped(stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Streams end themselves when the collector stops; what does not is cut.
    match tokio::time::timeout(Duration::from_secs(3), connection).await {
        Ok(served) => served.map_err(|error| anyhow::anyhow!("{error}")),
        Err(_) => Ok(()),
    }
}

/// Ends when the collector stops. The watch's own guard is not kept, because it must not cross an await.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the collector.
    let _ = stop.wait_for(|stop| *stop).await;
}
