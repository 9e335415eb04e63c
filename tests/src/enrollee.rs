//! Somebody who asks for an identity: over real gRPC and TLS, from an address of their own, with whatever token and
//! signing request they like.

use crate::simulated::connect_from;
use firstline_proto::v1;
use firstline_proto::v1::enrollment_client::EnrollmentClient;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// The token inside an enrollment address.
///
/// # Panics
/// When there is none.
pub fn token_of(url: &str) -> &str {
    let (_, rest) = url.split_once("token=").expect("an address with a token");
    rest.split('&').next().expect("a token")
}

/// A good signing request (DER) with a key of its own, and the key (PKCS #8, DER).
///
/// # Panics
/// When none can be made.
pub fn signing_request() -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let request = CertificateParams::default().serialize_request(&key).expect("a request");
    (request.der().to_vec(), key.serialize_der())
}

/// An address of this machine that no other client of the test has: `number` counts them.
pub fn own_address(number: u32) -> IpAddr {
    let [_, high, middle, low] = (number + 0x0001_0002).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, high, middle, low))
}

/// A connection without a certificate.
#[derive(Debug, Clone)]
pub struct Enrollee {
    client: EnrollmentClient<Channel>,
    /// What it asks to be signed.
    pub request: Vec<u8>,
}

impl Enrollee {
    /// Connects from `source`, believing the authority in this file.
    ///
    /// # Panics
    /// When the collector cannot be reached.
    pub async fn connected(source: IpAddr, collector: SocketAddr, authority: &Path) -> Self {
        let pem = std::fs::read(authority).expect("the authority's certificate");
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&pem).expect("a certificate"))
            .expect("an authority that can be used");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let channel = connect_from(source, &collector.to_string(), config).await.expect("a connection");
        Self { client: EnrollmentClient::new(channel), request: signing_request().0 }
    }

    /// Presents a token, saying these things beside it.
    ///
    /// # Errors
    /// How it was refused.
    ///
    /// # Panics
    /// When what is said beside cannot be said.
    pub async fn presents(
        &mut self,
        token: &str,
        beside: &[(&'static str, &str)],
    ) -> Result<v1::EnrollResponse, Status> {
        let mut request = Request::new(v1::EnrollRequest {
            token: token.to_owned(),
            certificate_signing_request: self.request.clone(),
            hostname: "enrollee".to_owned(),
            agent_version: "0".to_owned(),
        });
        for (name, value) in beside {
            request.metadata_mut().insert(*name, value.parse().expect("a metadata value"));
        }
        self.client.enroll(request).await.map(tonic::Response::into_inner)
    }
}
