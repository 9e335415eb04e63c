//! Private networks: the same addresses mean different places. Only what else is known of a network (its router's
//! hardware address, else the device's site) tells two of them apart.

use firstline_model::{Component, ComponentKind, Value};
use std::net::IpAddr;
use std::sync::Arc;

/// What stands between an address and the place where it means something.
const PLACE: &str = " at ";
/// What the identity of a printer that is known by its address begins with.
const ADDRESS: &str = "address:";

/// The private network that a device is in, when it is known which one that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lan {
    base: u128,
    mask: u128,
    is_v6: bool,
    place: Arc<str>,
}

impl Lan {
    /// The private network of a device with these facts. `None` when it is in a public one, or in one that cannot be told
    /// from others with the same addresses.
    pub(super) fn of(facts: &Value, site: Option<&str>) -> Option<Self> {
        let (address, bits) = network(facts.get("subnet")?.as_text()?)?;
        if !is_private_address(address) {
            return None;
        }
        let router = facts.get("gateway_mac").and_then(Value::as_text).filter(|text| !text.is_empty());
        let place = router.or(site).filter(|place| !place.is_empty())?.into();
        let (base, width) = number(address);
        let mask = match width.saturating_sub(bits) {
            0 => u128::MAX,
            free => u128::MAX.checked_shl(free).unwrap_or(0),
        };
        Some(Self { base: base & mask, mask, is_v6: address.is_ipv6(), place })
    }

    /// The place that a part belongs to: a name server, or a printer of which no more is known, with an address of the
    /// private network that its user is in.
    pub(super) fn around(lan: Option<&Self>, part: &Component) -> Option<Arc<str>> {
        let address = if part.kind == ComponentKind::DnsServer {
            Some(part.id())
        } else {
            part.id().strip_prefix(ADDRESS).filter(|_| part.kind == ComponentKind::Printer).map(host)
        };
        let lan = lan.filter(|lan| address.is_some_and(|address| lan.has(address)))?;
        Some(Arc::clone(&lan.place))
    }

    /// Whether `address` belongs to it.
    pub(super) fn has(&self, address: &str) -> bool {
        address.parse::<IpAddr>().is_ok_and(|address| {
            address.is_ipv6() == self.is_v6 && number(address).0 & self.mask == self.base
        })
    }

    /// `what`, as it is meant here.
    pub(super) fn place_of(&self, what: &str) -> String {
        format!("{what}{PLACE}{}", self.place)
    }
}

/// Whether a part that is written like this may stand with its place.
pub(super) fn may_have_place(part: &str) -> bool {
    let address = part.strip_prefix("printer/").is_some_and(|id| id.starts_with(ADDRESS));
    address || part.starts_with("dns_server/")
}

/// Whether a printer's identity is an address that means one printer here and another one elsewhere, and nothing tells
/// where here is.
pub(super) fn is_ambiguous(identity: &str, lan: Option<&Lan>) -> bool {
    let address = identity.strip_prefix(ADDRESS).and_then(|text| host(text).parse().ok());
    address.is_some_and(is_private_address) && lan.is_none()
}

/// The address without a port.
fn host(text: &str) -> &str {
    let without = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let host = if text.parse::<IpAddr>().is_ok() { text } else { without };
    host.trim_matches(['[', ']'])
}

/// The reverse of [`Lan::place_of`].
pub(super) fn without_place(text: &str) -> &str {
    text.split_once(PLACE).map_or(text, |(what, _)| what)
}

/// Whether `text` is a network of which there are many.
pub(super) fn is_private(text: &str) -> bool {
    network(text).is_some_and(|(address, _)| is_private_address(address))
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    Some((address.parse().ok()?, bits.parse().ok()?))
}

fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

fn is_private_address(address: IpAddr) -> bool {
    match address {
        // 100.64.0.0/10 is what providers use inside (RFC 6598).
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_private() || v4.is_link_local() || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lan(subnet: &str, router: &str, site: Option<&str>) -> Option<Lan> {
        Lan::of(
            &Value::map([
                ("subnet", Value::Text(subnet.to_owned())),
                ("gateway_mac", Value::Text(router.to_owned())),
            ]),
            site,
        )
    }

    #[test]
    fn a_private_network_is_a_place_only_with_its_router_or_its_site() {
        assert_eq!(lan("192.168.1.0/24", "", None), None);
        assert_eq!(lan("203.0.113.0/24", "02:00:5e:00:00:01", Some("oslo")), None);
        let home = lan("192.168.1.0/24", "02:00:5e:00:00:01", Some("oslo")).unwrap();
        assert_ne!(Some(&home), lan("192.168.1.0/24", "02:00:5e:00:00:02", Some("oslo")).as_ref());
        assert_eq!(lan("10.0.0.0/8", "", Some("oslo")).unwrap().place_of("x"), "x at oslo");
        assert_eq!(without_place(&home.place_of("192.168.1.0/24")), "192.168.1.0/24");
    }

    #[test]
    fn addresses_belong_to_their_network() {
        let lan = lan("10.1.16.0/20", "02:00:5e:00:00:01", None).unwrap();
        assert!(lan.has("10.1.16.1") && lan.has("10.1.31.255"));
        assert!(!lan.has("10.1.0.53") && !lan.has("10.1.32.0") && !lan.has("::1") && !lan.has("router"));
        for (text, private) in [
            ("172.16.0.0/12", true),
            ("172.32.0.0/12", false),
            ("100.64.0.0/10", true),
            ("100.128.0.0/10", false),
            ("fd00::/8", true),
            ("2001:db8::/32", false),
            ("oslo", false),
            ("10.0.0.0/x", false),
        ] {
            assert_eq!(is_private(text), private, "{text}");
        }
    }
}
