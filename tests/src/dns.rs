//! A DNS server that can fall silent.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tempfile::TempDir;

/// A server that answers every question with "no such record", which is a proper answer.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    answering: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    folder: TempDir,
}

impl DnsServer {
    /// One that answers, on a free port of this address.
    ///
    /// # Panics
    /// When there is none.
    pub fn started(host: IpAddr) -> Self {
        Self::listening((host, 0).into())
    }

    /// A second one, on the same port of another address, for agents that ask this one too.
    pub fn beside(&self, host: IpAddr) -> Self {
        let second = Self::listening((host, self.address.port()).into());
        let both = format!("nameserver {}\nnameserver {host}\n", self.address.ip());
        std::fs::write(self.resolv_conf(), both).expect("a file");
        second
    }

    fn listening(wanted: SocketAddr) -> Self {
        let socket = UdpSocket::bind(wanted).expect("a free port");
        let address = socket.local_addr().expect("a socket has an address");
        let host = wanted.ip();
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("resolv.conf"), format!("nameserver {host}\n")).expect("a file");
        let (answering, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (is_answering, count) = (Arc::clone(&answering), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                count.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = answer(&buffer[..length])
                    && is_answering.load(Ordering::SeqCst)
                {
                    // Who asked may be gone.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, answering, asked, folder }
    }

    /// Falls silent.
    pub fn stop(&self) {
        self.answering.store(false, Ordering::SeqCst);
    }

    /// Answers again.
    pub fn start(&self) {
        self.answering.store(true, Ordering::SeqCst);
    }

    /// How many questions came.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// What an agent's configuration needs to ask this server.
    pub fn overrides(&self) -> String {
        format!("[overrides]\nresolv_conf = {:?}\ndns_port = {}\n", self.resolv_conf(), self.address.port())
    }

    fn resolv_conf(&self) -> PathBuf {
        self.folder.path().join("resolv.conf")
    }
}

/// Header and question of RFC 1035, section 4.1, sent back as a response without records.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    loop {
        let length = usize::from(*question.get(end)?);
        end += 1 + length;
        if length == 0 {
            break;
        }
    }
    let mut answer = question.get(..end + 4)?.to_vec();
    answer[2] = 0x81;
    answer[3] = 0x80;
    answer[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_the_question_and_drops_what_follows() {
        let mut question = vec![0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        question.extend_from_slice(b"\x02ab\x00\x00\x01\x00\x01");
        let length = question.len();
        question.extend_from_slice(b"\x00\x00\x29");
        let answer = answer(&question).unwrap();
        assert_eq!(answer.len(), length);
        assert_eq!(answer[..6], [0xAB, 0xCD, 0x81, 0x80, 0, 1]);
        assert_eq!(super::answer(&question[..14]), None);
    }
}
