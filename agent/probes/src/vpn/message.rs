//! Messages of WireGuard over generic netlink (`linux/wireguard.h`), decoded without any system call.

use super::Peer;
use crate::network::netlink::{Progress, attributes, generic_request, walk};

const CONTROL_FAMILY: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const WG_CMD_GET_DEVICE: u8 = 0;
const WGDEVICE_A_IFNAME: u16 = 2;
const WGDEVICE_A_PEERS: u16 = 8;
const WGPEER_A_PUBLIC_KEY: u16 = 1;
const WGPEER_A_LAST_HANDSHAKE_TIME: u16 = 6;
const WGPEER_A_TX_BYTES: u16 = 8;
/// The header of generic netlink: command, version, two reserved bytes.
const GENERIC_HEADER_BYTES: usize = 4;
/// More peers than this are not looked at; a person's machine has a handful.
const MAX_PEERS: usize = 1024;

pub(super) fn family_request() -> Vec<u8> {
    let name = [(CTRL_ATTR_FAMILY_NAME, b"wireguard\0".as_slice())];
    generic_request(CONTROL_FAMILY, CTRL_CMD_GETFAMILY, false, &name)
}

/// The number that the kernel gave to WireGuard.
pub(super) fn read_family(datagram: &[u8], found: &mut Option<u16>) -> Progress {
    let progress = walk(datagram, CONTROL_FAMILY, |payload| {
        let id = body(payload).find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID);
        *found = id.and_then(|(_, value)| value.try_into().ok()).map(u16::from_ne_bytes).or(*found);
    });
    // This question has one answer and no end of a dump.
    if found.is_some() { Progress::Done } else { progress }
}

pub(super) fn device_request(family: u16, name: &str) -> Vec<u8> {
    let name = [name.as_bytes(), b"\0"].concat();
    generic_request(family, WG_CMD_GET_DEVICE, true, &[(WGDEVICE_A_IFNAME, &name)])
}

/// Adds the peers of one datagram. Keys and addresses of peers are left where they are.
pub(super) fn read_peers(datagram: &[u8], family: u16, found: &mut Vec<Peer>) -> Progress {
    walk(datagram, family, |payload| {
        let lists = body(payload).filter(|(kind, _)| *kind == WGDEVICE_A_PEERS);
        for (_, peer) in lists.flat_map(|(_, list)| attributes(list)) {
            let mut read = Peer::default();
            let mut begins = false;
            for (kind, value) in attributes(peer) {
                match kind {
                    WGPEER_A_PUBLIC_KEY => begins = true,
                    WGPEER_A_LAST_HANDSHAKE_TIME => read.last_handshake = seconds(value),
                    WGPEER_A_TX_BYTES => read.sent_bytes = value.try_into().map_or(0, u64::from_ne_bytes),
                    _ => {}
                }
            }
            // A peer with many addresses goes on in the next message with its key alone: only the first has figures.
            if begins && has_figures(peer) && found.len() < MAX_PEERS {
                found.push(read);
            }
        }
    })
}

fn has_figures(peer: &[u8]) -> bool {
    attributes(peer).any(|(kind, _)| kind == WGPEER_A_TX_BYTES)
}

/// The seconds of a `timespec64`.
fn seconds(value: &[u8]) -> i64 {
    value.get(..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_ne_bytes)
}

fn body(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    attributes(payload.get(GENERIC_HEADER_BYTES..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: u16 = 30;
    const NESTED: u16 = 0x8000;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn peer(index: u16, handshake: i64, sent: u64) -> Vec<u8> {
        let time = [handshake.to_ne_bytes(), 5i64.to_ne_bytes()].concat();
        let inside = [
            attribute(WGPEER_A_PUBLIC_KEY, &[7; 32]),
            attribute(WGPEER_A_LAST_HANDSHAKE_TIME, &time),
            attribute(7, &99u64.to_ne_bytes()),
            attribute(WGPEER_A_TX_BYTES, &sent.to_ne_bytes()),
        ];
        attribute(NESTED | index, &inside.concat())
    }

    fn datagram(peers: &[Vec<u8>]) -> Vec<u8> {
        let name = attribute(WGDEVICE_A_IFNAME, b"wg0\0");
        let body = [vec![0, 1, 0, 0], name, attribute(NESTED | WGDEVICE_A_PEERS, &peers.concat())].concat();
        let length = u32::try_from(body.len() + 16).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&FAMILY.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(&body);
        bytes
    }

    #[test]
    fn every_peer_is_read_and_the_rest_of_a_long_one_is_not_another_peer() {
        let rest = attribute(NESTED | 1, &attribute(WGPEER_A_PUBLIC_KEY, &[7; 32]));
        let bytes = datagram(&[peer(0, 1_767_225_600, 1234), peer(1, 0, 0), rest]);
        let mut found = Vec::new();
        assert_eq!(read_peers(&bytes, FAMILY, &mut found), Progress::More);
        let expected = [Peer { last_handshake: 1_767_225_600, sent_bytes: 1234 }, Peer::default()];
        assert_eq!(found, expected);
        assert_eq!(read_peers(&bytes, FAMILY + 1, &mut found), Progress::More, "another family");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn cut_and_changed_datagrams_are_survived() {
        let bytes = datagram(&[peer(0, 1, 2), peer(1, 3, 4)]);
        for at in 0..bytes.len() {
            let mut found = Vec::new();
            read_peers(&bytes[..at], FAMILY, &mut found);
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            read_peers(&changed, FAMILY, &mut found);
            read_family(&changed, &mut None);
            assert!(found.len() <= 4);
        }
    }
}
