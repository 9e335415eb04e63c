//! Causes against test results.

use super::diagnose;
use crate::evaluate::Moment;
use crate::finding::{DeviceState, LatestSample, Rhythm, SeriesKey};
use crate::fixture::*;
use crate::knowledge::{
    Cause, Clue, Compare, Condition, FactMatch, FactTest, KnowledgeEntry, Observed, RuleOut, SeriesMatch,
    TextMatch,
};
use crate::ticket::{TestResult, Tested};
use firstline_model::{Attributes, Component, ComponentKind, DiagnosticOutcome, Value};

fn fact(diagnostic: &str, path: &[&str], is: FactMatch) -> Clue {
    Clue::Tested(FactTest {
        diagnostic: diagnostic.to_owned(),
        path: path.iter().map(|key| (*key).to_owned()).collect(),
        is,
    })
}

fn outcome(diagnostic: &str, text: &str) -> Clue {
    fact(diagnostic, &[], FactMatch::Text(TextMatch::OneOf(vec![text.to_owned()])))
}

/// The cable, which the link test rules out when it is ok; the gateway, which its test supports; the provider.
fn rule() -> KnowledgeEntry {
    let cause = |id: &str, supported_by: Vec<Vec<Clue>>, ruled_out_by: Vec<RuleOut>| Cause {
        id: id.to_owned(),
        text: id.to_owned(),
        supported_by,
        ruled_out_by,
    };
    let mut rule = entry("net.dns", ComponentKind::DnsServer, Vec::new());
    let answered = fact("gateway", &["rtt_ms"], FactMatch::Number(Compare::Below, 50.0));
    rule.causes = vec![
        cause(
            "cable",
            Vec::new(),
            vec![RuleOut { facts: vec![outcome("link", "ok")], because: "link up".to_owned() }],
        ),
        cause(
            "gateway",
            vec![vec![outcome("gateway", "problem")]],
            vec![RuleOut { facts: vec![answered], because: "gateway answered".to_owned() }],
        ),
        cause("provider", Vec::new(), Vec::new()),
    ];
    rule
}

fn tested(diagnostic: &str, result: Option<(DiagnosticOutcome, Value)>) -> Tested {
    Tested {
        request_id: format!("1-{diagnostic}"),
        diagnostic: diagnostic.to_owned(),
        subject: String::new(),
        asked_at: at(0),
        result: result.map(|(outcome, facts)| TestResult {
            outcome,
            summary: String::new(),
            facts,
            finished_at: at(1),
        }),
    }
}

#[test]
fn causes_are_supported_ruled_out_or_left() {
    let none = || Value::map::<&'static str>([]);
    let rtt = |ms: f64| Value::map([("rtt_ms", Value::from(ms))]);
    let running = |name| tested(name, None);
    let ok = |name, facts| tested(name, Some((DiagnosticOutcome::Ok, facts)));
    let problem = |name| tested(name, Some((DiagnosticOutcome::Problem, none())));
    let unknown = |name, facts| tested(name, Some((DiagnosticOutcome::CouldNotTell, facts)));
    for (what, tested, ruled_out, likely) in [
        ("while the tests run nothing is known", vec![running("link"), running("gateway")], vec![], None),
        ("one result rules out at once", vec![ok("link", none()), running("gateway")], vec!["cable"], None),
        ("support counts at once", vec![running("link"), problem("gateway")], vec![], Some("gateway")),
        (
            "what is left is likely",
            vec![ok("link", none()), ok("gateway", rtt(1.0))],
            vec!["cable", "gateway"],
            Some("provider"),
        ),
        (
            "a slow answer rules nothing out",
            vec![ok("link", none()), ok("gateway", rtt(90.0))],
            vec!["cable"],
            Some("gateway"),
        ),
        (
            "a test that could not tell says nothing",
            vec![unknown("link", none()), unknown("gateway", rtt(1.0))],
            vec![],
            None,
        ),
        (
            "one that could tell is enough",
            vec![ok("link", none()), unknown("gateway", rtt(1.0))],
            vec!["cable"],
            Some("gateway"),
        ),
        (
            "only the newest run counts",
            vec![problem("gateway"), ok("link", none()), running("gateway")],
            vec!["cable"],
            None,
        ),
        ("without tests the first cause is likely", vec![], vec![], Some("cable")),
    ] {
        let (state, component) = (DeviceState::default(), Component::only(ComponentKind::DnsServer));
        let moment = Moment { state: &state, component: &component, at: at(100) };
        let diagnosis = diagnose(&rule(), &tested, moment);
        let out: Vec<_> = diagnosis.ruled_out.iter().map(|out| out.cause.as_str()).collect();
        assert_eq!((out, diagnosis.likely_cause.as_deref()), (ruled_out, likely), "{what}");
    }
}

/// A cause that a link without carrier supports and one with carrier excludes, before the provider.
fn by_observation() -> KnowledgeEntry {
    let up = |value: f64| {
        let series = SeriesMatch { metric: "hw.network.up".into(), attributes: Vec::new() };
        let condition =
            Condition::Sample { series, compare: Compare::Equals, level: value, at_least: 1, of: 1 };
        vec![Clue::Observed(Observed { component: Some(ComponentKind::NetworkInterface), condition })]
    };
    let mut rule = entry("net.dns", ComponentKind::DnsServer, Vec::new());
    let because = "The link is up".to_owned();
    rule.causes = vec![
        Cause {
            id: "cable".to_owned(),
            text: "cable".to_owned(),
            supported_by: vec![up(0.0)],
            ruled_out_by: vec![RuleOut { facts: up(1.0), because }],
        },
        Cause {
            id: "provider".to_owned(),
            text: "provider".to_owned(),
            supported_by: vec![],
            ruled_out_by: vec![],
        },
    ];
    rule
}

#[test]
fn what_was_observed_of_another_component_counts_without_any_test_while_it_is_recent() {
    for (value, age, running, likely) in [
        (Some(0.0), 10, true, Some("cable")),
        (Some(1.0), 10, false, Some("provider")),
        (Some(1.0), 10, true, None),
        (Some(0.0), 1000, true, None),
        (None, 10, true, None),
        (None, 10, false, Some("cable")),
    ] {
        let mut state = DeviceState::default();
        if let Some(value) = value {
            let component = Component::new(ComponentKind::NetworkInterface, "eth0").unwrap();
            let key = SeriesKey { component, metric: "hw.network.up".into(), attributes: Attributes::none() };
            let rhythm = Rhythm { powered_at: at(1000 - age), ..Rhythm::default() };
            let sample = LatestSample::new(at(1000 - age), value, Attributes::none(), rhythm);
            state.samples.insert(key, sample);
        }
        let component = Component::only(ComponentKind::DnsServer);
        let moment = Moment { state: &state, component: &component, at: at(1000) };
        let tests = if running { vec![tested("link", None)] } else { Vec::new() };
        let diagnosis = diagnose(&by_observation(), &tests, moment);
        assert_eq!(diagnosis.likely_cause.as_deref(), likely, "{value:?} {age} s ago, running {running}");
    }
}
