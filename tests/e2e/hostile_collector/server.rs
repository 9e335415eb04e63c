//! The hostile collector: TLS 1.3 with a certificate of an authority of its own, which the test lets the agent trust, and
//! a session in which it sends generated values as fast as they are taken. It takes batches and acks what it likes.

use super::values;
use firstline_collector::ingest::listener::{self, Kind, Peer};
use firstline_model::{Body, DeviceId};
use firstline_proto::convert::decode_record;
use firstline_proto::v1;
use firstline_proto::v1::enrollment_server::{Enrollment, EnrollmentServer};
use firstline_proto::v1::session_server::{Session, SessionServer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// A running one; it ends with this value.
pub(super) struct HostileCollector {
    shared: Arc<Shared>,
    address: SocketAddr,
    authority: String,
    _stop: watch::Sender<bool>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Default)]
struct Shared {
    /// DER of the authority that the agent trusts.
    authority: Vec<u8>,
    most: u64,
    sent: AtomicU64,
    /// Values are said up to this count in the present life.
    until: AtomicU64,
    is_open: AtomicBool,
    may_begin: AtomicBool,
    is_over: AtomicBool,
    /// Metric and time of every sample that came.
    samples: Mutex<BTreeSet<(String, i64)>>,
}

impl HostileCollector {
    pub(super) fn started(values: u64) -> Self {
        let authority_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).expect("an authority");
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["firstline-collector".to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // Whoever comes may come: it does not ask for a certificate.
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .expect("a certificate");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let shared =
            Arc::new(Shared { authority: authority.der().to_vec(), most: values, ..Shared::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let socket = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = socket.local_addr().expect("an address");
        let (stop_sender, stop) = watch::channel(false);
        runtime.spawn(accept(socket, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&shared), stop));
        Self { shared, address, authority: authority.pem(), _stop: stop_sender, runtime: Some(runtime) }
    }

    /// The identity of an agent, turned to this collector.
    pub(super) fn trusted_by(&self, identity: &str) -> String {
        let mut table: toml::Table = toml::from_str(identity).expect("an identity");
        table.insert("collector".to_owned(), self.address.to_string().into());
        table.insert("authorities".to_owned(), vec![self.authority.clone()].into());
        toml::to_string(&table).expect("an identity")
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The next stream says at most so many values, and none before [`Self::begin`].
    pub(super) fn next_life(&self, most: u64) {
        let shared = &self.shared;
        for flag in [&shared.is_open, &shared.may_begin, &shared.is_over] {
            flag.store(false, Ordering::Release);
        }
        shared.until.store((self.sent() + most).min(shared.most), Ordering::Release);
    }

    pub(super) fn begin(&self) {
        self.shared.may_begin.store(true, Ordering::Release);
    }

    pub(super) fn is_open(&self) -> bool {
        self.shared.is_open.load(Ordering::Acquire)
    }

    pub(super) fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }

    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Acquire)
    }

    /// At how many times a metric was measured, as far as it was delivered.
    pub(super) fn distinct_times_of(&self, metric: &str) -> u64 {
        let samples = self.shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().filter(|(name, _)| name == metric).map(|(_, at)| at).collect::<BTreeSet<_>>().len()
            as u64
    }
}

impl Drop for HostileCollector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(
    socket: tokio::net::TcpListener,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) {
    let hostile = Hostile(shared);
    let service = tonic::service::Routes::new(SessionServer::new(hostile.clone()))
        .add_service(EnrollmentServer::new(hostile))
        .into_axum_router();
    while let Ok((tcp, address)) = socket.accept().await {
        let (tls, service, mut stop) = (tls.clone(), service.clone(), stop.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let device = DeviceId::new("whoever").ok().map(|id| (id, String::new()));
            let peer = Peer { address, device, validity: None };
            // How a connection ends is the agent's business here.
            let _ = listener::connection(Kind::Agents, stream, peer, service, &mut stop).await;
        });
    }
}

#[derive(Clone)]
struct Hostile(Arc<Shared>);

type Messages = Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::CollectorMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Session for Hostile {
    type StreamStream = Messages;

    async fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let mut incoming = request.into_inner();
        let (outgoing, messages) = mpsc::channel(16);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            let Ok(Some(first)) = incoming.message().await else { return };
            let Some(v1::agent_message::Message::Hello(hello)) = first.message else { return };
            let welcome = values::welcome(&hello);
            if outgoing.send(Ok(welcome)).await.is_err() {
                return;
            }
            shared.is_open.store(true, Ordering::Release);
            let listening = tokio::spawn(listen(incoming, Arc::clone(&shared), outgoing.clone()));
            while !shared.may_begin.load(Ordering::Acquire) {
                tokio::task::yield_now().await;
                if outgoing.is_closed() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            loop {
                let number = shared.sent.load(Ordering::Acquire);
                if number >= shared.until.load(Ordering::Acquire) {
                    break;
                }
                let message = values::message(number, &shared.authority, &hello);
                if outgoing.send(Ok(message)).await.is_err() {
                    break;
                }
                shared.sent.fetch_add(1, Ordering::AcqRel);
            }
            // The agent says in its log that it heard this; then comes what ends a stream.
            let _ = outgoing.send(Ok(values::last_policy())).await;
            let _ = outgoing.send(Ok(values::ending(shared.sent.load(Ordering::Acquire)))).await;
            shared.is_over.store(true, Ordering::Release);
            let _ = listening.await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

/// Takes batches and acks them, as an agent needs it to go on sending.
async fn listen(
    mut incoming: Streaming<v1::AgentMessage>,
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Result<v1::CollectorMessage, Status>>,
) {
    while let Ok(Some(message)) = incoming.message().await {
        let Some(v1::agent_message::Message::Batch(batch)) = message.message else { continue };
        let through_seq = batch.first_seq + batch.records.len() as u64 - 1;
        for seen in batch.records.iter().filter_map(|record| decode_record(record).ok()).flatten() {
            if let Body::Sample { metric, .. } = seen.body {
                let mut samples = shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
                samples.insert((metric.to_string(), seen.observed_at.as_millis()));
            }
        }
        let ack = v1::Ack { epoch: batch.epoch, through_seq, credit: 1000 };
        let message = v1::CollectorMessage { message: Some(v1::collector_message::Message::Ack(ack)) };
        if outgoing.send(Ok(message)).await.is_err() {
            return;
        }
    }
}

#[tonic::async_trait]
impl Enrollment for Hostile {
    async fn enroll(&self, _: Request<v1::EnrollRequest>) -> Result<Response<v1::EnrollResponse>, Status> {
        Err(Status::unavailable("nobody is enrolled here"))
    }

    async fn renew(&self, _: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        Ok(Response::new(values::renewal(self.0.sent.load(Ordering::Acquire), &self.0.authority)))
    }
}
