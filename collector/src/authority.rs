//! The collector's own certificate authority: makes itself once, issues device certificates from signing requests and
//! the collector's own server certificates.
//!
//! Of a signing request only the public key is used: names, extensions and wishes in it are ignored, so a request
//! cannot ask for more than a device gets.

mod first;
pub(crate) mod rotation;
pub(crate) mod tls;
mod verifier;

use crate::ingest::listener::Validity;
use crate::seal::Seal;
use crate::{clock, private, secret};
use anyhow::{Context, Result, bail};
use firstline_model::{DeviceId, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::Path;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use zeroize::Zeroizing;

/// How long a device certificate is valid unless told otherwise. Renewed at half of it.
pub(crate) const LEAF_LIFETIME: Duration = Duration::from_secs(30 * DAY);
/// How long the authority is valid.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * DAY);
/// How long a server certificate is valid; a new one is made at each start and long before the end of this.
pub(crate) const SERVER_LIFETIME: Duration = Duration::from_secs(397 * DAY);
/// Certificates begin this long in the past, for devices whose clock is behind.
const CLOCK_SLACK: Duration = Duration::from_secs(24 * 3600);
const DAY: u64 = 24 * 3600;

/// Where the authorities lie in the data folder.
pub(crate) const FOLDER: &str = "authority";
/// What an authority's key is sealed for: it cannot be taken for another secret, nor another for it.
const KEY_PURPOSE: &str = "authority key";
const KEY: &str = "key.pem";
const CERTIFICATE: &str = "certificate.pem";

/// The name that agents expect in the server's certificate.
pub(crate) const COLLECTOR_NAME: &str = "firstline-collector";
/// Device names in certificates begin with this.
const DEVICE_URI: &str = "urn:firstline:device:";

/// The authorities of a data folder. Outside of a rotation there is one; during it, the new one stands beside the old
/// one, which goes on to sign the collector's own certificates until every device trusts the new one.
pub(crate) struct Authority {
    /// Signs the collector's own certificates; agents that know only one authority know this one.
    server: Signer,
    /// The one that a rotation prepared.
    next: Option<Signer>,
    /// Whether device certificates come from `next`.
    is_next_active: bool,
}

/// One authority with its key.
struct Signer {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// DER.
    pub der: Vec<u8>,
    /// SHA-256 of the DER, in hexadecimal.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: Timestamp,
}

/// A server certificate chain with its key.
pub(crate) struct ServerIdentity {
    /// The leaf, then the authority (agents look for it by fingerprint when they enroll).
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Signer {
    /// Reads the pair in this folder.
    fn open(folder: &Path, seal: &Seal) -> Result<Self> {
        let (key_path, certificate_path) = (folder.join(KEY), folder.join(CERTIFICATE));
        let key = read_key(&key_path, seal)?;
        let pem = std::fs::read_to_string(&certificate_path)
            .with_context(|| format!("cannot read {}", certificate_path.display()))?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .with_context(|| format!("{} is damaged", certificate_path.display()))?;
        if !is_key_of(&certificate, &key)? {
            bail!("{} is not the key of {}", key_path.display(), certificate_path.display());
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .with_context(|| format!("{} is not an authority", certificate_path.display()))?;
        Ok(Self { certificate, issuer })
    }

    /// Makes a pair in this folder, which becomes closed to others.
    fn create(folder: &Path, seal: &Seal) -> Result<()> {
        let key =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot make the authority's key")?;
        private::create_folder(folder)?;
        let text = Zeroizing::new(key.serialize_pem());
        seal.create(&folder.join(KEY), KEY_PURPOSE, text.as_bytes())?;
        // The certificate comes last: its presence says that the key is there.
        Self::certify(folder, &key)
    }

    /// Makes the certificate of a key that lies in this folder.
    fn certify(folder: &Path, key: &KeyPair) -> Result<()> {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, format!("Firstline authority {}", &secret::token()?[..8]));
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, AUTHORITY_LIFETIME)?;
        let certificate = params.self_signed(key).context("cannot make the authority's certificate")?;
        private::create_file(&folder.join(CERTIFICATE), &certificate.pem())
    }

    fn fingerprint(&self) -> String {
        secret::hex(&secret::digest(&self.certificate))
    }

    fn expires_at(&self) -> Result<Timestamp> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.certificate)
            .context("the authority's certificate cannot be read")?;
        Ok(Timestamp::from_millis(parsed.validity().not_after.timestamp().saturating_mul(1000)))
    }
}

/// Whether an authority is to be replaced soon: 60 days before its end, so that it can be planned.
pub(crate) fn is_near_its_end(end: Timestamp, now: Timestamp) -> bool {
    end.since(now) < Duration::from_secs(60 * DAY)
}

/// Reads an authority's key; one that an earlier version left in clear is sealed in its place.
fn read_key(path: &Path, seal: &Seal) -> Result<KeyPair> {
    let text =
        seal.read(path, KEY_PURPOSE).context("without the authority's key no device can be enrolled")?;
    let text = std::str::from_utf8(&text).with_context(|| format!("{} is damaged", path.display()))?;
    KeyPair::from_pem(text).with_context(|| format!("{} is damaged", path.display()))
}

fn is_key_of(certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<bool> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).context("an authority's certificate is damaged")?;
    Ok(*parsed.public_key().subject_public_key.data == *key.public_key_raw())
}

impl Authority {
    /// Reads the authorities of this data folder, or makes the first one. Keys are 0600 in folders 0700.
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let seal = Seal::of(data);
        let folder = data.join(FOLDER);
        if !folder.join(CERTIFICATE).exists() {
            first::make(data, &seal)?;
        }
        rotation::finish_retirement(&folder, &seal)?;
        let next = folder.join(rotation::NEXT);
        let (next, is_next_active) = if next.join(CERTIFICATE).exists() {
            (Some(Signer::open(&next, &seal)?), next.join(rotation::ACTIVE).exists())
        } else {
            (None, false)
        };
        Ok(Self { server: Signer::open(&folder, &seal)?, next, is_next_active })
    }

    /// SHA-256 in hexadecimal of the authority that signs the collector's own certificate, for enrollment addresses.
    pub(crate) fn fingerprint(&self) -> String {
        self.server.fingerprint()
    }

    fn issuing(&self) -> &Signer {
        self.next.as_ref().filter(|_| self.is_next_active).unwrap_or(&self.server)
    }

    /// SHA-256 in hexadecimal of the authority that device certificates come from.
    pub(crate) fn issuing_fingerprint(&self) -> String {
        self.issuing().fingerprint()
    }

    /// Whom agents are to trust, the one that issues first. DER.
    pub(crate) fn trusted(&self) -> Vec<CertificateDer<'static>> {
        let mut trusted = vec![self.issuing().certificate.clone()];
        for signer in [Some(&self.server), self.next.as_ref()].into_iter().flatten() {
            if !trusted.contains(&signer.certificate) {
                trusted.push(signer.certificate.clone());
            }
        }
        trusted
    }

    /// Every authority in use with its fingerprint and its end.
    pub(crate) fn ends(&self) -> Result<Vec<(String, Timestamp)>> {
        let all = [Some(&self.server), self.next.as_ref()].into_iter().flatten();
        all.map(|signer| Ok((signer.fingerprint(), signer.expires_at()?))).collect()
    }

    /// Issues a device certificate: clientAuth, not an authority, exactly one name.
    pub(crate) fn issue(&self, request: &[u8], device: &DeviceId, lifetime: Duration) -> Result<Leaf> {
        check_key(request)?;
        let request = CertificateSigningRequestDer::from(request.to_vec());
        let request = CertificateSigningRequestParams::from_der(&request)
            .context("the certificate signing request cannot be read or does not prove its key")?;
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, device.as_str());
        params.distinguished_name = name;
        let uri = format!("{DEVICE_URI}{device}")
            .try_into()
            .context("the device's name does not fit a certificate")?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        set_validity(&mut params, lifetime)?;
        let certificate = params
            .signed_by(&request.public_key, &self.issuing().issuer)
            .context("cannot issue the device's certificate")?;
        let der = certificate.der().to_vec();
        let fingerprint = secret::hex(&secret::digest(&der));
        Ok(Leaf { der, fingerprint, not_after: clock::now().plus(lifetime) })
    }

    /// Makes a server certificate for this start.
    pub(crate) fn server_identity(&self, names: &[String]) -> Result<ServerIdentity> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot make the server's key")?;
        let mut params =
            CertificateParams::new(names.to_vec()).context("a name does not fit a certificate")?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, COLLECTOR_NAME);
        params.distinguished_name = name;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_validity(&mut params, SERVER_LIFETIME)?;
        let leaf =
            params.signed_by(&key, &self.server.issuer).context("cannot issue the server's certificate")?;
        Ok(ServerIdentity {
            chain: vec![leaf.der().clone(), self.server.certificate.clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        })
    }
}

/// The device that a verified client certificate names. Nothing else ever names a device.
pub(crate) fn device_of(certificate: &CertificateDer<'_>) -> Result<DeviceId> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).context("the client certificate cannot be read")?;
    let names = parsed
        .subject_alternative_name()
        .context("the client certificate's names cannot be read")?
        .context("the client certificate names nobody")?;
    let [x509_parser::extensions::GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        bail!("the client certificate does not name exactly one device");
    };
    let id = uri.strip_prefix(DEVICE_URI).context("the client certificate does not name a device")?;
    Ok(DeviceId::new(id)?)
}

/// From when to when a certificate that this authority issued is good.
pub(crate) fn validity_of(certificate: &CertificateDer<'_>) -> Result<Validity> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).context("the client certificate cannot be read")?;
    let at = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
    Ok(Validity {
        issued_at: at(parsed.validity().not_before.timestamp()).plus(CLOCK_SLACK),
        not_after: at(parsed.validity().not_after.timestamp()),
    })
}

/// The key must be a point of P-256. rcgen goes by the algorithm of the request's signature, with which any curve can
/// be signed, and would issue for a key of another curve a certificate that nobody can use.
fn check_key(request: &[u8]) -> Result<()> {
    /// `prime256v1`, RFC 5480.
    const P256: &str = "1.2.840.10045.3.1.7";
    /// An uncompressed point: its mark and two coordinates.
    const POINT: usize = 1 + 2 * 32;
    let (rest, request) = X509CertificationRequest::from_der(request)
        .context("the certificate signing request cannot be read")?;
    let key = &request.certification_request_info.subject_pki;
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let point = &key.subject_public_key.data;
    if curve.is_none_or(|curve| curve.to_id_string() != P256) || point.len() != POINT || point[0] != 4 {
        bail!("the key of the certificate signing request is not P-256");
    }
    if !rest.is_empty() {
        bail!("something follows the certificate signing request");
    }
    Ok(())
}

fn set_validity(params: &mut CertificateParams, lifetime: Duration) -> Result<()> {
    let date = |at: Timestamp| {
        time::OffsetDateTime::from_unix_timestamp(at.as_millis() / 1000).context("the clock is out of range")
    };
    let now = clock::now();
    params.not_before = date(now.minus(CLOCK_SLACK))?;
    params.not_after = date(now.plus(lifetime))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        change(&mut params);
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_authority_is_made_once_and_read_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open(folder.path()).unwrap().fingerprint();
        assert_eq!(Authority::open(folder.path()).unwrap().fingerprint(), first);
        private::check_closed(&folder.path().join("authority/key.pem")).unwrap();
        private::check_closed(&folder.path().join("authority")).unwrap();
    }

    #[test]
    fn a_request_gets_what_a_device_gets_whatever_it_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let device = DeviceId::new("7c1d").unwrap();
        let greedy = request(|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = vec![SanType::URI("urn:firstline:device:other".try_into().unwrap())];
        });
        for request in [request(|_| {}), greedy] {
            let Ok(leaf) = authority.issue(&request, &device, LEAF_LIFETIME) else { continue };
            let der = CertificateDer::from(leaf.der);
            assert_eq!(device_of(&der).unwrap(), device);
            let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
            assert!(!parsed.is_ca());
            let usage = parsed.extended_key_usage().unwrap().unwrap().value;
            assert!(usage.client_auth && !usage.server_auth && !usage.any);
        }
    }

    #[test]
    fn nonsense_instead_of_a_request_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let device = DeviceId::new("7c1d").unwrap();
        let good = request(|_| {});
        assert!(authority.issue(b"", &device, LEAF_LIFETIME).is_err());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            if let Ok(leaf) = authority.issue(&bad, &device, LEAF_LIFETIME) {
                assert_eq!(device_of(&CertificateDer::from(leaf.der)).unwrap(), device);
            }
        }
    }
}
