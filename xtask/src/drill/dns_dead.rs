//! A resolver of the drill's own that the drill's agent uses instead of the machine's. When it goes silent, names
//! cannot be looked up, while link, address and gateway are the machine's real ones and work.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cleanup::Cleanup;
use super::fault::{Fault, Plan, Stage, Surroundings};

/// How often the responder looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// DNS over UDP without extensions (RFC 1035, 4.2.1).
const MAX_MESSAGE: usize = 512;
const HEADER: usize = 12;

#[derive(Default)]
pub(super) struct DnsDead {
    responder: Option<Responder>,
    port: u16,
}

impl Fault for DnsDead {
    fn plan(&self) -> Plan {
        Plan {
            rule: "net.dns",
            // One dead server of one is the critical level; the level for one of several must not come first.
            overrides: "[detect.critical]\nfor = \"5s\"\nclear = { for = \"5s\" }\n",
            hold_s: 5,
            clear_s: 5,
            packages: &[],
            needs_root: None,
        }
    }

    fn prepare(&mut self, around: &Surroundings<'_>, _: &mut Cleanup) -> Result<Stage> {
        let responder = Responder::start(0)?;
        self.port = responder.port;
        self.responder = Some(responder);
        let resolv_conf = around.folder.join("resolv.conf");
        std::fs::write(&resolv_conf, "nameserver 127.0.0.1\n")
            .with_context(|| format!("cannot write {}", resolv_conf.display()))?;
        let quoted = toml::Value::String(resolv_conf.display().to_string());
        let id = Some("127.0.0.1".to_owned());
        Ok(Stage {
            agent_config: format!("[overrides]\nresolv_conf = {quoted}\ndns_port = {}\n", self.port),
            component: ("dns_server", id.clone()),
            baseline: ("dns_server", id),
            notes: vec![format!(
                "the drill's agent asks a DNS server of the drill's own on 127.0.0.1:{}; the machine's resolver is not touched",
                self.port
            )],
            ..Stage::default()
        })
    }

    fn inject(&mut self) -> Result<String> {
        if let Some(responder) = self.responder.take() {
            responder.stop();
        }
        Ok(format!("the DNS server on 127.0.0.1:{} was stopped, its port is closed", self.port))
    }

    fn undo(&mut self) -> Result<String> {
        if self.responder.is_none() {
            self.responder = Some(Responder::start(self.port)?);
        }
        Ok(format!("the DNS server on 127.0.0.1:{} answers again", self.port))
    }
}

/// A DNS server on loopback that has one answer. It ends with its value.
struct Responder {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    fn start(port: u16) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("cannot listen on 127.0.0.1:{port} (UDP)"))?;
        socket.set_read_timeout(Some(LOOK_EVERY)).context("cannot limit the time of a read")?;
        let port = socket.local_addr().context("the socket has no address")?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("drill-dns".to_owned())
            .spawn(move || serve(&socket, &told))
            .context("cannot start a thread")?;
        Ok(Self { port, stop, thread: Some(thread) })
    }

    /// Ends it; its port is closed when this returns.
    fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; MAX_MESSAGE];
    while !stop.load(Ordering::Relaxed) {
        // A read that times out and one that a vanished client spoiled are alike: the next one counts.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(reply) = reply(&buffer[..length]) {
            send(socket, &reply, from);
        }
    }
}

fn send(socket: &UdpSocket, reply: &[u8], to: SocketAddr) {
    // Who asked may be gone.
    let _ = socket.send_to(reply, to);
}

/// NOERROR to one standard query: the question again, and for an IPv4 address 192.0.2.1 (RFC 5737).
fn reply(query: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = query.split_at_checked(HEADER)?;
    let is_query = header[2] & 0xf8 == 0;
    let one_question = header[4..6] == [0, 1];
    if !is_query || !one_question {
        return None;
    }
    let mut end = 0;
    loop {
        let label = usize::from(*rest.get(end)?);
        if label > 63 {
            return None;
        }
        end += 1 + label;
        if label == 0 {
            break;
        }
    }
    let question = rest.get(..end + 4)?;
    let is_address = question[end..] == [0, 1, 0, 1];
    let mut reply = header[..2].to_vec();
    // Response, recursion desired as asked, recursion available, no error.
    reply.extend([0x80 | (header[2] & 1), 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    reply.extend(question);
    if is_address {
        // The name of the question, A, IN, one second, four bytes.
        reply.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 1]);
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01";

    #[test]
    fn a_query_is_answered_with_its_own_number_and_question() {
        let answer = reply(QUERY).unwrap();
        assert_eq!(answer[..12], *b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00");
        assert_eq!(answer[12..QUERY.len()], QUERY[12..]);
        assert!(answer.ends_with(&[192, 0, 2, 1]));
        let mut other = QUERY.to_vec();
        other[QUERY.len() - 3] = 28;
        assert_eq!(reply(&other).unwrap()[7], 0, "an AAAA question has no IPv4 answer");
    }

    #[test]
    fn what_is_no_query_is_not_answered() {
        for length in 0..QUERY.len() {
            assert_eq!(reply(&QUERY[..length]), None, "{length}");
        }
        let mut response = QUERY.to_vec();
        response[2] |= 0x80;
        assert_eq!(reply(&response), None);
        assert_eq!(reply(&[0xff; 100]), None);
    }

    #[test]
    fn a_stopped_responder_gives_its_port_back() {
        let responder = Responder::start(0).unwrap();
        let port = responder.port;
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.send_to(QUERY, ("127.0.0.1", port)).unwrap();
        let mut buffer = [0; MAX_MESSAGE];
        assert!(client.recv(&mut buffer).unwrap() > QUERY.len());
        responder.stop();
        Responder::start(port).unwrap().stop();
    }
}
