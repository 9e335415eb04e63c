//! Accepts connections: TLS with limits, and who is on the other side.
//!
//! The loop survives every accept error, because an operating system that is out of file handles must not end the
//! service. Handshakes are bounded in number and time, connections in number, and one that is of no use to anybody is cut.
//! The device's name is taken from the verified certificate here and travels with every request of the connection.
//! The bounds stand in `limits.rs`.

use super::activity::{Activity, Followed};
use super::admission::Gate;
use super::frames::Watched;
use super::peers::{Connections, Handshakes};
use crate::{authority, limits};
use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use firstline_model::{DeviceId, Timestamp};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::{Service, ServiceExt};

/// Who is on the other side of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The device that the verified client certificate names, and the certificate's fingerprint.
    pub device: Option<(DeviceId, String)>,
    /// From when to when that certificate is good.
    pub validity: Option<Validity>,
}

/// The life of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// When it was issued, to the second.
    pub issued_at: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
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
    B: hyper::body::Body<Data = hyper::body::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let handshakes = Arc::new(Handshakes::default());
    let turns = Arc::new(Gate::new("handshakes", limits::HANDSHAKES_AT_ONCE, limits::HANDSHAKE_QUEUE));
    let devices = Arc::new(Connections::default());
    let connections = Arc::new(Semaphore::new(places(kind)));
    let mut refusing = Refusing::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                refusing.because(kind, &format!("cannot accept: {error}"));
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&connections).try_acquire_owned() else {
            refusing.because(kind, "there are too many connections");
            continue;
        };
        let Some(pending) = handshakes.enter(address.ip()) else {
            refusing.because(kind, "there are too many unfinished handshakes");
            continue;
        };
        refusing.is_over(kind);
        // The newest certificates, which a rotation of the authority may just have replaced.
        let acceptor = TlsAcceptor::from(tls.load_full());
        let (devices, turns, service) = (Arc::clone(&devices), Arc::clone(&turns), service.clone());
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let _place = place;
            let served = async {
                let (tls, peer) = handshake_in_turn(kind, &turns, acceptor, tcp, address).await?;
                drop(pending);
                let mine = peer.device.as_ref().map(|(device, _)| devices.enter(device));
                let too_many = async {
                    match &mine {
                        Some(mine) => mine.is_cut().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    served = connection(kind, tls, peer, service, &mut stop) => served,
                    () = too_many => bail!("the device has too many newer connections"),
                }
            };
            if let Err(error) = served.await {
                tracing::debug!(peer = %address, error = format!("{error:#}"), "a connection ended");
            }
        });
    }
}

/// How many connections a listener may have: what the limits say, or its share of the file handles that there are.
fn places(kind: Kind) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    // With few handles, half of them are kept back rather than none left.
    let free = files.saturating_sub(limits::SPARE_FILES).max(files / 2);
    match kind {
        Kind::Agents => limits::AGENT_CONNECTIONS.min(free / 4 * 3),
        Kind::Web => limits::WEB_CONNECTIONS.min(free / 4),
    }
}

/// Says once that connections are refused, and once that they no longer are: a flood must not flood the log too.
#[derive(Debug, Default)]
struct Refusing {
    refused: u64,
}

impl Refusing {
    fn because(&mut self, kind: Kind, why: &str) {
        if self.refused == 0 {
            tracing::warn!(listener = ?kind, why, "connections are refused until there is room");
        }
        self.refused += 1;
    }

    fn is_over(&mut self, kind: Kind) {
        if self.refused > 0 {
            tracing::info!(listener = ?kind, refused = self.refused, "connections are accepted again");
            self.refused = 0;
        }
    }
}

/// The network is asked whether the other side is there while nobody says anything.
fn is_probed(tcp: &TcpStream) -> std::io::Result<()> {
    let socket = socket2::SockRef::from(tcp);
    let often = socket2::TcpKeepalive::new().with_time(limits::PROBED).with_interval(limits::PROBED_AGAIN);
    socket.set_tcp_keepalive(&often.with_retries(2))
}

/// The handshake, when there is a turn for it.
async fn handshake_in_turn(
    kind: Kind,
    turns: &Gate,
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    address: SocketAddr,
) -> Result<(tokio_rustls::server::TlsStream<TcpStream>, Peer)> {
    tcp.set_nodelay(true).context("the connection is gone")?;
    is_probed(&tcp).context("the connection is gone")?;
    // Work begins with the first bytes: who says nothing takes nobody's turn.
    let begun = tokio::time::Instant::now();
    tokio::time::timeout(limits::HANDSHAKE, tcp.readable())
        .await
        .context("the handshake took too long")?
        .context("the connection is gone")?;
    let left = limits::HANDSHAKE.saturating_sub(begun.elapsed());
    let turn = turns.enter().await.context("too many handshakes wait for their turn")?;
    let handshake = handshake(kind, acceptor, tcp, address, left);
    tokio::pin!(handshake);
    match tokio::time::timeout(limits::HANDSHAKE_TURN, &mut handshake).await {
        Ok(done) => done,
        Err(_) => {
            drop(turn);
            handshake.await
        }
    }
}

async fn handshake(
    kind: Kind,
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    address: SocketAddr,
    limit: Duration,
) -> Result<(tokio_rustls::server::TlsStream<TcpStream>, Peer)> {
    let tls = tokio::time::timeout(limit, acceptor.accept(tcp))
        .await
        .context("the handshake took too long")?
        .context("the handshake failed")?;
    let (device, validity) = match tls.get_ref().1.peer_certificates() {
        Some([leaf, ..]) if kind == Kind::Agents => {
            let fingerprint = crate::secret::hex(&crate::secret::digest(leaf));
            (Some((authority::device_of(leaf)?, fingerprint)), Some(authority::validity_of(leaf)?))
        }
        _ => (None, None),
    };
    Ok((tls, Peer { address, device, validity }))
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
    B: hyper::body::Body<Data = hyper::body::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let is_agent = kind == Kind::Agents;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        // Agents give signs of life by themselves (`limits::AGENT_SILENT`).
        .keep_alive_interval((!is_agent).then_some(limits::KEEPALIVE))
        .keep_alive_timeout(limits::KEEPALIVE_ANSWER)
        .initial_stream_window_size(128 << 10)
        .initial_connection_window_size(256 << 10)
        .max_concurrent_streams(if is_agent { limits::AGENT_STREAMS } else { limits::WEB_STREAMS })
        .max_header_list_size(limits::HEADERS)
        .max_pending_accept_reset_streams(limits::RESET_STREAMS)
        .max_local_error_reset_streams(limits::RESET_STREAMS)
        .max_send_buf_size(64 << 10);
    let mut builder = if is_agent { builder.http2_only() } else { builder };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::REQUEST_HEAD)
        .max_buf_size(limits::HEADERS as usize);
    let activity = Activity::new(kind);
    let following = Arc::clone(&activity);
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer.address));
        let (service, open) = (service.clone(), following.request());
        async move {
            let answer = service.oneshot(request.map(axum::body::Body::new));
            match tokio::time::timeout(limits::ANSWER, answer).await {
                Ok(answer) => {
                    answer.map(|answer| answer.map(|body| Followed::new(axum::body::Body::new(body), open)))
                }
                // The web side has a limit of its own and says it in its own words before this one.
                Err(_) => Ok(tonic::Status::deadline_exceeded("the request took too long")
                    .into_http::<axum::body::Body>()
                    .map(|body| Followed::new(body, open))),
            }
        }
    });
    let io = TokioIo::new(Watched::new(io, is_agent, Arc::clone(&activity)));
    let connection = builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(connection);
    let (patience, why) = tokio::select! {
        biased;
        served = &mut connection => return served.map_err(|error| anyhow::anyhow!("{error}")),
        // Streams end themselves when the collector stops; what does not is cut.
        () = stopped(stop) => (Duration::from_secs(3), None),
        why = activity.is_over() => (Duration::from_millis(500), Some(why)),
    };
    connection.as_mut().graceful_shutdown();
    match (tokio::time::timeout(patience, connection).await, why) {
        (_, Some(why)) => bail!("cut: {why}"),
        (Ok(served), None) => served.map_err(|error| anyhow::anyhow!("{error}")),
        (Err(_), None) => Ok(()),
    }
}

/// Ends when the collector stops. The watch's own guard is not kept, because it must not cross an await.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the collector.
    let _ = stop.wait_for(|stop| *stop).await;
}
