//! Simulated agents: real enrollment, real mutual TLS, real streams, made-up but plausible observations. Hundreds of them
//! fit into one process, for load and for tests that need a peer which does what no real agent would.

use anyhow::{Context, Result, bail};
use firstline_model::{Attributes, Body, Component, Observation, Timestamp, semconv};
use firstline_proto::convert::encode_record;
use firstline_proto::{limits, v1};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// The name in the collector's certificate.
const COLLECTOR_NAME: &str = "firstline-collector";

/// A device that this process plays.
#[derive(Debug)]
pub struct SimulatedAgent {
    /// The name that the collector gave.
    pub device_id: String,
    collector: String,
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<Vec<u8>>,
}

/// An open stream of a simulated agent.
#[derive(Debug)]
pub struct SimulatedStream {
    epoch: [u8; 16],
    next: u64,
    outgoing: mpsc::Sender<v1::AgentMessage>,
    incoming: tonic::Streaming<v1::CollectorMessage>,
    /// Whether the collector said that the certificate is to be renewed.
    pub is_told_to_renew: bool,
}

/// The collector has no turn for this agent now.
#[derive(Debug)]
pub struct ComeAgain {
    /// It is to come again after so long.
    pub after: Duration,
    text: String,
}

impl std::fmt::Display for ComeAgain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "told to come again in {} s: {}", self.after.as_secs(), self.text)
    }
}

impl std::error::Error for ComeAgain {}

/// Parts of an enrollment address.
struct Address {
    collector: String,
    token: String,
}

fn parse(url: &str) -> Result<Address> {
    let rest = url.strip_prefix("firstline://").context("not an enrollment address")?;
    let (collector, query) = rest.split_once("/?").context("the address has no query")?;
    let token =
        query.split('&').find_map(|pair| pair.strip_prefix("token=")).context("the address has no token")?;
    Ok(Address { collector: collector.to_owned(), token: token.to_owned() })
}

fn builder(
    roots: RootCertStore,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("no TLS 1.3")?
        .with_root_certificates(roots))
}

/// Opens one HTTP/2 connection.
pub async fn connect(collector: &str, config: ClientConfig) -> Result<Channel> {
    connect_from(IpAddr::V4(Ipv4Addr::UNSPECIFIED), collector, config).await
}

/// Opens one HTTP/2 connection from this address of the machine: all of 127.0.0.0/8 is the machine's own, so that one
/// process can be many clients.
pub async fn connect_from(source: IpAddr, collector: &str, mut config: ClientConfig) -> Result<Channel> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let address = collector.to_owned();
    let service = tower::service_fn(move |_: tonic::transport::Uri| {
        let (address, connector) = (address.clone(), connector.clone());
        async move {
            let target = address.parse().map_err(std::io::Error::other)?;
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(source, 0))?;
            let tcp = socket.connect(target).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(COLLECTOR_NAME).map_err(std::io::Error::other)?;
            connector.connect(name, tcp).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://firstline-collector")
        .http2_keep_alive_interval(Duration::from_secs(70))
        .keep_alive_while_idle(true)
        .connect_with_connector(service)
        .await
        .with_context(|| format!("cannot connect to {collector}"))
}

impl SimulatedAgent {
    /// Enrolls a new device. The authority is read from `authority` (PEM), as the real agent pins it by fingerprint.
    pub async fn enroll(url: &str, authority: &str, hostname: &str) -> Result<Self> {
        let address = parse(url)?;
        let root =
            CertificateDer::from_pem_slice(authority.as_bytes()).context("the authority is damaged")?;
        let mut roots = RootCertStore::empty();
        roots.add(root).context("the authority cannot be used")?;
        let channel = connect(&address.collector, builder(roots)?.with_no_client_auth()).await?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot make a key")?;
        let request =
            CertificateParams::default().serialize_request(&key).context("cannot make a request")?;
        let answer = v1::enrollment_client::EnrollmentClient::new(channel)
            .enroll(v1::EnrollRequest {
                token: address.token,
                certificate_signing_request: request.der().to_vec(),
                hostname: hostname.to_owned(),
                agent_version: "0.0.0-simulated".to_owned(),
            })
            .await
            .context("the enrollment was refused")?
            .into_inner();
        Ok(Self {
            device_id: answer.device_id,
            collector: address.collector,
            certificate: answer.certificate,
            key: key.serialize_der(),
            authorities: answer.authorities,
        })
    }

    /// Renews the certificate for the same key, and trusts whom the answer names.
    pub async fn renew(&mut self) -> Result<()> {
        let channel = connect(&self.collector, self.tls()?).await?;
        let key = KeyPair::try_from(self.key.as_slice()).context("the key is damaged")?;
        let request =
            CertificateParams::default().serialize_request(&key).context("cannot make a request")?;
        let request = v1::RenewRequest { certificate_signing_request: request.der().to_vec() };
        let answer = v1::enrollment_client::EnrollmentClient::new(channel).renew(request).await;
        let answer = answer.context("the renewal was refused")?.into_inner();
        self.certificate = answer.certificate;
        self.authorities = answer.authorities;
        Ok(())
    }

    /// The TLS configuration with which this agent shows its certificate.
    pub fn tls(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(CertificateDer::from(authority.clone())).context("an authority cannot be used")?;
        }
        let chain = vec![CertificateDer::from(self.certificate.clone())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        builder(roots)?.with_client_auth_cert(chain, key).context("the key does not fit the certificate")
    }

    /// Opens a stream with a fresh epoch and waits for the welcome; comes again when it is told to.
    pub async fn stream(&self, epoch: [u8; 16]) -> Result<SimulatedStream> {
        loop {
            match self.stream_over(self.channel().await?, epoch).await {
                Err(error) => match error.downcast_ref::<ComeAgain>() {
                    Some(later) => tokio::time::sleep(later.after).await,
                    None => return Err(error),
                },
                opened => return opened,
            }
        }
    }

    /// A connection of this device, without a stream.
    pub async fn channel(&self) -> Result<Channel> {
        connect(&self.collector, self.tls()?).await
    }

    /// Opens a stream with a fresh epoch over this connection; [`ComeAgain`] when there is no turn for it.
    pub async fn stream_over(&self, channel: Channel, epoch: [u8; 16]) -> Result<SimulatedStream> {
        let offer = v1::EpochOffer { epoch: epoch.to_vec(), first_unacked: 1, next: 1 };
        let (stream, _) = Self::offer(channel, vec![offer]).await?;
        Ok(SimulatedStream { epoch, ..stream })
    }

    /// As [`Self::stream`], to a collector that has moved to this address.
    pub async fn stream_at(&self, collector: &str, epoch: [u8; 16]) -> Result<SimulatedStream> {
        let offer = v1::EpochOffer { epoch: epoch.to_vec(), first_unacked: 1, next: 1 };
        let (stream, _) = self.stream_to(collector, vec![offer]).await?;
        Ok(SimulatedStream { epoch, ..stream })
    }

    /// Opens a stream to this address with these epochs, and what it was welcomed with.
    pub async fn stream_to(
        &self,
        collector: &str,
        epochs: Vec<v1::EpochOffer>,
    ) -> Result<(SimulatedStream, v1::Welcome)> {
        Self::offer(connect(collector, self.tls()?).await?, epochs).await
    }

    async fn offer(channel: Channel, epochs: Vec<v1::EpochOffer>) -> Result<(SimulatedStream, v1::Welcome)> {
        let mut client = v1::session_client::SessionClient::new(channel)
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES);
        let (outgoing, messages) = mpsc::channel(16);
        let hello = v1::Hello {
            protocol: limits::PROTOCOL,
            agent_version: "0.0.0-simulated".to_owned(),
            sent_at_ms: now_ms(),
            epochs,
            policy_revision: 0,
            lineage: None,
        };
        outgoing.send(agent(v1::agent_message::Message::Hello(hello))).await.context("no stream")?;
        let incoming = client.stream(ReceiverStream::new(messages)).await.context("no stream")?.into_inner();
        let mut stream =
            SimulatedStream { epoch: [0; 16], next: 1, outgoing, incoming, is_told_to_renew: false };
        match stream.receive().await? {
            Some(v1::collector_message::Message::Welcome(welcome)) => Ok((stream, welcome)),
            Some(v1::collector_message::Message::Refusal(refusal))
                if refusal.reason() == v1::RefusalReason::Busy =>
            {
                let after = Duration::from_secs(u64::from(refusal.retry_after_s));
                Err(ComeAgain { after, text: refusal.text }.into())
            }
            other => bail!("expected a welcome, got {other:?}"),
        }
    }
}

impl SimulatedStream {
    /// The next message of the collector; `None` when it closed the stream.
    pub async fn receive(&mut self) -> Result<Option<v1::collector_message::Message>> {
        Ok(self.incoming.message().await.context("the stream is lost")?.and_then(|message| message.message))
    }

    /// Sends a batch and does not wait.
    pub async fn send_batch(&self, epoch: [u8; 16], first_seq: u64, records: Vec<Vec<u8>>) -> Result<()> {
        let batch = v1::Batch {
            epoch: epoch.to_vec(),
            first_seq,
            records,
            sent_at_ms: now_ms(),
            clock_ms: 0,
            generation: 0,
        };
        self.outgoing.send(agent(v1::agent_message::Message::Batch(batch))).await.context("no stream")
    }

    /// Sends one record and waits for its ack; returns how long that took.
    pub async fn deliver(&mut self, record: Vec<u8>) -> Result<Duration> {
        let (begin, seq) = (Instant::now(), self.next);
        self.next += 1;
        self.send_batch(self.epoch, seq, vec![record]).await?;
        loop {
            match self.receive().await? {
                Some(v1::collector_message::Message::Ack(ack)) if ack.through_seq >= seq => {
                    return Ok(begin.elapsed());
                }
                Some(v1::collector_message::Message::Refusal(refusal)) => {
                    bail!("the collector refused: {}", refusal.text)
                }
                Some(v1::collector_message::Message::Trust(trust)) => {
                    self.is_told_to_renew |= trust.renew;
                }
                Some(
                    v1::collector_message::Message::Ack(_)
                    | v1::collector_message::Message::Welcome(_)
                    | v1::collector_message::Message::Directive(_),
                ) => {}
                None => bail!("the collector closed the stream"),
            }
        }
    }
}

fn agent(message: v1::agent_message::Message) -> v1::AgentMessage {
    v1::AgentMessage { message: Some(message) }
}

/// Now, in milliseconds since 1970-01-01T00:00:00Z.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What a healthy workstation reports in a minute: about as many observations as the real agent sends.
pub fn healthy_minute(minute: u64) -> Vec<u8> {
    let at = Timestamp::from_millis(now_ms());
    let mut observations = Vec::new();
    let mut sample = |component: &str, metric: &'static str, attributes: Attributes, value: f64| {
        let Ok(component) = component.parse::<Component>() else { return };
        let body = Body::Sample { metric: metric.into(), attributes, value };
        observations.push(Observation { component, observed_at: at, body });
    };
    let wave = (minute % 60) as f64 / 100.0;
    let none = Attributes::none;
    sample("cpu/0", semconv::CPU_UTILIZATION, none(), 0.1 + wave / 4.0);
    sample("memory/0", semconv::MEMORY_UTILIZATION, none(), 0.5 + wave / 10.0);
    sample("memory/0", semconv::MEMORY_AVAILABLE, none(), 8e9);
    sample("memory/0", semconv::OOM_KILLS, none(), 0.0);
    for window in ["avg10", "avg60"] {
        let attributes = none().with("resource", "memory").with("kind", "full").with("window", window);
        sample("memory/0", semconv::PRESSURE_STALL, attributes, 0.0);
    }
    for mount in ["/", "/home", "/boot"] {
        let component = format!("filesystem/{mount}");
        let kind = || none().with("system.filesystem.type", "ext4");
        sample(&component, semconv::FILESYSTEM_UTILIZATION, kind(), 0.5 + wave / 10.0);
        sample(&component, semconv::FILESYSTEM_USAGE, kind().with("system.filesystem.state", "free"), 5e10);
        sample(&component, semconv::FILESYSTEM_USAGE, kind().with("system.filesystem.state", "used"), 5e10);
        sample(&component, semconv::FILESYSTEM_INODES_UTILIZATION, kind(), 0.1);
        sample(&component, semconv::FILESYSTEM_READONLY_UNEXPECTED, none(), 0.0);
    }
    for interface in ["eth0", "wlan0"] {
        let component = format!("network_interface/{interface}");
        sample(&component, semconv::NETWORK_UP, none(), 1.0);
        sample(&component, semconv::NETWORK_CARRIER_CHANGES, none(), 2.0);
        for direction in ["receive", "transmit"] {
            let attributes = || none().with("network.io.direction", direction);
            sample(&component, semconv::NETWORK_IO, attributes(), 1e6 * minute as f64);
            sample(&component, semconv::NETWORK_PACKET_COUNT, attributes(), 1e3 * minute as f64);
            sample(&component, semconv::NETWORK_ERRORS, attributes(), 0.0);
            sample(&component, semconv::NETWORK_PACKET_DROPPED, attributes(), 0.0);
        }
    }
    sample("gateway/192.0.2.1", semconv::GATEWAY_REACHABLE, none(), 1.0);
    sample("gateway/192.0.2.1", semconv::NETWORK_RTT, none().with("target", "gateway"), 0.002);
    for server in ["192.0.2.53", "192.0.2.54"] {
        let attributes = none().with("server", server).with("rcode", "noerror");
        sample(
            &format!("dns_server/{server}"),
            semconv::DNS_LOOKUP_DURATION,
            attributes,
            0.01 + wave / 100.0,
        );
    }
    for printer in ["office", "finance-2"] {
        let component = format!("printer/{printer}");
        let named = || none().with("printer", printer);
        sample(&component, semconv::PRINTER_STATE, named(), 3.0);
        sample(&component, semconv::PRINTER_REACHABLE, named(), 1.0);
        sample(&component, semconv::PRINTER_JOBS_QUEUED, named(), 0.0);
        sample(&component, semconv::PRINTER_SUPPLY_LEVEL, named().with("supply", "black toner"), 0.6);
    }
    for service in ["cups", "NetworkManager", "sshd"] {
        let attributes = none().with("name", service).with("state", "active");
        sample(&format!("service/{service}"), semconv::SERVICE_STATE, attributes, 1.0);
    }
    sample("os/0", semconv::UPTIME, none(), 60.0 * minute as f64);
    encode_record(&observations)
}
