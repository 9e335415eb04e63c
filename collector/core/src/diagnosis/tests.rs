//! Causes against test results.

use super::diagnose;
use crate::fixture::*;
use crate::knowledge::{Cause, Compare, FactMatch, FactTest, KnowledgeEntry, RuleOut, TextMatch};
use crate::ticket::{TestResult, Tested};
use firstline_model::{ComponentKind, DiagnosticOutcome, Value};

fn fact(diagnostic: &str, path: &[&str], is: FactMatch) -> FactTest {
    FactTest {
        diagnostic: diagnostic.to_owned(),
        path: path.iter().map(|key| (*key).to_owned()).collect(),
        is,
    }
}

fn outcome(diagnostic: &str, text: &str) -> FactTest {
    fact(diagnostic, &[], FactMatch::Text(TextMatch::OneOf(vec![text.to_owned()])))
}

/// The cable, which the link test rules out when it is ok; the gateway, which its test supports; the provider.
fn rule() -> KnowledgeEntry {
    let cause = |id: &str, supported_by: Vec<Vec<FactTest>>, ruled_out_by: Vec<RuleOut>| Cause {
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
        let diagnosis = diagnose(&rule(), &tested);
        let out: Vec<_> = diagnosis.ruled_out.iter().map(|out| out.cause.as_str()).collect();
        assert_eq!((out, diagnosis.likely_cause.as_deref()), (ruled_out, likely), "{what}");
    }
}
