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
                if let Err(error) = socket.send(&encode(*v6, self.next, &self.token)) {
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
                    if is_reply(*v6, &buffer[..length], &self.token) {
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

fn encode(v6: bool, sequence: u16, token: &[u8; TOKEN_BYTES]) -> Vec<u8> {
    let mut packet = vec![if v6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST_V4 }, 0, 0, 0, token[0], token[1]];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(token);
    if !v6 {
        // The kernel fills in the checksum of ICMPv6, which covers addresses that we do not know.
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// Whether a received packet, with or without its IPv4 header, answers a request that carried `token`.
fn is_reply(v6: bool, packet: &[u8], token: &[u8; TOKEN_BYTES]) -> bool {
    // An echo reply begins with 0 or 129, an IPv4 header with 4 in its first half byte: they cannot be confused.
    let packet = match packet.first() {
        Some(first) if first >> 4 == 4 && !v6 => {
            packet.get(usize::from(first & 0x0f) * 4..).unwrap_or_default()
        }
        _ => packet,
    };
    let reply = if v6 { ECHO_REPLY_V6 } else { ECHO_REPLY_V4 };
    packet.first() == Some(&reply) && packet.get(HEADER_BYTES..) == Some(&token[..])
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
        let packet = encode(false, 7, &token());
        assert_eq!(checksum(&packet), 0);
        assert_eq!(packet.len(), HEADER_BYTES + TOKEN_BYTES);
    }

    #[test]
    fn only_a_reply_with_our_token_counts_with_or_without_an_ip_header() {
        let ours = [7u8; TOKEN_BYTES];
        let mut reply = encode(false, 1, &ours);
        assert!(!is_reply(false, &reply, &ours), "our own request came back as an answer");
        reply[0] = ECHO_REPLY_V4;
        assert!(is_reply(false, &reply, &ours));
        assert!(!is_reply(false, &reply, &[8u8; TOKEN_BYTES]));
        let mut with_header = vec![0x45u8; 20];
        with_header.extend_from_slice(&reply);
        assert!(is_reply(false, &with_header, &ours));
        for end in 0..with_header.len() {
            assert!(!is_reply(false, &with_header[..end], &ours));
        }
    }

    #[test]
    fn loopback_answers_by_echo_or_by_refusing_a_datagram() {
        let mut echo = Echo::open([127, 0, 0, 1].into(), 0).unwrap();
        let answer = echo.request(Duration::from_secs(5)).unwrap();
        assert!(answer.is_some(), "icmp: {}", echo.is_icmp());
    }
}
