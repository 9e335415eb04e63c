//! Just enough HTTP/1.1 to post one IPP request and read one reply, over a connection that is used once. Header and
//! body are bounded and the whole exchange has one deadline, because a printer may send slowly, endlessly or rubbish.

use crate::ProbeError;
use crate::printer::message::MAX_REPLY_BYTES;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_LINE_BYTES: usize = 4 << 10;
const MAX_INTERIM_REPLIES: usize = 4;

/// A connection to a print server or printer.
#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

impl Connection {
    /// Connects over TCP within `limit`.
    pub(crate) fn tcp(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        TcpStream::connect_timeout(&address, limit).map(Self::Tcp)
    }

    fn limit(&self, left: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.set_write_timeout(Some(left))
            }
            #[cfg(unix)]
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.set_write_timeout(Some(left))
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.write(bytes),
        }
    }
}

/// Posts an IPP request and returns the body of the reply. `host` and `path` must be fit for a header line.
pub(crate) fn post(
    connection: Connection,
    host: &str,
    path: &str,
    body: &[u8],
    limit: Duration,
) -> Result<Vec<u8>, ProbeError> {
    let deadline = Instant::now() + limit;
    let mut exchange = Exchange { connection, deadline, buffer: Vec::new(), at: 0 };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/ipp\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    exchange.send(head.as_bytes())?;
    exchange.send(body)?;
    for _ in 0..MAX_INTERIM_REPLIES {
        let head = exchange.head()?;
        if !(100..200).contains(&head.status) {
            return exchange.body(&head);
        }
    }
    Err(malformed("too many interim replies"))
}

fn malformed(what: &str) -> ProbeError {
    ProbeError::Malformed(format!("the HTTP reply makes no sense: {what}"))
}

#[derive(Debug, Default)]
struct Head {
    status: u16,
    length: Option<usize>,
    chunked: bool,
    ipp: bool,
}

struct Exchange {
    connection: Connection,
    deadline: Instant,
    buffer: Vec<u8>,
    at: usize,
}

impl Exchange {
    fn arm(&self) -> Result<(), ProbeError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ProbeError::TimedOut("the IPP exchange took too long".to_owned()));
        }
        self.connection.limit(left).map_err(|error| failed(&error))
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), ProbeError> {
        while !bytes.is_empty() {
            self.arm()?;
            match self.connection.write(bytes) {
                Ok(0) => return Err(malformed("the connection takes no more")),
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }

    /// Reads more into the buffer; `false` at the end of the stream.
    fn fill(&mut self) -> Result<bool, ProbeError> {
        let mut piece = [0u8; 8 << 10];
        loop {
            self.arm()?;
            match self.connection.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    self.buffer.extend_from_slice(&piece[..length]);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error)),
            }
        }
    }

    /// One line without its end.
    fn line(&mut self) -> Result<String, ProbeError> {
        loop {
            let unread = &self.buffer[self.at..];
            if let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&unread[..end]).trim_end_matches('\r').to_owned();
                self.at += end + 1;
                return Ok(line);
            }
            if unread.len() > MAX_LINE_BYTES {
                return Err(malformed("a line is too long"));
            }
            if !self.fill()? {
                return Err(malformed("it ends within a line"));
            }
        }
    }

    fn head(&mut self) -> Result<Head, ProbeError> {
        let start = self.at;
        let first = self.line()?;
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let mut head =
            Head { status: status.ok_or_else(|| malformed("it has no status line"))?, ..Head::default() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(head);
            }
            if self.at - start > MAX_HEAD_BYTES {
                return Err(malformed("its head is too long"));
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(malformed("a header has no colon"));
            };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "content-length" => {
                    head.length = Some(value.parse().map_err(|_| malformed("its length is no number"))?);
                }
                "transfer-encoding" => head.chunked = value.to_ascii_lowercase().ends_with("chunked"),
                "content-type" => head.ipp = value.to_ascii_lowercase().starts_with("application/ipp"),
                _ => {}
            }
        }
    }

    fn body(&mut self, head: &Head) -> Result<Vec<u8>, ProbeError> {
        match head.status {
            200 => {}
            401 | 403 => return Err(ProbeError::NotPermitted(format!("HTTP status {}", head.status))),
            404 => return Err(ProbeError::NotPresent("HTTP status 404".to_owned())),
            426 => return Err(ProbeError::Unsupported("the server insists on encryption".to_owned())),
            status => return Err(ProbeError::Malformed(format!("HTTP status {status}"))),
        }
        if !head.ipp {
            return Err(malformed("it is not an IPP message"));
        }
        if head.chunked {
            return self.chunks();
        }
        match head.length {
            Some(length) => self.take(length),
            None => {
                while self.fill()? {
                    within_bound(self.buffer.len() - self.at)?;
                }
                Ok(self.buffer.split_off(self.at))
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, ProbeError> {
        within_bound(length)?;
        while self.buffer.len() - self.at < length {
            if !self.fill()? {
                return Err(malformed("it ends too early"));
            }
        }
        let taken = self.buffer[self.at..self.at + length].to_vec();
        self.at += length;
        Ok(taken)
    }

    fn chunks(&mut self) -> Result<Vec<u8>, ProbeError> {
        let mut whole = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).map_err(|_| malformed("a chunk has no length"))?;
            if length == 0 {
                return Ok(whole);
            }
            within_bound(length)?;
            whole.extend(self.take(length)?);
            within_bound(whole.len())?;
            if !self.line()?.is_empty() {
                return Err(malformed("a chunk is longer than it says"));
            }
            // What was taken is not needed any more; many small chunks must not pile up.
            self.buffer.drain(..self.at);
            self.at = 0;
        }
    }
}

fn within_bound(length: usize) -> Result<(), ProbeError> {
    if length > MAX_REPLY_BYTES { Err(malformed("it is too long")) } else { Ok(()) }
}

/// The failure of a connection.
pub(crate) fn failed(error: &io::Error) -> ProbeError {
    let detail = format!("connection: {error}");
    let kind = error.kind();
    if matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        ProbeError::TimedOut(detail)
    } else if kind == io::ErrorKind::PermissionDenied {
        ProbeError::NotPermitted(detail)
    } else if matches!(kind, io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) {
        ProbeError::NotPresent(detail)
    } else {
        ProbeError::Malformed(detail)
    }
}

/// A server that gives one canned reply to each connection.
#[cfg(test)]
pub(crate) mod testing {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    /// What the server does with a connection after it has read the request.
    pub(crate) type Behaviour = Box<dyn Fn(&[u8], &mut TcpStream) + Send>;

    /// Starts a server; it ends with the test process.
    pub(crate) fn serve(behaviour: Behaviour) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let request = read_request(&mut stream);
                behaviour(&request, &mut stream);
            }
        });
        address
    }

    /// A whole reply with the body and its length.
    pub(crate) fn reply(body: &[u8]) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    /// Sends `bytes`; the other side may have gone.
    pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) -> bool {
        stream.write_all(bytes).is_ok()
    }

    fn read_request(stream: &mut TcpStream) -> Vec<u8> {
        let (mut bytes, mut piece) = (Vec::new(), [0u8; 4096]);
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let length =
                    head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
                if bytes.len() - end - 4 >= length.unwrap_or(0) {
                    return bytes.split_off(end + 4);
                }
            }
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return Vec::new(),
                Ok(length) => bytes.extend_from_slice(&piece[..length]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{reply, send, serve};
    use super::*;
    use firstline_model::UnavailableReason;

    fn ask(address: SocketAddr, limit: Duration) -> Result<Vec<u8>, ProbeError> {
        let connection = Connection::tcp(address, Duration::from_secs(5)).unwrap();
        post(connection, "localhost", "/", b"question", limit)
    }

    fn canned(bytes: Vec<u8>) -> Result<Vec<u8>, ProbeError> {
        let server = serve(Box::new(move |_, stream| {
            send(stream, &bytes);
        }));
        ask(server, Duration::from_secs(20))
    }

    #[test]
    fn a_body_arrives_by_length_in_chunks_and_to_the_end() {
        assert_eq!(canned(reply(b"answer")).unwrap(), b"answer");
        let chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: application/ipp\r\n\
            Transfer-Encoding: chunked\r\n\r\n3\r\nans\r\n3;x=y\r\nwer\r\n0\r\n\r\n";
        assert_eq!(canned(chunked.to_vec()).unwrap(), b"answer");
        let to_the_end = b"HTTP/1.0 200 OK\r\nContent-Type: application/ipp\r\n\r\nanswer";
        assert_eq!(canned(to_the_end.to_vec()).unwrap(), b"answer");
    }

    #[test]
    fn what_is_not_a_reply_is_malformed() {
        let ipp = "HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\n";
        for text in [
            String::new(),
            "SSH-2.0-printer\r\n\r\n".to_owned(),
            "HTTP/1.1 abc\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
            format!("{ipp}Content-Length: 99\r\n\r\nshort"),
            format!("{ipp}Content-Length: -1\r\n\r\n"),
            format!("{ipp}Content-Length: 99999999999\r\n\r\n"),
            format!("{ipp}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            format!("{ipp}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
            format!("{ipp}X: {}\r\n\r\n", "y".repeat(1 << 20)),
            format!("{ipp}{}\r\n", "X: y\r\n".repeat(100_000)),
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000),
            "HTTP/1.1 500 Oops\r\n\r\n".to_owned(),
        ] {
            let error = canned(text.clone().into_bytes()).unwrap_err();
            assert_eq!(error.reason(), UnavailableReason::Malformed, "{:.60}: {error}", text);
        }
    }

    #[test]
    fn refusals_keep_their_reason() {
        for (status, expected) in [
            (401, UnavailableReason::NotPermitted),
            (426, UnavailableReason::Unsupported),
            (404, UnavailableReason::NotPresent),
        ] {
            let text = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(canned(text.into_bytes()).unwrap_err().reason(), expected, "{status}");
        }
    }

    #[test]
    fn an_endless_body_ends_at_the_bound() {
        let address = serve(Box::new(|_, stream| {
            if send(stream, b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\n\r\n") {
                while send(stream, &[0; 4096]) {}
            }
        }));
        assert_eq!(ask(address, Duration::from_secs(60)).unwrap_err().reason(), UnavailableReason::Malformed);
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let address = serve(Box::new(|_, stream| {
            // Waits until the client gives up.
            let _ = stream.read(&mut [0; 1]);
        }));
        let error = ask(address, Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.reason(), UnavailableReason::TimedOut);
    }
}
