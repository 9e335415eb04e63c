//! The fleet by itself: who is silent, what survives a restart, and news that come late. What becomes of whole traces
//! is tested where they are replayed.

use super::*;
use crate::finding::{Finding, Phase, Standing};
use crate::fixture::{at, code, compare, component, entry, level};
use crate::knowledge::Compare;
use firstline_model::{ComponentKind, Severity, Value};

const REACHABLE: &str = "endpoint.network.gateway.reachable";

fn gateway() -> KnowledgeEntry {
    let dead = compare(REACHABLE, Compare::Equals, 0.0);
    let levels = vec![level(Severity::Critical, dead, 45, None, 120)];
    KnowledgeEntry { category: "network".to_owned(), ..entry("net.gateway", ComponentKind::Gateway, levels) }
}

/// So many devices of one site with their streams open.
fn connected(fleet: &mut Fleet, site: &str, count: usize) -> Vec<Place> {
    let places = (0..count).map(|number| {
        let place = fleet.add(DeviceId::new(format!("{site}-{number}")).unwrap(), at(0));
        fleet.know(place, &Value::map::<&'static str>([]), Some(site));
        fleet.connected(place, at(0));
        place
    });
    places.collect()
}

fn passed(fleet: &mut Fleet, until: i64) -> Vec<Act> {
    let mut acts = Vec::new();
    while let Some(due) = fleet.next_deadline().filter(|due| *due <= at(until)) {
        fleet.pass_time(due, &mut acts);
    }
    acts
}

fn begun(acts: &[Act]) -> Vec<String> {
    let begun = acts.iter().filter_map(|act| match act {
        Act::Begin { rule, shared, failing, .. } => {
            Some(format!("{rule} {}: {} of {}", shared.words(), failing.0, failing.1))
        }
        Act::Release(_) | Act::Drop(_) | Act::Join(..) | Act::Silent(..) | Act::End(_) => None,
    });
    begun.collect()
}

fn finding(place: Place) -> MemberFinding {
    MemberFinding { place, rule: code("net.gateway"), component: component("gateway/192.0.2.1") }
}

#[test]
fn broken_streams_of_one_site_are_one_silence_also_when_nobody_else_is_there() {
    for others in [0, 1, 30] {
        let mut fleet = Fleet::default();
        let oslo = connected(&mut fleet, "oslo", 500);
        connected(&mut fleet, "bergen", others);
        for (number, place) in oslo.iter().enumerate() {
            fleet.lost(*place, at(100 + number as i64 % 20));
        }
        let acts = passed(&mut fleet, 300);
        let begun = begun(&acts);
        assert_eq!(begun.len(), 1, "{begun:?}");
        assert!(begun[0].starts_with("net.site_outage the site oslo"), "{begun:?}");
        let silent = acts.iter().filter(|act| matches!(act, Act::Silent(..))).count();
        assert_eq!(silent, 500, "with {others} others");
    }
}

#[test]
fn a_stream_that_comes_back_within_a_minute_and_a_goodbye_are_no_silence() {
    let mut fleet = Fleet::default();
    let places = connected(&mut fleet, "oslo", 40);
    for (number, place) in places.iter().enumerate() {
        if number % 2 == 0 {
            fleet.lost(*place, at(100));
            fleet.connected(*place, at(150));
        } else {
            fleet.presence(*place, Presence::Asleep, at(100));
            fleet.lost(*place, at(101));
        }
    }
    assert_eq!(passed(&mut fleet, 4000), []);
}

#[test]
fn laptops_that_vanish_here_and_there_are_nothing() {
    let mut fleet = Fleet::default();
    let oslo = connected(&mut fleet, "oslo", 60);
    let bergen = connected(&mut fleet, "bergen", 60);
    for place in oslo.iter().take(6).chain(bergen.iter().take(5)) {
        fleet.lost(*place, at(100 + 10 * (place.0 as i64 % 7)));
    }
    assert_eq!(passed(&mut fleet, 4000), []);
}

#[test]
fn laptops_that_are_closed_in_the_evening_are_nothing_and_laptops_that_are_cut_off_are_one_silence() {
    for (gap, expected) in [(20, 0), (1, 1)] {
        let mut fleet = Fleet::default();
        let oslo = connected(&mut fleet, "oslo", 30);
        connected(&mut fleet, "bergen", 30);
        for (number, place) in oslo.iter().enumerate() {
            fleet.uses(*place, &component("battery/BAT0"));
            fleet.lost(*place, at(100 + gap * number as i64));
        }
        let acts = passed(&mut fleet, 4000);
        assert_eq!(begun(&acts).len(), expected, "one every {gap} s");
    }
}

#[test]
fn what_is_saved_is_the_same_after_a_restart() {
    let mut fleet = Fleet::default();
    let oslo = connected(&mut fleet, "oslo", 20);
    connected(&mut fleet, "bergen", 20);
    for place in &oslo {
        fleet.lost(*place, at(100));
    }
    let acts = passed(&mut fleet, 200);
    assert_eq!(begun(&acts).len(), 1);
    fleet.groups[0].parent = Some(TicketId(7));
    let saved = fleet.take_changes();
    assert_eq!((saved.len(), saved[0].silent.len(), saved[0].parent), (1, 20, TicketId(7)));
    assert_eq!(fleet.take_changes(), []);

    let mut after = Fleet::default();
    for (site, count) in [("oslo", 20), ("bergen", 20)] {
        for number in 0..count {
            let place = after.add(DeviceId::new(format!("{site}-{number}")).unwrap(), at(300));
            after.know(place, &Value::map::<&'static str>([]), Some(site));
            after.not_heard_yet(place);
        }
    }
    let entry = gateway();
    let waits = Finding {
        phase: Phase::Firing,
        standing: Standing::Waiting(at(310)),
        fired_at: Some(at(280)),
        ..crate::fixture::finding("net.gateway", "gateway/192.0.2.1", 270)
    };
    let device = DeviceId::new("bergen-3").unwrap();
    after.restore(saved, [(&entry, &device, &waits)], at(300));
    // Nobody has been heard since the start, and that is not silence.
    let acts = passed(&mut after, 1000);
    let released = MemberFinding { place: after.place(&device).unwrap(), ..finding(Place(0)) };
    assert_eq!(acts, [Act::Release(released)]);
    for place in (0..20).map(Place) {
        after.connected(place, at(1000));
    }
    assert_eq!(passed(&mut after, 1100), [Act::End(GroupId(0))]);
}

#[test]
fn who_comes_back_late_and_tells_of_the_outage_opens_nothing_unless_it_goes_on() {
    let mut fleet = Fleet::default();
    let oslo = connected(&mut fleet, "oslo", 30);
    connected(&mut fleet, "bergen", 30);
    oslo.iter().for_each(|place| fleet.lost(*place, at(100)));
    passed(&mut fleet, 200);
    oslo.iter().for_each(|place| fleet.connected(*place, at(500)));
    assert_eq!(passed(&mut fleet, 600), [Act::End(GroupId(0))]);

    // Both saw their gateway die at 101 s; for one of them it still is.
    let entry = gateway();
    for place in [oslo[3], oslo[4]] {
        let course = fleet.fired(&entry, finding(place), at(101), at(620));
        assert_eq!(course, Course::Wait(at(620).plus(OLD_NEWS)));
    }
    assert_eq!(fleet.cleared(&finding(oslo[3]), at(700)), Left::Waiting);
    assert_eq!(passed(&mut fleet, 5000), [Act::Release(finding(oslo[4]))]);
    // A new fault is not old news.
    let course = fleet.fired(&entry, finding(oslo[5]), at(5001), at(5060));
    assert_eq!(course, Course::Wait(at(5060).plus(COMPANY)));
}

#[test]
fn a_device_out_of_service_is_neither_waited_for_nor_missed() {
    let mut fleet = Fleet::default();
    let places = connected(&mut fleet, "oslo", 10);
    connected(&mut fleet, "bergen", 10);
    let course = fleet.fired(&gateway(), finding(places[0]), at(10), at(60));
    assert_eq!(course, Course::Wait(at(60).plus(COMPANY)));
    places.iter().for_each(|place| fleet.lost(*place, at(60)));
    for place in places {
        fleet.retire(place, at(61));
    }
    assert_eq!(passed(&mut fleet, 1000), []);
}

#[test]
fn families_and_attributes_are_read_back_as_they_were_written() {
    let rule = || code("prn.stopped");
    let part = || component("printer/a b/9f2c");
    for family in [
        Family::Outage(rule()),
        Family::Network(rule()),
        Family::Printer(rule(), part()),
        Family::Named(rule(), part()),
        Family::System(rule()),
    ] {
        assert_eq!(Family::from_text(&family.to_text()), Some(family));
    }
    for text in ["", "outage", "printer prn.stopped", "outage net.link printer/x", "else net.link"] {
        assert_eq!(Family::from_text(text), None, "{text:?}");
    }
    for kind in AttributeKind::ALL {
        assert_eq!(AttributeKind::from_text(kind.as_str()), Some(*kind));
    }
}

fn printer_entry() -> KnowledgeEntry {
    let dead = compare("endpoint.printer.reachable", Compare::Equals, 0.0);
    let levels = vec![level(Severity::Warning, dead, 45, None, 120)];
    KnowledgeEntry {
        category: "printer".to_owned(),
        ..entry("prn.unreachable", ComponentKind::Printer, levels)
    }
}

/// A device whose queue `name` leads to the printer `identity`, which fails there at 100 s.
fn with_failing_printer(
    fleet: &mut Fleet,
    device: &str,
    name: &str,
    identity: Option<&str>,
    more: &[(&'static str, &str)],
) -> MemberFinding {
    let place = fleet.add(DeviceId::new(device).unwrap(), at(0));
    fleet.connected(place, at(0));
    let component = component(&format!("printer/{name}"));
    fleet.uses(place, &component);
    // What stands behind the queue is told after its first values.
    let printers = identity.map(|text| Value::map([(name.to_owned(), Value::Text(text.to_owned()))]));
    let texts = more.iter().map(|(key, text)| (*key, Value::Text((*text).to_owned())));
    let facts = Value::map(texts.chain(printers.map(|map| ("printers", map))));
    fleet.know(place, &facts, None);
    fleet.uses(place, &component);
    let finding = MemberFinding { place, rule: code("prn.unreachable"), component };
    fleet.fired(&printer_entry(), finding.clone(), at(90), at(100));
    finding
}

#[test]
fn one_printer_that_two_computers_call_differently_is_one_problem_by_its_identity() {
    let uuid = "uuid:f119f7ed-31f1-3647-5d3d-79b700c9950a";
    for (first, second, expected) in [
        (Some(uuid), Some(uuid), 1),
        (Some("serial:VNB3C12345"), Some("serial:VNB3C12345"), 1),
        (Some("address:203.0.113.9"), Some("address:203.0.113.9"), 1),
        // Nothing tells that they are the same.
        (Some(uuid), Some("uuid:f119f7ed-31f1-3647-5d3d-79b700c9950b"), 0),
        (None, None, 0),
        (Some(uuid), None, 0),
    ] {
        let mut fleet = Fleet::default();
        connected(&mut fleet, "bergen", 20);
        with_failing_printer(&mut fleet, "a", "finance", first, &[]);
        with_failing_printer(&mut fleet, "b", "floor-3", second, &[]);
        with_failing_printer(&mut fleet, "c", "floor-3", second, &[]);
        let acts = passed(&mut fleet, 400);
        let called = acts.iter().filter_map(|act| match act {
            Act::Begin { called, failing, .. } => Some((called.clone(), failing.0)),
            Act::Release(_) | Act::Drop(_) | Act::Join(..) | Act::Silent(..) | Act::End(_) => None,
        });
        let called: Vec<_> = called.collect();
        let names = vec![component("printer/floor-3"), component("printer/finance")];
        let of_all = called.iter().filter(|(called, failing)| *called == names && *failing == 3).count();
        assert_eq!(of_all, expected, "{first:?} {second:?}: {called:?}");
    }
}

#[test]
fn two_printers_that_two_computers_call_alike_are_two() {
    let mut fleet = Fleet::default();
    for (device, identity) in [("a", "serial:VNB3C12345"), ("b", "serial:VNB3C99999")] {
        with_failing_printer(&mut fleet, device, "HP_LaserJet", Some(identity), &[]);
    }
    assert_eq!(begun(&passed(&mut fleet, 400)), Vec::<String>::new());
}

#[test]
fn an_address_of_a_private_network_is_a_printer_only_within_it() {
    for (second_router, expected) in [("02:00:5e:00:00:01", 1), ("02:00:5e:00:00:02", 0)] {
        let mut fleet = Fleet::default();
        for (device, name, router) in [("a", "desk", "02:00:5e:00:00:01"), ("b", "office", second_router)] {
            let lan = [("subnet", "192.168.1.0/24"), ("gateway_mac", router)];
            with_failing_printer(&mut fleet, device, name, Some("address:192.168.1.9:9101"), &lan);
        }
        assert_eq!(begun(&passed(&mut fleet, 400)).len(), expected, "{second_router}");
    }
    // Where the place is not known, only the name is left.
    let mut fleet = Fleet::default();
    for (device, name) in [("a", "desk"), ("b", "office")] {
        with_failing_printer(&mut fleet, device, name, Some("address:192.168.1.9"), &[]);
    }
    assert_eq!(begun(&passed(&mut fleet, 400)), Vec::<String>::new());
}

#[test]
fn a_printer_is_the_same_after_a_restart() {
    let uuid = "uuid:f119f7ed-31f1-3647-5d3d-79b700c9950a";
    let mut fleet = Fleet::default();
    let findings = [("a", "finance"), ("b", "floor-3")]
        .map(|(device, name)| with_failing_printer(&mut fleet, device, name, Some(uuid), &[]));
    assert_eq!(begun(&passed(&mut fleet, 200)).len(), 1);
    fleet.groups[0].parent = Some(TicketId(7));
    let saved = fleet.take_changes();

    let mut after = Fleet::default();
    let entry = printer_entry();
    let mut firing = Vec::new();
    for (device, name) in [("a", "finance"), ("b", "floor-3")] {
        let id = DeviceId::new(device).unwrap();
        let place = after.add(id.clone(), at(300));
        let printers = Value::map([(name.to_owned(), Value::Text(uuid.to_owned()))]);
        after.know(place, &Value::map([("printers", printers)]), None);
        after.uses(place, &component(&format!("printer/{name}")));
        let finding = Finding {
            phase: Phase::Firing,
            standing: Standing::Child(TicketId(7)),
            fired_at: Some(at(100)),
            ..crate::fixture::finding("prn.unreachable", &format!("printer/{name}"), 90)
        };
        firing.push((id, finding));
    }
    after.restore(saved, firing.iter().map(|(id, finding)| (&entry, id, finding)), at(300));
    // A third one joins the Problem that there is.
    let third = with_failing_printer(&mut after, "c", "hall", Some(uuid), &[]);
    assert_eq!(after.groups[0].findings.keys().cloned().collect::<Vec<_>>()[..2], findings);
    assert!(after.groups[0].findings.contains_key(&third));
    assert_eq!(begun(&passed(&mut after, 400)), Vec::<String>::new());
}

fn facts(pairs: &[(&'static str, &str)]) -> Value {
    Value::map(pairs.iter().map(|(name, text)| (*name, Value::Text((*text).to_owned()))))
}

/// So many awake devices of a site, each with facts of its own.
fn with_facts(
    fleet: &mut Fleet,
    site: &str,
    count: usize,
    each: impl Fn(usize) -> Vec<(&'static str, String)>,
) -> Vec<Place> {
    let places = (0..count).map(|number| {
        let place = fleet.add(DeviceId::new(format!("{site}-{number}")).unwrap(), at(0));
        let pairs = each(number);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, text)| (*name, text.as_str())).collect();
        fleet.know(place, &facts(&pairs), Some(site));
        fleet.connected(place, at(0));
        place
    });
    places.collect()
}

#[test]
fn homes_with_the_same_addresses_are_not_one_place_and_an_office_with_private_ones_is() {
    for (same_router, expected) in [(false, 0), (true, 1)] {
        let mut fleet = Fleet::default();
        connected(&mut fleet, "bergen", 200);
        // Too few of the site for the site to be the cause.
        connected(&mut fleet, "oslo", 60);
        let there = with_facts(&mut fleet, "lyon", 6, |number| {
            let router = if same_router { 0 } else { number };
            vec![
                ("subnet", "192.168.1.0/24".to_owned()),
                ("gateway_mac", format!("02:00:5e:00:00:{router:02x}")),
                ("dns_server", "192.168.1.1".to_owned()),
            ]
        });
        // The rest of the site works, elsewhere.
        for number in 6..60 {
            let place = fleet.add(DeviceId::new(format!("lyon-{number}")).unwrap(), at(0));
            fleet.know(place, &facts(&[]), Some("lyon"));
            fleet.connected(place, at(0));
        }
        for place in &there {
            fleet.uses(*place, &component("dns_server/192.168.1.1"));
            fleet.fired(&gateway(), finding(*place), at(90), at(100));
        }
        let acts = passed(&mut fleet, 400);
        let begun = begun(&acts);
        assert_eq!(begun.len(), expected, "{begun:?}");
        assert!(begun.iter().all(|one| one.contains("02:00:5e:00:00:00")), "{begun:?}");
    }
}

#[test]
fn a_dead_proxy_is_not_a_dead_name_server_although_all_of_its_users_ask_the_same_one() {
    for (rule, failing, expected) in [
        ("net.proxy", "network/0", "the site lyon"),
        ("net.dns", "dns_server/10.3.0.53", "dns_server/10.3.0.53"),
    ] {
        let mut fleet = Fleet::default();
        connected(&mut fleet, "bergen", 200);
        let here = with_facts(&mut fleet, "lyon", 40, |number| {
            // One in eight of the site is at home.
            match number % 8 {
                0 => vec![("dns_server", "192.168.1.1".to_owned())],
                _ => vec![("dns_server", "10.3.0.53".to_owned())],
            }
        });
        let entry = KnowledgeEntry { code: code(rule), ..gateway() };
        for place in here.iter().filter(|place| !(place.0 - 200).is_multiple_of(8)) {
            fleet.uses(*place, &component("dns_server/10.3.0.53"));
            let one = MemberFinding { place: *place, rule: code(rule), component: component(failing) };
            fleet.fired(&entry, one, at(90), at(100));
        }
        let acts = passed(&mut fleet, 400);
        let begun = begun(&acts);
        assert!(begun.len() == 1 && begun[0].contains(expected), "{rule}: {begun:?}");
    }
}

#[test]
fn what_half_of_a_site_has_noticed_so_far_is_not_blamed_on_its_first_router() {
    let mut fleet = Fleet::default();
    connected(&mut fleet, "bergen", 200);
    let here = with_facts(&mut fleet, "lyon", 60, |number| {
        vec![("gateway_mac", format!("02:00:5e:00:00:0{}", number % 2))]
    });
    let entry = KnowledgeEntry { code: code("net.proxy"), ..gateway() };
    let mut acts = Vec::new();
    // Chance has those of one router look first, and the others a minute later.
    for (router, from) in [(0, 100), (1, 160)] {
        let count = if router == 0 { 14 } else { 30 };
        for place in here.iter().filter(|place| place.0 % 2 == router).take(count) {
            let one =
                MemberFinding { place: *place, rule: code("net.proxy"), component: component("network/0") };
            fleet.fired(&entry, one, at(from - 10), at(from));
        }
        acts.extend(passed(&mut fleet, from + 50));
    }
    let begun = begun(&acts);
    assert!(begun.len() == 1 && begun[0].contains("the site lyon"), "{begun:?}");
}

/// A site of which the Wi-Fi half has lost its gateway while the desktops go dark (or go on).
fn wifi_fails(goes_on: bool, is_live: bool) -> Vec<String> {
    let mut fleet = Fleet::default();
    connected(&mut fleet, "bergen", 200);
    let here = with_facts(&mut fleet, "lyon", 60, |number| {
        vec![("gateway_mac", format!("02:00:5e:00:00:0{}", number % 2))]
    });
    let mut acts = Vec::new();
    for second in (0..400).step_by(20) {
        for place in &here {
            let is_wifi = place.0 % 2 == 1;
            if is_wifi || second < 100 || goes_on {
                if is_live {
                    fleet.spoke(*place, at(second));
                } else {
                    fleet.heard(*place, at(second));
                }
            }
        }
        if second == 160 {
            for place in here.iter().filter(|place| place.0 % 2 == 1) {
                fleet.fired(&gateway(), finding(*place), at(105), at(160));
            }
        }
        acts.extend(passed(&mut fleet, second));
    }
    begun(&acts)
}

#[test]
fn a_power_cut_is_the_sites_and_not_the_routers_that_its_laptops_share() {
    for is_live in [false, true] {
        let begun = wifi_fails(false, is_live);
        assert!(begun.len() == 1 && begun[0].contains("the site lyon"), "live {is_live}: {begun:?}");
    }
}

#[test]
fn a_router_that_fails_while_the_rest_of_its_site_is_heard_is_the_routers() {
    for is_live in [false, true] {
        let begun = wifi_fails(true, is_live);
        assert!(begun.len() == 1 && begun[0].contains("02:00:5e:00:00:01"), "live {is_live}: {begun:?}");
    }
}

#[test]
fn desktops_that_fell_dark_and_laptops_that_lost_their_gateway_share_the_site() {
    let mut fleet = Fleet::default();
    with_facts(&mut fleet, "bergen", 200, |_| Vec::new());
    // Most of those at the router of the cables are desktops; some are laptops that can still speak.
    let here = with_facts(&mut fleet, "lyon", 60, |number| {
        vec![("gateway_mac", format!("02:00:5e:00:00:0{}", u8::from(number < 25)))]
    });
    for place in &here[25..55] {
        fleet.lost(*place, at(100));
    }
    for place in here[..25].iter().chain(&here[55..]) {
        fleet.fired(&gateway(), finding(*place), at(105), at(150));
    }
    let acts = passed(&mut fleet, 400);
    // Two ways lead to it, and both to one Problem.
    let groups = acts.iter().filter_map(|act| match act {
        Act::Begin { group, .. } => Some(group),
        Act::Release(_) | Act::Drop(_) | Act::Join(..) | Act::Silent(..) | Act::End(_) => None,
    });
    assert_eq!(groups.collect::<BTreeSet<_>>().len(), 1);
    assert!(begun(&acts).iter().all(|one| one.contains("the site lyon")), "{:?}", begun(&acts));
}
