//! Device certificates that have expired are let through the handshake for a while, so that a machine that lay in a
//! drawer can renew its own. Whatever else such a connection asks for is refused later: sessions look at the end of the
//! certificate, and only the renewal does not.
//!
//! The judgement itself is webpki's. An expired certificate is judged once more at the last moment at which it was
//! valid: everything but its age must hold.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;
use std::time::Duration;

/// How long after its end a certificate can be renewed.
pub(crate) const RENEW_ONLY: Duration = Duration::from_secs(180 * 24 * 3600);

/// Another verifier, with patience.
#[derive(Debug)]
pub(super) struct WithGrace {
    inner: Arc<dyn ClientCertVerifier>,
    grace: Duration,
}

impl WithGrace {
    pub(super) fn new(inner: Arc<dyn ClientCertVerifier>, grace: Duration) -> Self {
        Self { inner, grace }
    }
}

impl ClientCertVerifier for WithGrace {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.inner.verify_client_cert(end_entity, intermediates, now) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }))
                if now.as_secs().saturating_sub(not_after.as_secs()) <= self.grace.as_secs() =>
            {
                self.inner.verify_client_cert(end_entity, intermediates, not_after)
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use crate::authority::{Authority, tls};
    use firstline_model::DeviceId;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
    use rustls::pki_types::{CertificateDer, UnixTime};
    use std::time::Duration;

    #[test]
    fn r5_an_expired_certificate_is_let_through_for_180_days_and_no_other_fault_is() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let other = tempfile::tempdir().unwrap();
        let stranger = Authority::open(other.path()).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let device = DeviceId::new("pc").unwrap();
        const DAY: u64 = 24 * 3600;
        let issue = |authority: &Authority| {
            let leaf = authority.issue(request.der(), &device, Duration::from_secs(30 * DAY)).unwrap();
            CertificateDer::from(leaf.der)
        };
        let verifier = tls::client_verifier(&authority).unwrap();
        let now = UnixTime::now().as_secs();
        let judge = |leaf: &CertificateDer<'_>, day: u64| {
            let at = UnixTime::since_unix_epoch(Duration::from_secs(now + day * DAY));
            verifier.verify_client_cert(leaf, &[], at).map(drop)
        };
        let leaf = issue(&authority);
        for (day, good) in
            [(0, true), (29, true), (31, true), (90, true), (209, true), (211, false), (430, false)]
        {
            assert_eq!(judge(&leaf, day).is_ok(), good, "day {day}");
        }
        let foreign = issue(&stranger);
        for day in [0, 31, 90] {
            assert!(judge(&foreign, day).is_err(), "a foreign one on day {day}");
        }
    }
}
