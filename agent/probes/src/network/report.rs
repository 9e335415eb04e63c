//! Turns the picture of the network into observations.

use crate::network::addresses::{IpConfig, subnet};
use crate::network::dns::Lookup;
use crate::network::gateway::GatewayCheck;
use crate::network::interfaces::{self, Interface, Kind};
use crate::network::layers::Way;
use crate::network::resolv_conf::Server;
use crate::network::verdict::{Layer, Layers};
use crate::network::{Gateway, Picture};
use crate::{Context, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason, Value};

const CAPTURED: &str = "nothing is asked on behalf of a captured machine";
const BYTES_PER_MEGABIT: f64 = 125_000.0;

/// Link, speed, counters and address state of each interface.
pub(super) fn links(context: &Context, picture: &Picture, sink: &mut Sink) {
    let network = Component::only(ComponentKind::Network);
    if let Err(error) = &picture.interfaces {
        sink.failed(&network, semconv::NETWORK_UP, error);
        return;
    }
    let mut any = false;
    for interface in picture.reported() {
        let Ok(component) = Component::new(ComponentKind::NetworkInterface, interface.name.as_str()) else {
            continue;
        };
        any = true;
        link(context, picture, interface, &component, sink);
    }
    if !any {
        sink.unavailable(
            &network,
            semconv::NETWORK_UP,
            UnavailableReason::NotPresent,
            "this machine has no network interface",
        );
    }
}

fn link(context: &Context, picture: &Picture, interface: &Interface, component: &Component, sink: &mut Sink) {
    let none = Attributes::none;
    if !interface.enabled {
        // Somebody switched it off: that is neither a broken cable nor a missing address.
        sink.unavailable(
            component,
            semconv::NETWORK_UP,
            UnavailableReason::NotPresent,
            "the interface is switched off",
        );
        return;
    }
    sink.sample(component, semconv::NETWORK_UP, none(), f64::from(u8::from(interface.carrier)));
    if let Some(changes) = interface.carrier_changes {
        sink.sample(component, semconv::NETWORK_CARRIER_CHANGES, none(), changes as f64);
    }
    for (at, (direction, prefix)) in [("receive", "rx"), ("transmit", "tx")].into_iter().enumerate() {
        let counted = interface.counted.and_then(|both| both.get(at).copied());
        let counters = counted.or_else(|| interfaces::counters(&context.root, &interface.name, prefix));
        let Some(counters) = counters else {
            sink.unavailable(
                component,
                semconv::NETWORK_IO,
                UnavailableReason::Unsupported,
                format!("the driver of {} counts nothing", interface.name),
            );
            break;
        };
        for (metric, value) in [
            (semconv::NETWORK_IO, Some(counters.bytes)),
            (semconv::NETWORK_PACKET_COUNT, Some(counters.packets)),
            (semconv::NETWORK_ERRORS, Some(counters.errors)),
            (semconv::NETWORK_PACKET_DROPPED, counters.dropped),
        ] {
            let Some(value) = value else { continue };
            sink.sample(component, metric, none().with(attribute::DIRECTION, direction), value as f64);
        }
    }
    if !interface.carrier {
        // Without a carrier, speed and address say nothing; an old address would even hide that there is no link.
        return;
    }
    match (interface.speed_mbps, interface.kind) {
        (Some(speed), _) => {
            sink.sample(
                component,
                semconv::NETWORK_BANDWIDTH_LIMIT,
                none(),
                speed as f64 * BYTES_PER_MEGABIT,
            );
        }
        (None, Kind::Wired) => sink.unavailable(
            component,
            semconv::NETWORK_BANDWIDTH_LIMIT,
            UnavailableReason::Unsupported,
            "the driver does not say the speed of the link",
        ),
        (None, Kind::Wifi | Kind::Virtual) => {}
    }
    // Radio and software links have no duplex; their drivers say anything.
    if let (Some(duplex), Kind::Wired) = (&interface.duplex, interface.kind) {
        sink.sample(component, semconv::NETWORK_DUPLEX, none().with(attribute::STATE, duplex.as_str()), 1.0);
    }
    let config = IpConfig::of(picture.addresses_of(&interface.name).map(|entry| &entry.address));
    sink.sample(component, semconv::NETWORK_IP_CONFIG, none().with(attribute::STATE, config.as_str()), 1.0);
}

/// The document `network` and the facts that devices of one place share. Neither holds what changes by itself
/// (counters, round trip times, states of neighbours), so both are sent only when the network really changed.
pub(super) fn document(picture: &Picture, sink: &mut Sink) {
    let component = Component::only(ComponentKind::Network);
    let first = picture.gateways.first();
    let servers: Vec<&str> = picture.servers().iter().map(|server| server.name.as_str()).collect();
    let mut pairs = vec![
        (
            "interfaces",
            Value::List(picture.reported().map(|interface| describe(picture, interface)).collect()),
        ),
        ("gateways", Value::List(picture.gateways.iter().map(describe_gateway).collect())),
        ("dns_servers", Value::texts(servers)),
    ];
    if let Some(gateway) = first {
        pairs.push(("gateway", Value::from(gateway.address.to_string())));
        pairs.extend(gateway.hardware.clone().map(|mac| ("gateway_mac", Value::from(mac))));
    }
    if let Some(domain) = picture.resolver.as_ref().ok().and_then(|conf| conf.domain.clone()) {
        pairs.push(("search_domain", Value::from(domain)));
    }
    sink.state(&component, "network", Value::map(pairs));
    let facts = facts(picture);
    if !facts.is_empty() {
        sink.facts(&component, Value::map(facts));
    }
}

fn facts(picture: &Picture) -> Vec<(&'static str, Value)> {
    let mut facts = Vec::new();
    let way_out = picture.gateways.first();
    if let Some(mac) = way_out.and_then(|gateway| gateway.hardware.clone()) {
        facts.push(("gateway_mac", Value::from(mac)));
    }
    let home = way_out.and_then(|gateway| {
        picture.addresses_of(&gateway.interface).find(|entry| {
            entry.address.is_ipv4() == gateway.address.is_ipv4()
                && IpConfig::of([&entry.address]) == IpConfig::Ok
        })
    });
    if let Some(entry) = home {
        facts.push(("subnet", Value::from(subnet(entry.address, entry.prefix))));
    }
    // A stub is the same address on every machine, so it would make strangers look alike.
    if let Some(server) = picture.servers().iter().find(|server| !server.is_stub()) {
        facts.push(("dns_server", Value::from(server.name.clone())));
    }
    let drivers: Vec<_> = picture.reported().filter_map(|interface| interface.driver.clone()).collect();
    if !drivers.is_empty() {
        facts.push(("drivers", Value::map(drivers.into_iter().map(|(name, is)| (name, Value::from(is))))));
    }
    facts
}

/// One interface as part of a document.
pub(crate) fn describe(picture: &Picture, interface: &Interface) -> Value {
    let addresses =
        picture.addresses_of(&interface.name).map(|entry| format!("{}/{}", entry.address, entry.prefix));
    let config = IpConfig::of(picture.addresses_of(&interface.name).map(|entry| &entry.address));
    let mut pairs = vec![
        ("name", Value::from(interface.name.clone())),
        ("kind", Value::from(interface.kind.as_str())),
        ("enabled", Value::from(interface.enabled)),
        ("up", Value::from(interface.carrier)),
        ("addresses", Value::texts(addresses)),
        ("ip_config", Value::from(config.as_str())),
        ("default_route", Value::from(picture.default_interfaces.contains(&interface.name))),
    ];
    let texts =
        [("operstate", &interface.operstate), ("mac", &interface.hardware), ("duplex", &interface.duplex)];
    pairs.extend(texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text.clone()?)))));
    let numbers = [("mtu", interface.mtu), ("speed_mbps", interface.speed_mbps)];
    pairs.extend(numbers.into_iter().filter_map(|(name, number)| Some((name, Value::from(number? as f64)))));
    Value::map(pairs)
}

fn describe_gateway(gateway: &Gateway) -> Value {
    let mut pairs = vec![
        ("address", Value::from(gateway.address.to_string())),
        ("interface", Value::from(gateway.interface.clone())),
    ];
    pairs.extend(gateway.hardware.clone().map(|mac| ("mac", Value::from(mac))));
    Value::map(pairs)
}

/// Whether each gateway can be reached, and how fast it answers.
pub(super) fn gateways(context: &Context, picture: &Picture, checks: &[GatewayCheck], sink: &mut Sink) {
    let metric = semconv::GATEWAY_REACHABLE;
    let network = Component::only(ComponentKind::Network);
    if let Err(error) = &picture.interfaces {
        sink.failed(&network, metric, error);
        return;
    }
    if picture.gateways.is_empty() {
        sink.unavailable(&network, metric, UnavailableReason::NotPresent, "there is no default gateway");
        return;
    }
    for (at, gateway) in picture.gateways.iter().enumerate() {
        let Ok(component) = Component::new(ComponentKind::Gateway, gateway.address.to_string()) else {
            continue;
        };
        let Some(check) = checks.get(at) else {
            let reason = UnavailableReason::Unsupported;
            let why = if context.root.is_system() { "it was not asked" } else { CAPTURED };
            sink.unavailable(&component, metric, reason, why);
            continue;
        };
        match check.reachable {
            // Only the gateway that traffic takes first may be down: a second one (a stale IPv6 route, the Wi-Fi beside
            // the cable) that does not answer keeps nobody from working.
            Some(false) if at > 0 => {
                let why = "this further default gateway does not answer";
                sink.unavailable(&component, metric, UnavailableReason::TimedOut, why);
            }
            Some(reachable) => {
                sink.sample(&component, metric, Attributes::none(), f64::from(u8::from(reachable)));
            }
            None => {
                let why = check.detail.clone().unwrap_or_default();
                sink.unavailable(&component, metric, UnavailableReason::TimedOut, why);
            }
        }
        if let Some(rtt) = check.rtt {
            let target = Attributes::none().with(attribute::TARGET, "gateway");
            sink.sample(&component, semconv::NETWORK_RTT, target, rtt.as_secs_f64());
        }
    }
}

/// What the name servers answered, and what is known of the way to those that are not in this machine's own network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lookups<'a> {
    /// In the order of the servers.
    pub(super) answers: &'a [Lookup],
    /// `None` where there is no gateway.
    pub(super) way: Option<Way>,
}

impl Lookups<'_> {
    /// Whether the silence of a server may be that of the gateway before it.
    fn may_be_the_gateway(&self, picture: &Picture, server: &Server, lookup: &Lookup) -> bool {
        let is_elsewhere = || {
            let local = server.is_stub() || server.address.is_loopback() || server.scope.is_some();
            !local && !picture.is_connected(server.address)
        };
        self.way == Some(Way::Undecided) && lookup.rcode == "timeout" && is_elsewhere()
    }
}

/// What each DNS server answered and how long it took.
pub(super) fn dns(context: &Context, picture: &Picture, lookups: &Lookups<'_>, sink: &mut Sink) {
    let metric = semconv::DNS_LOOKUP_DURATION;
    let network = Component::only(ComponentKind::Network);
    match &picture.resolver {
        Err(error) => {
            sink.failed(&network, metric, error);
            return;
        }
        Ok(conf) if conf.servers.is_empty() => {
            sink.unavailable(&network, metric, UnavailableReason::NotPresent, "no DNS server is configured");
            return;
        }
        Ok(_) => {}
    }
    for (at, server) in picture.servers().iter().enumerate() {
        let Ok(component) = Component::new(ComponentKind::DnsServer, server.name.as_str()) else { continue };
        let Some(lookup) = lookups.answers.get(at) else {
            let why = if context.root.is_system() { "it was not asked" } else { CAPTURED };
            sink.unavailable(&component, metric, UnavailableReason::Unsupported, why);
            continue;
        };
        if lookups.may_be_the_gateway(picture, server, lookup) {
            let why = "no answer, and whether the gateway on the way is there is not known at the moment";
            sink.unavailable(&component, metric, UnavailableReason::TimedOut, why);
            continue;
        }
        let attributes = Attributes::none()
            .with(attribute::SERVER, server.name.as_str())
            .with(attribute::RCODE, lookup.rcode);
        sink.sample(&component, metric, attributes, lookup.took.as_secs_f64());
    }
}

/// The document `verdict`: the network in one sentence.
pub(super) fn verdict(picture: &Picture, checks: &[GatewayCheck], lookups: &Lookups<'_>, sink: &mut Sink) {
    let layer = |asked: Option<bool>| match asked {
        Some(true) => Layer::Fine,
        Some(false) => Layer::Fails,
        None => Layer::Unknown,
    };
    let mut enabled = picture.reported().filter(|interface| interface.enabled).peekable();
    let link = enabled.peek().is_some().then(|| enabled.any(|interface| interface.carrier));
    let has_address = |interface: &Interface| {
        let config = IpConfig::of(picture.addresses_of(&interface.name).map(|entry| &entry.address));
        interface.carrier && config.as_str() == "ok"
    };
    let answers = picture.servers().iter().zip(lookups.answers);
    let known = answers.filter(|(server, lookup)| !lookups.may_be_the_gateway(picture, server, lookup));
    let names = known.map(|(_, lookup)| lookup.answered()).reduce(|one, other| one || other);
    let layers = Layers {
        link: layer(link),
        address: layer((link == Some(true)).then(|| picture.reported().any(has_address))),
        gateway: layer(checks.first().and_then(|check| check.reachable)),
        dns: layer(names),
    };
    sink.state(&Component::only(ComponentKind::Network), "verdict", layers.document());
}
