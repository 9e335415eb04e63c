//! The network on Windows: adapters, addresses, gateways and DNS servers as WMI knows them, brought into the form of the
//! Linux half.

use super::addresses::InterfaceAddress;
use super::interfaces::{self, Counters, Interface, Kind};
use super::resolv_conf::{ResolvConf, Server};
use super::{Gateway, MAX_DNS_SERVERS, MAX_GATEWAYS, Picture, report};
use crate::on_windows::{Class, Machine, Row};
use crate::{Context, ProbeError, Sink};
use std::net::IpAddr;

const fn of_network(name: &'static str, properties: &'static [&'static str]) -> Class {
    Class { namespace: "StandardCimv2", name, properties, condition: None }
}

const ADAPTERS: Class = of_network(
    "MSFT_NetAdapter",
    &[
        "Name",
        "InterfaceIndex",
        "InterfaceAdminStatus",
        "MediaConnectState",
        "PermanentAddress",
        "MtuSize",
        "Speed",
        "FullDuplex",
        "HardwareInterface",
        "NdisPhysicalMedium",
        "InterfaceType",
    ],
);
const STATISTICS: Class = of_network(
    "MSFT_NetAdapterStatisticsSettingData",
    &[
        "Name",
        "ReceivedBytes",
        "SentBytes",
        "ReceivedUnicastPackets",
        "ReceivedMulticastPackets",
        "ReceivedBroadcastPackets",
        "SentUnicastPackets",
        "SentMulticastPackets",
        "SentBroadcastPackets",
        "ReceivedPacketErrors",
        "OutboundPacketErrors",
        "ReceivedDiscardedPackets",
        "OutboundDiscardedPackets",
    ],
);
const CONFIGURATIONS: Class = Class {
    namespace: "cimv2",
    name: "Win32_NetworkAdapterConfiguration",
    properties: &[
        "InterfaceIndex",
        "IPEnabled",
        "IPAddress",
        "IPSubnet",
        "DefaultIPGateway",
        "IPConnectionMetric",
        "DNSServerSearchOrder",
        "DNSDomain",
    ],
    condition: Some("IPEnabled = TRUE"),
};
const NEIGHBOURS: Class =
    of_network("MSFT_NetNeighbor", &["InterfaceIndex", "IPAddress", "LinkLayerAddress"]);

const MAX_ADAPTERS: usize = 256;
/// Kinds of NDIS's physical media that are radio: 802.11 and mobile broadband.
const RADIO: [u64; 3] = [1, 8, 9];
const ETHERNET: u64 = 6;
const LOOPBACK: u64 = 24;

/// Everything at one moment.
pub(crate) fn picture(machine: &dyn Machine) -> Picture {
    let configurations = machine.rows(&CONFIGURATIONS);
    let known = configurations.as_deref().unwrap_or_default();
    let interfaces = adapters(machine);
    let adapters = interfaces.as_deref().unwrap_or_default();
    let name_of = |row: &Row| {
        let index = u32::try_from(row.whole("InterfaceIndex")?).ok()?;
        let found = adapters.iter().find(|adapter| adapter.index == Some(index));
        found.map(|adapter| (adapter.name.clone(), index))
    };
    // The way out is the one with the lowest metric.
    let mut ordered: Vec<&Row> = known.iter().collect();
    ordered.sort_by_key(|row| row.whole("IPConnectionMetric").unwrap_or(u64::MAX));
    let neighbours = machine.rows(&NEIGHBOURS).unwrap_or_default();
    let mut gateways = Vec::new();
    let mut default_interfaces = Vec::new();
    let mut addresses = Vec::new();
    let mut resolver = ResolvConf::default();
    for row in ordered {
        let Some((interface, index)) = name_of(row) else { continue };
        addresses.extend(addresses_of(row, &interface));
        for address in
            row.texts("DefaultIPGateway").into_iter().filter_map(|text| text.parse::<IpAddr>().ok())
        {
            if gateways.len() < MAX_GATEWAYS && !address.is_unspecified() {
                let hardware = hardware_of(&neighbours, address, index);
                gateways.push(Gateway { address, interface: interface.clone(), hardware, scope: index });
                default_interfaces.push(interface.clone());
            }
        }
        for text in row.texts("DNSServerSearchOrder") {
            let Ok(address) = text.parse::<IpAddr>() else { continue };
            let is_known = resolver.servers.iter().any(|server| server.address == address);
            if resolver.servers.len() < MAX_DNS_SERVERS && !is_known {
                let scope = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
                let scope = scope.then(|| interface.clone());
                resolver.servers.push(Server { name: text.to_owned(), address, scope });
            }
        }
        resolver.domain = resolver.domain.or_else(|| row.text("DNSDomain").map(str::to_owned));
    }
    let resolver = configurations.map(|_| resolver);
    Picture { interfaces, addresses, gateways, resolver, default_interfaces }
}

fn adapters(machine: &dyn Machine) -> Result<Vec<Interface>, ProbeError> {
    let rows = machine.rows(&ADAPTERS)?;
    let statistics = machine.rows(&STATISTICS).unwrap_or_default();
    let usable = rows.iter().filter(|row| row.whole("InterfaceType") != Some(LOOPBACK)).take(MAX_ADAPTERS);
    Ok(usable.filter_map(|row| adapter(row, &statistics)).collect())
}

fn adapter(row: &Row, statistics: &[Row]) -> Option<Interface> {
    let name = row.text("Name")?.to_owned();
    let is_hardware = row.truth("HardwareInterface") == Some(true);
    let is_radio = row.whole("NdisPhysicalMedium").is_some_and(|medium| RADIO.contains(&medium));
    let kind = match (is_hardware, is_radio, row.whole("InterfaceType")) {
        (true, true, _) => Kind::Wifi,
        (true, false, Some(ETHERNET) | None) => Kind::Wired,
        (true, false, Some(_)) | (false, _, _) => Kind::Virtual,
    };
    // 1 is up, 2 is down.
    let enabled = row.whole("InterfaceAdminStatus") != Some(2);
    let carrier = enabled && row.whole("MediaConnectState") == Some(1);
    let bits = row.whole("Speed").filter(|bits| (1_000_000..=4_000_000_000_000).contains(bits));
    let duplex = row.truth("FullDuplex").map(|full| if full { "full" } else { "half" }.to_owned());
    Some(Interface {
        index: row.whole("InterfaceIndex").and_then(|index| u32::try_from(index).ok()),
        kind,
        enabled,
        carrier,
        operstate: None,
        hardware: row.text("PermanentAddress").and_then(hardware_address),
        mtu: row.whole("MtuSize").filter(|mtu| *mtu > 0 && *mtu < 1 << 20),
        speed_mbps: bits.filter(|_| carrier).map(|bits| bits / 1_000_000),
        duplex: duplex.filter(|_| carrier),
        carrier_changes: None,
        driver: None,
        counted: counters(statistics, &name),
        name,
    })
}

fn counters(statistics: &[Row], name: &str) -> Option<[Counters; 2]> {
    let row = statistics.iter().find(|row| row.text("Name") == Some(name))?;
    let sum = |names: [&str; 3]| {
        let numbers: Option<Vec<u64>> = names.into_iter().map(|name| row.whole(name)).collect();
        Some(numbers?.into_iter().fold(0, u64::saturating_add))
    };
    Some([
        Counters {
            bytes: row.whole("ReceivedBytes")?,
            packets: sum(["ReceivedUnicastPackets", "ReceivedMulticastPackets", "ReceivedBroadcastPackets"])?,
            errors: row.whole("ReceivedPacketErrors")?,
            dropped: Some(row.whole("ReceivedDiscardedPackets")?),
        },
        Counters {
            bytes: row.whole("SentBytes")?,
            packets: sum(["SentUnicastPackets", "SentMulticastPackets", "SentBroadcastPackets"])?,
            errors: row.whole("OutboundPacketErrors")?,
            dropped: Some(row.whole("OutboundDiscardedPackets")?),
        },
    ])
}

/// IPv4 addresses come with a mask, IPv6 ones with a length.
fn addresses_of(row: &Row, interface: &str) -> Vec<InterfaceAddress> {
    let masks = row.texts("IPSubnet");
    let pairs = row.texts("IPAddress").into_iter().zip(masks);
    let usable = pairs.filter_map(|(address, mask)| {
        let address: IpAddr = address.parse().ok()?;
        let prefix = match mask.parse::<std::net::Ipv4Addr>() {
            Ok(mask) => u8::try_from(u32::from(mask).leading_ones()).ok()?,
            Err(_) => mask.parse::<u8>().ok().filter(|length| *length <= 128)?,
        };
        Some(InterfaceAddress { interface: interface.to_owned(), address, prefix })
    });
    usable.collect()
}

fn hardware_of(neighbours: &[Row], address: IpAddr, index: u32) -> Option<String> {
    let is_it = |row: &&Row| {
        row.whole("InterfaceIndex") == Some(index.into())
            && row.text("IPAddress").and_then(|text| text.parse::<IpAddr>().ok()) == Some(address)
    };
    hardware_address(neighbours.iter().find(is_it)?.text("LinkLayerAddress")?)
}

/// `00-1A-2B-3C-4D-5E` or `001A2B3C4D5E` as `00:1a:2b:3c:4d:5e`.
fn hardware_address(text: &str) -> Option<String> {
    let digits: String =
        text.chars().filter(|c| c.is_ascii_hexdigit()).collect::<String>().to_ascii_lowercase();
    if digits.len() != 12 {
        return None;
    }
    let pairs: Vec<&str> = (0..12).step_by(2).filter_map(|at| digits.get(at..at + 2)).collect();
    Some(pairs.join(":")).filter(|address| interfaces::is_hardware_address(address))
}

/// Reports what the machine says of its network, without asking anything of it.
pub fn report(machine: &dyn Machine, context: &Context, sink: &mut Sink) {
    let picture = picture(machine);
    report::links(context, &picture, sink);
    if picture.interfaces.is_ok() {
        report::document(&picture, sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_written_as_on_other_systems() {
        let expected = Some("00:1a:2b:3c:4d:5e".to_owned());
        assert_eq!(hardware_address("00-1A-2B-3C-4D-5E"), expected);
        assert_eq!(hardware_address("001A2B3C4D5E"), expected);
        for bad in ["", "00-00-00-00-00-00", "00-1A-2B-3C-4D", "garbage"] {
            assert_eq!(hardware_address(bad), None, "{bad}");
        }
    }
}
