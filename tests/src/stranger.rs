//! A client of the agents' port that is not the agent: other certificates, other metadata.

use crate::agent::Identity;
use crate::wait::seconds;
use firstline_proto::{limits, v1};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// What it shows and says.
#[derive(Debug, Clone)]
pub struct Stranger {
    roots: Vec<String>,
    shown: Option<(String, String)>,
    metadata: Vec<(String, String)>,
}

impl Stranger {
    /// Shows what this device got.
    pub fn with_identity(identity: &Identity) -> Self {
        let shown = (identity.certificate.clone(), identity.private_key.clone());
        Self { roots: identity.authorities.clone(), shown: Some(shown), metadata: Vec::new() }
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
        let channel = channel(collector, self.tls()).await?;
        let mut client = v1::session_client::SessionClient::new(channel);
        let epoch = b"a stranger's one".to_vec();
        let hello = v1::Hello {
            protocol: limits::PROTOCOL,
            agent_version: "0".to_owned(),
            sent_at_ms: crate::backlog::now_ms(),
            epochs: vec![v1::EpochOffer { epoch: epoch.clone(), first_unacked: 1, next: 2 }],
            policy_revision: 0,
        };
        let batch =
            v1::Batch { epoch, first_seq: 1, records: vec![record], sent_at_ms: crate::backlog::now_ms() };
        let messages = [v1::agent_message::Message::Hello(hello), v1::agent_message::Message::Batch(batch)];
        // The stream stays open after them, as an agent's does.
        let messages =
            tokio_stream::iter(messages.map(|message| v1::AgentMessage { message: Some(message) }))
                .chain(tokio_stream::pending());
        let mut request = Request::new(messages);
        for (name, value) in &self.metadata {
            let name = AsciiMetadataKey::from_bytes(name.as_bytes()).expect("a metadata name");
            let value = AsciiMetadataValue::try_from(value.as_str()).expect("a metadata value");
            request.metadata_mut().insert(name, value);
        }
        let mut answers = client.stream(request).await?.into_inner();
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

    fn tls(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for pem in &self.roots {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
            roots.add(der).expect("an authority");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
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

async fn channel(collector: SocketAddr, tls: ClientConfig) -> Result<Channel, Status> {
    let connector = TlsConnector::from(Arc::new(tls));
    let connect = tower::service_fn(move |_: tonic::transport::Uri| {
        let connector = connector.clone();
        async move {
            let tcp = tokio::net::TcpStream::connect(collector).await?;
            let name = ServerName::try_from("firstline-collector").map_err(std::io::Error::other)?;
            connector.connect(name, tcp).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://firstline-collector")
        .connect_with_connector(connect)
        .await
        .map_err(|error| Status::new(Code::Unavailable, format!("{error:?}")))
}
