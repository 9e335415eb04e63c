//! A client of the collector's web listener: HTTP/1.1 over TLS, one request a connection, blocking. Written here so
//! that nothing of the collector reads what the collector wrote.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value as Json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// The machine's clock and so many days.
#[derive(Debug)]
struct Ahead {
    days: u64,
}

impl TimeProvider for Ahead {
    fn current_time(&self) -> Option<UnixTime> {
        let ahead = UnixTime::now().as_secs() + self.days * 24 * 3600;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(ahead)))
    }
}

/// A web listener, and as whom it is asked.
#[derive(Debug, Clone)]
pub struct Rest {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    token: Option<String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Rest {
    /// A client that believes the authority in this file.
    ///
    /// # Panics
    /// When the file is no certificate.
    pub fn new(address: SocketAddr, authority: &Path, token: Option<String>) -> Self {
        Self::ahead(address, authority, token, 0)
    }

    /// A client that lives so many days ahead of the machine's clock.
    ///
    /// # Panics
    /// When the file is no certificate.
    pub fn ahead(address: SocketAddr, authority: &Path, token: Option<String>, days: u64) -> Self {
        let pem = std::fs::read(authority).unwrap_or_else(|error| panic!("{}: {error}", authority.display()));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_details(provider, Arc::new(Ahead { days }))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { address, tls: Arc::new(tls), token }
    }

    /// The same listener, asked by nobody in particular.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "")
    }

    /// `GET` that must succeed, as JSON.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub fn get_json(&self, path: &str) -> Json {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.body);
        reply.json()
    }

    /// `POST` of a form, as a browser on a page of this collector sends it.
    pub fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let origin = format!("https://{}", self.address);
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", origin.as_str())];
        self.ask("POST", path, &headers, &pairs.join("&"))
    }

    /// One request.
    ///
    /// # Panics
    /// When no answer comes.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        // A server that refuses a body before it has read it closes the connection, and its answer can be lost with that.
        const TRIES: u32 = 10;
        let mut last = None;
        for _ in 0..TRIES {
            match self.try_ask(method, path, headers, body) {
                Ok(reply) => return reply,
                Err(error) if is_cut(&error) => last = Some(error),
                Err(error) => panic!("{method} {path}: {error}"),
            }
        }
        panic!("{method} {path}: {TRIES} times no answer: {last:?}")
    }

    /// One request on one connection: an answer that is lost with the connection is an error.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Reply> {
        let tcp = TcpStream::connect_timeout(&self.address, LIMIT)?;
        tcp.set_read_timeout(Some(LIMIT))?;
        tcp.set_write_timeout(Some(LIMIT))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let session = ClientConnection::new(Arc::clone(&self.tls), name).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(session, tcp);
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        request.push_str(&format!("content-length: {}\r\n", body.len()));
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(token) = &self.token {
            request.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        match stream.write_all(format!("{request}\r\n{body}").as_bytes()) {
            // What was answered before the cut may still be there.
            Err(error) if !is_cut(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            // The server may close without TLS's goodbye; the length of the body says whether it is whole.
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof && !is_cut(&error) => Err(error),
            Ok(_) => parse(&bytes).ok_or_else(|| std::io::Error::other("the answer is cut off")),
            Err(_) => parse(&bytes).ok_or_else(|| std::io::ErrorKind::ConnectionReset.into()),
        }
    }
}

fn is_cut(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset)
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let value =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let rest = &bytes[end + 4..];
    let body = match (value("transfer-encoding"), value("content-length")) {
        (Some("chunked"), _) => unchunked(rest)?,
        (_, Some(length)) => rest.get(..length.parse().ok()?)?.to_vec(),
        _ => rest.to_vec(),
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Reply { status, headers, body })
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 2 + length + 2..)?;
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
