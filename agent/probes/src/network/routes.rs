//! Routing tables as the kernel prints them: which interface carries the default route, and which networks are
//! directly connected. Pure parsers, because a captured `/proc/net` must be readable on every system.

use firstline_model::order;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// More routes than this are not kept; a workstation with full tables is still described by its default routes.
const MAX_ROUTES: usize = 4096;
const RTF_UP: u32 = 0x0001;
const RTF_GATEWAY: u32 = 0x0002;
const RTF_REJECT: u32 = 0x0200;

/// One usable route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The interface that it leaves by.
    pub(crate) interface: String,
    /// Destination network.
    pub(crate) network: IpAddr,
    /// Length of the destination's prefix; 0 is the default route.
    pub(crate) prefix: u8,
    /// The next hop, unless the network is directly connected.
    pub(crate) gateway: Option<IpAddr>,
    /// Lower is preferred.
    pub(crate) metric: u32,
}

impl Route {
    fn is_default(&self) -> bool {
        self.prefix == 0
    }
}

/// Parses `/proc/net/route`: addresses are hexadecimal in the byte order of the machine, which is little-endian on
/// every system that the agent runs on. Lines that do not parse are left out.
pub(crate) fn parse_ipv4(text: &str) -> Vec<Route> {
    text.lines().skip(1).filter_map(ipv4_line).take(MAX_ROUTES).collect()
}

fn ipv4_line(line: &str) -> Option<Route> {
    let mut fields = line.split_ascii_whitespace();
    let interface = fields.next()?.to_owned();
    let network = ipv4(fields.next()?)?;
    let gateway = ipv4(fields.next()?)?;
    let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
    let metric = fields.nth(2)?.parse().ok()?;
    let mask = u32::from(ipv4(fields.next()?)?);
    if flags & RTF_UP == 0 || flags & RTF_REJECT != 0 || mask.leading_ones() != mask.count_ones() {
        return None;
    }
    Some(Route {
        interface,
        network: IpAddr::V4(network),
        prefix: u8::try_from(mask.count_ones()).ok()?,
        gateway: (flags & RTF_GATEWAY != 0).then_some(IpAddr::V4(gateway)),
        metric,
    })
}

fn ipv4(hex: &str) -> Option<Ipv4Addr> {
    u32::from_str_radix(hex, 16).ok().map(|number| Ipv4Addr::from(number.to_le_bytes()))
}

/// Parses `/proc/net/ipv6_route`. Lines that do not parse are left out.
pub(crate) fn parse_ipv6(text: &str) -> Vec<Route> {
    text.lines().filter_map(ipv6_line).take(MAX_ROUTES).collect()
}

fn ipv6_line(line: &str) -> Option<Route> {
    let mut fields = line.split_ascii_whitespace();
    let network = ipv6(fields.next()?)?;
    let prefix = u8::from_str_radix(fields.next()?, 16).ok()?;
    let gateway = ipv6(fields.nth(2)?)?;
    let metric = u32::from_str_radix(fields.next()?, 16).ok()?;
    let flags = u32::from_str_radix(fields.nth(2)?, 16).ok()?;
    let interface = fields.next()?.to_owned();
    if flags & RTF_UP == 0 || flags & RTF_REJECT != 0 || prefix > 128 {
        return None;
    }
    Some(Route {
        interface,
        network: IpAddr::V6(network),
        prefix,
        gateway: (flags & RTF_GATEWAY != 0).then_some(IpAddr::V6(gateway)),
        metric,
    })
}

/// Parses 32 hexadecimal digits, as `/proc/net/ipv6_route` and `/proc/net/if_inet6` print an address.
pub(crate) fn ipv6(hex: &str) -> Option<Ipv6Addr> {
    (hex.len() == 32).then(|| u128::from_str_radix(hex, 16).ok().map(Ipv6Addr::from)).flatten()
}

/// The default routes, best first, each pair of interface and gateway once. Loopback never carries one.
pub(crate) fn defaults(routes: &[Route]) -> Vec<&Route> {
    let mut found: Vec<&Route> =
        routes.iter().filter(|route| route.is_default() && route.interface != "lo").collect();
    // IPv4 before IPv6 at equal metric: the families' metrics are not comparable, and people quote the IPv4 one.
    order::sort_by_key(&mut found, |route| (route.network.is_ipv6(), route.metric));
    let mut seen = Vec::new();
    found.retain(|route| {
        let key = (&route.interface, route.gateway);
        let new = !seen.contains(&key);
        if new {
            seen.push(key);
        }
        new
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPV4: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        wlan0\t00000000\tFE01A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        eth0\t0000FEA9\t00000000\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
        broken\tline\n";

    #[test]
    fn the_route_with_the_lowest_metric_comes_first() {
        let routes = parse_ipv4(IPV4);
        assert_eq!(routes.len(), 3, "the rejecting route and the broken line are left out");
        let found = defaults(&routes);
        assert_eq!(found[0].gateway, Some("192.168.1.254".parse().unwrap()));
        assert_eq!(found[1].interface, "eth0");
        assert_eq!((routes[2].network, routes[2].prefix), ("192.0.2.0".parse().unwrap(), 24));
    }

    #[test]
    fn an_unreachable_ipv6_default_on_loopback_is_no_route() {
        let text = "\
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
short line
";
        let routes = parse_ipv6(text);
        let found = defaults(&routes);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].gateway, Some("fd00::1".parse().unwrap()));
        assert_eq!(found[0].metric, 0x400);
    }

    #[test]
    fn a_tunnel_default_has_no_gateway() {
        let text =
            "Iface\tDestination\tGateway\tFlags\nwg0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        let routes = parse_ipv4(text);
        assert_eq!(defaults(&routes)[0].gateway, None);
    }
}
