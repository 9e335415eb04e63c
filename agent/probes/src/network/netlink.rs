//! Reads the kernel's route-netlink dumps of neighbours and addresses. The message format is decoded here, without
//! any system call, so that it is tested everywhere; the socket is in `linux.rs`.

use crate::network::addresses::{self, InterfaceAddress};
use crate::network::neighbour::{Neighbour, NeighbourState};
use std::net::IpAddr;
use std::time::Duration;

pub(crate) const RTM_GETADDR: u16 = 22;
pub(crate) const RTM_GETNEIGH: u16 = 30;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWNEIGH: u16 = 28;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// NLM_F_REQUEST | NLM_F_DUMP.
const REQUEST_DUMP: u16 = 0x0301;
const HEADER_BYTES: usize = 16;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_CACHEINFO: u16 = 3;
/// The kernel gives ages in USER_HZ, which is 100 in its interface to programs on every architecture we run on.
const MILLIS_PER_TICK: u64 = 10;

/// A request for everything of one kind, for both address families.
pub(crate) fn dump_request(kind: u16) -> Vec<u8> {
    // An all-zero body of either kind means "no filter"; 12 bytes hold the longer of the two (struct ndmsg).
    let body = [0u8; 12];
    let length = HEADER_BYTES + body.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(0).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&REQUEST_DUMP.to_ne_bytes());
    bytes.extend_from_slice(&1u32.to_ne_bytes());
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// What one datagram of a dump held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More datagrams follow.
    More,
    /// The dump is complete.
    Done,
    /// The kernel refused the request.
    Refused,
}

/// A request of generic netlink: `command` of `family` with attributes, for everything (`is_dump`) or for one answer.
pub(crate) fn generic_request(
    family: u16,
    command: u8,
    is_dump: bool,
    attributes: &[(u16, &[u8])],
) -> Vec<u8> {
    const REQUEST: u16 = 0x0001;
    let mut body = vec![command, 1, 0, 0];
    for (kind, value) in attributes {
        let length = u16::try_from(value.len() + 4).unwrap_or(4);
        body.extend_from_slice(&length.to_ne_bytes());
        body.extend_from_slice(&kind.to_ne_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = HEADER_BYTES + body.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(0).to_ne_bytes());
    bytes.extend_from_slice(&family.to_ne_bytes());
    bytes.extend_from_slice(&(if is_dump { REQUEST_DUMP } else { REQUEST }).to_ne_bytes());
    bytes.extend_from_slice(&1u32.to_ne_bytes());
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Walks the messages of one datagram, handing the payload of each message of kind `wanted` to `take`.
/// A message that claims more bytes than there are ends the walk.
pub(crate) fn walk(datagram: &[u8], wanted: u16, mut take: impl FnMut(&[u8])) -> Progress {
    let mut rest = datagram;
    while rest.len() >= HEADER_BYTES {
        let length = usize::try_from(u32_at(rest, 0)).unwrap_or(usize::MAX);
        if length < HEADER_BYTES || length > rest.len() {
            return Progress::Refused;
        }
        match u16_at(rest, 4) {
            NLMSG_DONE => return Progress::Done,
            NLMSG_ERROR => return Progress::Refused,
            kind if kind == wanted => take(&rest[HEADER_BYTES..length]),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Progress::More
}

/// Why the kernel refused, as an error number, when a datagram begins with a refusal.
pub(crate) fn refusal(datagram: &[u8]) -> Option<i32> {
    let code = datagram.get(HEADER_BYTES..HEADER_BYTES + 4)?.try_into().ok().map(i32::from_ne_bytes)?;
    (u16_at(datagram, 4) == NLMSG_ERROR && (-4095..0).contains(&code)).then(|| -code)
}

pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0));
        if rest.len() < 4 || length < 4 || length > rest.len() {
            return None;
        }
        let attribute = (u16_at(rest, 2) & 0x3fff, &rest[4..length]);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|slice| slice.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|slice| slice.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Adds the addresses of one datagram to `found`. `name` turns an interface's index into its name.
pub(crate) fn read_addresses(
    datagram: &[u8],
    name: impl Fn(u32) -> Option<String>,
    found: &mut Vec<InterfaceAddress>,
) -> Progress {
    walk(datagram, RTM_NEWADDR, |payload| {
        let (prefix, index) = (payload.get(1).copied().unwrap_or(0), u32_at(payload, 4));
        let mut flags = u32::from(payload.get(2).copied().unwrap_or(0));
        let (mut peer, mut local) = (None, None);
        for (kind, value) in attributes(payload.get(8..).unwrap_or_default()) {
            match kind {
                IFA_ADDRESS => peer = address(value),
                IFA_LOCAL => local = address(value),
                IFA_FLAGS => flags = u32_at(value, 0),
                _ => {}
            }
        }
        // On a point-to-point link IFA_ADDRESS is the other end and IFA_LOCAL our own address.
        if let Some(address) = local.or(peer)
            && addresses::usable_flags(flags)
            && let Some(interface) = name(index)
        {
            found.push(InterfaceAddress { interface, address, prefix });
        }
    })
}

/// Adds the neighbours of one datagram to `found`.
pub(crate) fn read_neighbours(
    datagram: &[u8],
    name: impl Fn(u32) -> Option<String>,
    found: &mut Vec<Neighbour>,
) -> Progress {
    walk(datagram, RTM_NEWNEIGH, |payload| {
        let (index, state) = (u32_at(payload, 4), u16_at(payload, 8));
        let (mut to, mut hardware, mut confirmed) = (None, None, None);
        for (kind, value) in attributes(payload.get(12..).unwrap_or_default()) {
            match kind {
                NDA_DST => to = address(value),
                NDA_LLADDR => hardware = hardware_address(value),
                NDA_CACHEINFO if value.len() >= 4 => {
                    confirmed = Some(Duration::from_millis(u64::from(u32_at(value, 0)) * MILLIS_PER_TICK));
                }
                _ => {}
            }
        }
        if let (Some(address), Some(interface)) = (to, name(index)) {
            let state = NeighbourState::from_kernel(state);
            found.push(Neighbour { address, interface, hardware, state, confirmed });
        }
    })
}

fn hardware_address(bytes: &[u8]) -> Option<String> {
    (bytes.len() == 6 && bytes.iter().any(|byte| *byte != 0))
        .then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(body);
        bytes
    }

    fn neighbour_message(state: u16) -> Vec<u8> {
        let mut body = vec![2, 0, 0, 0];
        body.extend_from_slice(&3i32.to_ne_bytes());
        body.extend_from_slice(&state.to_ne_bytes());
        body.extend_from_slice(&[0, 0]);
        body.extend(attribute(NDA_DST, &[10, 77, 0, 1]));
        body.extend(attribute(NDA_LLADDR, &[2, 0xfc, 0, 0, 0, 5]));
        body.extend(attribute(NDA_CACHEINFO, &[250u32.to_ne_bytes(), [0; 4], [0; 4], [0; 4]].concat()));
        message(RTM_NEWNEIGH, &body)
    }

    fn eth0(index: u32) -> Option<String> {
        (index == 3).then(|| "eth0".to_owned())
    }

    #[test]
    fn a_neighbour_carries_its_state_and_when_it_was_confirmed() {
        let mut datagram = neighbour_message(0x04);
        datagram.extend(message(NLMSG_DONE, &[0; 4]));
        let mut found = Vec::new();
        assert_eq!(read_neighbours(&datagram, eth0, &mut found), Progress::Done);
        assert_eq!(found[0].address, "10.77.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(found[0].hardware.as_deref(), Some("02:fc:00:00:00:05"));
        assert_eq!(
            (found[0].state, found[0].confirmed),
            (NeighbourState::Stale, Some(Duration::from_millis(2500)))
        );
    }

    #[test]
    fn a_point_to_point_link_reports_its_own_end() {
        let mut body = vec![2, 32, 0, 0];
        body.extend_from_slice(&3u32.to_ne_bytes());
        body.extend(attribute(IFA_ADDRESS, &[10, 8, 0, 1]));
        body.extend(attribute(IFA_LOCAL, &[10, 8, 0, 6]));
        let mut found = Vec::new();
        assert_eq!(read_addresses(&message(RTM_NEWADDR, &body), eth0, &mut found), Progress::More);
        assert_eq!((found[0].address, found[0].prefix), ("10.8.0.6".parse().unwrap(), 32));
    }

    #[test]
    fn every_truncation_and_a_lying_length_are_survived() {
        let whole = neighbour_message(2);
        for end in 0..whole.len() {
            read_neighbours(&whole[..end], eth0, &mut Vec::new());
        }
        let mut lying = whole.clone();
        lying[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(read_neighbours(&lying, eth0, &mut Vec::new()), Progress::Refused);
        let mut zero = whole;
        zero[..4].copy_from_slice(&0u32.to_ne_bytes());
        assert_eq!(read_neighbours(&zero, eth0, &mut Vec::new()), Progress::Refused);
    }

    #[test]
    fn a_request_says_its_own_length() {
        let request = dump_request(RTM_GETNEIGH);
        assert_eq!(request.len(), 28);
        assert_eq!(u32_at(&request, 0), 28);
    }

    #[test]
    fn a_refusal_carries_its_reason_and_nothing_else_is_one() {
        let mut message = vec![20, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&(-1i32).to_ne_bytes());
        message[..4].copy_from_slice(&20u32.to_ne_bytes());
        message[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        assert_eq!(refusal(&message), Some(1));
        assert_eq!(refusal(&message[..19]), None);
        message[16..].copy_from_slice(&i32::MIN.to_ne_bytes());
        assert_eq!(refusal(&message), None);
    }
}
