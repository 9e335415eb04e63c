//! The beginning of a TLS handshake, as far as the certificate that the other side shows.

use crate::{ProbeError, reach};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long connecting and the handshake may take, after the name was looked up.
pub(super) const LIMIT: Duration = Duration::from_secs(8);
/// A chain of certificates is a few thousand bytes.
const MAX_BYTES: usize = 128 << 10;

/// The certificate that `host` shows, in DER.
pub(super) fn shown(host: &str, port: u16, limit: Duration) -> Result<Vec<u8>, ProbeError> {
    let addresses = reach::resolve(host, port)?;
    let deadline = Instant::now() + limit;
    let recorder = Arc::new(Recorder::default());
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| malformed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| ProbeError::Malformed(format!("{host} cannot be the name of a TLS server")))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| malformed(&error))?;
    let mut stream = reach::connect(&addresses, deadline)?;
    let mut taken = 0;
    let mut piece = [0u8; 4096];
    loop {
        while connection.wants_write() {
            reach::arm(&stream, deadline)?;
            connection.write_tls(&mut stream).map_err(|error| reach::failed("TLS handshake", &error))?;
        }
        reach::arm(&stream, deadline)?;
        let length = match stream.read(&mut piece) {
            Ok(0) => return Err(ProbeError::Malformed("the TLS handshake was broken off".to_owned())),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(reach::failed("TLS handshake", &error)),
        };
        taken += length;
        if taken > MAX_BYTES {
            return Err(ProbeError::Malformed("the TLS handshake is too long".to_owned()));
        }
        let mut rest = &piece[..length];
        while !rest.is_empty() {
            connection.read_tls(&mut rest).map_err(|error| reach::failed("TLS handshake", &error))?;
            let step = connection.process_new_packets();
            // Whatever the connection would say now is not sent: the certificate is all that was wanted.
            if let Some(certificate) = recorder.take() {
                return Ok(certificate);
            }
            step.map_err(|error| malformed(&error))?;
        }
    }
}

fn malformed(error: &Error) -> ProbeError {
    ProbeError::Malformed(format!("TLS handshake: {error}"))
}

/// Keeps the certificate and believes nobody, which ends the handshake.
#[derive(Debug, Default)]
struct Recorder {
    seen: Mutex<Option<Vec<u8>>>,
}

impl Recorder {
    fn take(&self) -> Option<Vec<u8>> {
        self.seen.lock().ok()?.take()
    }
}

fn enough() -> Error {
    Error::General("the certificate was read".to_owned())
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(end_entity.to_vec());
        }
        Err(enough())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(enough())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(enough())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A TLS server for tests.
#[cfg(test)]
pub(super) mod testing {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
    use std::io;
    use std::net::SocketAddr;
    use std::sync::{Arc, mpsc};

    /// Serves a certificate and tells how each handshake ended.
    pub(in crate::certificate) fn serve(
        certificate: Vec<u8>,
        key: &rcgen::KeyPair,
        version: &'static SupportedProtocolVersion,
    ) -> (SocketAddr, mpsc::Receiver<Option<io::ErrorKind>>) {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(certificate)], key)
            .unwrap();
        let config = Arc::new(config);
        let (end, ends) = mpsc::channel();
        let address = crate::reach::testing::serve(move |stream| {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let result = connection.complete_io(stream);
            // The test may want the certificate only.
            let _ = end.send(result.err().map(|error| error.kind()));
        });
        (address, ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::testing::{nobody, serve};
    use firstline_model::UnavailableReason;
    use std::io::Write;
    use std::net::SocketAddr;

    fn ask(server: SocketAddr, limit: Duration) -> Result<Vec<u8>, ProbeError> {
        shown("127.0.0.1", server.port(), limit)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn both_versions_show_their_certificate_and_hear_nothing_afterwards() {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            let der = made.cert.der().to_vec();
            let (server, ends) = testing::serve(der.clone(), &made.signing_key, version);
            assert_eq!(ask(server, LONG).unwrap(), der, "{version:?}");
            let end = ends.recv_timeout(LONG).unwrap().unwrap();
            // An alert would be invalid data.
            let gone =
                [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
            assert!(gone.contains(&end), "{version:?}: {end:?}");
        }
    }

    #[test]
    fn garbage_and_records_without_end_are_malformed() {
        let record = [&[22, 3, 3, 0x40, 0][..], &[0xff; 0x4000]].concat();
        for bytes in [b"220 mail ready\r\n".to_vec(), vec![0; 5000], vec![22, 3, 3, 0xff, 0xff], record] {
            let server = serve(move |stream| {
                let mut more = stream.write_all(&bytes).is_ok();
                while more {
                    more = stream.write_all(&bytes).is_ok();
                }
            });
            assert_eq!(ask(server, LONG).unwrap_err().reason(), UnavailableReason::Malformed);
        }
        let closes = serve(|stream| {
            // Taken, so that closing is no reset.
            let _ = stream.read(&mut [0; 4096]);
        });
        assert_eq!(ask(closes, LONG).unwrap_err().reason(), UnavailableReason::Malformed);
        assert_eq!(ask(nobody(), LONG).unwrap_err().reason(), UnavailableReason::NotPresent);
    }

    #[test]
    fn silence_and_a_slow_drip_end_at_the_deadline() {
        let server = serve(|stream| {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
            let mut more = stream.write_all(&[22, 3, 3, 0x40, 0]).is_ok();
            while more {
                more = stream.write_all(&[2]).is_ok();
                let _ = stream.read(&mut [0; 4096]);
            }
        });
        assert_eq!(
            ask(server, Duration::from_millis(300)).unwrap_err().reason(),
            UnavailableReason::TimedOut
        );
    }
}
