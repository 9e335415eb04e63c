//! The page that shows whether pages open, and a sign-in page that stands in the way of it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ONLINE: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
const SIGN_IN: &str = "HTTP/1.1 302 Found\r\nLocation: http://portal.guest.example/login\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A web server that answers as the world does, or as a hotel does.
#[derive(Debug)]
pub struct Portal {
    address: SocketAddr,
    in_the_way: Arc<AtomicBool>,
}

impl Portal {
    /// One that lets everybody through.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn started(host: IpAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("a free port");
        let address = listener.local_addr().expect("a socket has an address");
        let in_the_way = Arc::new(AtomicBool::new(false));
        let asks_to_sign_in = Arc::clone(&in_the_way);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = if asks_to_sign_in.load(Ordering::SeqCst) { SIGN_IN } else { ONLINE };
                // Who asked may be gone.
                let _ = reply(stream, answer);
            }
        });
        Self { address, in_the_way }
    }

    /// Everybody has to sign in first, or not any more.
    pub fn stands_in_the_way(&self, stands: bool) {
        self.in_the_way.store(stands, Ordering::SeqCst);
    }

    /// The setting of an agent that asks for it.
    pub fn setting(&self) -> String {
        format!("connectivity_url = \"http://{}/generate_204\"\n", self.address)
    }
}

fn reply(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut head = [0; 1024];
    let mut length = 0;
    while length < head.len() && !head[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut head[length..])? {
            0 => break,
            more => length += more,
        }
    }
    stream.write_all(answer.as_bytes())
}
