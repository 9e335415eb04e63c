//! The words of an entry: explanation, tests to run, causes, steps, article.

use super::super::problem::{Place, Problems, advice};
use super::super::tree::{Item, Node, Table};
use super::condition::{CONDITION_KEYS, Reader, comparison, one_of, text_match};
use firstline_collector_core::knowledge::{
    Article, Cause, Clue, Explanation, FactMatch, FactTest, Observed, RuleOut, TestToRun, TextMatch, Words,
};
use firstline_model::{ComponentKind, DiagnosticOutcome, DiagnosticRequest};

/// The keys of `[explain]`.
pub(super) const EXPLAIN_KEYS: &[&str] = &["person", "technician"];
/// The keys of a `[[test]]`.
pub(super) const TEST_KEYS: &[&str] = &["diagnostic", "subject"];
/// The keys of a `[[cause]]`.
pub(super) const CAUSE_KEYS: &[&str] = &["id", "text", "supported_by", "ruled_out_by"];
/// The keys of one of a cause's `ruled_out_by`.
pub(super) const RULE_OUT_KEYS: &[&str] = &["when", "because"];
/// The keys of a `[[step]]`.
pub(super) const STEP_KEYS: &[&str] = &["text"];
/// The keys of `[article]`.
pub(super) const ARTICLE_KEYS: &[&str] = &["title", "url", "body"];
/// The keys of a test on a result.
pub(super) const FACT_KEYS: &[&str] =
    &["test", "fact", "outcome", "above", "below", "at_least_value", "at_most_value", "equals", "matches"];

/// `[explain]`.
pub(super) fn explanation(document: &Table, problems: &mut Problems) -> Explanation {
    let Some(item) = document.get("explain") else {
        let advice = "add `person` (no jargon) and `technician` (what was measured)";
        problems.add(&document.place, "the entry has no [explain]", advice);
        return Explanation::default();
    };
    let Some(table) = item.table("explain", problems) else { return Explanation::default() };
    table.only("[explain]", EXPLAIN_KEYS, problems);
    Explanation {
        person: table.required_text("[explain]", "person", problems).unwrap_or_default(),
        technician: table.required_text("[explain]", "technician", problems).unwrap_or_default(),
    }
}

/// `[words.<attribute>.<value>]`, each with texts by use.
pub(super) fn words(document: &Table, problems: &mut Problems) -> Words {
    let mut found = Words::default();
    let Some(table) = document.get("words").and_then(|item| item.table("words", problems)) else {
        return found;
    };
    for (attribute, item) in &table.items {
        let Some(values) = item.table(attribute, problems) else { continue };
        for (value, item) in &values.items {
            let Some(uses) = item.table(value, problems) else { continue };
            for (usage, item) in &uses.items {
                if let Some(text) = item.text(usage, problems) {
                    let words =
                        found.0.entry(attribute.clone()).or_default().entry(value.clone()).or_default();
                    words.insert(usage.clone(), text.trim().to_owned());
                }
            }
        }
    }
    found
}

/// Refuses placeholders that nothing fills: a misspelt one would vanish from the ticket without a word.
pub(super) fn placeholders(document: &Table, words: &Words, problems: &mut Problems) {
    let mut texts = Vec::new();
    texts_of(document, &mut texts);
    for (place, text) in texts {
        for name in names_in(text) {
            let known =
                FILLED.contains(&name) || FILLED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            let in_words = name.strip_prefix("words.").and_then(|path| path.rsplit_once('.')).is_none_or(
                |(attribute, usage)| {
                    words
                        .0
                        .get(attribute)
                        .is_some_and(|values| values.values().all(|uses| uses.contains_key(usage)))
                },
            );
            if !known {
                let what = format!("nothing fills the placeholder `{{{name}}}`");
                problems.add(place, what, advice(name, FILLED.iter().copied()));
            } else if !in_words {
                let what = format!("not every value in [words] has the text for `{{{name}}}`");
                problems.add(place, what, "give it to each of them, also to \"*\"");
            }
        }
    }
}

/// What the desk fills in (`collector/core/src/desk/words.rs`).
const FILLED: &[&str] = &[
    "component",
    "component.id",
    "component.kind",
    "value",
    "value.percent",
    "threshold",
    "threshold.percent",
    "since",
    "hostname",
    "site",
];
const FILLED_PREFIXES: &[&str] = &["attr.", "doc.", "fact.", "words."];

fn texts_of<'a>(table: &'a Table, into: &mut Vec<(&'a Place, &'a str)>) {
    for (key, item) in &table.items {
        // Examples and detection hold what devices say; an article is not filled.
        if !["example", "detect", "article"].contains(&key.as_str()) {
            texts_of_item(item, into);
        }
    }
}

fn texts_of_item<'a>(item: &'a Item, into: &mut Vec<(&'a Place, &'a str)>) {
    match &item.node {
        Node::Text(text) => into.push((&item.place, text)),
        Node::List(items) => items.iter().for_each(|item| texts_of_item(item, into)),
        Node::Table(table) => texts_of(table, into),
        Node::Bool(_) | Node::Number(_) => {}
    }
}

fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// `[[test]]`.
pub(super) fn tests(document: &Table, problems: &mut Problems) -> Vec<TestToRun> {
    let mut found = Vec::new();
    for table in document.tables("test", problems) {
        table.only("[[test]]", TEST_KEYS, problems);
        let Some(diagnostic) = table.required_text("the test", "diagnostic", problems) else { continue };
        let names: Vec<&str> = DiagnosticRequest::NAMES.iter().map(|(name, _)| *name).collect();
        let place = table.get("diagnostic").map_or(&table.place, |item| &item.place);
        if !one_of(&diagnostic, "a diagnostic", &names, place, problems) {
            continue;
        }
        let takes_one =
            DiagnosticRequest::NAMES.iter().any(|(name, takes)| *name == diagnostic && takes.is_some());
        let subject = table.text("subject", problems);
        let subject_is_component = subject.as_deref() == Some("component");
        match subject {
            Some(other) if !subject_is_component => {
                let advice = "only `subject = \"component\"` is possible";
                problems.add(&table.place, format!("{other:?} is not a subject"), advice);
            }
            Some(_) if !takes_one => {
                problems.add(&table.place, format!("`{diagnostic}` takes no subject"), "leave `subject` out");
            }
            None if takes_one => {
                let advice = "add `subject = \"component\"`";
                problems.add(&table.place, format!("`{diagnostic}` needs a subject"), advice);
            }
            Some(_) | None => {}
        }
        found.push(TestToRun { diagnostic, subject_is_component });
    }
    found
}

/// `[[cause]]`.
pub(super) fn causes(
    document: &Table,
    tests: &[TestToRun],
    reader: Reader,
    problems: &mut Problems,
) -> Vec<Cause> {
    let clues = Clues { tests, reader };
    let mut found: Vec<Cause> = Vec::new();
    for table in document.tables("cause", problems) {
        table.only("[[cause]]", CAUSE_KEYS, problems);
        let id = table.required_text("the cause", "id", problems);
        let text = table.required_text("the cause", "text", problems);
        let supported_by = clauses(table, clues, problems);
        let ruled_out_by = rule_outs(table, clues, problems);
        let (Some(id), Some(text)) = (id, text) else { continue };
        if found.iter().any(|cause| cause.id == id) {
            problems.add(&table.place, format!("two causes are called {id:?}"), "");
        }
        found.push(Cause { id, text, supported_by, ruled_out_by });
    }
    found
}

/// What clues may be about.
#[derive(Clone, Copy)]
struct Clues<'a> {
    /// The tests that the entry runs.
    tests: &'a [TestToRun],
    reader: Reader,
}

/// Clauses of which one is enough. A list inside the list is a clause whose clues must all hold.
fn clauses(cause: &Table, clues: Clues<'_>, problems: &mut Problems) -> Vec<Vec<Clue>> {
    let Some(item) = cause.get("supported_by") else { return Vec::new() };
    item.items().iter().map(|clause| clues.read(clause, "supported_by", problems)).collect()
}

fn rule_outs(cause: &Table, clues: Clues<'_>, problems: &mut Problems) -> Vec<RuleOut> {
    let mut found = Vec::new();
    for table in cause.tables("ruled_out_by", problems) {
        table.only("`ruled_out_by`", RULE_OUT_KEYS, problems);
        let because = table.required_text("`ruled_out_by`", "because", problems);
        let Some(when) = table.get("when") else {
            problems.add(
                &table.place,
                "`ruled_out_by` has no `when`",
                "say which test results or observations exclude the cause",
            );
            continue;
        };
        let facts = clues.read(when, "when", problems);
        if let Some(because) = because {
            found.push(RuleOut { facts, because });
        }
    }
    found
}

impl Clues<'_> {
    fn read(self, clause: &Item, key: &str, problems: &mut Problems) -> Vec<Clue> {
        if clause.items().is_empty() {
            let advice = "name at least one test result or observation";
            problems.add(&clause.place, format!("`{key}` has an empty clause"), advice);
        }
        let tables = clause.items();
        tables.iter().filter_map(|item| self.clue(item.table(key, problems)?, problems)).collect()
    }

    /// A test result, or a condition on what the device observes.
    fn clue(self, table: &Table, problems: &mut Problems) -> Option<Clue> {
        if !["metric", "event", "state"].iter().any(|key| table.get(key).is_some()) {
            return fact_test(table, self.tests, problems).map(Clue::Tested);
        }
        let keys: Vec<&str> = CONDITION_KEYS.iter().copied().chain(["component"]).collect();
        table.only("an observation", &keys, problems);
        let component = match table.get("component") {
            Some(item) => Some(kind(item, problems)?),
            None => None,
        };
        let condition = self.reader.condition(table, "the observation", problems)?;
        Some(Clue::Observed(Observed { component, condition }))
    }
}

fn kind(item: &Item, problems: &mut Problems) -> Option<ComponentKind> {
    let text = item.text("component", problems)?;
    let found = text.parse().ok();
    if found.is_none() {
        let kinds = ComponentKind::ALL.iter().map(|kind| kind.as_str());
        problems.add(&item.place, format!("{text:?} is not a kind of component"), advice(text, kinds));
    }
    found
}

fn fact_test(table: &Table, tests: &[TestToRun], problems: &mut Problems) -> Option<FactTest> {
    table.only("a test on a result", FACT_KEYS, problems);
    let diagnostic = table.required_text("the test on a result", "test", problems)?;
    let run: Vec<&str> = tests.iter().map(|test| test.diagnostic.as_str()).collect();
    let place = table.get("test").map_or(&table.place, |item| &item.place);
    if !one_of(&diagnostic, "a test that this entry runs", &run, place, problems) {
        return None;
    }
    if let Some(item) = table.get("outcome") {
        let text = item.text("outcome", problems)?;
        let known = [DiagnosticOutcome::Ok, DiagnosticOutcome::Problem, DiagnosticOutcome::CouldNotTell];
        let known: Vec<&str> = known.iter().map(|outcome| outcome.as_str()).collect();
        one_of(text, "an outcome", &known, &item.place, problems);
        let is = FactMatch::Text(TextMatch::OneOf(vec![text.to_owned()]));
        return Some(FactTest { diagnostic, path: Vec::new(), is });
    }
    let path = table.required_text("the test on a result", "fact", problems)?;
    let path = path.split('.').map(str::to_owned).collect();
    if let Some(item) = table.get("matches") {
        return Some(FactTest {
            diagnostic,
            path,
            is: FactMatch::Text(text_match(item, "matches", problems)?),
        });
    }
    let Some((key, compare, item)) = comparison(table) else {
        problems.add(
            &table.place,
            "the fact is compared with nothing",
            "add equals, above, below or matches",
        );
        return None;
    };
    let is = match &item.node {
        Node::Bool(truth) if key == "equals" => FactMatch::Bool(*truth),
        Node::Text(text) if key == "equals" => FactMatch::Text(TextMatch::OneOf(vec![text.clone()])),
        Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::List(_) | Node::Table(_) => {
            FactMatch::Number(compare, item.number(key, problems)?)
        }
    };
    Some(FactTest { diagnostic, path, is })
}

/// `[[step]]`.
pub(super) fn steps(document: &Table, problems: &mut Problems) -> Vec<String> {
    let mut found = Vec::new();
    for table in document.tables("step", problems) {
        table.only("[[step]]", STEP_KEYS, problems);
        found.extend(table.required_text("the step", "text", problems));
    }
    found
}

/// `[article]`.
pub(super) fn article(document: &Table, problems: &mut Problems) -> Option<Article> {
    let table = document.get("article")?.table("article", problems)?;
    table.only("[article]", ARTICLE_KEYS, problems);
    let title = table.required_text("[article]", "title", problems)?;
    let url = table.text("url", problems);
    if let (Some(url), Some(item)) = (&url, table.get("url"))
        && !url.starts_with("https://")
        && !url.starts_with("http://")
    {
        problems.add(&item.place, format!("{url:?} is not a web address"), "begin it with https://");
    }
    Some(Article { title, url, body: table.text("body", problems).map(|body| body.trim().to_owned()) })
}
