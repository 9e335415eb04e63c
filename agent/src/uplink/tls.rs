//! TLS 1.3 to the collector: whom this agent believes, and how it says who it is.

use crate::identity::Identity;
use anyhow::{Context, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;
use std::time::Duration;

/// The name in every collector's certificate. The authority is private and pinned, so the name need not follow the
/// host's address, and a collector can move without new certificates.
pub(crate) const COLLECTOR_NAME: &str = "firstline-collector";

/// The one place that names the cryptography in use.
pub(crate) fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// SHA-256 of a certificate's DER.
pub(crate) fn fingerprint(der: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// A certificate in PEM.
pub(crate) fn certificate_pem(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der))
}

/// For the stream: believes the authorities of the identity, shows its certificate.
pub(crate) fn mutual(identity: &Identity) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for pem in &identity.authorities {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .context("an authority's certificate is damaged")?;
        roots.add(der).context("an authority's certificate cannot be used")?;
    }
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .context("this device's certificate is damaged; enroll again with --replace")?;
    let key = PrivateKeyDer::from_pem_slice(identity.private_key.as_bytes())
        .context("this device's key is damaged; enroll again with --replace")?;
    let mut config = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("this build has no TLS 1.3")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyClock { inner: webpki(roots)? }))
        .with_client_auth_cert(chain, key)
        .context("this device's key does not fit its certificate; enroll again with --replace")?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn webpki(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
        .build()
        .context("the collector's certificate cannot be verified")
}

/// Judges the collector's certificate whatever this machine believes the time to be: a clock that is off by years must
/// not cut it off, for then nobody would see it. The certificate must not have ended before this program was made; a
/// certificate that begins later is judged at its beginning. Everything but the time is webpki's judgement, and the
/// authority is private and pinned.
#[derive(Debug)]
struct AnyClock {
    inner: Arc<WebPkiServerVerifier>,
}

/// 2026-01-01T00:00:00Z: no build of this program is older.
const NO_BUILD_BEFORE: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));

impl ServerCertVerifier for AnyClock {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judge =
            |now| self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match judge(NO_BUILD_BEFORE) {
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => judge(not_before),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// For enrollment: believes exactly the authority with this fingerprint, shows no certificate.
pub(crate) fn pinned(authority: [u8; 32]) -> Result<ClientConfig> {
    let verifier = Arc::new(PinnedAuthority { authority, provider: crypto_provider() });
    let mut config = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("this build has no TLS 1.3")?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Finds the pinned authority in the presented chain and leaves the judgement of the leaf to webpki with that
/// authority as its only root.
#[derive(Debug)]
struct PinnedAuthority {
    authority: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates.iter().find(|der| fingerprint(der) == self.authority);
        let Some(authority) = authority else {
            return Err(rustls::Error::General(
                "the collector does not show the authority that the enrollment address names".to_owned(),
            ));
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let inner = webpki(roots).map_err(|error| rustls::Error::General(error.to_string()))?;
        AnyClock { inner }.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
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
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
