//! What the kernel knows of the machines next to this one, and what that says about a gateway that does not answer
//! echo requests: many routers drop them and work perfectly well.

use crate::network::interfaces::is_hardware_address;
use std::net::IpAddr;
use std::time::Duration;

/// A confirmation older than this no longer proves that the neighbour is there.
pub(crate) const CONFIRMATION_HOLDS: Duration = Duration::from_secs(60);
const ARP_COMPLETE: u32 = 0x2;
const MAX_NEIGHBOURS: usize = 4096;

/// One entry of the neighbour table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// Its address.
    pub(crate) address: IpAddr,
    /// The interface behind which it is.
    pub(crate) interface: String,
    /// Its hardware address, six bytes in hexadecimal with colons.
    pub(crate) hardware: Option<String>,
    /// The state of its entry.
    pub(crate) state: NeighbourState,
    /// How long ago the neighbour was last heard of, where the kernel says so.
    pub(crate) confirmed: Option<Duration>,
}

/// States of RFC 4861 as the kernel keeps them, for IPv4 too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NeighbourState {
    /// Asked, no answer yet.
    Incomplete,
    /// Heard of within the last half minute or so.
    Reachable,
    /// Known, not heard of recently.
    Stale,
    /// Used again, about to be asked.
    Delay,
    /// Being asked.
    Probe,
    /// Asked, and did not answer.
    Failed,
    /// Needs no asking: point-to-point links and entries set by hand.
    Static,
    /// Complete, from a source that does not say how fresh.
    Complete,
}

impl NeighbourState {
    /// From the kernel's bit (`NUD_*`).
    pub(crate) const fn from_kernel(bits: u16) -> Self {
        match bits {
            0x02 => Self::Reachable,
            0x04 => Self::Stale,
            0x08 => Self::Delay,
            0x10 => Self::Probe,
            0x20 => Self::Failed,
            0x40 | 0x80 => Self::Static,
            _ => Self::Incomplete,
        }
    }

    /// The state's name as `ip neigh` prints it, in lower case.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Reachable => "reachable",
            Self::Stale => "stale",
            Self::Delay => "delay",
            Self::Probe => "probe",
            Self::Failed => "failed",
            Self::Static => "permanent",
            Self::Complete => "complete",
        }
    }
}

/// What an entry says about whether the neighbour is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It answered lately.
    There,
    /// The kernel asks it right now; look again in a moment.
    Undecided,
    /// It was asked and did not answer, or is not known at all.
    NotThere,
}

/// Judges an entry after traffic has been sent to it.
pub(crate) fn judge(entry: Option<&Neighbour>) -> Presence {
    let Some(entry) = entry else { return Presence::NotThere };
    let fresh = entry.confirmed.is_some_and(|age| age <= CONFIRMATION_HOLDS);
    match entry.state {
        NeighbourState::Reachable | NeighbourState::Static | NeighbourState::Complete => Presence::There,
        NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe if fresh => Presence::There,
        NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe => Presence::Undecided,
        NeighbourState::Incomplete | NeighbourState::Failed => Presence::NotThere,
    }
}

/// Parses `/proc/net/arp`, the IPv4 table without freshness.
pub(crate) fn parse_arp(text: &str) -> Vec<Neighbour> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let address = fields.next()?.parse().ok()?;
            let flags = u32::from_str_radix(fields.nth(1)?.strip_prefix("0x")?, 16).ok()?;
            let hardware = fields.next()?;
            let interface = fields.nth(1)?.to_owned();
            let complete = flags & ARP_COMPLETE != 0;
            let known = complete && is_hardware_address(hardware);
            Some(Neighbour {
                address: IpAddr::V4(address),
                interface,
                hardware: known.then(|| hardware.to_ascii_lowercase()),
                state: if complete { NeighbourState::Complete } else { NeighbourState::Incomplete },
                confirmed: None,
            })
        })
        .take(MAX_NEIGHBOURS)
        .collect()
}

/// The entry of `address` behind `interface`.
pub(crate) fn find<'a>(all: &'a [Neighbour], address: IpAddr, interface: &str) -> Option<&'a Neighbour> {
    all.iter().find(|entry| entry.address == address && entry.interface == interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: NeighbourState, confirmed_s: Option<u64>) -> Neighbour {
        Neighbour {
            address: "10.0.0.1".parse().unwrap(),
            interface: "eth0".to_owned(),
            hardware: None,
            state,
            confirmed: confirmed_s.map(Duration::from_secs),
        }
    }

    #[test]
    fn only_an_entry_that_was_confirmed_lately_proves_presence() {
        for (state, confirmed, expected) in [
            (NeighbourState::Reachable, None, Presence::There),
            (NeighbourState::Stale, Some(60), Presence::There),
            (NeighbourState::Stale, Some(61), Presence::Undecided),
            (NeighbourState::Delay, None, Presence::Undecided),
            (NeighbourState::Probe, Some(5), Presence::There),
            (NeighbourState::Incomplete, Some(1), Presence::NotThere),
            (NeighbourState::Failed, None, Presence::NotThere),
        ] {
            assert_eq!(judge(Some(&entry(state, confirmed))), expected, "{state:?} {confirmed:?}");
        }
        assert_eq!(judge(None), Presence::NotThere);
    }

    #[test]
    fn incomplete_arp_entries_have_no_hardware_address() {
        let text = "IP address       HW type     Flags       HW address            Mask     Device\n\
            192.0.2.1        0x1         0x2         02:FC:00:00:00:05     *        eth0\n\
            192.0.2.9        0x1         0x0         00:00:00:00:00:00     *        eth0\nbroken\n";
        let table = parse_arp(text);
        assert_eq!(table.len(), 2);
        assert_eq!(table[0].hardware.as_deref(), Some("02:fc:00:00:00:05"));
        assert_eq!((table[1].hardware.as_deref(), table[1].state), (None, NeighbourState::Incomplete));
        assert!(find(&table, "192.0.2.9".parse().unwrap(), "eth1").is_none());
    }
}
