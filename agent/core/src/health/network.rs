//! The network in layers: link, address, router, name lookup. One sentence names the lowest layer that fails and what
//! is fine below it, because a failing layer makes every layer above it fail too. What was not asked is said to be so.
//!
//! Which layers fail is said by the probe, in its document `verdict`, wherever it gives one; here are only the words for a
//! person. So this sentence and the one that the collector shows cannot contradict each other.

mod path;

use super::view::{Sample, View, line};
use super::wording::{id, percent, shown};
use super::{Domain, Level, Line};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Component, ComponentKind, UnavailableReason, Value};

const DOMAIN: Domain = Domain::Network;
/// 100 Mbit/s in bytes: slower links may be half duplex on purpose.
const FAST: f64 = 12_500_000.0;

/// What is known of one layer.
enum Layer {
    Fine,
    NotAsked,
    Fails { check: &'static str, component: Component, what: String, advice: &'static str },
}

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines: Vec<Line> = verdict(view).into_iter().collect();
    let fails = lines.iter().any(|line| line.level == Level::Problem);
    lines.extend(duplex(view));
    if !fails {
        lines.extend(names_in_part(view));
        lines.extend(slow(view));
        lines.extend(path::lost(view));
        lines.extend(path::uneven(view));
        lines.extend(path::narrow(view));
        lines.extend(let_through(view));
        lines.extend(path::proxy(view));
        lines.extend(path::tunnels(view));
    }
    lines.extend(path::certificates(view));
    lines.extend(damaged(view));
    lines.extend(wifi(view));
    lines
}

fn verdict(view: &View<'_>) -> Option<Line> {
    let links = view.samples(semconv::NETWORK_UP);
    if links.is_empty() {
        return None;
    }
    let layers = [
        ("link", told(view, "link", "net.link", link(view, &links))),
        ("address", told(view, "address", "net.dhcp", address(view, &links))),
        ("router", told(view, "gateway", "net.gateway", router(view))),
        ("name lookup (DNS)", told(view, "dns", "net.dns", dns(view))),
    ];
    let (mut fine, mut unasked) = (Vec::new(), Vec::new());
    for (name, layer) in layers {
        match layer {
            Layer::Fine => fine.push(name),
            Layer::NotAsked => unasked.push(name),
            Layer::Fails { check, component, what, advice } => {
                let below = if fine.is_empty() {
                    String::new()
                } else {
                    format!(" ({} {} fine)", listed(&fine), if fine.len() == 1 { "is" } else { "are" })
                };
                let text = format!("The network fails at its {name}: {what}{below}.");
                return Some(line(Level::Problem, DOMAIN, check, &component, text, advice));
            }
        }
    }
    let mut text = format!(
        "The network works as far as this machine: {} {} fine",
        listed(&fine),
        if fine.len() == 1 { "is" } else { "are" }
    );
    if unasked.is_empty() {
        text = format!("The network works: {} are fine", listed(&fine));
    } else {
        text.push_str(&format!("; {} could not be tried", listed(&unasked)));
    }
    let component = Some(Component::only(ComponentKind::Network));
    let text = format!("{text}.");
    Some(Line { level: Level::Healthy, domain: DOMAIN, check: None, component, text, advice: String::new() })
}

/// What the probe's verdict says of a layer. `seen` is what the single values say; it gives the words, and decides where there
/// is no verdict.
fn told(view: &View<'_>, layer: &str, check: &'static str, seen: Layer) -> Layer {
    let network = Component::only(ComponentKind::Network);
    let Some(verdict) = view.document(&network, "verdict") else { return seen };
    let is_in = |list: &str| match verdict.get(list) {
        Some(Value::List(names)) => names.iter().any(|name| name.as_text() == Some(layer)),
        Some(_) | None => false,
    };
    if is_in("fine") {
        return Layer::Fine;
    }
    if is_in("unknown") {
        return Layer::NotAsked;
    }
    match seen {
        Layer::Fails { .. } => seen,
        Layer::Fine | Layer::NotAsked => Layer::Fails {
            check,
            component: network,
            what: "it does not work".to_owned(),
            advice: "Disconnect and connect again; if it stays so, call the helpdesk.",
        },
    }
}

fn listed(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn link(view: &View<'_>, links: &[Sample<'_>]) -> Layer {
    if links.iter().any(|link| link.value > 0.0) {
        return Layer::Fine;
    }
    let names: Vec<String> = links.iter().take(4).map(|link| described(view, link.component)).collect();
    let component = links.first().map_or(Component::only(ComponentKind::Network), |l| l.component.clone());
    Layer::Fails {
        check: "net.link",
        component,
        what: format!("nothing is connected, neither a cable nor Wi-Fi ({})", names.join(", ")),
        advice: "Plug the network cable in firmly at both ends, or join a Wi-Fi network.",
    }
}

/// An interface with what sort it is, where that is known.
fn described(view: &View<'_>, interface: &Component) -> String {
    let document = view.document(&Component::only(ComponentKind::Network), "network");
    let kind = match document.and_then(|document| document.get("interfaces")) {
        Some(Value::List(interfaces)) => interfaces
            .iter()
            .find(|entry| entry.get("name").and_then(|name| name.as_text()) == Some(interface.id()))
            .and_then(|entry| entry.get("kind")?.as_text()),
        Some(_) | None => None,
    };
    match kind {
        Some("wired") => format!("cable at {}", id(interface)),
        Some("wifi") => format!("Wi-Fi at {}", id(interface)),
        Some(_) | None => id(interface),
    }
}

fn address(view: &View<'_>, links: &[Sample<'_>]) -> Layer {
    let states = view.samples(semconv::NETWORK_IP_CONFIG);
    if states.iter().any(|state| state.is(attribute::STATE, "ok")) {
        return Layer::Fine;
    }
    let Some(state) = states.first() else { return Layer::NotAsked };
    let up = links.iter().find(|link| link.value > 0.0).map_or(state.component, |link| link.component);
    let what = if state.is(attribute::STATE, "link_local") {
        "gave itself one because none was handed out"
    } else {
        "has none"
    };
    Layer::Fails {
        check: "net.dhcp",
        component: up.clone(),
        what: format!("{} {what}", described(view, up)),
        advice: "Disconnect and connect again; if it stays so, the network's address service (DHCP) does not answer.",
    }
}

fn router(view: &View<'_>) -> Layer {
    let answers = view.samples(semconv::GATEWAY_REACHABLE);
    if answers.iter().any(|answer| answer.value > 0.0) {
        return Layer::Fine;
    }
    let advice = "Restart the router or switch, or try another cable; others at the same place are hit too if it is down.";
    if let Some(dead) = answers.first() {
        return Layer::Fails {
            check: "net.gateway",
            component: dead.component.clone(),
            what: format!("the router {} does not answer", id(dead.component)),
            advice,
        };
    }
    let is_without = |(component, reason, _): (&Component, UnavailableReason, &str)| {
        component.kind == ComponentKind::Network && reason == UnavailableReason::NotPresent
    };
    if view.unavailable(semconv::GATEWAY_REACHABLE).any(is_without) {
        return Layer::Fails {
            check: "net.gateway",
            component: Component::only(ComponentKind::Network),
            what: "no router is known".to_owned(),
            advice: "Disconnect and connect again; with a fixed address, check the router that is set.",
        };
    }
    Layer::NotAsked
}

/// With a capital at its begin.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn has_answered(lookup: &Sample<'_>) -> bool {
    matches!(lookup.attribute(attribute::RCODE), Some("noerror" | "nxdomain"))
}

fn dns(view: &View<'_>) -> Layer {
    let lookups = view.samples(semconv::DNS_LOOKUP_DURATION);
    if lookups.iter().any(has_answered) {
        return Layer::Fine;
    }
    let advice = "Reconnect the network; if web pages still do not open, call the helpdesk.";
    if let Some(dead) = lookups.first() {
        let servers: Vec<String> = lookups.iter().take(4).map(answer).collect();
        return Layer::Fails {
            check: "net.dns",
            component: dead.component.clone(),
            what: format!("no DNS server looks names up ({})", servers.join(", ")),
            advice,
        };
    }
    let mut none = view.unavailable(semconv::DNS_LOOKUP_DURATION);
    if none.any(|(component, reason, _)| {
        component.kind == ComponentKind::Network && reason == UnavailableReason::NotPresent
    }) {
        return Layer::Fails {
            check: "net.dns",
            component: Component::only(ComponentKind::Network),
            what: "no DNS server is set".to_owned(),
            advice,
        };
    }
    Layer::NotAsked
}

fn answer(lookup: &Sample<'_>) -> String {
    let said = shown(lookup.attribute(attribute::RCODE).unwrap_or("no answer"));
    format!("{}: {said}", id(lookup.component))
}

/// Some servers look names up and some do not: each first attempt at a dead one costs seconds.
fn names_in_part(view: &View<'_>) -> Vec<Line> {
    let lookups = view.samples(semconv::DNS_LOOKUP_DURATION);
    let dead = lookups.iter().filter(|lookup| {
        // A server that answered one name is alive.
        !lookups.iter().any(|other| other.component == lookup.component && has_answered(other))
    });
    dead.map(|lookup| {
        let text = format!(
            "One of the DNS servers does not look names up ({}); pages may open late.",
            answer(lookup)
        );
        lookup.line(Level::Warning, DOMAIN, "net.dns", text, "Have this server removed or repaired.")
    })
    .collect()
}

fn slow(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for round in view.samples(semconv::NETWORK_RTT) {
        let is_router = round.is(attribute::TARGET, "gateway");
        if round.value <= if is_router { 0.05 } else { 0.15 } {
            continue;
        }
        let milliseconds = (round.value * 1000.0).min(1e6);
        let who = path::end(&round);
        let text = format!("{} answers slowly: {milliseconds:.0} ms just now.", capital(&who));
        lines.push(round.line(
            Level::Note,
            DOMAIN,
            "net.latency",
            text,
            "On Wi-Fi, move closer to the access point.",
        ));
    }
    for lookup in view.samples(semconv::DNS_LOOKUP_DURATION).iter().filter(|lookup| has_answered(lookup)) {
        if lookup.value > 0.5 {
            let text = format!(
                "The DNS server {} is slow: {:.1} s just now.",
                id(lookup.component),
                lookup.value.min(1e6)
            );
            lines.push(lookup.line(Level::Note, DOMAIN, "net.dns", text, ""));
        }
    }
    lines
}

/// A network that works as far as names may still let nothing through before somebody signs in.
fn let_through(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for state in view.samples(semconv::NETWORK_CONNECTIVITY).iter().filter(|sample| sample.value > 0.0) {
        let (text, advice) = match state.attribute(attribute::STATE) {
            Some("portal") => ("This network wants a sign-in page first.", "Open a web page and sign in."),
            Some("limited" | "none") => {
                ("This network lets no web pages through.", "Try another network; else call the helpdesk.")
            }
            Some(_) | None => continue,
        };
        lines.push(state.line(Level::Warning, DOMAIN, "net.captive", text.to_owned(), advice));
    }
    lines
}

fn duplex(view: &View<'_>) -> Vec<Line> {
    let states = view.samples(semconv::NETWORK_DUPLEX);
    states
        .iter()
        .filter(|state| state.is(attribute::STATE, "half") && state.value > 0.0)
        .filter(|state| {
            view.value_of(state.component, semconv::NETWORK_BANDWIDTH_LIMIT).is_none_or(|limit| limit >= FAST)
        })
        .map(|state| {
            let text = format!(
                "The link at {} sends and receives in turns only (half duplex), which makes it slow.",
                id(state.component)
            );
            let advice = "Try another cable and port; both ends must negotiate the speed automatically.";
            state.line(Level::Warning, DOMAIN, "net.duplex", text, advice)
        })
        .collect()
}

/// Packets since the start of which one in a hundred was damaged; when it was cannot be told at one look.
fn damaged(view: &View<'_>) -> Vec<Line> {
    let packets = view.samples(semconv::NETWORK_PACKET_COUNT);
    let mut lines = Vec::new();
    for errors in view.samples(semconv::NETWORK_ERRORS) {
        let all =
            packets.iter().find(|p| p.component == errors.component && p.attributes == errors.attributes);
        let Some(all) = all.filter(|all| all.value >= 1000.0) else { continue };
        let share = errors.value / all.value;
        if share > 0.01 {
            let text = format!(
                "At {} {} of all packets were damaged since this machine started.",
                id(errors.component),
                percent(share)
            );
            lines.push(errors.line(Level::Note, DOMAIN, "net.errors", text, "Try another cable or port."));
        }
    }
    lines
}

fn wifi(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for signal in view.samples(semconv::WIFI_RSSI) {
        let level = match signal.value {
            strength if strength < -78.0 => Level::Warning,
            strength if strength < -70.0 => Level::Note,
            _ => continue,
        };
        let text = format!("The Wi-Fi signal is weak: {:.0} dBm.", signal.value.max(-999.0));
        lines.push(signal.line(
            level,
            DOMAIN,
            "wifi.signal",
            text,
            "Move closer to the access point, or use a cable.",
        ));
    }
    for repeats in view.samples(semconv::WIFI_RETRY_RATIO).iter().filter(|sample| sample.value > 0.20) {
        let text =
            format!("Wi-Fi is disturbed: {} of what is sent has to be repeated.", percent(repeats.value));
        lines.push(repeats.line(
            Level::Note,
            DOMAIN,
            "wifi.quality",
            text,
            "Move closer to the access point.",
        ));
    }
    lines
}
