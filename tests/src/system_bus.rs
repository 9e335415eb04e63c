//! A system bus with a login manager on it, for an agent that reads another root: it says when the machine is about to
//! sleep. Written from the D-Bus specification, apart from the product's own client.

use crate::wait::{seconds, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The connection of the login manager.
pub const LOGIN: &str = ":1.7";
/// The connection of somebody else.
pub const STRANGER: &str = ":1.666";
/// The client says hello and asks for two signals.
const FIRST_CALLS: usize = 3;

/// See the module.
#[derive(Debug)]
pub struct SystemBus {
    client: Arc<Mutex<Option<UnixStream>>>,
    calls: Arc<AtomicUsize>,
}

impl SystemBus {
    /// Waits for clients on the bus of the machine with this root.
    ///
    /// # Panics
    /// When there can be no socket.
    pub fn of(root: &Path) -> Self {
        let folder = root.join("run/dbus");
        std::fs::create_dir_all(&folder).expect("a folder");
        let listener = UnixListener::bind(folder.join("system_bus_socket")).expect("a socket");
        let (client, calls) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
        let (theirs, counted) = (Arc::clone(&client), Arc::clone(&calls));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, theirs, counted) =
                    (stream.expect("a client"), Arc::clone(&theirs), Arc::clone(&counted));
                // The agent may end at any time.
                std::thread::spawn(move || serve(stream, &theirs, &counted));
            }
        });
        Self { client, calls }
    }

    /// Says whether the machine is about to sleep (or, with `PrepareForShutdown`, to shut down), as `sender`.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn say(&self, sender: &str, member: &str, is_begin: bool) {
        until("somebody listens for signals", seconds(30), || {
            (self.calls.load(Ordering::SeqCst) >= FIRST_CALLS).then_some(())
        });
        let fields = [
            text_field(1, "o", "/org/freedesktop/login1"),
            text_field(2, "s", "org.freedesktop.login1.Manager"),
            text_field(3, "s", member),
            text_field(7, "s", sender),
            signature_field("b"),
        ];
        let bytes = message(4, &fields, &u32::from(is_begin).to_le_bytes());
        let mut client = self.client.lock().expect("the client");
        client.as_mut().expect("a client").write_all(&bytes).expect("it is sent");
    }
}

fn serve(stream: UnixStream, client: &Mutex<Option<UnixStream>>, calls: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    (&stream).write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")?;
    line.clear();
    reader.read_until(b'\n', &mut line)?;
    // The first one listens for signals.
    client.lock().expect("the client").get_or_insert(stream.try_clone()?);
    loop {
        let mut header = [0; 16];
        reader.read_exact(&mut header)?;
        let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let (body, serial, fields) = (number(4) as usize, number(8), number(12) as usize);
        reader.read_exact(&mut vec![0; fields.next_multiple_of(8) + body])?;
        // Whatever is asked, a name is the answer: ours, or that of the login manager's connection.
        let mut name = (LOGIN.len() as u32).to_le_bytes().to_vec();
        name.extend(LOGIN.bytes().chain([0]));
        let mut answers = vec![5, 1, b'u', 0];
        answers.extend(serial.to_le_bytes());
        let reply =
            message(2, &[answers, text_field(7, "s", "org.freedesktop.DBus"), signature_field("s")], &name);
        let _in_turn = client.lock().expect("the client");
        (&stream).write_all(&reply)?;
        calls.fetch_add(1, Ordering::SeqCst);
    }
}

fn text_field(code: u8, kind: &str, text: &str) -> Vec<u8> {
    let mut field = vec![code, 1, kind.as_bytes()[0], 0];
    field.extend((text.len() as u32).to_le_bytes());
    field.extend(text.bytes().chain([0]));
    field
}

fn signature_field(types: &str) -> Vec<u8> {
    let mut field = vec![8, 1, b'g', 0, types.len() as u8];
    field.extend(types.bytes().chain([0]));
    field
}

/// A message in little-endian order.
fn message(kind: u8, fields: &[Vec<u8>], body: &[u8]) -> Vec<u8> {
    let mut all: Vec<u8> = Vec::new();
    for field in fields {
        all.resize(all.len().next_multiple_of(8), 0);
        all.extend(field);
    }
    let mut bytes = vec![b'l', kind, 1, 1];
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(9_u32.to_le_bytes());
    bytes.extend((all.len() as u32).to_le_bytes());
    bytes.extend(all);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}
