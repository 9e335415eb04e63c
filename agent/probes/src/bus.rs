//! Asks the system's services over D-Bus, as far as that is needed to ask systemd about units without starting a program
//! every minute, and to hear that the machine is about to sleep: method calls with texts, their replies, and signals. No
//! objects of our own.

pub mod leaving;
pub mod message;

#[cfg(unix)]
pub use connection::Connection;

#[cfg(unix)]
mod connection {
    use super::message::{self, Call, HEADER_BYTES, Kind, Reply};
    use crate::{ProbeError, Root};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    const SOCKET: &str = "/run/dbus/system_bus_socket";
    /// How long each read and write may take, and how long one call with whatever else the bus says meanwhile.
    const LIMIT: Duration = Duration::from_secs(3);
    /// Longest line of the handshake.
    const LONGEST_LINE: u64 = 512;

    /// A connection to the system bus, or to the one of a captured machine when somebody answers there.
    #[derive(Debug)]
    pub struct Connection {
        stream: BufReader<UnixStream>,
        path: PathBuf,
        serial: u32,
    }

    impl Connection {
        /// Connects and says who we are. Not present when there is no bus.
        pub fn open(root: &Root) -> Result<Self, ProbeError> {
            let path = root.path(SOCKET);
            let failed = |error: std::io::Error| {
                if error.kind() == std::io::ErrorKind::ConnectionRefused {
                    return ProbeError::NotPresent(format!("nobody answers at {}", path.display()));
                }
                ProbeError::from_io(&path, &error)
            };
            let stream = UnixStream::connect(&path).map_err(failed)?;
            stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
            stream.set_write_timeout(Some(LIMIT)).map_err(failed)?;
            let mut connection = Self { stream: BufReader::new(stream), path: path.clone(), serial: 0 };
            connection.introduce().map_err(failed)?;
            let bus = "org.freedesktop.DBus";
            let hello = Call {
                destination: bus,
                path: "/org/freedesktop/DBus",
                interface: bus,
                member: "Hello",
                arguments: &[],
            };
            connection.call(&hello)?;
            Ok(connection)
        }

        /// The kernel tells the other side our user; the text only repeats it.
        fn introduce(&mut self) -> std::io::Result<()> {
            let user: String = rustix::process::getuid()
                .as_raw()
                .to_string()
                .bytes()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            self.stream.get_mut().write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
            let mut line = Vec::new();
            (&mut self.stream).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            if !line.starts_with(b"OK ") {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::PermissionDenied,
                    "the bus does not let us in",
                ));
            }
            self.stream.get_mut().write_all(b"BEGIN\r\n")
        }

        /// Calls a method and waits for its reply.
        pub fn call(&mut self, call: &Call<'_>) -> Result<Reply, ProbeError> {
            self.serial += 1;
            let bytes = message::call(self.serial, call)
                .ok_or_else(|| ProbeError::Malformed(format!("the call of {} is too long", call.member)))?;
            let begun = Instant::now();
            self.stream
                .get_mut()
                .write_all(&bytes)
                .map_err(|error| ProbeError::from_io(&self.path, &error))?;
            while begun.elapsed() < LIMIT {
                let reply = self.receive()?;
                if reply.answers != Some(self.serial) {
                    // Such as the signal that tells our name.
                    continue;
                }
                return match reply.kind {
                    Kind::Return => Ok(reply),
                    Kind::Error if reply.error.ends_with(".AccessDenied") => {
                        Err(ProbeError::NotPermitted(format!("the bus does not permit {}", call.member)))
                    }
                    Kind::Error | Kind::Signal | Kind::Other => {
                        Err(ProbeError::Unsupported(format!("{} is refused: {}", call.member, reply.error)))
                    }
                };
            }
            Err(ProbeError::TimedOut(format!("{} was not answered", call.member)))
        }

        /// Waits for the next signal, however long that takes.
        pub fn signal(&mut self) -> Result<Reply, ProbeError> {
            self.wait_at_most(None)?;
            let signal = loop {
                let message = self.receive()?;
                if message.kind == Kind::Signal {
                    break message;
                }
            };
            self.wait_at_most(Some(LIMIT))?;
            Ok(signal)
        }

        fn wait_at_most(&self, limit: Option<Duration>) -> Result<(), ProbeError> {
            let set = self.stream.get_ref().set_read_timeout(limit);
            set.map_err(|error| ProbeError::from_io(&self.path, &error))
        }

        fn receive(&mut self) -> Result<Reply, ProbeError> {
            let malformed = || ProbeError::Malformed("the bus does not speak D-Bus".to_owned());
            let mut bytes = vec![0; HEADER_BYTES];
            self.stream.read_exact(&mut bytes).map_err(|error| ProbeError::from_io(&self.path, &error))?;
            let length = message::length(&bytes).ok_or_else(malformed)?;
            bytes.resize(length, 0);
            let rest = bytes.get_mut(HEADER_BYTES..).ok_or_else(malformed)?;
            self.stream.read_exact(rest).map_err(|error| ProbeError::from_io(&self.path, &error))?;
            message::reply(&bytes).ok_or_else(malformed)
        }
    }
}
