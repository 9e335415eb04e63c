//! TLS of the two listeners: which certificate the collector shows, and whose it accepts.

use super::verifier::{RENEW_ONLY, WithGrace};
use super::{Authority, COLLECTOR_NAME};
use crate::clock;
use anyhow::{Context, Result};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For agents: TLS 1.3, a client certificate of our authority is verified when there is one (enrollment has none).
pub(crate) fn for_agents(authority: &Authority) -> Result<Arc<ServerConfig>> {
    let verifier = client_verifier(authority)?;
    let identity = authority.server_identity(&[COLLECTOR_NAME.to_owned()])?;
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(clock::ForTls))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("this build has no TLS 1.3")?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)
        .context("the server's certificate cannot be used")?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// For browsers: no client certificates, so an agent's certificate is worth nothing there.
pub(crate) fn for_browsers(authority: &Authority, names: &[String]) -> Result<Arc<ServerConfig>> {
    let identity = authority.server_identity(names)?;
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(clock::ForTls))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("this build has no TLS 1.3")?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .context("the web certificate cannot be used")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Accepts certificates of every authority in use, expired ones for the renewal.
pub(super) fn client_verifier(authority: &Authority) -> Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in authority.trusted() {
        roots.add(certificate).context("the authority's certificate cannot be used")?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .context("client certificates cannot be verified")?;
    Ok(Arc::new(WithGrace::new(verifier, RENEW_ONLY)))
}
