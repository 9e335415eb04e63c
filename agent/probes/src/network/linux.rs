//! Asks the Linux kernel over a netlink socket, which needs no privilege.

use crate::ProbeError;
use crate::network::netlink::{self, Progress};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::time::Duration;

/// The kernel answers at once; the limit only guards against a socket that never becomes readable.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const MAX_DATAGRAMS: usize = 512;

/// Whom of the kernel a socket speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Addresses, routes, neighbours.
    Route,
    /// Families that have no number of their own, such as nl80211.
    Generic,
}

/// Sends a request for a dump and hands each datagram to `read` until it says that the dump is complete.
pub(crate) fn dump(
    protocol: Protocol,
    request: &[u8],
    mut read: impl FnMut(&[u8]) -> Progress,
) -> Result<(), ProbeError> {
    exchange(protocol, request, &mut read).map_err(|error| match error {
        Errno::AGAIN => ProbeError::TimedOut("the kernel did not answer on a netlink socket".to_owned()),
        Errno::ACCESS | Errno::PERM => ProbeError::NotPermitted(format!("netlink socket: {error}")),
        other => ProbeError::Unsupported(format!("netlink socket: {other}")),
    })
}

fn exchange(
    protocol: Protocol,
    request: &[u8],
    read: &mut dyn FnMut(&[u8]) -> Progress,
) -> rustix::io::Result<()> {
    let protocol = match protocol {
        // Route netlink is protocol 0, which is what "no protocol" means here.
        Protocol::Route => None,
        Protocol::Generic => Some(rustix::net::netlink::GENERIC),
    };
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_LIMIT))?;
    rustix::net::sendto(&socket, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut buffer = vec![0u8; 64 << 10];
    for _ in 0..MAX_DATAGRAMS {
        let (length, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        match read(&buffer[..length.min(buffer.len())]) {
            Progress::More => {}
            Progress::Done => return Ok(()),
            Progress::Refused => {
                let code = netlink::refusal(&buffer[..length.min(buffer.len())]);
                return Err(code.map_or(Errno::OPNOTSUPP, Errno::from_raw_os_error));
            }
        }
    }
    Err(Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_lists_its_loopback_address() {
        let mut found = Vec::new();
        let name = |index: u32| Some(index.to_string());
        match dump(Protocol::Route, &netlink::dump_request(netlink::RTM_GETADDR), |datagram| {
            netlink::read_addresses(datagram, name, &mut found)
        }) {
            Ok(()) => {
                assert!(found.iter().any(|entry| entry.address.is_loopback()), "{found:?}");
            }
            // Some containers forbid netlink; that must come out as a reason, not as an empty list.
            Err(error) => assert!(!error.detail().is_empty()),
        }
    }
}
