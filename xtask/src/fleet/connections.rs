//! The series of a machine's connections: network, VPN, Wi-Fi, watched certificates, printers.

use super::clock::{HOUR, MINUTE};
use super::day::Link;
use super::office::{Class, Device, Site};
use super::series::{Bench, Usual, When};

/// The router that most home networks have: one address, many different routers.
pub(super) const HOME_ROUTER: &str = "192.168.1.1";

/// Slots of the first and the second printer of a machine.
pub(super) const PRINTERS: [Printer; 2] = [
    Printer {
        state: "printer.0",
        reason: "printer.0.reason",
        reachable: "printer.0.reachable",
        jobs: "printer.0.jobs",
        age: "printer.0.age",
        black: "printer.0.black",
        colour: "printer.0.colour",
    },
    Printer {
        state: "printer.1",
        reason: "printer.1.reason",
        reachable: "printer.1.reachable",
        jobs: "printer.1.jobs",
        age: "printer.1.age",
        black: "printer.1.black",
        colour: "printer.1.colour",
    },
];

#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    pub state: &'static str,
    pub reason: &'static str,
    pub reachable: &'static str,
    pub jobs: &'static str,
    pub age: &'static str,
    pub black: &'static str,
    pub colour: &'static str,
}

pub(super) fn network(device: &Device, site: &Site, bench: &mut Bench<'_>) {
    let wired = "network_interface/eth0";
    bench.fixed("wired", (wired, "hw.network.up"), 1.0).only(When::Wired).pace(30, 30 * MINUTE);
    interface(bench, wired, "wired", When::Wired);
    bench
        .counter("carrier", (wired, "endpoint.network.carrier_changes"), &[], 0.0)
        .pace(30, 30 * MINUTE)
        .value = 2.0;
    let rates = [
        ("packets.in", "system.network.packet.count", "receive", 120_000.0),
        ("packets.out", "system.network.packet.count", "transmit", 90_000.0),
        ("errors.in", "system.network.errors", "receive", 0.2),
        ("dropped.in", "system.network.packet.dropped", "receive", 40.0),
    ];
    for (slot, metric, direction, per_hour) in rates {
        let attributes = [("network.io.direction", direction)];
        bench.counter(slot, (wired, metric), &attributes, per_hour).only(When::Wired).pace(30, 10 * MINUTE);
    }
    bench
        .word("duplex", (wired, "endpoint.network.duplex"), &[], ("state", "full"))
        .only(When::Wired)
        .pace(MINUTE, HOUR);
    let links = [
        (Link::Wired, When::Wired, ["gateway", "dns.0", "dns.1"]),
        (Link::Wifi, When::Wifi, ["wifi.gateway", "wifi.dns.0", "wifi.dns.1"]),
    ];
    for (link, when, slots) in links {
        if link == Link::Wifi && device.class != Class::Laptop {
            continue;
        }
        let gateway = format!("gateway/{}", site.gateway(link));
        bench
            .fixed(slots[0], (&gateway, "endpoint.network.gateway.reachable"), 1.0)
            .only(when)
            .pace(15, 10 * MINUTE);
        for which in 0..2 {
            name_server(bench, slots[1 + which], &site.dns(which), when);
        }
    }
    round_trips(bench);
    if device.watches_certificate {
        let endpoint = format!("endpoint/{}", site.intranet());
        let left = 80.0 * 86_400.0;
        bench
            .fixed("intranet", (&endpoint, "endpoint.tls.certificate.time_to_expiry"), left)
            .pace(HOUR, 6 * HOUR);
    }
    if device.class == Class::Laptop {
        laptop(device, bench);
    }
}

fn interface(bench: &mut Bench<'_>, component: &str, slot: &'static str, when: When) {
    let address = if slot == "wired" { "wired.address" } else { "wifi.address" };
    bench
        .word(address, (component, "endpoint.network.ip_config"), &[], ("state", "ok"))
        .only(when)
        .pace(30, 30 * MINUTE);
}

fn name_server(bench: &mut Bench<'_>, slot: &'static str, address: &str, when: When) {
    let usual = Usual::Around { mean: 0.012, spread: 0.012, low: 0.002, high: 0.2 };
    let component = format!("dns_server/{address}");
    let what = (component.as_str(), "endpoint.dns.lookup.duration");
    let series = bench.add(slot, what, &[("server", address)], usual, (30, 10 * MINUTE));
    series.word = Some(("rcode", "noerror"));
    series.only(when);
}

fn round_trips(bench: &mut Bench<'_>) {
    let usual = Usual::Around { mean: 0.004, spread: 0.004, low: 0.001, high: 0.045 };
    bench.add(
        "rtt",
        ("network/0", "endpoint.network.rtt"),
        &[("target", "gateway")],
        usual,
        (15, 20 * MINUTE),
    );
    let usual = Usual::Around { mean: 0.001, spread: 0.002, low: 0.0, high: 0.009 };
    bench.add(
        "loss",
        ("network/0", "endpoint.network.loss"),
        &[("target", "gateway")],
        usual,
        (MINUTE, 20 * MINUTE),
    );
    let usual = Usual::Around { mean: 0.003, spread: 0.003, low: 0.0, high: 0.02 };
    bench.add(
        "jitter",
        ("network/0", "endpoint.network.jitter"),
        &[("target", "gateway")],
        usual,
        (MINUTE, 20 * MINUTE),
    );
    bench
        .word("connectivity", ("network/0", "endpoint.network.connectivity"), &[], ("state", "full"))
        .pace(30, 30 * MINUTE);
    let usual = Usual::Fixed(1500.0);
    bench.add(
        "mtu",
        ("network/0", "endpoint.network.path_mtu"),
        &[("target", "collector")],
        usual,
        (5 * MINUTE, HOUR),
    );
    bench
        .fixed("proxy", ("network/0", "endpoint.network.proxy.reachable"), 1.0)
        .only(When::InTheOffice)
        .pace(5 * MINUTE, 30 * MINUTE);
}

fn laptop(device: &Device, bench: &mut Bench<'_>) {
    let wifi = "network_interface/wlan0";
    bench.fixed("wifi", (wifi, "hw.network.up"), 1.0).only(When::OnWifiAnywhere).pace(30, 30 * MINUTE);
    interface(bench, wifi, "wifi", When::OnWifiAnywhere);
    let mean = bench.random.range(-64.0, -46.0);
    bench
        .around("signal", ("wifi/wlan0", "endpoint.wifi.rssi"), (mean, 3.0), (-68.0, -35.0))
        .only(When::OnWifiAnywhere)
        .pace(30, 10 * MINUTE);
    bench
        .around("snr", ("wifi/wlan0", "endpoint.wifi.snr"), (34.0, 4.0), (24.0, 55.0))
        .only(When::OnWifiAnywhere);
    bench
        .around("retries", ("wifi/wlan0", "endpoint.wifi.retry_ratio"), (0.05, 0.04), (0.0, 0.17))
        .only(When::OnWifiAnywhere);
    bench
        .around("busy", ("wifi/wlan0", "endpoint.wifi.channel_busy"), (0.2, 0.1), (0.02, 0.44))
        .only(When::OnWifiAnywhere);
    let gateway = format!("gateway/{HOME_ROUTER}");
    bench
        .fixed("home.gateway", (&gateway, "endpoint.network.gateway.reachable"), 1.0)
        .only(When::AtHome)
        .pace(15, 10 * MINUTE);
    name_server(bench, "home.dns", HOME_ROUTER, When::AtHome);
    let vpn = format!("vpn/{}", device.vpn);
    bench
        .word("vpn", (&vpn, "endpoint.vpn.state"), &[("name", device.vpn)], ("state", "up"))
        .only(When::AtHome)
        .pace(30, 20 * MINUTE);
}

pub(super) fn printers(device: &Device, site: &Site, bench: &mut Bench<'_>) {
    for (place, slots) in device.printers.iter().zip(PRINTERS) {
        let uuid = &site.printers[*place];
        let printer = format!("printer/{uuid}");
        let named = [("printer", uuid.as_str())];
        let series = bench.add(
            slots.state,
            (&printer, "endpoint.printer.state"),
            &named,
            Usual::Fixed(3.0),
            (MINUTE, 30 * MINUTE),
        );
        series.only(When::InTheOffice);
        let reason = bench.word(
            slots.reason,
            (&printer, "endpoint.printer.state_reason"),
            &named,
            ("keyword", "none"),
        );
        reason.only(When::InTheOffice);
        for (slot, metric, value, every) in [
            (slots.reachable, "endpoint.printer.reachable", 1.0, 2 * MINUTE),
            (slots.jobs, "endpoint.printer.jobs.queued", 0.0, MINUTE),
            (slots.age, "endpoint.printer.job.age", 0.0, MINUTE),
        ] {
            let series =
                bench.add(slot, (&printer, metric), &named, Usual::Fixed(value), (every, 30 * MINUTE));
            series.only(When::InTheOffice);
        }
        for (slot, supply) in [(slots.black, "black"), (slots.colour, "cyan")] {
            let level = 0.25 + 0.05 * (*place % 14) as f64;
            let series = bench.add(
                slot,
                (&printer, "endpoint.printer.supply.level"),
                &named,
                Usual::Fixed(level),
                (15 * MINUTE, HOUR),
            );
            series.with("supply", supply).only(When::InTheOffice);
        }
    }
}
