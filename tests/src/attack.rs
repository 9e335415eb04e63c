//! A peer that speaks HTTP/2 by hand, frame by frame, so that it can say what no library would: half of a head, a
//! million pings, lengths that lie. It connects from an address of its own choice on loopback.

use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, connect, ipproto, socket};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an HTTP/2 client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames, by their numbers.
pub mod kind {
    /// Bytes of a body.
    pub const DATA: u8 = 0;
    /// The head of a request or an answer.
    pub const HEADERS: u8 = 1;
    /// Takes a request back.
    pub const RST_STREAM: u8 = 3;
    /// How the connection is meant.
    pub const SETTINGS: u8 = 4;
    /// Asks for a sign of life.
    pub const PING: u8 = 6;
    /// The connection is over.
    pub const GOAWAY: u8 = 7;
    /// More may be sent.
    pub const WINDOW_UPDATE: u8 = 8;
    /// The rest of a head.
    pub const CONTINUATION: u8 = 9;
}

/// The head is whole.
pub const END_HEADERS: u8 = 4;
/// The body is whole.
pub const END_STREAM: u8 = 1;

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![a, b, c, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Header fields as HPACK literals, without a table and without compression.
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        match u8::try_from(text.len()) {
            Ok(length @ 0..127) => bytes.push(length),
            Ok(_) | Err(_) => {
                bytes.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    bytes.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                bytes.push(rest as u8);
            }
        }
        bytes.extend(text.as_bytes());
    };
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name);
        text(&mut bytes, value);
    }
    bytes
}

/// The fields of a gRPC request.
pub fn grpc<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "firstline-collector"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    all.extend(more);
    all
}

/// The path of the agents' stream.
pub const SESSION: &str = "/firstline.v1.Session/Stream";

/// A gRPC message in its frame.
pub fn message(flag: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flag];
    bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// How a `grpc-status` of two digits, both of them 1 or 2, ends a list of fields: HPACK's Huffman code has five bits for
/// each of these digits, and ones to the end of the byte.
pub fn status(code: u8) -> [u8; 3] {
    let bits = u16::from(code / 10) << 11 | u16::from(code % 10) << 6 | 0x3f;
    let [first, second] = bits.to_be_bytes();
    [0x80 | 2, first, second]
}

/// A TCP connection from this address.
///
/// # Errors
/// When there is none.
pub fn tcp(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let SocketAddr::V4(to) = to else { return TcpStream::connect(to) };
    let socket = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP))?;
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    connect(&socket, &to)?;
    let tcp = TcpStream::from(socket);
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    tcp.set_write_timeout(Some(Duration::from_secs(20)))?;
    Ok(tcp)
}

/// A connection under TLS.
#[derive(Debug)]
pub struct Attacker {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Attacker {
    /// Shakes hands, and says nothing yet.
    ///
    /// # Errors
    /// When the hand is refused.
    pub fn connect(from: Ipv4Addr, to: SocketAddr, tls: &Arc<ClientConfig>) -> io::Result<Self> {
        Self::connect_as("firstline-collector", from, to, tls)
    }

    /// The same with a server of this name.
    ///
    /// # Errors
    /// When the hand is refused.
    pub fn connect_as(
        name: &'static str,
        from: Ipv4Addr,
        to: SocketAddr,
        tls: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, tcp(from, to)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream })
    }

    /// The same, and begins HTTP/2.
    ///
    /// # Errors
    /// When the hand is refused.
    pub fn http2(from: Ipv4Addr, to: SocketAddr, tls: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut attacker = Self::connect(from, to, tls)?;
        attacker.send(&[PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat())?;
        Ok(attacker)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends the same again and again until the other side is gone, and tells how long that took; `None` when it never was.
    /// What the other side says is read and thrown away.
    pub fn flood(&mut self, limit: Duration, mut next: impl FnMut(u32) -> Vec<u8>) -> Option<Duration> {
        let begun = Instant::now();
        self.stream.sock.set_nonblocking(true).ok()?;
        let mut waste = [0; 16 << 10];
        for turn in 0.. {
            if begun.elapsed() > limit {
                break;
            }
            let bytes = next(turn);
            let written = self.stream.conn.writer().write(&bytes);
            loop {
                match self.stream.conn.write_tls(&mut self.stream.sock) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                    Err(_) => return Some(begun.elapsed()),
                }
                match self.stream.conn.read_tls(&mut self.stream.sock) {
                    Ok(0) => return Some(begun.elapsed()),
                    Ok(_) => {
                        if self.stream.conn.process_new_packets().is_err() {
                            return Some(begun.elapsed());
                        }
                        while matches!(self.stream.conn.reader().read(&mut waste), Ok(1..)) {}
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return Some(begun.elapsed()),
                }
                if !self.stream.conn.wants_write() || begun.elapsed() > limit {
                    break;
                }
            }
            if written.is_err() {
                return Some(begun.elapsed());
            }
        }
        None
    }

    /// Waits until the other side closes, and tells how long that took and what it said; `None` when it does not.
    pub fn closed_within(&mut self, limit: Duration) -> Option<(Duration, Vec<u8>)> {
        let begun = Instant::now();
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while begun.elapsed() < limit {
            let left = (limit - begun.elapsed().min(limit)).max(Duration::from_millis(1));
            self.stream.sock.set_read_timeout(Some(left)).ok()?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some((begun.elapsed(), heard)),
                Ok(length) => heard.extend(&buffer[..length]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(_) => return Some((begun.elapsed(), heard)),
            }
        }
        None
    }

    /// Reads until these bytes came, or the end; returns everything.
    pub fn heard(&mut self, wanted: &[u8], limit: Duration) -> Vec<u8> {
        let begun = Instant::now();
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while begun.elapsed() < limit && !heard.windows(wanted.len()).any(|part| part == wanted) {
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => heard.extend(&buffer[..length]),
            }
        }
        heard
    }
}
