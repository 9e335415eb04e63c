//! A client of the agents' port that is not the agent: other certificates, other metadata.

use crate::agent::Identity;
use crate::wait::seconds;
use firstline_proto::{limits, v1};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;
use tonic::body::Body;
use tonic::codegen::http::{self, Uri};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Counts the conversations of all strangers.
static CONVERSATIONS: AtomicU64 = AtomicU64::new(1);

/// What it shows and says.
#[derive(Debug, Clone)]
pub struct Stranger {
    roots: Vec<String>,
    shown: Option<(String, String)>,
    metadata: Vec<(String, String)>,
    /// Names this in its handshake (SNI) and as the request's authority, instead of the collector's own name.
    server_name: Option<String>,
    /// Put before and after the path of the request.
    path: (String, String),
}

impl Stranger {
    /// Shows what this device got.
    pub fn with_identity(identity: &Identity) -> Self {
        let shown = (identity.certificate.clone(), identity.private_key.clone());
        Self {
            roots: identity.authorities.clone(),
            shown: Some(shown),
            metadata: Vec::new(),
            server_name: None,
            path: Default::default(),
        }
    }

    /// Shows no certificate.
    pub fn without_certificate(identity: &Identity) -> Self {
        Self { shown: None, ..Self::with_identity(identity) }
    }

    /// Shows a certificate for this very device, issued by an authority of its own.
    ///
    /// # Panics
    /// When none can be made.
    pub fn of_another_authority(identity: &Identity) -> Self {
        let authority_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(params, authority_key);
        let mut leaf = CertificateParams::default();
        let name = format!("urn:firstline:device:{}", identity.device_id);
        leaf.subject_alt_names = vec![SanType::URI(name.try_into().expect("a name"))];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = leaf.signed_by(&key, &issuer).expect("a certificate");
        Self { shown: Some((certificate.pem(), key.serialize_pem())), ..Self::with_identity(identity) }
    }

    /// Says this beside its certificate.
    #[must_use]
    pub fn saying(mut self, name: &str, value: &str) -> Self {
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Names this as the server that it looks for: in the handshake and in the request.
    #[must_use]
    pub fn looking_for(mut self, name: &str) -> Self {
        self.server_name = Some(name.to_owned());
        self
    }

    /// Asks for a path with these around it.
    #[must_use]
    pub fn asking_around(mut self, before: &str, after: &str) -> Self {
        self.path = (before.to_owned(), after.to_owned());
        self
    }

    /// Opens a stream, offers a record, and tells what the collector answered: acks or a refusal.
    ///
    /// # Errors
    /// How the connection or the stream was refused.
    ///
    /// # Panics
    /// When the answer takes too long.
    pub fn offers_a_record(
        &self,
        collector: SocketAddr,
        record: Vec<u8>,
    ) -> Result<Vec<v1::CollectorMessage>, Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            tokio::time::timeout(seconds(15), self.exchange(collector, record))
                .await
                .expect("the collector answers within 15 s")
        })
    }

    async fn exchange(
        &self,
        collector: SocketAddr,
        record: Vec<u8>,
    ) -> Result<Vec<v1::CollectorMessage>, Status> {
        let channel = self.channel(collector).await?;
        let mut client = v1::session_client::SessionClient::new(channel);
        // Each conversation is a life of its own: what another one left is not known already.
        let number = CONVERSATIONS.fetch_add(1, Ordering::Relaxed);
        let epoch = [*b"stranger", number.to_be_bytes()].concat();
        let hello = v1::Hello {
            protocol: limits::PROTOCOL,
            agent_version: "0".to_owned(),
            sent_at_ms: crate::backlog::now_ms(),
            epochs: vec![v1::EpochOffer { epoch: epoch.clone(), first_unacked: 1, next: 2 }],
            policy_revision: 0,
            lineage: None,
        };
        let batch = v1::Batch {
            epoch,
            first_seq: 1,
            records: vec![record],
            sent_at_ms: crate::backlog::now_ms(),
            clock_ms: 0,
            generation: 0,
        };
        let messages = [v1::agent_message::Message::Hello(hello), v1::agent_message::Message::Batch(batch)];
        // The stream stays open after them, as an agent's does.
        let messages =
            tokio_stream::iter(messages.map(|message| v1::AgentMessage { message: Some(message) }))
                .chain(tokio_stream::pending());
        let mut answers = client.stream(messages).await?.into_inner();
        let mut heard = Vec::new();
        while let Some(message) = answers.message().await? {
            let is_last = matches!(
                message.message,
                Some(v1::collector_message::Message::Ack(_) | v1::collector_message::Message::Refusal(_))
            );
            heard.push(message);
            if is_last {
                break;
            }
        }
        Ok(heard)
    }

    /// Asks for an identity under this hostname, with a token that nobody gave it.
    ///
    /// # Errors
    /// How it was refused.
    ///
    /// # Panics
    /// When the answer takes too long.
    pub fn enrolls(&self, collector: SocketAddr, hostname: &str) -> Result<v1::EnrollResponse, Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ask = async {
            let channel = self.channel(collector).await?;
            let request = v1::EnrollRequest {
                token: "none".to_owned(),
                certificate_signing_request: crate::enrollee::signing_request().0,
                hostname: hostname.to_owned(),
                agent_version: "0".to_owned(),
            };
            let answer = v1::enrollment_client::EnrollmentClient::new(channel).enroll(request).await?;
            Ok(answer.into_inner())
        };
        runtime
            .block_on(async { tokio::time::timeout(seconds(15), ask).await.expect("an answer within 15 s") })
    }

    /// Asks for a new certificate, showing the one that it has.
    ///
    /// # Errors
    /// How it was refused.
    ///
    /// # Panics
    /// When the answer takes too long.
    pub fn renews(&self, collector: SocketAddr) -> Result<v1::RenewResponse, Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ask = async {
            let channel = self.channel(collector).await?;
            let request =
                v1::RenewRequest { certificate_signing_request: crate::enrollee::signing_request().0 };
            let answer = v1::enrollment_client::EnrollmentClient::new(channel).renew(request).await?;
            Ok(answer.into_inner())
        };
        runtime
            .block_on(async { tokio::time::timeout(seconds(15), ask).await.expect("an answer within 15 s") })
    }

    /// Asks the web listener for a page and gives the status of the answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn asks_for_a_page(&self, web: SocketAddr, path: &str) -> u16 {
        let tcp = std::net::TcpStream::connect(web).expect("the collector listens");
        tcp.set_read_timeout(Some(seconds(15))).expect("a time limit");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut config = self.tls();
        config.alpn_protocols.clear();
        let session = rustls::ClientConnection::new(Arc::new(config), name).expect("a session");
        let mut stream = rustls::StreamOwned::new(session, tcp);
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("a request");
        let mut answer = Vec::new();
        // How the connection ends does not matter.
        let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no answer: {answer:?}"))
    }

    /// Only shakes hands, saying nothing, so that the refusal cannot be lost behind what was said.
    ///
    /// # Errors
    /// How the collector refused the hand.
    ///
    /// # Panics
    /// When the collector cannot be reached or takes too long.
    pub fn shakes_hands(&self, collector: SocketAddr) -> Result<(), String> {
        let tcp = std::net::TcpStream::connect(collector).expect("the collector listens");
        tcp.set_read_timeout(Some(seconds(15))).expect("a time limit");
        let name = ServerName::try_from("firstline-collector").expect("a name");
        let session = rustls::ClientConnection::new(Arc::new(self.tls()), name).expect("a session");
        let mut stream = rustls::StreamOwned::new(session, tcp);
        // With TLS 1.3 the server judges the client's certificate after the client's last word, so its verdict is
        // the first thing to read. An accepted one hears the server's HTTP/2 settings.
        std::io::Read::read(&mut stream, &mut [0]).map(drop).map_err(|error| error.to_string())
    }

    /// A connection whose requests are changed as this stranger wants them.
    ///
    /// # Errors
    /// How the connection was refused.
    pub async fn channel(&self, collector: SocketAddr) -> Result<Changed, Status> {
        let connector = TlsConnector::from(Arc::new(self.tls()));
        let name = self.server_name.clone().unwrap_or_else(|| "firstline-collector".to_owned());
        let authority = name.clone();
        let connect = tower::service_fn(move |_: Uri| {
            let (connector, name) = (connector.clone(), name.clone());
            async move {
                let tcp = tokio::net::TcpStream::connect(collector).await?;
                let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
                connector.connect(name, tcp).await.map(TokioIo::new)
            }
        });
        let channel = Endpoint::from_shared(format!("http://{authority}"))
            .expect("an authority")
            .http2_keep_alive_interval(std::time::Duration::from_secs(70))
            .keep_alive_while_idle(true)
            .connect_with_connector(connect)
            .await
            .map_err(|error| Status::new(Code::Unavailable, format!("{error:?}")))?;
        Ok(Changed { channel, path: self.path.clone(), headers: self.metadata.clone() })
    }

    fn tls(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for pem in &self.roots {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
            roots.add(der).expect("an authority");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3");
        let builder = if self.server_name.is_some() {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Credulous(provider)))
        } else {
            builder.with_root_certificates(roots)
        };
        let mut config = match &self.shown {
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
                let chain = chain.collect::<Result<_, _>>().expect("a certificate");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a key that fits")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

/// A channel that puts a stranger's headers into every request, and changes its path.
#[derive(Debug, Clone)]
pub struct Changed {
    channel: Channel,
    path: (String, String),
    headers: Vec<(String, String)>,
}

impl tower::Service<http::Request<Body>> for Changed {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as tower::Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        tower::Service::poll_ready(&mut self.channel, context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let mut parts = request.uri().clone().into_parts();
        let path = parts.path_and_query.as_ref().map_or("", |path| path.as_str());
        let path = format!("{}{path}{}", self.path.0, self.path.1);
        parts.path_and_query = Some(path.parse().expect("a path"));
        *request.uri_mut() = Uri::from_parts(parts).expect("an address");
        for (name, value) in &self.headers {
            let name: http::HeaderName = name.parse().expect("a header's name");
            request.headers_mut().insert(name, value.parse().expect("a header's value"));
        }
        self.channel.call(request)
    }
}

/// Any certificate will do: for strangers that look for a name which the collector's certificate does not have.
#[derive(Debug)]
struct Credulous(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
