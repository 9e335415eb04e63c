//! The built-in pack is right as a whole, and what is wrong with a file is said with its line.

use super::pack;
use super::problem::Problem;
use super::set::{self, Judged};

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn every_entry_of_the_pack_is_right_and_its_examples_hold() {
    let Judged { problems, examples, .. } = set::judge(&[]);
    assert!(problems.is_empty(), "{}", listed(&problems));
    assert!(examples.len() >= pack::FILES.len() * 5, "{} examples", examples.len());
}
