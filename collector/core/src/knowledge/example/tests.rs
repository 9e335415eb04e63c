//! The runner of worked examples says what differs.

use super::run_example;
use crate::fixture::*;
use crate::knowledge::{Example, ExpectedTransition};
use firstline_model::Severity;

fn expected(text: &str) -> ExpectedTransition {
    let (transition, severity) = text.split_once(' ').unwrap();
    ExpectedTransition {
        transition: transition.to_owned(),
        severity: Some(severity.parse::<Severity>().unwrap()),
        component: None,
    }
}

fn example(expect: &[&str]) -> Example {
    Example {
        name: "fills up".to_owned(),
        observations: (0..=16).map(|minute| used(minute * 60, 0.95)).collect(),
        peers: Vec::new(),
        until: None,
        expect: expect.iter().map(|text| expected(text)).collect(),
    }
}

#[test]
fn an_example_that_holds_is_accepted() {
    assert_eq!(run_example(&space(900, 900), &example(&["fired warning"])), Ok(()));
    let short = Example { until: Some(at(1000)), ..example(&["fired warning"]) };
    assert_eq!(
        run_example(&space(990, 900), &short),
        Ok(()),
        "hold times may end after the last observation"
    );
}

#[test]
fn an_example_that_differs_says_what_was_seen_and_when() {
    let error = run_example(&space(900, 900), &example(&["fired critical", "cleared critical"])).unwrap_err();
    let text = "example \"fills up\": expected fired critical, cleared critical, \
                but saw fired warning filesystem/C: after 15 min";
    assert_eq!(error, text);
    assert!(
        run_example(&space(3600, 900), &example(&["fired warning"]))
            .unwrap_err()
            .ends_with("but saw nothing")
    );
    assert!(run_example(&space(900, 900), &example(&[])).is_err());
}
