//! Reaches hosts that the machine's own configuration names: resolves, connects and reads one HTTP answer.
//!
//! Everything has one deadline and a bound, because what answers may be slow, endless or rubbish. No other host is ever
//! contacted: a redirect is read and not followed.

use crate::ProbeError;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long the system's resolver may take; it waits far longer by itself.
pub(crate) const RESOLVE_LIMIT: Duration = Duration::from_secs(4);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 3;
const MAX_HEAD_BYTES: usize = 16 << 10;

/// A host and a port, from `host:port`, `[v6]:port`, or without a port when there is a usual one.
pub(crate) fn authority(text: &str, usual: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port.map_or(usual, |port| port.parse().ok()).filter(|port| *port > 0)?;
    is_host(host).then(|| (host.to_owned(), port))
}

/// Whether a text may stand in a header line as a host: a name of DNS or an address.
pub(crate) fn is_host(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=253).contains(&text.len()) && (text.bytes().all(fits) || text.parse::<IpAddr>().is_ok())
}

/// The parts of an `http://` address: host, port and path with query.
pub(crate) fn http_url(text: &str) -> Option<(String, u16, String)> {
    let rest = text.strip_prefix("http://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (host, port) = authority(&rest[..end], Some(80))?;
    let path = if end == rest.len() { "/" } else { &rest[end..] };
    let fits = path.len() <= 1024 && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    fits.then(|| (host, port, path.to_owned()))
}

/// The addresses of a host. The resolver's own thread may outlive the limit; it ends when the resolver gives up.
pub(crate) fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ProbeError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::from((address, port))]);
    }
    let (send, receive) = mpsc::channel();
    let name = host.to_owned();
    let started = std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(|all| all.take(MAX_ADDRESSES).collect());
        // Nobody may be waiting any more.
        let _ = send.send(found);
    });
    started.map_err(|error| ProbeError::Malformed(format!("no thread to resolve {host}: {error}")))?;
    match receive.recv_timeout(RESOLVE_LIMIT) {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(ProbeError::NotPresent(format!("{host} cannot be looked up: {error}"))),
        Err(_) => Err(ProbeError::TimedOut(format!("looking up {host} took too long"))),
    }
}

/// Connects to the first address that answers.
pub(crate) fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, ProbeError> {
    let mut failure = ProbeError::NotPresent("the host has no address".to_owned());
    for (at, address) in addresses.iter().enumerate() {
        // A dead first address must leave time for the others.
        let others = u32::try_from(addresses.len() - at).unwrap_or(1);
        match TcpStream::connect_timeout(address, left(deadline)? / others) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = failed(&format!("connecting to {address}"), &error),
        }
    }
    Err(failure)
}

/// What is left until the deadline; never nothing.
pub(crate) fn left(deadline: Instant) -> Result<Duration, ProbeError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ProbeError::TimedOut("no complete answer in time".to_owned()));
    }
    // Longer than the smallest unit of a socket's time limit, which would mean none at all.
    Ok(left.max(Duration::from_millis(1)))
}

/// Gives every read and write of a stream what is left until the deadline.
pub(crate) fn arm(stream: &TcpStream, deadline: Instant) -> Result<(), ProbeError> {
    let left = left(deadline)?;
    let set = stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
    set.map_err(|error| failed("the connection", &error))
}

/// The failure of a connection.
pub(crate) fn failed(what: &str, error: &io::Error) -> ProbeError {
    let detail = format!("{what}: {error}");
    let kind = error.kind();
    if matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        ProbeError::TimedOut(detail)
    } else if kind == io::ErrorKind::PermissionDenied {
        ProbeError::NotPermitted(detail)
    } else if kind == io::ErrorKind::Unsupported {
        ProbeError::Unsupported(detail)
    } else if is_absent(kind) {
        ProbeError::NotPresent(detail)
    } else {
        ProbeError::Malformed(detail)
    }
}

fn is_absent(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable)
}

/// The beginning of an HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// As much of the body as was wanted and came, without the frame of its first chunk.
    pub(crate) body: Vec<u8>,
}

/// Sends a request and reads the answer's head and the first `wanted` bytes of its body.
pub(crate) fn exchange(
    stream: &mut TcpStream,
    request: &str,
    wanted: usize,
    deadline: Instant,
) -> Result<Reply, ProbeError> {
    arm(stream, deadline)?;
    stream.write_all(request.as_bytes()).map_err(|error| failed("sending the request", &error))?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = head_end(&bytes) {
            break end;
        }
        if bytes.len() > MAX_HEAD_BYTES {
            return Err(ProbeError::Malformed("the head of the HTTP answer is too long".to_owned()));
        }
        if !fill(stream, &mut bytes, deadline)? {
            return Err(ProbeError::Malformed("the HTTP answer ends within its head".to_owned()));
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status =
        status(&head).ok_or_else(|| ProbeError::Malformed("what answers does not speak HTTP".to_owned()))?;
    let mut body = bytes.split_off(end);
    let chunked = header(&head, "transfer-encoding").is_some_and(|value| value.ends_with("chunked"));
    let length = header(&head, "content-length").and_then(|value| value.parse::<usize>().ok());
    // The frame of a chunk is one short line.
    let enough = if chunked { wanted + 32 } else { wanted.min(length.unwrap_or(wanted)) };
    while wanted > 0 && body.len() < enough {
        match fill(stream, &mut body, deadline) {
            Ok(true) => {}
            // A server that keeps the connection open has said all; what came is judged.
            Ok(false) | Err(_) => break,
        }
    }
    if chunked && let Some(line) = body.iter().position(|byte| *byte == b'\n') {
        body.drain(..=line);
    }
    body.truncate(enough.min(wanted));
    Ok(Reply { status, body })
}

fn fill(stream: &mut TcpStream, bytes: &mut Vec<u8>, deadline: Instant) -> Result<bool, ProbeError> {
    let mut piece = [0u8; 2048];
    loop {
        arm(stream, deadline)?;
        match stream.read(&mut piece) {
            Ok(length) => {
                bytes.extend_from_slice(&piece[..length]);
                return Ok(length > 0);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("waiting for the answer", &error)),
        }
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let crlf = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    crlf.or_else(|| bytes.windows(2).position(|window| window == b"\n\n").map(|at| at + 2))
}

fn status(head: &str) -> Option<u16> {
    let rest = head.strip_prefix("HTTP/1.")?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok().filter(|status| (100..600).contains(status))
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
    })
}

/// Servers of the tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    /// Starts a server on loopback that does the same with every connection; it ends with the test process.
    pub(crate) fn serve(behaviour: impl Fn(&mut TcpStream) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                behaviour(&mut stream);
            }
        });
        address
    }

    /// A server that reads a request's head, sends `bytes` and closes.
    pub(crate) fn canned(bytes: impl Into<Vec<u8>>) -> SocketAddr {
        let bytes = bytes.into();
        serve(move |stream| {
            read_head(stream);
            // The client may have seen enough.
            let _ = stream.write_all(&bytes);
        })
    }

    /// Reads to the end of a request's head and gives it.
    pub(crate) fn read_head(stream: &mut TcpStream) -> String {
        let (mut bytes, mut piece) = (Vec::new(), [0u8; 1024]);
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(length) => bytes.extend_from_slice(&piece[..length]),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A port where nobody listens.
    pub(crate) fn nobody() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{canned, nobody, read_head, serve};
    use super::*;
    use firstline_model::UnavailableReason;

    fn ask(address: SocketAddr, wanted: usize, limit: Duration) -> Result<Reply, ProbeError> {
        let deadline = Instant::now() + limit;
        let mut stream = connect(&[address], deadline)?;
        exchange(&mut stream, "GET / HTTP/1.1\r\n\r\n", wanted, deadline)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn hosts_and_ports_are_told_from_what_would_break_a_header() {
        assert_eq!(authority("vpn.example:443", None), Some(("vpn.example".to_owned(), 443)));
        assert_eq!(authority("[::1]:443", None), Some(("::1".to_owned(), 443)));
        assert_eq!(authority("proxy", Some(3128)), Some(("proxy".to_owned(), 3128)));
        for text in
            ["", ":443", "a:0", "a:65536", "a:x", "a b:1", "a\r\nX: y:1", "[::1", "[x]:1", "::1", "user@a:1"]
        {
            assert_eq!(authority(text, None), None, "{text:?}");
        }
        assert_eq!(authority("a", None), None, "no port and none is usual");
    }

    #[test]
    fn only_plain_http_addresses_are_taken_apart() {
        let parts = http_url("http://check.example/generate_204?x=1");
        assert_eq!(parts, Some(("check.example".to_owned(), 80, "/generate_204?x=1".to_owned())));
        assert_eq!(http_url("http://[::1]:81").map(|parts| (parts.1, parts.2)), Some((81, "/".to_owned())));
        for text in ["https://check.example/", "check.example", "http://", "http://a/ b", "http://a/\r\nX: y"]
        {
            assert_eq!(http_url(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_body_is_read_by_length_by_chunk_and_to_the_end() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nonline",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nonline\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\n\nonline, and a long page after it",
        ] {
            let reply = ask(canned(answer), 6, LONG).unwrap();
            assert_eq!((reply.status, reply.body.as_slice()), (200, b"online".as_slice()), "{answer}");
        }
    }

    #[test]
    fn rubbish_a_header_of_a_megabyte_and_a_cut_answer_are_malformed() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
        for answer in
            ["", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 99999 OK\r\n\r\n", "HTTP/1.1 204 No", long.as_str()]
        {
            let error = ask(canned(answer), 0, LONG).unwrap_err();
            assert_eq!(error.reason(), UnavailableReason::Malformed, "{answer:.40}");
        }
    }

    #[test]
    fn an_endless_body_ends_where_enough_was_read() {
        let address = serve(|stream| {
            read_head(stream);
            let mut more = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_ok();
            while more {
                more = stream.write_all(&[b'x'; 4096]).is_ok();
            }
        });
        assert_eq!(ask(address, 10, LONG).unwrap().body, b"xxxxxxxxxx");
    }

    #[test]
    fn a_slow_drip_ends_at_the_deadline_and_not_with_the_last_byte() {
        let address = serve(|stream| {
            let pace = Duration::from_millis(20);
            let _ = stream.set_read_timeout(Some(pace));
            let mut more = true;
            while more {
                more = stream.write_all(b"x").is_ok();
                // Waits a moment: the client sends nothing further.
                let _ = stream.read(&mut [0; 256]);
            }
        });
        let begun = Instant::now();
        let error = ask(address, 0, Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.reason(), UnavailableReason::TimedOut);
        assert!(begun.elapsed() < LONG);
    }

    #[test]
    fn a_dead_first_address_leaves_time_for_the_second() {
        let good = canned("HTTP/1.1 204 No Content\r\n\r\n");
        assert!(connect(&[nobody(), good], Instant::now() + LONG).is_ok());
        let error = connect(&[nobody()], Instant::now() + LONG).unwrap_err();
        assert_eq!(error.reason(), UnavailableReason::NotPresent);
    }
}
