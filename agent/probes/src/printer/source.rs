//! Where IPP replies come from: the print server of this machine and its printers, or, for a captured machine, files:
//! `DIR/ipp/cups-get-printers.bin`, `DIR/ipp/get-jobs-<queue>.bin` and `DIR/ipp/get-printer-attributes-<queue>.bin`,
//! where a missing last one stands for a printer that does not answer, and `DIR/snmp/<queue>.snmprec`.

use crate::printer::device::{self, Contact, DeviceUri};
use crate::printer::http::{self, Connection};
use crate::printer::message::{self, MAX_REPLY_BYTES};
use crate::printer::on_windows::Spooler;
use crate::printer::queue;
use crate::printer::snmp;
use crate::{Context, ProbeError, Root};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const SERVER_LIMIT: Duration = Duration::from_secs(5);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Where CUPS listens on Linux and on macOS.
#[cfg(unix)]
const SOCKETS: &[&str] = &["/run/cups/cups.sock", "/private/var/run/cupsd"];
#[cfg(unix)]
const LOCAL_PORT: u16 = 631;

/// A source of replies.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The running system.
    Live {
        /// The print server, when it is not the one of this machine.
        server: Option<SocketAddr>,
    },
    /// A captured machine.
    Captured(Root),
    /// The spooler of Windows, read already; its printers are asked when `live`.
    Spooler {
        /// What it said.
        said: Arc<Spooler>,
        /// Whether this is the running system.
        live: bool,
    },
}

impl Source {
    pub(crate) fn of(context: &Context) -> Self {
        #[cfg(windows)]
        if context.root.is_system() && context.overrides.cups_server.is_none() {
            let said = Arc::new(Spooler::read(&crate::on_windows::Live, context.now));
            return Self::Spooler { said, live: true };
        }
        if context.root.is_system() {
            Self::Live { server: context.overrides.cups_server }
        } else {
            Self::Captured(context.root.clone())
        }
    }

    /// The queues. Not present when no print server runs; empty when it has no queue.
    pub(crate) fn queues(&self) -> Result<Vec<queue::Queue>, ProbeError> {
        let bytes = match self {
            Self::Live { server } => to_server(*server, &message::get_printers(queue::WANTED)?)?,
            Self::Captured(root) => captured(root, "cups-get-printers")?,
            Self::Spooler { said, .. } => return said.queues(),
        };
        match message::parse(&bytes) {
            Ok(reply) => Ok(queue::queues(&reply)),
            // CUPS answers "not found" when it has no queue at all.
            Err(ProbeError::NotPresent(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The jobs of a queue that are not completed.
    pub(crate) fn jobs(&self, queue: &str) -> Result<queue::Jobs, ProbeError> {
        let bytes = match self {
            Self::Live { server } => {
                let uri = format!("ipp://localhost/printers/{}", percent_encoded(queue));
                to_server(*server, &message::get_jobs(&uri, queue::JOB_WANTED, queue::MAX_JOBS)?)?
            }
            Self::Captured(root) => captured(root, &format!("get-jobs-{}", percent_encoded(queue)))?,
            Self::Spooler { said, .. } => return said.jobs(queue),
        };
        Ok(queue::jobs(&message::parse(&bytes)?))
    }

    /// Asks the device behind a queue.
    pub(crate) fn contact(&self, queue: &str, uri: &str) -> Result<Contact, ProbeError> {
        let uri = DeviceUri::parse(uri)?;
        match self {
            Self::Live { .. } | Self::Spooler { live: true, .. } => device::contact(&uri),
            Self::Spooler { live: false, .. } => {
                Err(ProbeError::Unsupported("nothing is asked on behalf of a captured machine".to_owned()))
            }
            Self::Captured(root) => {
                match captured(root, &format!("get-printer-attributes-{}", percent_encoded(queue))) {
                    Ok(bytes) => {
                        let said = Some(message::parse(&bytes));
                        Ok(Contact { reachable: true, said, detail: None, address: None })
                    }
                    Err(ProbeError::NotPresent(_)) if snmp::is_recorded(root, &percent_encoded(queue)) => {
                        Ok(Contact { reachable: true, said: None, detail: None, address: None })
                    }
                    Err(ProbeError::NotPresent(_)) => Ok(Contact::unreachable("no captured answer")),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Asks the device behind a queue over SNMP; `None` when it is not to be asked.
    pub(crate) fn snmp(
        &self,
        queue: &queue::Queue,
        contact: &Contact,
        settings: Option<snmp::Settings<'_>>,
        before: Option<&snmp::Known>,
    ) -> Option<snmp::Known> {
        let uri = DeviceUri::parse(queue.device_uri.as_deref()?).ok()?;
        if !contact.reachable || uri.is_queue_of_a_server() {
            return None;
        }
        match self {
            Self::Spooler { live: false, .. } => None,
            Self::Live { .. } | Self::Spooler { live: true, .. } => {
                Some(snmp::ask(contact.address?, settings?, before))
            }
            Self::Captured(root) => Some(snmp::recorded(root, &percent_encoded(&queue.name))),
        }
    }
}

fn captured(root: &Root, name: &str) -> Result<Vec<u8>, ProbeError> {
    let mut bytes = Vec::new();
    root.read_into(&format!("/ipp/{name}.bin"), MAX_REPLY_BYTES, &mut bytes)?;
    Ok(bytes)
}

fn to_server(server: Option<SocketAddr>, request: &[u8]) -> Result<Vec<u8>, ProbeError> {
    let connection = match server {
        Some(address) => over_tcp(address)?,
        None => local()?,
    };
    // CUPS refuses other names than its own on the local connection.
    http::post(connection, "localhost", "/", request, SERVER_LIMIT)
}

fn over_tcp(address: SocketAddr) -> Result<Connection, ProbeError> {
    Connection::tcp(address, CONNECT_LIMIT).map_err(|error| http::failed(&error))
}

#[cfg(unix)]
fn local() -> Result<Connection, ProbeError> {
    let stream = SOCKETS.iter().find_map(|path| std::os::unix::net::UnixStream::connect(path).ok());
    match stream {
        Some(stream) => Ok(Connection::Unix(stream)),
        None => over_tcp(SocketAddr::from(([127, 0, 0, 1], LOCAL_PORT))),
    }
}

#[cfg(not(unix))]
fn local() -> Result<Connection, ProbeError> {
    Err(ProbeError::Unsupported("the print queues of this operating system are not read yet".to_owned()))
}

/// A queue's name as part of a path: everything but unreserved characters (RFC 3986) is encoded.
fn percent_encoded(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        assert_eq!(percent_encoded("finance-2"), "finance-2");
        assert_eq!(percent_encoded("../../admin?x"), "..%2F..%2Fadmin%3Fx");
        assert_eq!(percent_encoded("büro"), "b%C3%BCro");
    }
}
