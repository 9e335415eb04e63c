//! The network as one machine sees it.

use super::{Domain, Fault, Kind, event, seconds};
use crate::fleet::clock::{HOUR, MINUTE};
use crate::fleet::day::Link;
use crate::fleet::office::{Class, Device};
use crate::fleet::random::Random;
use crate::fleet::series::Values::{Between, Nothing, PerHour, Same};

pub(super) const KINDS: &[Kind] = &[
    (6, cable_out),
    (5, link_flaps),
    (5, damaged_packets),
    (4, half_duplex),
    (5, no_address),
    (5, no_gateway),
    (6, no_names),
    (4, slow_names),
    (5, loses_packets),
    (3, small_packets),
    (5, tunnel_down),
    (6, weak_signal),
    (5, drops_off_wifi),
];

fn network(kind: &'static str, device: &Device, slot: &str, link: Link) -> Option<Fault> {
    Some(Fault::of(kind, Domain::Network, device, slot)?.needs(link))
}

/// What cannot be asked any more once the link of the cable is gone.
fn nothing_behind(fault: Fault) -> Fault {
    ["gateway", "dns.0", "dns.1", "rtt", "loss", "jitter", "mtu", "proxy"]
        .into_iter()
        .fold(fault, |fault, slot| fault.shows(slot, Nothing))
}

fn cable_out(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = network("net.link", device, "wired", Link::Wired)?
        .rules(&["net.link"], &["net.gateway", "net.dhcp", "net.flapping"]);
    let fault = nothing_behind(fault.shows("wired", Between(0.0, 0.0)).shows("wired.address", Nothing));
    let fault = fault.timing(2 * MINUTE, (15 * MINUTE, 4 * HOUR)).cause(&["cable", "contact", "plug"]);
    (device.class != Class::Laptop).then_some(fault)
}

fn link_flaps(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = network("net.flapping", device, "carrier", Link::Wired)?
        .rules(&["net.flapping"], &["net.link", "net.gateway", "net.errors"]);
    let per_hour = random.range(40.0, 200.0);
    let fault = fault.shows("carrier", PerHour(per_hour)).onset(seconds(4.0 * 3600.0 / per_hour));
    Some(fault.timing(0, (30 * MINUTE, 3 * HOUR)).cause(&["cable", "plug"]))
}

fn damaged_packets(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault =
        network("net.errors", device, "errors.in", Link::Wired)?.rules(&["net.errors"], &["net.loss"]);
    let packets = random.range(60_000.0, 300_000.0);
    let damaged = packets * random.range(0.04, 0.3);
    let fault = fault.shows("packets.in", PerHour(packets)).shows("packets.out", PerHour(packets * 0.6));
    let fault = fault.shows("errors.in", PerHour(damaged));
    Some(fault.timing(10 * MINUTE, (HOUR, 8 * HOUR)).cause(&["cable"]))
}

fn half_duplex(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = network("net.duplex", device, "duplex", Link::Wired)?.rules(&["net.duplex"], &["net.errors"]);
    let fault = fault.says("duplex", "half", Same).shows("rtt", Between(0.01, random.range(0.02, 0.045)));
    Some(fault.timing(15 * MINUTE, (HOUR, 7 * HOUR)).cause(&["cable", "set by hand"]))
}

fn no_address(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = network("net.dhcp", device, "wired.address", Link::Wired)?
        .rules(&["net.dhcp"], &["net.gateway", "net.dns"]);
    let word = *random.pick(&["link_local", "none"]);
    let fault = nothing_behind(fault.says("wired.address", word, Same));
    Some(fault.timing(MINUTE, (10 * MINUTE, 3 * HOUR)).cause(&["address server", "dhcp", "vlan"]))
}

/// Plugged into a wrong socket: the cable is good and the router answers everybody else.
fn no_gateway(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = network("net.gateway", device, "gateway", Link::Wired)?
        .rules(&["net.gateway"], &["net.dns", "net.loss", "net.proxy"]);
    let fault = fault.shows("gateway", Between(0.0, 0.0)).says("dns.0", "timeout", Between(4.0, 5.0));
    let fault = fault
        .says("dns.1", "timeout", Between(4.0, 5.0))
        .shows("rtt", Nothing)
        .shows("proxy", Between(0.0, 0.0));
    Some(fault.timing(45, (10 * MINUTE, 2 * HOUR)).cause(&["another network", "socket", "router"]))
}

fn no_names(device: &Device, random: &mut Random) -> Option<Fault> {
    let mut fault = network("net.dns", device, "dns.0", Link::Wired)?.rules(&["net.dns"], &["net.proxy"]);
    // Which of the two is looked at first is chance.
    fault.others = device.component("dns.1").into_iter().collect();
    let word = *random.pick(&["timeout", "servfail", "refused"]);
    let took = if word == "timeout" { Between(4.0, 5.0) } else { Between(0.01, 0.05) };
    let fault = fault.says("dns.0", word, took).says("dns.1", word, took).shows("proxy", Between(0.0, 0.0));
    Some(fault.timing(90, (10 * MINUTE, 2 * HOUR)).cause(&["none of the configured", "firewall"]))
}

fn slow_names(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = network("net.dns.slow", device, "dns.0", Link::Wired)?.rules(&["net.dns"], &[]);
    let took = random.range(0.7, 2.5);
    let fault =
        fault.says("dns.0", "noerror", Between(took * 0.8, took)).timing(5 * MINUTE, (30 * MINUTE, 3 * HOUR));
    Some(fault.cause(&["slow"]))
}

fn loses_packets(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = network("net.loss", device, "loss", Link::Wired)?
        .rules(&["net.loss"], &["net.jitter", "net.gateway"]);
    let share = random.range(0.035, 0.35);
    let fault = fault.shows("loss", Between(share * 0.8, share)).shows("jitter", Between(0.02, 0.08));
    Some(fault.timing(10 * MINUTE, (40 * MINUTE, 5 * HOUR)).cause(&["cable", "wi-fi"]))
}

fn small_packets(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = network("net.mtu", device, "mtu", Link::Home)?.rules(&["net.mtu"], &[]);
    let bytes = f64::from(random.whole(576, 1240));
    Some(fault.shows("mtu", Between(bytes, bytes)).timing(5 * MINUTE, (HOUR, 4 * HOUR)).cause(&["vpn"]))
}

fn tunnel_down(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = network("net.vpn", device, "vpn", Link::Home)?.rules(&["net.vpn"], &["net.dns"]);
    let word = *random.pick(&["failed", "down", "error"]);
    let fault = fault.says("vpn", word, Same).timing(2 * MINUTE, (15 * MINUTE, 4 * HOUR));
    Some(fault.cause(&["certificate", "password", "expired"]))
}

fn weak_signal(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = network("wifi.signal", device, "signal", Link::Wifi)?
        .rules(&["wifi.signal"], &["net.loss", "wifi.quality", "wifi.roam"]);
    let level = random.range(-88.0, -72.5);
    let fault = fault.shows("signal", Between(level - 1.5, level)).shows("snr", Between(9.0, 22.0));
    Some(fault.timing(5 * MINUTE, (25 * MINUTE, 3 * HOUR)).cause(&["far"]))
}

fn drops_off_wifi(device: &Device, random: &mut Random) -> Option<Fault> {
    let mut fault = network("wifi.roam", device, "signal", Link::Wifi)?
        .rules(&["wifi.roam"], &["net.gateway", "net.dns"]);
    let apart = random.whole(2 * MINUTE, 9 * MINUTE);
    for n in 0..random.whole(4, 10) {
        fault = fault.happens(
            n * apart,
            event("endpoint.wifi.disconnects", "wifi/wlan0", &[("reason", "beacon_loss")]),
        );
    }
    fault.every = MINUTE;
    Some(fault.onset(2 * apart).timing(0, (HOUR, 3 * HOUR)).cause(&["driver", "access point"]))
}
