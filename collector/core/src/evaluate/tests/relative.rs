//! Levels that move: a published limit, what is usual, a share of another counter.

use crate::fixture::{Bench, entry, level, sample, secs, series};
use crate::knowledge::{Compare, Condition, Reference};
use firstline_model::{ComponentKind, Observation, Severity};

fn bench(to: Reference, metric: &str) -> Bench {
    let when = Condition::Relative { series: series(metric, &[]), compare: Compare::Above, to };
    Bench::new([entry("t.rule", ComponentKind::Sensor, vec![level(Severity::Warning, when, 0, None, 0)])])
}

fn at(t: i64, metric: &str, value: f64) -> Observation {
    sample(t, "sensor/cpu", metric, &[], value)
}

#[test]
fn a_value_is_judged_by_the_limit_of_its_own_component_and_never_without_one() {
    let limit = || Reference::Other { series: series("limit", &[]), plus: -5.0 };
    let mut known = bench(limit(), "heat");
    known.play(&[at(0, "limit", 80.0), at(1, "heat", 75.0), at(2, "heat", 75.5)]);
    assert_eq!(known.story(), ["2 fired warning t.rule"]);
    assert_eq!(known.seen.last().unwrap().threshold, Some(75.0));
    let mut unknown = bench(limit(), "heat");
    unknown.play(&[sample(0, "sensor/other", "limit", &[], 80.0), at(1, "heat", 900.0)]);
    assert!(unknown.story().is_empty());
}

#[test]
fn what_is_usual_is_the_median_of_the_samples_before() {
    let usual = || Reference::Usual { times: 2.0, spreads: 0.0, of: 5 };
    let values = |values: &[f64]| {
        let numbered = values.iter().enumerate();
        numbered.map(|(n, value)| at(i64::try_from(n).unwrap() * 60, "boot", *value)).collect::<Vec<_>>()
    };
    let bench_of = |seen: &[f64]| {
        let mut bench = bench(usual(), "boot");
        bench.play(&values(seen));
        bench.story().iter().filter(|line| line.contains("fired")).count()
    };
    assert_eq!(bench_of(&[30.0, 31.0, 29.0, 300.0]), 1, "300 is more than twice the usual 30");
    assert_eq!(bench_of(&[30.0, 31.0, 29.0, 300.0, 62.0]), 1, "one outlier does not change what is usual");
    assert_eq!(bench_of(&[30.0, 31.0, 29.0, 59.0]), 0, "59 is less than twice 30");
    assert_eq!(bench_of(&[30.0, 300.0]), 0, "two samples tell nothing about what is usual");
}

#[test]
fn what_varies_much_by_itself_has_to_be_further_off_to_be_unusual() {
    let fired = |compare: Compare, seen: &[f64]| {
        let to = Reference::Usual { times: 1.0, spreads: 3.0, of: 6 };
        let when = Condition::Relative { series: series("boot", &[]), compare, to };
        let level = level(Severity::Warning, when, 0, None, 0);
        let mut bench = Bench::new([entry("t.rule", ComponentKind::Sensor, vec![level])]);
        for (n, value) in seen.iter().enumerate() {
            bench.play(&[at(i64::try_from(n).unwrap() * 60, "boot", *value)]);
        }
        bench
            .story()
            .last()
            .is_some_and(|line| line.contains("fired"))
            .then(|| bench.seen.last().unwrap().threshold)
    };
    // Median 35, distances 15 15 5 5 15 25: three times 1.4826 * 15 more is 101.7.
    let wide = [20.0, 50.0, 30.0, 40.0, 20.0, 60.0];
    let with = |seen: &[f64], last: f64| [seen, &[last]].concat();
    assert_eq!(fired(Compare::Above, &with(&wide, 101.0)), None);
    let level = fired(Compare::Above, &with(&wide, 102.0)).flatten().unwrap();
    assert!((level - (35.0 + 3.0 * 1.4826 * 15.0)).abs() < 1e-9, "{level}");
    let narrow = [34.0, 36.0, 35.0, 35.0, 34.0, 36.0];
    assert!(fired(Compare::Above, &with(&narrow, 40.0)).is_some());
    assert!(fired(Compare::Below, &with(&narrow, 30.0)).is_some());
    assert_eq!(fired(Compare::Below, &with(&wide, 0.0)), None);
}

#[test]
fn a_share_counts_growth_within_the_window_and_not_what_was_there_before() {
    let share = || Reference::ShareOf {
        whole: series("packets", &[]),
        level: 0.01,
        within: secs(600),
        at_least: 1000.0,
    };
    let mut bad = bench(share(), "errors");
    bad.play(&[at(0, "packets", 5000.0), at(0, "errors", 4000.0)]);
    bad.play(&[at(60, "packets", 7000.0), at(60, "errors", 4010.0)]);
    assert!(bad.story().is_empty(), "10 of 2000 is half a percent: {:?}", bad.story());
    bad.play(&[at(120, "packets", 7500.0), at(120, "errors", 4040.0)]);
    assert_eq!(bad.story(), ["120 fired warning t.rule"]);
    let mut few = bench(share(), "errors");
    few.play(&[at(0, "packets", 0.0), at(0, "errors", 0.0), at(60, "packets", 10.0), at(60, "errors", 10.0)]);
    assert!(few.story().is_empty(), "ten packets say nothing");
    let mut reset = bench(share(), "errors");
    reset.play(&[at(0, "packets", 1e9), at(0, "errors", 1e6), at(60, "packets", 5.0), at(60, "errors", 0.0)]);
    assert!(reset.story().is_empty(), "a restart of the counters is no growth: {:?}", reset.story());
}

#[test]
fn a_forecast_follows_a_trend_and_not_a_jump_or_a_zigzag() {
    let reached = || Reference::Reached { level: 1.0, within: secs(4 * 3600), over: secs(3600) };
    let fired = |value: &dyn Fn(i64) -> f64| {
        let mut bench = bench(reached(), "used");
        for minute in 0..=60 {
            bench.play(&[at(minute * 60, "used", value(minute))]);
        }
        bench.story().iter().any(|line| line.contains("fired"))
    };
    assert!(fired(&|minute| 0.5 + 0.003 * minute as f64), "full in less than four hours");
    assert!(!fired(&|minute| 0.5 + 0.0005 * minute as f64), "full in a day");
    assert!(!fired(&|minute| if minute < 30 { 0.5 } else { 0.8 }), "a copy that has ended");
    assert!(!fired(&|minute| 0.7 + 0.1 * (minute % 2) as f64), "a zigzag");
    assert!(!fired(&|minute| 0.9 - 0.003 * minute as f64), "it is being emptied");
}
