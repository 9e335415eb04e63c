//! The addresses that interfaces have, from the kernel's text files or from a netlink dump, and the verdict on
//! whether an interface has one that a person can work with.

use crate::network::routes::{Route, ipv6};
use std::net::{IpAddr, Ipv4Addr};

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InterfaceAddress {
    /// The interface's name.
    pub(crate) interface: String,
    /// The address.
    pub(crate) address: IpAddr,
    /// Length of its network's prefix.
    pub(crate) prefix: u8,
}

/// IPv6 address flags that make an address unusable: duplicate found, or not yet checked.
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
const MAX_ADDRESSES: usize = 4096;

/// Whether an address with these flags can be used.
pub(crate) fn usable_flags(flags: u32) -> bool {
    flags & (IFA_F_DADFAILED | IFA_F_TENTATIVE) == 0
}

/// The machine's own IPv4 addresses in `/proc/net/fib_trie`: leaves of the table `Local` with `/32 host LOCAL`.
pub(crate) fn parse_fib_trie(text: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut leaf = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf
            && !found.contains(&address)
            && found.len() < MAX_ADDRESSES
        {
            // The main table repeats the local one on kernels that merge both, hence the check for doubles.
            found.push(address);
        }
    }
    found
}

/// Gives each address to the interface whose connected network holds it (the longest prefix wins), because
/// `fib_trie` does not name interfaces. An address outside every connected network is left out.
pub(crate) fn assign(addresses: &[Ipv4Addr], routes: &[Route]) -> Vec<InterfaceAddress> {
    addresses
        .iter()
        .filter(|address| !address.is_loopback())
        .filter_map(|&address| {
            let route = routes
                .iter()
                .filter(|route| route.gateway.is_none() && route.prefix > 0 && holds(route, address))
                .max_by_key(|route| route.prefix)?;
            Some(InterfaceAddress {
                interface: route.interface.clone(),
                address: IpAddr::V4(address),
                prefix: route.prefix,
            })
        })
        .collect()
}

fn holds(route: &Route, address: Ipv4Addr) -> bool {
    let IpAddr::V4(network) = route.network else { return false };
    let mask = u32::MAX.checked_shl(32 - u32::from(route.prefix.min(32))).unwrap_or(0);
    u32::from(network) & mask == u32::from(address) & mask
}

/// Parses `/proc/net/if_inet6`, leaving out addresses that the kernel found to be duplicates or still checks.
pub(crate) fn parse_if_inet6(text: &str) -> Vec<InterfaceAddress> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let address = ipv6(fields.next()?)?;
            let prefix = u8::from_str_radix(fields.nth(1)?, 16).ok().filter(|prefix| *prefix <= 128)?;
            let flags = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
            let interface = fields.next()?.to_owned();
            usable_flags(flags).then_some(InterfaceAddress {
                interface,
                address: IpAddr::V6(address),
                prefix,
            })
        })
        .take(MAX_ADDRESSES)
        .collect()
}

/// What an interface has for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpConfig {
    /// An address that reaches beyond the link.
    Ok,
    /// Only an IPv4 address that the machine gave itself because nobody assigned one (RFC 3927).
    LinkLocal,
    /// None. An IPv6 link-local address alone counts as none: every interface has it whatever the network does.
    None,
}

impl IpConfig {
    /// The verdict as it is written in the attribute `state`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::LinkLocal => "link_local",
            Self::None => "none",
        }
    }

    /// Judges the addresses of one interface.
    pub(crate) fn of<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> Self {
        let mut verdict = Self::None;
        for address in addresses {
            match address {
                IpAddr::V4(v4) if v4.is_link_local() => verdict = Self::LinkLocal,
                IpAddr::V6(v6) if v6.is_unicast_link_local() => {}
                address if address.is_unspecified() || address.is_loopback() => {}
                IpAddr::V4(_) | IpAddr::V6(_) => return Self::Ok,
            }
        }
        verdict
    }
}

/// The network that an address lies in, written `192.0.2.0/24`: a device's `subnet`.
pub(crate) fn subnet(address: IpAddr, prefix: u8) -> String {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            format!("{}/{prefix}", Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            format!("{}/{prefix}", std::net::Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::routes;

    #[test]
    fn local_leaves_become_addresses_of_the_interface_that_is_connected_to_them() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     +-- 192.0.2.0/24 2 0 2\n        |-- 192.0.2.0\n           /24 link UNICAST\n        |-- 192.0.2.2\n           /32 host LOCAL\n        |-- 192.0.2.255\n           /32 link BROADCAST\nLocal:\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.2\n        /32 host LOCAL\n";
        let table = "h\neth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let local = parse_fib_trie(trie);
        assert_eq!(local.len(), 2);
        let assigned = assign(&local, &routes::parse_ipv4(table));
        assert_eq!(
            assigned,
            [InterfaceAddress {
                interface: "eth0".to_owned(),
                address: "192.0.2.2".parse().unwrap(),
                prefix: 24
            }]
        );
    }

    #[test]
    fn duplicate_ipv6_addresses_are_not_addresses() {
        let text = "fd000000000000000000000000000002 04 40 00 82     eth0\n\
                    fd000000000000000000000000000003 04 40 00 c8     eth0\nrubbish\n";
        let found = parse_if_inet6(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].prefix, found[0].interface.as_str()), (64, "eth0"));
    }

    #[test]
    fn the_verdict_needs_an_address_that_reaches_beyond_the_link() {
        for (addresses, expected) in [
            (vec![], IpConfig::None),
            (vec!["fe80::1"], IpConfig::None),
            (vec!["169.254.7.7", "fe80::1"], IpConfig::LinkLocal),
            (vec!["169.254.7.7", "10.0.0.4"], IpConfig::Ok),
            (vec!["fd00::2"], IpConfig::Ok),
            (vec!["0.0.0.0"], IpConfig::None),
        ] {
            let parsed: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(IpConfig::of(&parsed), expected, "{addresses:?}");
        }
    }

    #[test]
    fn subnets_are_written_with_the_host_part_cleared() {
        assert_eq!(subnet("192.0.2.77".parse().unwrap(), 26), "192.0.2.64/26");
        assert_eq!(subnet("10.1.2.3".parse().unwrap(), 0), "0.0.0.0/0");
        assert_eq!(subnet("fd00::1:2".parse().unwrap(), 64), "fd00::/64");
    }
}
