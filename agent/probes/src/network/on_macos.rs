//! The network on macOS: `ifconfig` for links and addresses, `netstat` for counters and routes, and the file in which the
//! system keeps the DNS servers of its first network, brought into the form of the Linux half.

use super::addresses::InterfaceAddress;
use super::interfaces::{self, Counters, Interface, Kind};
use super::{Gateway, MAX_GATEWAYS, Picture, index_of, report, resolver};
use crate::on_macos::{Machine, Question};
use crate::{Context, Sink};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

const MAX_INTERFACES: usize = 256;
const MAX_ADDRESSES: usize = 1024;

/// Everything at one moment.
pub(crate) fn picture(machine: &dyn Machine, context: &Context) -> Picture {
    let counted = machine.answer(Question::Counters).map(|text| counters(&text)).unwrap_or_default();
    let (interfaces, addresses) = match machine.answer(Question::Interfaces) {
        Ok(text) => {
            let (mut interfaces, addresses) = links(&text);
            for interface in &mut interfaces {
                if let Some((index, both)) = counted.get(&interface.name) {
                    interface.index = Some(*index);
                    interface.counted = Some(*both);
                }
            }
            (Ok(interfaces), addresses)
        }
        Err(error) => (Err(error), Vec::new()),
    };
    let known = interfaces.as_deref().unwrap_or_default();
    let routes = machine.answer(Question::Routes).map(|text| defaults(&text)).unwrap_or_default();
    let gateways = routes
        .iter()
        .filter_map(|(gateway, interface)| Some(((*gateway)?, interface)))
        .take(MAX_GATEWAYS)
        .map(|(address, interface)| Gateway {
            address,
            interface: interface.clone(),
            hardware: None,
            scope: index_of(known, interface).unwrap_or(0),
        })
        .collect();
    let default_interfaces = routes.into_iter().map(|(_, interface)| interface).collect();
    Picture { addresses, gateways, resolver: resolver(context), default_interfaces, interfaces }
}

/// The interfaces of `ifconfig -a` but loopback, with their addresses.
pub(crate) fn links(text: &str) -> (Vec<Interface>, Vec<InterfaceAddress>) {
    let (mut found, mut addresses): (Vec<Interface>, Vec<InterfaceAddress>) = (Vec::new(), Vec::new());
    let mut skips = true;
    for line in text.lines() {
        if !line.starts_with(char::is_whitespace) {
            let begun = begin(line);
            skips = begun.is_none() || found.len() >= MAX_INTERFACES;
            found.extend(begun.filter(|_| !skips));
            continue;
        }
        let Some(interface) = found.last_mut().filter(|_| !skips) else { continue };
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("ether"), Some(address)) => {
                interface.hardware =
                    Some(address.to_ascii_lowercase()).filter(|text| interfaces::is_hardware_address(text));
            }
            (Some("inet" | "inet6"), Some(address)) if addresses.len() < MAX_ADDRESSES => {
                // One that somebody else has, or that was not checked yet, cannot be used.
                if line.contains("duplicated") || line.contains("tentative") {
                    continue;
                }
                let after = |name: &str| line.split(name).nth(1)?.split_ascii_whitespace().next();
                let prefix = match after(" netmask 0x") {
                    Some(mask) => u32::from_str_radix(mask, 16).ok().map(|mask| mask.leading_ones()),
                    None => after(" prefixlen ").and_then(|length| length.parse().ok()),
                };
                let address = address.split('%').next().unwrap_or_default().parse::<IpAddr>();
                if let (Ok(address), Some(prefix)) = (address, prefix.filter(|prefix| *prefix <= 128)) {
                    let prefix = u8::try_from(prefix).unwrap_or(128);
                    addresses.push(InterfaceAddress { interface: interface.name.clone(), address, prefix });
                }
            }
            (Some("media:"), Some(_)) => media(line, interface),
            (Some("status:"), Some(status)) => interface.carrier = interface.enabled && status == "active",
            _ => {}
        }
    }
    (found, addresses)
}

/// `en0: flags=8863<UP,BROADCAST,...> mtu 1500`.
fn begin(line: &str) -> Option<Interface> {
    let (name, rest) = line.split_once(": flags=")?;
    let flags: Vec<&str> = rest.split_once('<')?.1.split_once('>')?.0.split(',').collect();
    if flags.contains(&"LOOPBACK") || name.is_empty() {
        return None;
    }
    let mtu = rest.split_once("mtu ").and_then(|(_, mtu)| mtu.split(' ').next()?.parse().ok());
    let enabled = flags.contains(&"UP");
    Some(Interface {
        name: name.to_owned(),
        index: None,
        kind: Kind::Virtual,
        enabled,
        // Tunnels say no status; they are there while they are up.
        carrier: enabled && flags.contains(&"RUNNING"),
        operstate: None,
        hardware: None,
        mtu: mtu.filter(|mtu| *mtu > 0 && *mtu < 1 << 20),
        speed_mbps: None,
        duplex: None,
        carrier_changes: None,
        driver: None,
        counted: None,
    })
}

/// `media: autoselect (1000baseT <full-duplex,flow-control>)` of a cable, `(none)` of one that is not plugged in; radio has
/// `media: autoselect` or `(<unknown type>)`. A Thunderbolt port that is part of a bridge has a duplex and no type.
fn media(line: &str, interface: &mut Interface) {
    if !interface.name.starts_with("en") {
        return;
    }
    let kind = line.split_once('(').map(|(_, kind)| kind.trim_end().trim_end_matches(')'));
    interface.kind = match kind {
        None if line.contains('<') => Kind::Virtual,
        None => Kind::Wifi,
        Some(kind) if kind.starts_with("<unknown") => Kind::Wifi,
        Some(_) => Kind::Wired,
    };
    let Some(kind) = kind.filter(|_| interface.kind == Kind::Wired) else { return };
    interface.duplex = ["full", "half"]
        .into_iter()
        .find(|duplex| kind.contains(&format!("{duplex}-duplex")))
        .map(str::to_owned);
    // `2500Base-T`, `10Gbase-T`, `100baseTX`.
    let digits = kind.find(|c: char| !c.is_ascii_digit()).unwrap_or(kind.len());
    let (number, unit) = kind.split_at(digits);
    let factor = if unit.starts_with(['G', 'g']) { 1000 } else { 1 };
    let speed = number.parse::<u64>().ok().and_then(|speed| speed.checked_mul(factor));
    interface.speed_mbps = speed.filter(|speed| (1..=4_000_000).contains(speed));
}

/// What each interface received and sent, with its number, in `netstat -ibdn`: the rows of links. The column of the address
/// may be empty, so fields count from the end.
pub(crate) fn counters(text: &str) -> BTreeMap<String, (u32, [Counters; 2])> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let index = fields.get(2)?.strip_prefix("<Link#")?.strip_suffix('>')?.parse().ok()?;
        let last = fields.len().checked_sub(8).filter(|first| *first >= 3)?;
        let numbers: Result<Vec<u64>, _> = fields[last..].iter().map(|field| field.parse()).collect();
        let [packets_in, errors_in, bytes_in, packets_out, errors_out, bytes_out, _collisions, dropped] =
            <[u64; 8]>::try_from(numbers.ok()?).ok()?;
        // What is dropped of what is received is not counted here.
        let received = Counters { bytes: bytes_in, packets: packets_in, errors: errors_in, dropped: None };
        let sent =
            Counters { bytes: bytes_out, packets: packets_out, errors: errors_out, dropped: Some(dropped) };
        // One that is down has a star behind its name.
        Some((fields[0].trim_end_matches('*').to_owned(), (index, [received, sent])))
    };
    text.lines().take(MAX_INTERFACES * 16).filter_map(row).take(MAX_INTERFACES).collect()
}

/// The default routes of `netstat -rn`: the gateway, when there is one, and the interface. Those that hold for programs of one
/// interface only (flag `I`) are left out.
pub(crate) fn defaults(text: &str) -> Vec<(Option<IpAddr>, String)> {
    let route = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (to, gateway, flags, interface) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        if to != "default" || flags.contains('I') {
            return None;
        }
        let gateway = gateway.split('%').next().and_then(|address| address.parse::<IpAddr>().ok());
        let gateway = gateway.filter(|address| !address.is_unspecified() && *address != Ipv4Addr::BROADCAST);
        Some((gateway, interface.to_owned()))
    };
    text.lines().filter_map(route).take(MAX_GATEWAYS * 4).collect()
}

/// Reports what the machine says of its network, without asking anything of it.
pub fn report(machine: &dyn Machine, context: &Context, sink: &mut Sink) {
    let picture = picture(machine, context);
    report::links(context, &picture, sink);
    if picture.interfaces.is_ok() {
        report::document(&picture, sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_tell_cables_from_radio_and_their_speed() {
        let told = |media: &str| {
            let text = format!("en7: flags=8863<UP,RUNNING> mtu 1500\n\tmedia: {media}\n\tstatus: active\n");
            let interface = links(&text).0.remove(0);
            (interface.kind, interface.speed_mbps, interface.duplex)
        };
        let full = Some("full".to_owned());
        assert_eq!(
            told("autoselect (1000baseT <full-duplex,flow-control>)"),
            (Kind::Wired, Some(1000), full.clone())
        );
        assert_eq!(told("autoselect (10Gbase-T <full-duplex>)"), (Kind::Wired, Some(10_000), full));
        assert_eq!(told("100baseTX <half-duplex>"), (Kind::Virtual, None, None));
        assert_eq!(told("autoselect (none)"), (Kind::Wired, None, None));
        assert_eq!(told("autoselect"), (Kind::Wifi, None, None));
        assert_eq!(told("autoselect (<unknown type>)"), (Kind::Wifi, None, None));
    }

    #[test]
    fn only_routes_of_everybody_are_ways_out() {
        let text = "default  192.168.1.1  UGScg  en0\ndefault  link#17  UCSIg  bridge100\ndefault  fe80::%utun0  UGcIg  utun0\ndefault fe80::1%en0 UGcg en0\n127 127.0.0.1 UCS lo0\ndefault\n";
        let found = defaults(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[1], (Some("fe80::1".parse().unwrap()), "en0".to_owned()));
    }

    #[test]
    fn rows_without_an_address_count_and_absurd_ones_do_not() {
        let text = "Name Mtu Network Address Ipkts Ierrs Ibytes Opkts Oerrs Obytes Coll Drop\nen0 1500 <Link#11> f8:4d:89:aa:bb:cc 10 1 2000 9 0 3000 0 2\nutun0* 1380 <Link#17> 1 0 2 3 0 4 0 0\nen0 1500 192.168.1 192.168.1.23 10 - 2000 9 - 3000 - -\nen9 1500 <Link#x> 1 2 3 4 5 6 7 8\nen8 <Link#3>\n";
        let found = counters(text);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["en0", "utun0"]);
        let (index, [received, sent]) = found["en0"];
        assert_eq!(
            (index, received.errors, received.dropped, sent.bytes, sent.dropped),
            (11, 1, None, 3000, Some(2))
        );
    }
}
