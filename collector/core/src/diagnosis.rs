//! Which causes the tests of a ticket, and what was observed anyway, leave, support, or rule out.

use crate::evaluate::{Moment, holds_now, value_matches};
use crate::knowledge::{Cause, Clue, FactMatch, FactTest, KnowledgeEntry, Observed};
use crate::ticket::{RuledOut, TestResult, Tested};
use firstline_model::{Component, DiagnosticOutcome, Value};

/// What follows from the tests of a ticket and from what was observed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnosis {
    /// The causes that are excluded, each with the sentence that says why. Texts are the entry's, with placeholders.
    pub ruled_out: Vec<RuledOut>,
    /// The text of the most likely cause; `None` while nothing is known.
    pub likely_cause: Option<String>,
}

/// Weighs the causes of an entry against test results and against what is known of the device at a moment.
///
/// A cause that a clue supports and none rules out is the likely one. Without support it is the first that is not
/// ruled out, but only once all tests have ended and at least one could tell something (or there are none to wait
/// for). Of several runs of one diagnostic the newest counts. A test that could not tell supports nothing and
/// rules nothing out.
pub(crate) fn diagnose(entry: &KnowledgeEntry, tested: &[Tested], moment: Moment<'_>) -> Diagnosis {
    let mut ruled_out = Vec::new();
    let mut left: Vec<&Cause> = Vec::new();
    for cause in &entry.causes {
        match cause.ruled_out_by.iter().find(|rule| all_hold(&rule.facts, tested, moment)) {
            Some(rule) => {
                ruled_out.push(RuledOut { cause: cause.text.clone(), because: rule.because.clone() })
            }
            None => left.push(cause),
        }
    }
    let supported =
        left.iter().find(|cause| cause.supported_by.iter().any(|clause| all_hold(clause, tested, moment)));
    // A recording shows what was, and no cause waits for it.
    let ended = tested.iter().all(|test| test.result.is_some() || test.diagnostic == "recorder");
    let told = tested.is_empty() || tested.iter().any(|test| told(test).is_some());
    let likely = supported.or_else(|| left.first().filter(|_| ended && told));
    Diagnosis { ruled_out, likely_cause: likely.map(|cause| cause.text.clone()) }
}

/// An empty clause says nothing.
fn all_hold(clues: &[Clue], tested: &[Tested], moment: Moment<'_>) -> bool {
    let holds = |clue: &Clue| match clue {
        Clue::Tested(fact) => holds(fact, tested),
        Clue::Observed(observed) => is_observed(observed, moment),
    };
    !clues.is_empty() && clues.iter().all(holds)
}

/// Whether the condition holds of the finding's component, or of one of the kind that is named.
fn is_observed(observed: &Observed, moment: Moment<'_>) -> bool {
    let Some(kind) = observed.component else { return holds_now(&observed.condition, moment) };
    let measured = moment.state.samples.keys().map(|key| &key.component);
    let mut components: Vec<&Component> = measured.filter(|component| component.kind == kind).collect();
    components.dedup();
    components.into_iter().any(|component| holds_now(&observed.condition, Moment { component, ..moment }))
}

fn holds(fact: &FactTest, tested: &[Tested]) -> bool {
    let Some(result) = newest(&fact.diagnostic, tested) else { return false };
    if fact.path.is_empty() {
        let outcome = result.outcome.as_str();
        return match &fact.is {
            FactMatch::Text(text) => text.matches(outcome),
            FactMatch::Number(..) | FactMatch::Bool(_) => false,
        };
    }
    let found = fact.path.iter().try_fold(&result.facts, |value, key| value.get(key));
    found.is_some_and(|value| fact_matches(&fact.is, value))
}

fn fact_matches(is: &FactMatch, value: &Value) -> bool {
    match is {
        FactMatch::Number(compare, level) => {
            value.as_number().is_some_and(|number| compare.holds(number, *level))
        }
        FactMatch::Bool(expected) => *value == Value::Bool(*expected),
        FactMatch::Text(text) => value_matches(text, value).unwrap_or(false),
    }
}

/// The result of the newest run of a diagnostic, if it has ended and could tell something. An earlier run says nothing
/// about now.
pub(crate) fn newest<'a>(diagnostic: &str, tested: &'a [Tested]) -> Option<&'a TestResult> {
    tested.iter().rfind(|test| test.diagnostic == diagnostic).and_then(told)
}

fn told(test: &Tested) -> Option<&TestResult> {
    test.result.as_ref().filter(|result| match result.outcome {
        DiagnosticOutcome::Ok | DiagnosticOutcome::Problem => true,
        DiagnosticOutcome::CouldNotTell => false,
    })
}

#[cfg(test)]
mod tests;
