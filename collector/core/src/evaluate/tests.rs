//! How findings behave, as the person at the desk would say it.

mod naive;
mod relative;
mod windows;

use crate::evaluate::TransitionKind;
use crate::finding::Phase;
use crate::fixture::*;
use crate::knowledge::{Compare, Condition, KnowledgeEntry, TextMatch};
use firstline_model::{ComponentKind, Observation, Presence, Severity, Value};

/// Plays a script against entries, lets time pass until `until`, and compares the story.
#[track_caller]
fn check(entries: &[KnowledgeEntry], script: &[Observation], until: i64, expected: &[&str]) {
    let mut bench = Bench::new(entries.iter().cloned());
    bench.play(script).wait(until);
    assert_eq!(bench.story(), expected);
    assert!(
        bench.deadline().is_none_or(|next| next > until),
        "after time passed until {until} the next deadline is {:?}",
        bench.deadline()
    );
}

/// Samples of used space, one a minute.
fn minutes(from: i64, to: i64, value: f64) -> Vec<Observation> {
    (from..=to).map(|minute| used(minute * 60, value)).collect()
}

fn script(parts: &[Vec<Observation>]) -> Vec<Observation> {
    parts.concat()
}

#[test]
fn fires_after_the_hold_time_and_clears_after_the_clear_time() {
    let samples = script(&[minutes(0, 20, 0.95), minutes(21, 40, 0.5)]);
    let expected =
        ["900 fired warning fs.space", "1260 recovering warning fs.space", "2160 cleared warning fs.space"];
    check(&[space(900, 900)], &samples, 2400, &expected);
}

#[test]
fn a_breach_shorter_than_the_hold_time_is_no_finding() {
    let samples = script(&[minutes(0, 14, 0.95), minutes(15, 40, 0.85)]);
    check(&[space(900, 900)], &samples, 2400, &[]);
}

#[test]
fn a_hold_time_that_ends_between_two_samples_fires_there() {
    check(&[space(90, 90)], &minutes(0, 1, 0.95), 100, &["90 fired warning fs.space"]);
}

#[test]
fn a_timer_does_not_fire_on_a_sample_that_is_too_old() {
    check(&[space(900, 900)], &minutes(0, 3, 0.95), 3600, &[]);
}

#[test]
fn a_gap_in_the_samples_starts_the_hold_time_anew() {
    let samples = script(&[minutes(0, 5, 0.95), minutes(60, 76, 0.95)]);
    check(&[space(900, 900)], &samples, 76 * 60, &["4500 fired warning fs.space"]);
}

#[test]
fn the_first_gap_is_taken_for_the_usual_spacing() {
    check(&[space(900, 900)], &[used(0, 0.95), used(900, 0.95)], 900, &["900 fired warning fs.space"]);
}

#[test]
fn sleep_does_not_count_towards_the_hold_time() {
    let night = 8 * 3600;
    let mut samples = minutes(0, 10, 0.95);
    samples.push(presence(600, Presence::Asleep));
    samples.push(presence(600 + night, Presence::Online));
    samples.extend((0..=10).map(|minute| used(600 + night + minute * 60, 0.95)));
    let fired = format!("{} fired warning fs.space", night + 900);
    // Who asks why there was no ticket in the night is told.
    let suppressed = "600 suppressed warning fs.space";
    check(&[space(900, 900)], &samples, 600 + night + 600, &[suppressed, &fired]);
}

#[test]
fn a_device_that_reports_is_awake_even_if_it_did_not_say_so() {
    let mut samples = minutes(0, 1, 0.95);
    samples.push(presence(60, Presence::Asleep));
    samples.push(used(61, 0.95));
    samples.extend((100..=116).map(|minute| used(minute * 60, 0.95)));
    let mut bench = Bench::new([space(900, 900)]);
    bench.play(&samples);
    assert_eq!(bench.state.presence, Some(Presence::Online));
    assert_eq!(bench.story(), ["60 suppressed warning fs.space", "6840 fired warning fs.space"]);
}

#[test]
fn a_worse_level_escalates_the_same_finding_and_is_cleared_by_its_own_level() {
    let samples = script(&[minutes(0, 4, 0.95), minutes(5, 9, 0.99), minutes(10, 14, 0.85)]);
    let expected = [
        "60 fired warning fs.space",
        "360 escalated critical fs.space",
        "600 recovering critical fs.space",
        "720 cleared critical fs.space",
    ];
    check(&[space(60, 120)], &samples, 900, &expected);
}

#[test]
fn a_milder_level_that_still_holds_keeps_a_critical_finding_open() {
    let mut rule = space(60, 120);
    rule.detection.levels[1].clear = Some(compare(USED, Compare::Below, 0.97));
    let samples = script(&[minutes(0, 4, 0.99), minutes(5, 30, 0.95)]);
    check(&[rule], &samples, 1800, &["60 fired critical fs.space"]);
}

#[test]
fn the_fault_that_returns_during_recovery_relapses_without_a_second_finding() {
    let samples =
        script(&[minutes(0, 3, 0.95), minutes(4, 5, 0.5), minutes(6, 8, 0.85), minutes(9, 20, 0.5)]);
    let expected = [
        "60 fired warning fs.space",
        "240 recovering warning fs.space",
        "360 relapsed warning fs.space",
        "540 recovering warning fs.space",
        "1140 cleared warning fs.space",
    ];
    check(&[space(60, 600)], &samples, 1200, &expected);
}

#[test]
fn missing_data_keeps_a_firing_finding_firing() {
    let mut samples = minutes(0, 3, 0.95);
    samples.push(unavailable(240, "filesystem/C:", USED));
    check(&[space(60, 60)], &samples, 30 * 86_400, &["60 fired warning fs.space"]);
}

#[test]
fn a_value_that_cannot_be_read_neither_raises_nor_recovers() {
    let samples = script(&[
        minutes(0, 1, 0.95),
        vec![unavailable(90, "filesystem/C:", USED)],
        vec![unavailable(200, "filesystem/C:", USED), used(220, 0.95)],
    ]);
    check(&[space(180, 60)], &samples, 230, &["220 fired warning fs.space"]);
}

#[test]
fn recovery_is_not_taken_for_verified_while_nothing_is_heard() {
    let samples = script(&[minutes(0, 3, 0.95), minutes(4, 4, 0.5)]);
    let mut bench = Bench::new([space(60, 900)]);
    bench.play(&samples).wait(86_400);
    assert_eq!(bench.story(), ["60 fired warning fs.space", "240 recovering warning fs.space"]);
}

#[test]
fn a_sample_older_than_the_newest_changes_nothing() {
    let mut bench = Bench::new([space(0, 0)]);
    bench.play(&[used(100, 0.95)]);
    let before = bench.state.clone();
    bench.play(&[used(50, 0.1), used(99, 0.99)]);
    assert_eq!(bench.state, before);
}

#[test]
fn of_two_samples_at_the_same_time_the_later_arrival_counts() {
    check(&[space(60, 0)], &[used(0, 0.95), used(0, 0.5)], 600, &[]);
    check(&[space(60, 0)], &[used(0, 0.5), used(0, 0.95)], 60, &["60 fired warning fs.space"]);
}

#[test]
fn a_latched_finding_stays_whatever_comes() {
    let mut rule = space(0, 0);
    rule.detection.latched = true;
    check(&[rule], &script(&[minutes(0, 1, 0.95), minutes(2, 60, 0.1)]), 7200, &["0 fired warning fs.space"]);
}

#[test]
fn a_rule_that_was_switched_off_ends_its_findings() {
    let mut bench = Bench::new([space(0, 0)]);
    bench.play(&minutes(0, 1, 0.95));
    bench.knowledge = Default::default();
    bench.wait(120);
    assert_eq!(bench.story(), ["0 fired warning fs.space", "120 cleared warning fs.space"]);
}

#[test]
fn components_are_judged_apart_and_other_kinds_not_at_all() {
    let on = |component: &str| sample(0, component, USED, &[], 0.95);
    let mut bench = Bench::new([space(0, 0)]);
    bench.play(&[on("filesystem/C:"), on("filesystem/D:"), on("memory/0")]);
    assert_eq!(bench.seen.len(), 2);
    assert_eq!(bench.state.samples.len(), 2, "a sample that no rule looks at is not remembered");
}

fn service() -> KnowledgeEntry {
    let metric = "endpoint.service.state";
    let failed = Condition::Sample {
        series: series(metric, &[("state", "failed")]),
        compare: Compare::Above,
        level: 0.0,
        at_least: 1,
        of: 1,
    };
    entry("svc.failed", ComponentKind::Service, vec![level(Severity::Warning, failed, 0, None, 0)])
}

#[test]
fn a_new_state_replaces_the_state_before_it() {
    let state = |t, state| {
        sample(t, "service/cups", "endpoint.service.state", &[("name", "cups"), ("state", state)], 1.0)
    };
    check(
        &[service()],
        &[state(0, "active"), state(60, "failed"), state(120, "active")],
        120,
        &["60 fired warning svc.failed", "120 cleared warning svc.failed"],
    );
}

#[test]
fn earlier_samples_count_with_the_state_they_had() {
    let metric = "hw.status";
    let twice = Condition::Sample {
        series: series(metric, &[("hw.state", "predicted_failure")]),
        compare: Compare::Above,
        level: 0.0,
        at_least: 2,
        of: 2,
    };
    let rule = entry(
        "disk.smart_failing",
        ComponentKind::PhysicalDisk,
        vec![level(Severity::Critical, twice, 0, None, 0)],
    );
    let state = |t, state| sample(t, "physical_disk/S1", metric, &[("hw.state", state)], 1.0);
    let once = [state(0, "ok"), state(1, "predicted_failure"), state(2, "ok"), state(3, "predicted_failure")];
    check(std::slice::from_ref(&rule), &once, 10, &[]);
    let twice = [state(0, "ok"), state(1, "predicted_failure"), state(2, "predicted_failure")];
    check(&[rule], &twice, 10, &["2 fired critical disk.smart_failing"]);
}

#[test]
fn so_many_of_the_last_samples_must_agree() {
    let condition = |at_least, of| Condition::Sample {
        series: series("endpoint.network.gateway.reachable", &[]),
        compare: Compare::Equals,
        level: 0.0,
        at_least,
        of,
    };
    let rule = |at_least, of| {
        entry(
            "net.gateway",
            ComponentKind::Gateway,
            vec![level(Severity::Critical, condition(at_least, of), 0, None, 0)],
        )
    };
    let answers = |values: &[f64]| -> Vec<Observation> {
        values
            .iter()
            .zip(0..)
            .map(|(value, t)| {
                sample(t, "gateway/192.0.2.1", "endpoint.network.gateway.reachable", &[], *value)
            })
            .collect()
    };
    for (at_least, of, values, expected) in [
        (3, 3, &[0.0, 0.0, 1.0, 0.0, 0.0][..], vec![]),
        (3, 3, &[1.0, 0.0, 0.0, 0.0], vec!["3 fired critical net.gateway"]),
        (3, 5, &[0.0, 1.0, 0.0, 1.0, 0.0], vec!["4 fired critical net.gateway"]),
        (2, 3, &[0.0, 0.0, 1.0, 1.0], vec!["1 fired critical net.gateway", "3 cleared critical net.gateway"]),
    ] {
        check(&[rule(at_least, of)], &answers(values), 100, &expected);
    }
}

#[test]
fn several_series_raise_when_one_does_and_recover_when_all_do() {
    let rule = entry(
        "prn.supply",
        ComponentKind::Printer,
        vec![level(
            Severity::Info,
            compare("endpoint.printer.supply.level", Compare::Below, 0.1),
            0,
            None,
            0,
        )],
    );
    let level = |t, supply, value| {
        sample(t, "printer/finance-2", "endpoint.printer.supply.level", &[("supply", supply)], value)
    };
    let script = [
        level(0, "black", 0.5),
        level(1, "cyan", 0.05),
        level(2, "black", 0.04),
        level(3, "cyan", 0.9),
        level(4, "black", 0.9),
    ];
    check(&[rule], &script, 10, &["1 fired info prn.supply", "4 cleared info prn.supply"]);
}

#[test]
fn documents_are_judged_by_what_stands_under_their_path() {
    let stopped = Condition::State {
        name: "printer".to_owned(),
        path: vec!["printer_state_reasons".to_owned()],
        matches: TextMatch::StartsWith(vec!["media-jam".to_owned()]),
    };
    let rule =
        entry("prn.jam", ComponentKind::Printer, vec![level(Severity::Warning, stopped, 60, None, 60)]);
    let reasons = |t, reasons: &[&str]| {
        let document = Value::map([("printer_state_reasons", Value::texts(reasons.iter().copied()))]);
        document_of(t, document)
    };
    let script = [reasons(0, &["none"]), reasons(10, &["toner-low", "media-jam-error"]), reasons(100, &[])];
    let expected =
        ["70 fired warning prn.jam", "100 recovering warning prn.jam", "160 cleared warning prn.jam"];
    check(std::slice::from_ref(&rule), &script, 1000, &expected);
    check(&[rule], &[document_of(0, Value::map([("other", Value::from("media-jam"))]))], 1000, &[]);
}

fn document_of(t: i64, value: Value) -> Observation {
    document(t, "printer/finance-2", "printer", value)
}

fn network(rule: &str, kind: ComponentKind, metric: &str, hold: u64) -> KnowledgeEntry {
    entry(rule, kind, vec![level(Severity::Critical, compare(metric, Compare::Below, 1.0), hold, None, 60)])
}

fn chain(gateway_hold: u64, dns_hold: u64) -> [KnowledgeEntry; 2] {
    [
        network("net.gateway", ComponentKind::Gateway, "gw", gateway_hold),
        depends(network("net.dns", ComponentKind::DnsServer, "dns", dns_hold), &["net.gateway"]),
    ]
}

fn gateway(t: i64, value: f64) -> Observation {
    sample(t, "gateway/192.0.2.1", "gw", &[], value)
}

fn dns(t: i64, value: f64) -> Observation {
    sample(t, "dns_server/192.0.2.53", "dns", &[], value)
}

#[test]
fn a_cause_hides_its_symptom_and_gives_it_free_when_it_is_over() {
    let mut script = vec![gateway(0, 0.0)];
    script.extend((1..20).flat_map(|n| [gateway(n * 30, 0.0), dns(n * 30, 0.0)]));
    script.extend((20..30).flat_map(|n| [gateway(n * 30, 1.0), dns(n * 30, 0.0)]));
    let expected = [
        "30 fired critical net.gateway",
        "90 suppressed critical net.dns",
        "600 recovering critical net.gateway",
        "660 cleared critical net.gateway",
        "660 unsuppressed critical net.dns",
        "660 fired critical net.dns",
    ];
    check(&chain(30, 60), &script, 900, &expected);
}

#[test]
fn a_symptom_that_ends_with_its_cause_never_fires() {
    let mut script: Vec<_> = (0..20).flat_map(|n| [gateway(n * 30, 0.0), dns(n * 30, 0.0)]).collect();
    script.extend((20..30).flat_map(|n| [gateway(n * 30, 1.0), dns(n * 30, 1.0)]));
    let mut bench = Bench::new(chain(30, 60));
    bench.play(&script).wait(1200);
    assert!(bench.seen.iter().all(|t| t.rule != code("net.dns") || t.kind != TransitionKind::Fired));
    assert!(bench.state.findings.values().all(|finding| finding.phase == Phase::Cleared));
}

#[test]
fn a_symptom_seen_in_the_same_moment_waits_for_its_cause() {
    let script: Vec<_> = (0..=3).flat_map(|n| [dns(n * 30, 0.0), gateway(n * 30, 0.0)]).collect();
    let expected = ["60 suppressed critical net.dns", "60 fired critical net.gateway"];
    check(&chain(60, 60), &script, 90, &expected);
}

#[test]
fn a_cause_that_never_comes_does_not_hide_its_symptom_for_long() {
    let mut script = vec![gateway(0, 0.0)];
    script.extend((0..=20).map(|n| dns(n * 30, 0.0)));
    let mut bench = Bench::new(chain(600, 570));
    bench.play(&script);
    bench.play(&(21..=60).map(|n| dns(n * 30, 0.0)).collect::<Vec<_>>());
    assert_eq!(
        bench.story().last().map(String::as_str),
        Some("780 fired critical net.dns"),
        "{:?}",
        bench.story()
    );
}

#[test]
fn rules_that_hide_each_other_do_not_both_stay_hidden() {
    let [one, other] = chain(30, 30);
    let one = depends(one, &["net.dns"]);
    let mut bench = Bench::new([one, other]);
    bench.play(&(0..20).flat_map(|n| [dns(n * 30, 0.0), gateway(n * 30, 0.0)]).collect::<Vec<_>>());
    let fired = bench.seen.iter().filter(|t| t.kind == TransitionKind::Fired).count();
    assert!(fired >= 1, "{:?}", bench.story());
}
