//! Pure: the text of one knowledge file becomes an entry, an override, or a list of problems with their lines.
//!
//! Every reference that can be judged from one file is judged here (metrics, tests, component kinds); those to other
//! entries are judged over the whole set by `set`.

mod condition;
mod detect;
mod example;
mod moving;
mod overlay;
mod text;

use super::problem::{Place, Problems};
use super::tree::{self, Item, Table};
use firstline_collector_core::knowledge::{Example, KnowledgeEntry, Scope};
use firstline_model::{DeviceId, RuleCode, Severity};

/// What a file holds.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    /// A knowledge entry.
    Entry(Box<Parsed>),
    /// Changes to one that stands elsewhere.
    Override(Box<Override>),
}

/// An entry together with what is needed to lay overrides over it.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    /// The entry.
    pub(crate) entry: KnowledgeEntry,
    /// Where it begins.
    pub(crate) place: Place,
    /// Where each rule is named on which it depends.
    pub(crate) dependencies: Vec<(RuleCode, Place)>,
    /// Where each worked example begins, in their order.
    pub(crate) example_places: Vec<Place>,
    detect: Table,
    severity: Option<Item>,
}

/// Changes to an entry.
#[derive(Debug, Clone)]
pub(crate) struct Override {
    /// The entry that it changes.
    pub(crate) code: RuleCode,
    /// Where it begins.
    pub(crate) place: Place,
    /// For whom it holds; `None`: for every device.
    pub(crate) scope: Option<Scope>,
    /// Worked examples of the changed entry.
    pub(crate) examples: Vec<(Place, Example)>,
    document: Table,
}

const ENTRY_KEYS: &[&str] = &[
    "id",
    "title",
    "category",
    "severity",
    "impact",
    "enabled",
    "opens_ticket",
    "detect",
    "explain",
    "words",
    "test",
    "cause",
    "step",
    "article",
    "example",
];
const OVERRIDE_KEYS: &[&str] =
    &["override", "scope", "detect", "enabled", "severity", "impact", "opens_ticket", "example"];
const SCOPE_KEYS: &[&str] = &["site", "tag", "device_class", "device"];

/// Every table of the files, by the name under which the reference explains it, with the keys that it may have.
pub(super) fn tables() -> Vec<(&'static str, &'static [&'static str])> {
    vec![
        ("entry", ENTRY_KEYS),
        ("detect", detect::DETECT_KEYS),
        ("level", detect::LEVEL_KEYS),
        ("moving", moving::MOVING_KEYS),
        ("peers", moving::PEERS_KEYS),
        ("share_of", moving::SHARE_KEYS),
        ("match", condition::MATCH_KEYS),
        ("depends_on", detect::DEPENDENCY_KEYS),
        ("explain", text::EXPLAIN_KEYS),
        ("test", text::TEST_KEYS),
        ("cause", text::CAUSE_KEYS),
        ("ruled_out_by", text::RULE_OUT_KEYS),
        ("fact", text::FACT_KEYS),
        ("step", text::STEP_KEYS),
        ("article", text::ARTICLE_KEYS),
        ("example", example::EXAMPLE_KEYS),
        ("observation", example::OBSERVATION_KEYS),
        ("expect", example::EXPECT_KEYS),
        ("override", OVERRIDE_KEYS),
        ("scope", SCOPE_KEYS),
    ]
}

/// Reads one file. `file` is its name, for the problems. `None` means that a problem was added.
pub(crate) fn parse(file: &str, text: &str, problems: &mut Problems) -> Option<Document> {
    let document = tree::read(file, text, problems)?;
    if document.get("override").is_some() {
        return override_file(document, problems).map(|found| Document::Override(Box::new(found)));
    }
    entry(&document, problems).map(|found| Document::Entry(Box::new(found)))
}

fn entry(document: &Table, problems: &mut Problems) -> Option<Parsed> {
    let before = problems.count();
    document.only("a knowledge entry", ENTRY_KEYS, problems);
    let code = document
        .required_text("the entry", "id", problems)
        .and_then(|id| rule_code(&id, &document.get("id")?.place, problems));
    let title = document.required_text("the entry", "title", problems).unwrap_or_default();
    let category = document.required_text("the entry", "category", problems).unwrap_or_default();
    let severity = document.get("severity").cloned();
    let detect = match document.get("detect") {
        Some(item) => item.table("detect", problems).cloned(),
        None => {
            let advice = "say when it is a finding: component, metric, above, for";
            problems.add(&document.place, "the entry has no [detect]", advice);
            None
        }
    }?;
    let custom = detect.truth("custom", false, problems);
    let detection = detect::detection(&detect, severity.as_ref(), problems);
    let dependencies = detect::dependency_places(&detect);
    let explanation = text::explanation(document, problems);
    let words = text::words(document, problems);
    text::placeholders(document, &words, problems);
    let tests = text::tests(document, problems);
    let causes = text::causes(document, &tests, condition::Reader { custom }, problems);
    let steps = text::steps(document, problems);
    let article = text::article(document, problems);
    let examples = example::examples(document, custom, problems);
    if examples.is_empty() && problems.count() == before {
        let advice = "add an [[example]]: what is observed, and what is expected of it";
        problems.add(&document.place, "the entry has no worked example", advice);
    }
    let impact = impact(document, problems).unwrap_or(3);
    let (enabled, opens_ticket) =
        (document.truth("enabled", true, problems), document.truth("opens_ticket", true, problems));
    if problems.count() > before {
        return None;
    }
    let (example_places, examples) = examples.into_iter().unzip();
    Some(Parsed {
        entry: KnowledgeEntry {
            code: code?,
            title,
            category,
            impact,
            enabled,
            opens_ticket,
            detection: detection?,
            explanation,
            words,
            tests,
            causes,
            steps,
            article,
            examples,
        },
        place: document.place.clone(),
        dependencies,
        example_places,
        detect,
        severity,
    })
}

fn override_file(document: Table, problems: &mut Problems) -> Option<Override> {
    let before = problems.count();
    let known: Vec<&str> = OVERRIDE_KEYS.iter().chain(detect::LEVEL_KEYS).copied().collect();
    document.only("an override", &known, problems);
    let code = document
        .required_text("the override", "override", problems)
        .and_then(|id| rule_code(&id, &document.get("override")?.place, problems));
    let scope = document
        .get("scope")
        .and_then(|item| item.table("scope", problems))
        .and_then(|table| scope(table, problems));
    let examples = example::examples(&document, true, problems);
    if problems.count() > before {
        return None;
    }
    Some(Override { code: code?, place: document.place.clone(), scope, examples, document })
}

impl Override {
    /// The entry with this override laid over it; `None` means that a problem was added.
    pub(crate) fn apply(&self, to: &Parsed, problems: &mut Problems) -> Option<Parsed> {
        let before = problems.count();
        let mut changed = to.clone();
        changed.detect = overlay::detect(&to.detect, &self.document, to.entry.code.as_str(), problems);
        if let Some(severity) = self.document.get("severity") {
            overlay::severity(&mut changed.detect, &mut changed.severity, severity);
        }
        if self.document.get("impact").is_some() {
            changed.entry.impact = impact(&self.document, problems).unwrap_or(to.entry.impact);
        }
        changed.entry.enabled = self.document.truth("enabled", to.entry.enabled, problems);
        changed.entry.opens_ticket = self.document.truth("opens_ticket", to.entry.opens_ticket, problems);
        let detection = detect::detection(&changed.detect, changed.severity.as_ref(), problems);
        changed.dependencies = detect::dependency_places(&changed.detect);
        if problems.count() > before {
            return None;
        }
        changed.entry.detection = detection?;
        Some(changed)
    }
}

fn impact(document: &Table, problems: &mut Problems) -> Option<u8> {
    let item = document.get("impact")?;
    let number = item.number("impact", problems)?;
    let found = [1_u8, 2, 3].into_iter().find(|known| f64::from(*known) == number);
    if found.is_none() {
        let advice = "1 is a site or service, 2 a shared device or several people, 3 one person";
        problems.add(&item.place, format!("`impact` is {number}, which is not 1, 2 or 3"), advice);
    }
    found
}

fn scope(table: &Table, problems: &mut Problems) -> Option<Scope> {
    table.only("[scope]", SCOPE_KEYS, problems);
    let device = match table.text("device", problems) {
        None => None,
        Some(text) => match DeviceId::new(text) {
            Ok(device) => Some(device),
            Err(invalid) => {
                problems.add(&table.place, invalid.to_string(), "");
                None
            }
        },
    };
    let scope = Scope {
        site: table.text("site", problems),
        tag: table.text("tag", problems),
        device_class: table.text("device_class", problems),
        device,
    };
    if scope == Scope::default() {
        problems.add(
            &table.place,
            "[scope] names nobody",
            "name a site, tag, device_class or device, or leave it out",
        );
        return None;
    }
    Some(scope)
}

fn rule_code(text: &str, place: &Place, problems: &mut Problems) -> Option<RuleCode> {
    match RuleCode::new(text) {
        Ok(code) => Some(code),
        Err(invalid) => {
            problems.add(place, invalid.to_string(), "a check id looks like `fs.space`");
            None
        }
    }
}

fn severity(item: &Item, problems: &mut Problems) -> Option<Severity> {
    let text = item.text("severity", problems)?;
    let found = text.parse().ok();
    if found.is_none() {
        problems.add(&item.place, format!("{text:?} is not a severity"), "write info, warning or critical");
    }
    found
}
