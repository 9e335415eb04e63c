//! Tests of the network: links, the way out, and each DNS server.

use crate::Context;
use crate::diagnose::{Examined, count, facts};
use crate::network::dns::Lookup;
use crate::network::gateway::{Effort, GatewayCheck};
use crate::network::{Picture, ask_servers, check_gateways, describe};
use firstline_model::{DiagnosticOutcome, Value};

/// Link and address of every interface.
pub(super) fn link(context: &Context) -> Examined {
    let picture = Picture::read(context);
    if let Err(error) = &picture.interfaces {
        return Examined::could_not_tell(format!(
            "The network interfaces could not be read ({}).",
            error.detail()
        ));
    }
    let interfaces: Vec<Value> = picture.reported().map(|interface| describe(&picture, interface)).collect();
    let is = |interface: &Value, name: &str| interface.get(name) == Some(&Value::Bool(true));
    let up = interfaces.iter().filter(|interface| is(interface, "up")).count();
    let usable = |interface: &&Value| {
        is(interface, "up") && interface.get("ip_config").and_then(Value::as_text) == Some("ok")
    };
    let addressed = interfaces.iter().filter(usable).count();
    let (outcome, summary) = if interfaces.is_empty() {
        (DiagnosticOutcome::CouldNotTell, "This computer has no network interface.".to_owned())
    } else if up == 0 {
        let summary = "No network interface has a link: cable, dock or Wi-Fi is not connected.".to_owned();
        (DiagnosticOutcome::Problem, summary)
    } else if addressed == 0 {
        let summary = "There is a link, but the network gave this computer no usable address.".to_owned();
        (DiagnosticOutcome::Problem, summary)
    } else {
        let total = count(addressed, "network interface has", "network interfaces have");
        (DiagnosticOutcome::Ok, format!("{total} a link and an address."))
    };
    let facts = facts([
        ("interfaces_up", Some(Value::from(up as f64))),
        ("interfaces_addressed", Some(Value::from(addressed as f64))),
        ("default_route", Some(Value::from(!picture.default_interfaces.is_empty()))),
        ("interfaces", Some(Value::List(interfaces))),
    ]);
    Examined::new(outcome, summary, facts)
}

/// Echo requests to each default gateway, and what the neighbour table says of it.
pub(super) fn gateway(context: &Context) -> Examined {
    let picture = Picture::read(context);
    if let Err(error) = &picture.interfaces {
        return Examined::could_not_tell(format!("The routes could not be read ({}).", error.detail()));
    }
    let Some(first) = picture.gateways.first() else {
        let facts = facts([("gateways", Some(Value::List(Vec::new())))]);
        let summary = "This computer has no default gateway, so there is no way out of its own network.";
        return Examined::new(DiagnosticOutcome::Problem, summary, facts);
    };
    if !context.root.is_system() {
        return Examined::could_not_tell("A captured machine's gateway cannot be asked.");
    }
    let checks = check_gateways(context, &picture, Effort::Full);
    let Some(check) = checks.first() else {
        return Examined::could_not_tell("The gateway was not asked.");
    };
    let (outcome, summary) = judge(&first.address.to_string(), check);
    let all = picture
        .gateways
        .iter()
        .zip(&checks)
        .map(|(gateway, check)| describe_check(&gateway.address.to_string(), &gateway.interface, check));
    let facts = facts([
        ("address", Some(Value::from(first.address.to_string()))),
        ("reachable", check.reachable.map(Value::from)),
        ("loss", loss(check).map(Value::from)),
        ("rtt_ms", check.rtt.map(|rtt| Value::from(rtt.as_secs_f64() * 1000.0))),
        ("neighbour", check.neighbour.map(Value::from)),
        ("gateways", Some(Value::List(all.collect()))),
    ]);
    Examined::new(outcome, summary, facts)
}

fn judge(address: &str, check: &GatewayCheck) -> (DiagnosticOutcome, String) {
    match (check.reachable, check.rtt) {
        (Some(true), Some(rtt)) if check.answered == check.sent => (
            DiagnosticOutcome::Ok,
            format!("The router {address} answers in {:.1} ms.", rtt.as_secs_f64() * 1000.0),
        ),
        (Some(true), Some(_)) => (
            DiagnosticOutcome::Problem,
            format!("The router {address} answered {} of {} requests.", check.answered, check.sent),
        ),
        (Some(true), None) => (
            DiagnosticOutcome::Ok,
            format!("The router {address} is there; it does not answer echo requests, as many routers do."),
        ),
        (Some(false), _) => (
            DiagnosticOutcome::Problem,
            format!("The router {address} answers neither echo requests nor address resolution."),
        ),
        (None, _) => (
            DiagnosticOutcome::CouldNotTell,
            format!("Whether the router {address} answers could not be found out."),
        ),
    }
}

fn loss(check: &GatewayCheck) -> Option<f64> {
    (check.sent > 0).then(|| 1.0 - f64::from(check.answered) / f64::from(check.sent))
}

fn describe_check(address: &str, interface: &str, check: &GatewayCheck) -> Value {
    facts([
        ("address", Some(Value::from(address))),
        ("interface", Some(Value::from(interface))),
        ("reachable", check.reachable.map(Value::from)),
        ("loss", loss(check).map(Value::from)),
        ("rtt_ms", check.rtt.map(|rtt| Value::from(rtt.as_secs_f64() * 1000.0))),
        ("neighbour", check.neighbour.map(Value::from)),
        ("detail", check.detail.clone().map(Value::from)),
    ])
}

/// The answer of each configured DNS server.
pub(super) fn dns_servers(context: &Context) -> Examined {
    let picture = Picture::read(context);
    if let Err(error) = &picture.resolver {
        let summary = format!("The list of DNS servers could not be read ({}).", error.detail());
        return Examined::could_not_tell(summary);
    }
    if picture.servers().is_empty() {
        let facts = facts([("asked", Some(Value::from(0.0))), ("answering", Some(Value::from(0.0)))]);
        return Examined::new(DiagnosticOutcome::Problem, "No DNS server is configured.", facts);
    }
    if !context.root.is_system() {
        return Examined::could_not_tell("A captured machine's DNS servers cannot be asked.");
    }
    let lookups = ask_servers(context, &picture);
    let answering = lookups.iter().filter(|lookup| lookup.answered()).count();
    let asked = lookups.len();
    let failing: Vec<String> = picture
        .servers()
        .iter()
        .zip(&lookups)
        .filter(|(_, lookup)| !lookup.answered())
        .map(|(server, lookup)| format!("{} ({})", server.name, lookup.rcode))
        .collect();
    let total = count(asked, "DNS server", "DNS servers");
    let (outcome, summary) = if failing.is_empty() {
        (DiagnosticOutcome::Ok, format!("{answering} of {total} answered."))
    } else {
        let list = failing.join(", ");
        (DiagnosticOutcome::Problem, format!("{answering} of {total} answered; without an answer: {list}."))
    };
    let servers =
        picture.servers().iter().zip(&lookups).map(|(server, lookup)| describe_lookup(&server.name, lookup));
    let facts = facts([
        ("asked", Some(Value::from(asked as f64))),
        ("answering", Some(Value::from(answering as f64))),
        ("servers", Some(Value::List(servers.collect()))),
    ]);
    Examined::new(outcome, summary, facts)
}

fn describe_lookup(server: &str, lookup: &Lookup) -> Value {
    facts([
        ("address", Some(Value::from(server))),
        ("rcode", Some(Value::from(lookup.rcode))),
        ("ms", Some(Value::from(lookup.took.as_secs_f64() * 1000.0))),
        ("detail", lookup.detail.clone().map(Value::from)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Root};
    use firstline_model::Timestamp;
    use std::time::Duration;

    fn check(reachable: Option<bool>, sent: u32, answered: u32) -> GatewayCheck {
        let rtt = (answered > 0).then(|| Duration::from_millis(3));
        GatewayCheck {
            reachable,
            rtt,
            sent,
            answered,
            detail: None,
            ..crate::network::gateway::not_checked()
        }
    }

    #[test]
    fn a_router_that_only_drops_echo_requests_is_fine() {
        for (check, expected) in [
            (check(Some(true), 3, 3), DiagnosticOutcome::Ok),
            (check(Some(true), 3, 0), DiagnosticOutcome::Ok),
            (check(Some(true), 3, 2), DiagnosticOutcome::Problem),
            (check(Some(false), 3, 0), DiagnosticOutcome::Problem),
            (check(None, 0, 0), DiagnosticOutcome::CouldNotTell),
        ] {
            assert_eq!(judge("10.0.0.1", &check).0, expected, "{check:?}");
        }
        assert_eq!(loss(&check(Some(true), 4, 3)), Some(0.25));
        assert_eq!(loss(&check(Some(true), 0, 0)), None);
    }

    #[test]
    fn a_dead_resolver_is_named_in_the_summary() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("resolv.conf");
        std::fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let overrides = Overrides { resolv_conf: Some(file), dns_port: Some(nobody), ..Overrides::default() };
        let context = Context { overrides, ..Context::new(Root::system(), Timestamp::from_millis(0)) };
        let examined = dns_servers(&context);
        assert_eq!(examined.outcome, DiagnosticOutcome::Problem, "{}", examined.summary);
        assert!(examined.summary.contains("127.0.0.1 (timeout)"), "{}", examined.summary);
        assert_eq!(examined.facts.get("answering").and_then(Value::as_number), Some(0.0));
    }
}
