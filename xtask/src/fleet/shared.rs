//! Faults with one cause behind many machines: a dead switch, a name server, a printer, a bad update.

use super::clock::{HOUR, MINUTE};
use super::connections::PRINTERS;
use super::day::{Link, span_at};
use super::fault::{Effect, Happening, What, event};
use super::office::{Class, Device, Office};
use super::random::Random;
use super::series::{Shape, Values};

/// What a shared fault does to one machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    pub effects: Vec<Effect>,
    pub happenings: Vec<Happening>,
}

/// A fault of many machines.
#[derive(Debug, Clone)]
pub(super) struct SharedFault {
    pub kind: &'static str,
    pub rules: &'static [&'static str],
    pub also: &'static [&'static str],
    /// The rule of the Problem.
    pub problem: &'static str,
    /// The components that name what is shared; any of them is right.
    pub components: Vec<String>,
    pub attribute: &'static str,
    pub value: String,
    pub hold: u32,
    pub onset: u32,
    pub every: u32,
    pub lasts: u32,
    pub parts: Vec<(usize, Part)>,
}

/// Fewer machines are no shared cause (a printer: two).
const FEWEST: usize = 4;

type Make = fn(&Office, u32, &mut Random) -> Option<SharedFault>;

pub(super) const KINDS: &[(u32, Make)] = &[
    (4, switch_dead),
    (3, access_point_cut_off),
    (4, name_server_dead),
    (3, all_names_dead),
    (3, addresses_used_up),
    (3, vpn_gateway_down),
    (3, proxy_down),
    (3, power_cut),
    (4, bad_driver),
    (4, bad_program),
    (3, bad_policy),
    (2, bad_firmware),
    (3, bad_service),
    (2, intranet_certificate),
    (5, jammed),
    (4, printer_stopped),
    (5, printer_off),
    (4, toner_empty),
    (3, toner_low),
    (4, stuck_job),
];

fn effect(slot: &'static str, word: Option<&'static str>, values: Values) -> Effect {
    Effect { slot, after: 0, shape: Shape { word, severity: "", values } }
}

fn between(slot: &'static str, value: f64) -> Effect {
    effect(slot, None, Values::Between(value, value))
}

/// Machines that are on at `at` and `chosen`, with the connection they have then.
fn on_at<'o>(office: &'o Office, at: u32, chosen: impl Fn(&Device, Link) -> bool + 'o) -> Vec<usize> {
    let is_on = |device: &Device| {
        span_at(&device.spans, at).filter(|span| span.to > at + 25 * MINUTE).map(|span| span.link)
    };
    let all = office.devices.iter().enumerate();
    all.filter(|(_, device)| is_on(device).is_some_and(|link| chosen(device, link)))
        .map(|(place, _)| place)
        .collect()
}

fn fault(kind: &'static str, rules: &'static [&'static str], problem: &'static str) -> SharedFault {
    SharedFault {
        kind,
        rules,
        also: &[],
        problem,
        components: Vec::new(),
        attribute: "",
        value: String::new(),
        hold: 0,
        onset: 0,
        every: MINUTE,
        lasts: HOUR,
        parts: Vec::new(),
    }
}

/// The same effects on each of many machines.
fn alike(mut fault: SharedFault, places: Vec<usize>, effects: &[Effect]) -> Option<SharedFault> {
    fault.parts = places
        .into_iter()
        .map(|place| (place, Part { effects: effects.to_vec(), happenings: Vec::new() }))
        .collect();
    (fault.parts.len() >= FEWEST).then_some(fault)
}

fn names(mut fault: SharedFault, attribute: &'static str, value: &str, components: &[String]) -> SharedFault {
    (fault.attribute, fault.value) = (attribute, value.to_owned());
    fault.components = components.to_vec();
    fault
}

const BEHIND: [&str; 5] = ["rtt", "loss", "jitter", "mtu", "proxy"];

fn switch_dead(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let site = random.place(office.sites.len());
    let switch = random.place(office.sites[site].switches.len());
    let name = &office.sites[site].switches[switch];
    let places = on_at(office, at, |device, link| {
        device.site == site && device.switch == switch && link == Link::Wired && device.class != Class::Laptop
    });
    let mut fault = fault("switch_dead", &["net.link", "net.gateway"], "net.site_outage");
    fault.also = &["net.dns", "net.dhcp", "net.proxy", "net.flapping", "prn.unreachable"];
    let mut fault = names(fault, "switch", name, &[format!("network/{name}")]);
    fault.lasts = random.whole(12 * MINUTE, 90 * MINUTE);
    let mut effects: Vec<Effect> = BEHIND.iter().map(|slot| effect(slot, None, Values::Nothing)).collect();
    if random.chance(0.5) {
        // Without power: no machine has a link.
        fault.hold = 2 * MINUTE;
        effects.extend(
            ["wired.address", "gateway", "dns.0", "dns.1"].map(|slot| effect(slot, None, Values::Nothing)),
        );
        effects.push(between("wired", 0.0));
    } else {
        // Its way up is gone.
        fault.hold = 45;
        effects.push(between("gateway", 0.0));
        effects
            .extend(["dns.0", "dns.1"].map(|slot| effect(slot, Some("timeout"), Values::Between(4.0, 5.0))));
    }
    alike(fault, places, &effects)
}

fn access_point_cut_off(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let site = random.place(office.sites.len());
    let which = random.place(office.sites[site].access_points.len());
    let bssid = &office.sites[site].access_points[which];
    let places = on_at(office, at, |device, link| {
        device.site == site && device.access_point == which && link == Link::Wifi
    });
    let mut fault = fault("access_point_cut_off", &["net.gateway"], "net.site_outage");
    fault.also = &["net.dns", "net.proxy", "prn.unreachable"];
    let mut fault = names(fault, "bssid", bssid, &[format!("wifi/{bssid}")]);
    (fault.hold, fault.lasts) = (45, random.whole(10 * MINUTE, 25 * MINUTE));
    let mut effects: Vec<Effect> = BEHIND.iter().map(|slot| effect(slot, None, Values::Nothing)).collect();
    effects.push(between("wifi.gateway", 0.0));
    effects.extend(
        ["wifi.dns.0", "wifi.dns.1"].map(|slot| effect(slot, Some("timeout"), Values::Between(4.0, 5.0))),
    );
    alike(fault, places, &effects)
}

fn name_servers(office: &Office, at: u32, random: &mut Random, both: bool) -> Option<SharedFault> {
    let site = random.place(office.sites.len());
    let places = on_at(office, at, |device, link| device.site == site && link != Link::Home);
    let kind = if both { "dns_service_dead" } else { "dns_server_dead" };
    let mut fault = fault(kind, &["net.dns"], "net.dns");
    fault.also = &["net.proxy"];
    let servers = [office.sites[site].dns(0), office.sites[site].dns(1)];
    let components: Vec<String> =
        servers[..if both { 2 } else { 1 }].iter().map(|server| format!("dns_server/{server}")).collect();
    let mut fault = names(fault, "dns_server", &servers[0], &components);
    (fault.hold, fault.lasts) = (if both { 90 } else { 5 * MINUTE }, random.whole(15 * MINUTE, 2 * HOUR));
    let dead = |slot| effect(slot, Some("timeout"), Values::Between(3.0, 5.0));
    let mut effects = vec![dead("dns.0"), dead("wifi.dns.0")];
    if both {
        effects.extend([dead("dns.1"), dead("wifi.dns.1")]);
    }
    alike(fault, places, &effects)
}

fn name_server_dead(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    name_servers(office, at, random, false)
}

fn all_names_dead(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    name_servers(office, at, random, true)
}

fn addresses_used_up(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let site = random.place(office.sites.len());
    let places = on_at(office, at, |device, link| device.site == site && link == Link::Wifi);
    let subnet = office.sites[site].wifi_subnet();
    let mut fault = fault("addresses_used_up", &["net.dhcp"], "net.site_outage");
    fault.also = &["net.gateway", "net.dns"];
    let router = format!("gateway/02:00:5e:00:20:{:02x}", office.sites[site].number);
    let mut fault = names(fault, "subnet", &subnet, &[format!("network/{subnet}"), router]);
    (fault.hold, fault.lasts) = (MINUTE, random.whole(10 * MINUTE, 25 * MINUTE));
    let mut effects: Vec<Effect> = BEHIND.iter().map(|slot| effect(slot, None, Values::Nothing)).collect();
    effects.push(effect("wifi.address", Some("link_local"), Values::Same));
    effects
        .extend(["wifi.gateway", "wifi.dns.0", "wifi.dns.1"].map(|slot| effect(slot, None, Values::Nothing)));
    alike(fault, places, &effects)
}

fn vpn_gateway_down(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let name = *random.pick(super::office::VPN_GATEWAYS);
    let places = on_at(office, at, |device, link| device.vpn == name && link == Link::Home);
    let fault = fault("vpn_gateway_down", &["net.vpn"], "net.vpn");
    let mut fault = names(fault, "vpn_gateway", name, &[format!("vpn/{name}")]);
    (fault.hold, fault.lasts) = (2 * MINUTE, random.whole(10 * MINUTE, 25 * MINUTE));
    alike(fault, places, &[effect("vpn", Some("failed"), Values::Same)])
}

fn proxy_down(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let site = random.place(office.sites.len());
    let name = &office.sites[site].name;
    let places = on_at(office, at, |device, link| device.site == site && link != Link::Home);
    let fault = fault("proxy_down", &["net.proxy"], "net.proxy");
    let mut fault = names(fault, "site", name, &[format!("site/{name}")]);
    // Three looks that fail, five minutes apart.
    (fault.hold, fault.every, fault.lasts) = (10 * MINUTE, 5 * MINUTE, random.whole(40 * MINUTE, 3 * HOUR));
    alike(fault, places, &[between("proxy", 0.0)])
}

/// A site without power: desktops go dark without a word, laptops live on.
fn power_cut(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let site = random.place(office.sites.len());
    let name = &office.sites[site].name;
    let places = on_at(office, at, |device, link| device.site == site && link != Link::Home);
    let mut fault = fault("power_cut", &["net.gateway"], "net.site_outage");
    fault.also = &["net.link", "net.dns", "net.proxy", "prn.unreachable", "net.dhcp", "os.crash"];
    let mut fault = names(fault, "site", name, &[format!("site/{name}")]);
    fault.lasts = random.whole(12 * MINUTE, 25 * MINUTE);
    fault.hold = 2 * MINUTE;
    let lasts = fault.lasts;
    for place in places {
        let part = if office.devices[place].class == Class::Laptop {
            let mut effects: Vec<Effect> =
                BEHIND.iter().map(|slot| effect(slot, None, Values::Nothing)).collect();
            effects.extend(["wifi.gateway", "gateway"].map(|slot| between(slot, 0.0)));
            let dns = ["dns.0", "dns.1", "wifi.dns.0", "wifi.dns.1"];
            effects.extend(dns.map(|slot| effect(slot, Some("timeout"), Values::Between(4.0, 5.0))));
            Part { effects, happenings: Vec::new() }
        } else {
            let dark = Happening { after: 0, what: What::Dark(lasts) };
            let crash = Happening { after: lasts, what: What::Crash { cause: "power_loss" } };
            Part { effects: Vec::new(), happenings: vec![dark, crash] }
        };
        fault.parts.push((place, part));
    }
    (fault.parts.len() >= 8).then_some(fault)
}

/// Takes up to `most` of the machines, in an order of chance.
fn some(mut places: Vec<usize>, most: usize, random: &mut Random) -> Vec<usize> {
    let mut chosen = Vec::new();
    while chosen.len() < most && !places.is_empty() {
        chosen.push(places.swap_remove(random.place(places.len())));
    }
    chosen.sort_unstable();
    chosen
}

/// An update reaches a pilot group, and what it brings fails there.
fn pilot(
    mut fault: SharedFault,
    places: Vec<usize>,
    facts: &str,
    part: impl Fn(usize) -> Part,
) -> Option<SharedFault> {
    for (n, place) in places.into_iter().enumerate() {
        let mut part = part(n);
        part.happenings.push(Happening { after: 0, what: What::Facts(facts.to_owned()) });
        fault.parts.push((place, part));
    }
    (fault.parts.len() >= 6).then_some(fault)
}

fn bad_driver(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let places = on_at(office, at, |device, _| device.class == Class::Laptop);
    let places = some(places, usize::try_from(random.whole(7, 14)).unwrap_or(7), random);
    let version = format!("32.{}.{}", random.whole(0, 9), random.whole(100, 999));
    let fault = fault("bad_driver", &["os.crash"], "os.crash");
    let mut fault = names(fault, "driver", &format!("wlan {version}"), &[format!("device/wlan {version}")]);
    fault.also = &["boot.slow"];
    let (first, apart) = (10 * MINUTE, 6 * MINUTE);
    // The third machine's second crash is what can be known first.
    (fault.onset, fault.lasts) = (first + 2 * 100 + apart, 20 * HOUR);
    pilot(fault, places, &format!("\"drivers\":{{\"wlan\":\"{version}\"}}"), |n| {
        let begin = first + u32::try_from(n).unwrap_or(0) * 100;
        let crash = |after| Happening { after, what: What::Crash { cause: "bugcheck" } };
        Part { effects: Vec::new(), happenings: vec![crash(begin), crash(begin + apart)] }
    })
}

fn bad_program(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let places = on_at(office, at, |device, _| device.class != Class::Server);
    let places = some(places, usize::try_from(random.whole(8, 20)).unwrap_or(8), random);
    let version = format!("16.{}.{}", random.whole(0, 9), random.whole(100, 999));
    let fault = fault("bad_program", &["app.crash"], "app.crash");
    let mut fault =
        names(fault, "software", &format!("mail {version}"), &[format!("application/mail {version}")]);
    let apart = 4 * MINUTE;
    (fault.onset, fault.lasts) = (60 * 3 + 3 * apart, 20 * HOUR);
    pilot(fault, places, &format!("\"software\":{{\"mail\":\"{version}\"}}"), |n| {
        let begin = 60 * u32::try_from(n).unwrap_or(0) + apart;
        let crash = |k: u32| Happening {
            after: begin + k * apart,
            what: event("endpoint.app.crashes", "application/mail", &[("signature", "0xc0000409")]),
        };
        Part { effects: Vec::new(), happenings: (0..4).map(crash).collect() }
    })
}

fn bad_policy(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let places = some(on_at(office, at, |_, _| true), 12, random);
    let version = format!("7.{}", random.whole(10, 99));
    let fault = fault("bad_policy", &["sec.firewall"], "sec.firewall");
    let name = format!("endpoint-policy {version}");
    let mut fault = names(fault, "software", &name, &[format!("application/{name}")]);
    (fault.hold, fault.every, fault.lasts) = (30 * MINUTE, 15 * MINUTE, 10 * HOUR);
    let effects = vec![between("firewall", 0.0)];
    pilot(fault, places, &format!("\"software\":{{\"endpoint-policy\":\"{version}\"}}"), |_| Part {
        effects: effects.clone(),
        happenings: Vec::new(),
    })
}

fn bad_firmware(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let model = *random.pick(&["Latitude 5440", "ThinkPad T14 G4", "OptiPlex 7010"]);
    let places = some(on_at(office, at, |device, _| device.model == model), 10, random);
    let version = format!("1.{}.0 {model}", random.whole(20, 99));
    let fault = fault("bad_firmware", &["sec.secureboot"], "sec.secureboot");
    let mut fault = names(fault, "bios_version", &version, &[format!("device/{version}")]);
    (fault.every, fault.lasts) = (HOUR, 20 * HOUR);
    let effects = vec![between("secure_boot", 0.0)];
    pilot(fault, places, &format!("\"bios_version\":\"{version}\""), |_| Part {
        effects: effects.clone(),
        happenings: Vec::new(),
    })
}

fn bad_service(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let places = some(on_at(office, at, |_, _| true), 14, random);
    let version = format!("5.{}", random.whole(10, 99));
    let fault = fault("bad_service", &["svc.failed"], "svc.failed");
    let name = format!("edr-sensor {version}");
    let mut fault = names(fault, "software", &name, &[format!("application/{name}")]);
    (fault.hold, fault.lasts) = (5 * MINUTE, 6 * HOUR);
    let effects = vec![effect("service.0", Some("failed"), Values::Same)];
    pilot(fault, places, &format!("\"software\":{{\"edr-sensor\":\"{version}\"}}"), |_| Part {
        effects: effects.clone(),
        happenings: Vec::new(),
    })
}

fn intranet_certificate(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let site = random.place(office.sites.len());
    let intranet = office.sites[site].intranet();
    let places = on_at(office, at, |device, _| device.site == site && device.watches_certificate);
    let fault = fault("intranet_certificate", &["net.cert_expiry"], "net.cert_expiry");
    let mut fault = names(fault, "endpoint", &intranet, &[format!("endpoint/{intranet}")]);
    (fault.hold, fault.every, fault.lasts) = (HOUR, HOUR, 24 * HOUR);
    alike(fault, places, &[between("intranet", 5.0 * 86_400.0)])
}

/// Chooses a printer, and what happens to each machine that uses it by the slots of that machine.
fn printer(
    mut fault: SharedFault,
    office: &Office,
    at: u32,
    random: &mut Random,
    effects: impl Fn(&super::connections::Printer) -> Vec<Effect>,
) -> Option<SharedFault> {
    let site = random.place(office.sites.len());
    let which = random.place(office.sites[site].printers.len());
    let uuid = &office.sites[site].printers[which];
    for place in on_at(office, at, |device, link| device.site == site && link != Link::Home) {
        let device = &office.devices[place];
        if let Some(slots) = device.printers.iter().position(|printer| *printer == which).map(|n| PRINTERS[n])
        {
            fault.parts.push((place, Part { effects: effects(&slots), happenings: Vec::new() }));
        }
    }
    let fault = names(fault, "printer", uuid, &[format!("printer/{uuid}")]);
    (fault.parts.len() >= 2).then_some(fault)
}

fn reason(slots: &super::connections::Printer, keyword: &'static str, severity: &'static str) -> Effect {
    Effect {
        slot: slots.reason,
        after: 0,
        shape: Shape { word: Some(keyword), severity, values: Values::Same },
    }
}

fn jammed(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let mut fault = fault("printer_error", &["prn.error"], "prn.error");
    (fault.hold, fault.lasts) = (3 * MINUTE, random.whole(20 * MINUTE, 3 * HOUR));
    fault.also = &["prn.stopped", "prn.stuck_job"];
    let keyword = *random.pick(&["media-jam", "cover-open", "input-tray-missing", "fuser-over-temp"]);
    printer(fault, office, at, random, |slots| {
        vec![reason(slots, keyword, "error"), between(slots.state, 5.0), between(slots.jobs, 2.0)]
    })
}

fn printer_stopped(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let mut fault = fault("printer_stopped", &["prn.stopped"], "prn.stopped");
    fault.also = &["prn.stuck_job"];
    (fault.hold, fault.lasts) = (5 * MINUTE, random.whole(20 * MINUTE, 3 * HOUR));
    printer(fault, office, at, random, |slots| {
        vec![between(slots.state, 5.0), reason(slots, "paused", "report"), between(slots.jobs, 1.0)]
    })
}

fn printer_off(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let mut fault = fault("printer_unreachable", &["prn.unreachable"], "prn.unreachable");
    fault.also = &["prn.stuck_job"];
    (fault.hold, fault.every, fault.lasts) = (4 * MINUTE, 2 * MINUTE, random.whole(20 * MINUTE, 4 * HOUR));
    printer(fault, office, at, random, |slots| vec![between(slots.reachable, 0.0)])
}

fn toner_empty(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let mut fault = fault("toner_empty", &["prn.supply_empty"], "prn.supply_empty");
    fault.also = &["prn.supply_low", "prn.error"];
    (fault.hold, fault.lasts) = (5 * MINUTE, random.whole(40 * MINUTE, 6 * HOUR));
    printer(fault, office, at, random, |slots| {
        vec![between(slots.black, 0.0), reason(slots, "toner-empty", "report")]
    })
}

fn toner_low(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let mut fault = fault("toner_low", &["prn.supply_low"], "prn.supply_low");
    (fault.hold, fault.every, fault.lasts) = (24 * HOUR, 15 * MINUTE, 120 * HOUR);
    let level = random.range(0.03, 0.09);
    printer(fault, office, at, random, |slots| vec![between(slots.black, level)])
}

/// The queue says nothing, and the oldest job gets older.
fn stuck_job(office: &Office, at: u32, random: &mut Random) -> Option<SharedFault> {
    let mut fault = fault("stuck_job", &["prn.stuck_job"], "prn.stuck_job");
    let lasts = random.whole(40 * MINUTE, 3 * HOUR);
    (fault.hold, fault.lasts) = (10 * MINUTE, lasts);
    printer(fault, office, at, random, |slots| {
        let age = Values::Ramp(5.0, f64::from(lasts), lasts);
        vec![between(slots.state, 4.0), between(slots.jobs, 3.0), effect(slots.age, None, age)]
    })
}
