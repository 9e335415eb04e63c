//! ICMP echo requests over a datagram socket, which needs no privilege where the system permits it, else over a raw
//! socket. Where neither is allowed, a single UDP datagram serves: a host that refuses it has answered.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const HEADER_BYTES: usize = 8;
const TOKEN_BYTES: usize = 16;
/// The discard service's port: nothing listens there, so that a host which is up refuses.
const DISCARD_PORT: u16 = 9;

/// Room for the largest packet of Ethernet with its headers.
const BUFFER_BYTES: usize = 2048;

/// What came of one request among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its own answer came.
    After(Duration),
    /// Nothing came in time.
    Silent,
    /// This system, or a router that said so, did not let a packet of this size pass.
    TooLarge,
}

/// An open socket towards one host.
#[derive(Debug)]
pub(crate) struct Echo {
    via: Via,
    next: u16,
    token: [u8; TOKEN_BYTES],
}

#[derive(Debug)]
enum Via {
    Icmp { socket: Socket, v6: bool },
    Udp(UdpSocket),
}

impl Echo {
    /// Opens a socket towards `target`; `scope` is the index of the interface for link-local IPv6 addresses.
    pub(crate) fn open(target: IpAddr, scope: u32) -> io::Result<Self> {
        let via = match icmp_socket(target, scope) {
            Ok(socket) => Via::Icmp { socket, v6: target.is_ipv6() },
            Err(error) if not_offered(&error) => Via::Udp(udp_socket(target, scope)?),
            Err(error) => return Err(error),
        };
        Ok(Self { via, next: 0, token: token() })
    }

    /// Whether real echo requests are sent, so that silence counts as loss.
    pub(crate) const fn is_icmp(&self) -> bool {
        match self.via {
            Via::Icmp { .. } => true,
            Via::Udp(_) => false,
        }
    }

    /// Sends one request and waits up to `limit` for its answer. `None` when none came.
    pub(crate) fn request(&mut self, limit: Duration) -> io::Result<Option<Duration>> {
        self.next = self.next.wrapping_add(1);
        let sent = Instant::now();
        match &self.via {
            Via::Icmp { socket, v6 } => {
                if let Err(error) = socket.send(&encode(*v6, self.next, &self.token, 0)) {
                    return no_answer(error);
                }
            }
            Via::Udp(socket) => {
                if let Err(error) = socket.send(&[0]) {
                    return if error.kind() == io::ErrorKind::ConnectionRefused {
                        Ok(Some(sent.elapsed()))
                    } else {
                        no_answer(error)
                    };
                }
            }
        }
        let answered = self.listen(limit)?;
        Ok(answered.then(|| sent.elapsed()))
    }

    /// Sends one request in a packet of `size` bytes (at least the smallest there is) and waits for its own answer: a late
    /// one to an earlier request does not count.
    pub(crate) fn probe(&mut self, size: usize, limit: Duration) -> io::Result<Answer> {
        let Via::Icmp { socket, v6 } = &self.via else {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "no echo requests are permitted"));
        };
        self.next = self.next.wrapping_add(1);
        let sent = Instant::now();
        let headers = HEADER_BYTES + if *v6 { 40 } else { 20 };
        let packet = encode(*v6, self.next, &self.token, size.saturating_sub(headers + TOKEN_BYTES));
        match socket.send(&packet) {
            Ok(_) => {}
            Err(error) if is_too_large(&error) => return Ok(Answer::TooLarge),
            Err(error) if error.kind() == io::ErrorKind::HostUnreachable => return Ok(Answer::Silent),
            Err(error) => return Err(error),
        }
        let mut buffer = [0u8; BUFFER_BYTES];
        loop {
            let left = limit.saturating_sub(sent.elapsed());
            if left.is_zero() {
                return Ok(Answer::Silent);
            }
            socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match (&*socket).read(&mut buffer) {
                Ok(length) => {
                    if answered(*v6, &buffer[..length], &self.token) == Some(self.next) {
                        return Ok(Answer::After(sent.elapsed()));
                    }
                }
                Err(error) if is_too_large(&error) => return Ok(Answer::TooLarge),
                Err(error) if error.kind() == io::ErrorKind::HostUnreachable => return Ok(Answer::Silent),
                Err(error) => {
                    let kind = error.kind();
                    if matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                        return Ok(Answer::Silent);
                    }
                    if kind != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// From now on, requests must arrive whole or not at all, whatever this system has learned of the path.
    #[cfg(target_os = "linux")]
    pub(crate) fn forbid_fragments(&self) -> io::Result<()> {
        use rustix::net::sockopt;
        match &self.via {
            Via::Icmp { socket, v6: false } => {
                sockopt::set_ip_mtu_discover(socket, sockopt::Ipv4PathMtuDiscovery::PROBE)?;
            }
            Via::Icmp { socket, v6: true } => {
                sockopt::set_ipv6_mtu_discover(socket, sockopt::Ipv6PathMtuDiscovery::PROBE)?;
            }
            Via::Udp(_) => return Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
        Ok(())
    }

    /// Not asked of this system yet.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn forbid_fragments(&self) -> io::Result<()> {
        match &self.via {
            Via::Icmp { .. } | Via::Udp(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }

    /// Waits up to `limit` for a late answer to any request that was sent.
    pub(crate) fn listen(&self, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        let mut buffer = [0u8; 1500];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let received = match &self.via {
                Via::Icmp { socket, .. } => {
                    socket.set_read_timeout(Some(left))?;
                    (&*socket).read(&mut buffer)
                }
                Via::Udp(socket) => {
                    socket.set_read_timeout(Some(left))?;
                    socket.recv(&mut buffer)
                }
            };
            match (received, &self.via) {
                (Ok(length), Via::Icmp { v6, .. }) => {
                    if answered(*v6, &buffer[..length], &self.token).is_some() {
                        return Ok(true);
                    }
                }
                (Ok(_), Via::Udp(_)) => return Ok(true),
                (Err(error), Via::Udp(_)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    return Ok(true);
                }
                (Err(error), Via::Icmp { .. } | Via::Udp(_)) => {
                    let silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    if silent || is_unreachable(&error) {
                        return Ok(false);
                    }
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// "Host unreachable" from our own kernel means that address resolution failed: the request got no answer.
fn is_unreachable(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), HostUnreachable | NetworkDown | NetworkUnreachable)
}

fn is_too_large(error: &io::Error) -> bool {
    #[cfg(unix)]
    let code = rustix::io::Errno::MSGSIZE.raw_os_error();
    #[cfg(not(unix))]
    let code = 10040; // WSAEMSGSIZE
    error.raw_os_error() == Some(code)
}

fn no_answer(error: io::Error) -> io::Result<Option<Duration>> {
    if is_unreachable(&error) { Ok(None) } else { Err(error) }
}

fn not_offered(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported)
}

fn socket_address(target: IpAddr, port: u16, scope: u32) -> SocketAddr {
    match target {
        IpAddr::V4(v4) => SocketAddr::from((v4, port)),
        IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope)),
    }
}

fn icmp_socket(target: IpAddr, scope: u32) -> io::Result<Socket> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))
        .or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)))?;
    socket.connect(&SockAddr::from(socket_address(target, 0, scope)))?;
    Ok(socket)
}

fn udp_socket(target: IpAddr, scope: u32) -> io::Result<UdpSocket> {
    let any: SocketAddr = match target {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(socket_address(target, DISCARD_PORT, scope))?;
    Ok(socket)
}

/// Sixteen bytes that tell our answers from other programs'. The standard library seeds its hashers at random.
fn token() -> [u8; TOKEN_BYTES] {
    let half = || RandomState::new().build_hasher().finish().to_ne_bytes();
    let mut token = [0; TOKEN_BYTES];
    token[..8].copy_from_slice(&half());
    token[8..].copy_from_slice(&half());
    token
}

fn encode(v6: bool, sequence: u16, token: &[u8; TOKEN_BYTES], padding: usize) -> Vec<u8> {
    let mut packet = vec![if v6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST_V4 }, 0, 0, 0, token[0], token[1]];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(token);
    packet.resize(packet.len() + padding, 0);
    if !v6 {
        // The kernel fills in the checksum of ICMPv6, which covers addresses that we do not know.
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The number of the request with `token` that a received packet answers, if it does. The packet may have its IPv4
/// header or not, and some hosts cut the padding off.
fn answered(v6: bool, packet: &[u8], token: &[u8; TOKEN_BYTES]) -> Option<u16> {
    // An echo reply begins with 0 or 129, an IPv4 header with 4 in its first half byte: they cannot be confused.
    let packet = match packet.first() {
        Some(first) if first >> 4 == 4 && !v6 => {
            packet.get(usize::from(first & 0x0f) * 4..).unwrap_or_default()
        }
        _ => packet,
    };
    let reply = if v6 { ECHO_REPLY_V6 } else { ECHO_REPLY_V4 };
    let ours = packet.get(HEADER_BYTES..HEADER_BYTES + TOKEN_BYTES) == Some(&token[..]);
    let sequence = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]);
    (packet.first() == Some(&reply) && ours).then_some(sequence)
}

/// The Internet checksum of RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_its_checksum_sums_to_zero() {
        let packet = encode(false, 7, &token(), 0);
        assert_eq!(checksum(&packet), 0);
        assert_eq!(packet.len(), HEADER_BYTES + TOKEN_BYTES);
    }

    #[test]
    fn only_a_reply_with_our_token_counts_with_or_without_an_ip_header() {
        let ours = [7u8; TOKEN_BYTES];
        let mut reply = encode(false, 1, &ours, 0);
        assert_eq!(answered(false, &reply, &ours), None, "our own request came back as an answer");
        reply[0] = ECHO_REPLY_V4;
        assert_eq!(answered(false, &reply, &ours), Some(1));
        assert_eq!(answered(false, &reply, &[8u8; TOKEN_BYTES]), None);
        let mut with_header = vec![0x45u8; 20];
        with_header.extend_from_slice(&reply);
        assert_eq!(answered(false, &with_header, &ours), Some(1));
        for end in 0..with_header.len() {
            assert_eq!(answered(false, &with_header[..end], &ours), None);
        }
    }

    #[test]
    fn loopback_answers_by_echo_or_by_refusing_a_datagram() {
        let mut echo = Echo::open([127, 0, 0, 1].into(), 0).unwrap();
        let answer = echo.request(Duration::from_secs(5)).unwrap();
        assert!(answer.is_some(), "icmp: {}", echo.is_icmp());
    }
}
