//! The stream to the collector: opens it, moves messages, tells the main loop what happened.
//!
//! What to send and when stands in `firstline-delivery`; here is only the connection.

pub(crate) mod tls;

use crate::identity::Identity;
use crate::seams::{ByteStream, Connecting, Network};
use anyhow::{Context, Result};
use firstline_agent_core::policy::{self, Policy, Trigger};
use firstline_delivery::{EpochMark, EpochOffer, Hello, Refusal, Welcome};
use firstline_model::{Epoch, SequenceNumber, Timestamp};
use firstline_proto::{limits, v1};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// How long one TCP connection and TLS handshake may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A silent collector is asked for a sign of life after this. A record a minute and its ack are one, so usually it is not:
/// a ping every 20 s is two thirds as many bytes as everything else. What is sent and not acked is noticed by the sender
/// within 20 s; that the machine's end of the network is gone, by the collector (`limits::PROBED` there).
const KEEPALIVE: Duration = Duration::from_secs(70);
/// How long that sign may take.
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(10);

/// What happened on the stream.
#[derive(Debug)]
pub(crate) enum Happened {
    /// A message came.
    Message(Box<v1::CollectorMessage>),
    /// A renewal ended, with what the collector gave.
    Renewed(Box<Result<v1::RenewResponse>>),
    /// The stream is over.
    Ended {
        /// Which stream, so that the end of an old one is not taken for the end of the present one.
        stream: u64,
        /// Why.
        why: String,
    },
}

/// An open (or opening) stream. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Stream {
    number: u64,
    outgoing: mpsc::Sender<v1::AgentMessage>,
    task: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream {
    /// Opens stream `number` and sends the hello. Everything that happens comes through `events`.
    pub(crate) fn open(
        number: u64,
        network: Arc<dyn Network>,
        identity: Arc<Identity>,
        hello: v1::Hello,
        events: mpsc::Sender<Happened>,
    ) -> Self {
        let (outgoing, messages) = mpsc::channel(8);
        let first = v1::AgentMessage { message: Some(v1::agent_message::Message::Hello(hello)) };
        if outgoing.try_send(first).is_err() {
            tracing::error!("a new stream has no room for its first message");
        }
        let task = tokio::spawn(async move {
            let why = match drive(network, identity, messages, &events).await {
                Ok(()) => "the collector closed the stream".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            // The main loop is gone only when the process ends.
            let _ = events.send(Happened::Ended { stream: number, why }).await;
        });
        Self { number, outgoing, task }
    }

    /// Which stream this is.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether a message can be given away now.
    pub(crate) fn has_room(&self) -> bool {
        self.outgoing.capacity() > 0
    }

    /// Gives a message to the stream. `false` when it has no room or is over; nothing was sent then.
    pub(crate) fn send(&self, message: v1::agent_message::Message) -> bool {
        self.outgoing.try_send(v1::AgentMessage { message: Some(message) }).is_ok()
    }

    /// Says goodbye and waits for it to leave, for a short time.
    pub(crate) async fn close(mut self, reason: v1::GoodbyeReason) {
        let goodbye = v1::Goodbye { reason: reason.into() };
        let message = v1::AgentMessage { message: Some(v1::agent_message::Message::Goodbye(goodbye)) };
        let leave = async {
            if self.outgoing.send(message).await.is_ok() {
                // The far end closes the stream when it has read the goodbye.
                let _ = (&mut self.task).await;
            }
        };
        if tokio::time::timeout(Duration::from_millis(500), leave).await.is_err() {
            tracing::debug!("the collector did not answer the goodbye");
        }
    }
}

async fn drive(
    network: Arc<dyn Network>,
    identity: Arc<Identity>,
    messages: mpsc::Receiver<v1::AgentMessage>,
    events: &mpsc::Sender<Happened>,
) -> Result<()> {
    let collector = identity.collector.clone();
    let channel = channel_over(&collector, move || {
        let (network, identity) = (Arc::clone(&network), Arc::clone(&identity));
        async move { network.connect(&identity).await }
    })
    .await?;
    let mut client = v1::session_client::SessionClient::new(channel)
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES);
    let response = client.stream(ReceiverStream::new(messages)).await.map_err(explain)?;
    let mut incoming = response.into_inner();
    while let Some(message) = incoming.message().await.map_err(explain)? {
        if events.send(Happened::Message(Box::new(message))).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Asks for a new certificate for the key of this identity, showing the present one.
pub(crate) async fn renew(network: Arc<dyn Network>, identity: Arc<Identity>) -> Result<v1::RenewResponse> {
    let key = KeyPair::from_pem(&identity.private_key)
        .context("this device's key is damaged; enroll again with --replace")?;
    let request = CertificateParams::default()
        .serialize_request(&key)
        .context("cannot make the certificate signing request")?;
    let collector = identity.collector.clone();
    let channel = channel_over(&collector, move || {
        let (network, identity) = (Arc::clone(&network), Arc::clone(&identity));
        async move { network.connect(&identity).await }
    })
    .await?;
    let request = v1::RenewRequest { certificate_signing_request: request.der().to_vec() };
    let answer = v1::enrollment_client::EnrollmentClient::new(channel).renew(request).await;
    Ok(answer.map_err(explain)?.into_inner())
}

/// One HTTP/2 connection to `collector` with this TLS configuration.
pub(crate) async fn channel(collector: &str, config: rustls::ClientConfig) -> Result<Channel> {
    let config = Arc::new(config);
    let address = collector.to_owned();
    channel_over(collector, move || tls_stream(address.clone(), Arc::clone(&config))).await
}

/// TLS over TCP, as the loop uses it.
#[derive(Debug)]
pub(crate) struct Tls;

impl Network for Tls {
    fn connect<'a>(&'a self, identity: &'a Identity) -> Connecting<'a> {
        Box::pin(async move {
            let config = tls::mutual(identity).map_err(io::Error::other)?;
            tls_stream(identity.collector.clone(), Arc::new(config)).await
        })
    }
}

async fn tls_stream(address: String, config: Arc<rustls::ClientConfig>) -> io::Result<Box<dyn ByteStream>> {
    let connected = tokio::time::timeout(CONNECT_LIMIT, async {
        let tcp = TcpStream::connect(&address).await?;
        tcp.set_nodelay(true)?;
        let name = rustls::pki_types::ServerName::try_from(tls::COLLECTOR_NAME).map_err(io::Error::other)?;
        TlsConnector::from(config).connect(name, tcp).await
    });
    match connected.await {
        Ok(connected) => connected.map(|stream| Box::new(stream) as Box<dyn ByteStream>),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
    }
}

/// One HTTP/2 connection over the byte stream that `open` gives.
async fn channel_over<F>(collector: &str, open: impl Fn() -> F + Send + Sync + 'static) -> Result<Channel>
where
    F: Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'static,
{
    // The scheme and host are only the request's authority; the connection is made below.
    let endpoint = Endpoint::from_static("http://firstline-collector")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_LIMIT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(Some(64 << 10))
        .initial_connection_window_size(Some(128 << 10))
        .buffer_size(Some(8));
    let connect = tower::service_fn(move |_: tonic::transport::Uri| {
        let opening = open();
        async move { opening.await.map(TokioIo::new) }
    });
    let connected = endpoint.connect_with_connector(connect).await;
    connected
        .map_err(|error| anyhow::anyhow!("{}", chain(&error)))
        .with_context(|| format!("cannot connect to {collector}"))
}

/// TLS 1.3 reports a refused client certificate only with the first answer, deep in the chain of causes.
fn explain(status: tonic::Status) -> anyhow::Error {
    let text = chain(&status);
    if text.contains("CertificateRevoked") || text.contains("AccessDenied") {
        anyhow::anyhow!(
            "the collector refuses this device's certificate: it was revoked; enroll again with --replace"
        )
    } else if text.contains("CertificateExpired") {
        anyhow::anyhow!(
            "the collector refuses this device's certificate: it has expired; enroll again with --replace"
        )
    } else if text.contains("UnknownCA") || text.contains("BadCertificate") || text.contains("DecryptError") {
        anyhow::anyhow!(
            "the collector refuses this device's certificate: it is not of its authority; enroll again with --replace"
        )
    } else {
        anyhow::anyhow!("{text}")
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries say their source's text as their own.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The delivery protocol's hello as a message.
pub(crate) fn hello(hello: &Hello, now: Timestamp, policy_revision: u64) -> v1::Hello {
    let offer = |offer: &EpochOffer| v1::EpochOffer {
        epoch: offer.epoch.0.to_vec(),
        first_unacked: offer.first_unacked.0,
        next: offer.next.0,
    };
    v1::Hello {
        protocol: limits::PROTOCOL,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        sent_at_ms: now.as_millis(),
        epochs: hello.epochs.iter().map(offer).collect(),
        policy_revision,
        lineage: None,
    }
}

/// A welcome message as the delivery protocol's.
pub(crate) fn welcome(message: &v1::Welcome) -> Result<Welcome> {
    let mark = |mark: &v1::EpochMark| {
        Ok::<_, firstline_model::Invalid>(EpochMark {
            epoch: Epoch::from_bytes(&mark.epoch)?,
            through: SequenceNumber(mark.through_seq),
        })
    };
    let marks = message.marks.iter().map(mark).collect::<Result<_, _>>()?;
    Ok(Welcome { marks, credit: message.credit })
}

/// A refusal message as the delivery protocol's: all that matters to the sender is whether and when to come back.
pub(crate) fn refusal(message: &v1::Refusal) -> Refusal {
    match message.reason() {
        v1::RefusalReason::Superseded => Refusal::Superseded,
        v1::RefusalReason::Busy
        | v1::RefusalReason::Revoked
        | v1::RefusalReason::Version
        | v1::RefusalReason::Expired
        | v1::RefusalReason::Protocol
        | v1::RefusalReason::Unspecified => {
            Refusal::Busy { retry_after: Duration::from_secs(u64::from(message.retry_after_s)) }
        }
    }
}

/// A policy message within this agent's bounds: what is outside of them is clamped, what is too much or too long is left
/// out.
pub(crate) fn policy(message: v1::Policy) -> Policy {
    let is_short = |text: &String| text.len() <= limits::TEXT_BYTES;
    let trigger = |trigger: v1::Trigger| {
        if !is_short(&trigger.metric) || !trigger.attributes.iter().all(is_short) {
            return None;
        }
        let pairs = trigger.attributes.chunks_exact(2).take(16);
        Some(Trigger {
            component: trigger.component_kind.parse().ok()?,
            level: trigger.level,
            attributes: pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
            metric: trigger.metric,
        })
    };
    Policy {
        revision: message.revision,
        intervals: message
            .probe_intervals
            .into_iter()
            .filter(|interval| is_short(&interval.probe))
            .take(64)
            .map(|i| (i.probe, policy::clamp_interval(Duration::from_secs(u64::from(i.interval_s)))))
            .collect(),
        triggers: message.triggers.into_iter().filter_map(trigger).take(policy::MOST_TRIGGERS).collect(),
        directory_depth: u8::try_from(message.directory_depth)
            .unwrap_or(u8::MAX)
            .min(policy::DEEPEST_DIRECTORIES),
    }
}
