//! Knowledge entries as the engine sees them: parsed, checked, resolved. One entry describes one symptom.
//!
//! Reading TOML and refusing bad files is the shell's work (`collector/src/knowledge`); what reaches this module is
//! well formed. Texts may hold `{placeholders}`, which are filled by plain substitution and never by a template
//! language.

mod comparison;
pub mod example;
mod index;

pub use comparison::{Comparison, Sameness};
pub(crate) use index::{KnowledgeIndex, MetricUse};

use crate::quiet::Quiet;
use firstline_model::{
    Attributes, Component, ComponentKind, DeviceId, Observation, RuleCode, Severity, Timestamp,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// All entries that are in force, by code. Built once with [`KnowledgeSet::new`] and then only read: the index by
/// metric is made there, so a set that is changed afterwards would be judged by its old index.
#[derive(Debug, Clone, Default)]
pub struct KnowledgeSet {
    /// The entries with their overrides already applied for every device (scoped overrides are kept beside them).
    pub entries: BTreeMap<RuleCode, KnowledgeEntry>,
    /// Overrides that hold only for some devices, in the order in which they apply.
    pub scoped: Vec<ScopedOverride>,
    /// What keeps breaches from becoming tickets.
    pub quiet: Quiet,
    index: KnowledgeIndex,
}

/// One symptom: how it is detected, explained, tested, and what a person does about it.
#[derive(Debug, Clone, PartialEq)]
pub struct KnowledgeEntry {
    /// The check id, such as `fs.space`.
    pub code: RuleCode,
    /// One line for the ticket, with placeholders.
    pub title: String,
    /// The group under which the helpdesk looks: `filesystem`, `printer`, `network`.
    pub category: String,
    /// Who is hit: 1 a site or service, 2 a shared device or several people, 3 one person.
    pub impact: u8,
    /// Whether the entry opens tickets. A disabled one is kept so that it can be shown.
    pub enabled: bool,
    /// Whether a finding opens a ticket, or only explains others (context).
    pub opens_ticket: bool,
    /// When it is a finding.
    pub detection: Detection,
    /// What it means.
    pub explanation: Explanation,
    /// Words for the values of attributes, for `{words.keyword.title}` in the texts.
    pub words: Words,
    /// What the agent tests at breach, in order.
    pub tests: Vec<TestToRun>,
    /// What may be behind it, likeliest first when nothing is known.
    pub causes: Vec<Cause>,
    /// What a technician does, in order, with placeholders.
    pub steps: Vec<String>,
    /// Where to read more.
    pub article: Option<Article>,
    /// Worked examples: the entry's tests.
    pub examples: Vec<Example>,
}

/// When an entry is a finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The kind of component that findings are about; observations of other kinds are not looked at.
    pub component: ComponentKind,
    /// Further kinds on which the same is found: the loss on the way to a gateway is the network's or the gateway's.
    pub also: Vec<ComponentKind>,
    /// The levels, mildest first; at least one.
    pub levels: Vec<Level>,
    /// Rules that hide this one while they fire on the same device. With `same_component` only on the same component.
    pub depends_on: Vec<Dependency>,
    /// The verdict stays until the part is replaced, whatever is observed of it later. It was replaced when a document
    /// of its component names another `serial`, or when it is not reported any more and another component of its kind
    /// has appeared since.
    pub latched: bool,
}

/// Another rule whose finding hides this one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The cause's rule.
    pub rule: RuleCode,
    /// Whether it must fire on the same component to hide this finding.
    pub same_component: bool,
}

/// One level of a detection.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// How bad it is.
    pub severity: Severity,
    /// The condition that must hold ...
    pub when: Condition,
    /// ... for this long in powered-on time; zero fires at once.
    pub hold: Duration,
    /// What must be true for recovery; `None`: that `when` is known to be false.
    pub clear: Option<Condition>,
    /// For how long in powered-on time recovery must hold before it counts.
    pub clear_hold: Duration,
}

/// A condition over the newest observations of one component (and, where a `component` is named, of another
/// component of the same device). Evaluated in three values: what has not been observed, or could not be read, is
/// unknown; unknown neither raises nor clears.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// The newest sample of a series compares so.
    Sample {
        /// Which samples.
        series: SeriesMatch,
        /// How its value compares.
        compare: Compare,
        /// The value compared with.
        level: f64,
        /// At least so many of the last `of` samples must compare so (1 of 1: the newest).
        at_least: u32,
        /// See `at_least`.
        of: u32,
    },
    /// The newest sample of a series compares so with something that is no fixed number.
    Relative {
        /// Which samples.
        series: SeriesMatch,
        /// How they compare.
        compare: Compare,
        /// With what.
        to: Reference,
    },
    /// A cumulative counter grew by at least `by` within a window. A counter that went down was reset and counts
    /// from zero; the first sight of a counter is the baseline.
    Increase {
        /// Which counter; several matching series are summed.
        series: SeriesMatch,
        /// By how much.
        by: f64,
        /// In which time.
        within: Duration,
    },
    /// At least so many events within a window.
    Event {
        /// Which events: the name and attributes.
        series: SeriesMatch,
        /// How many.
        count: u32,
        /// In which time.
        within: Duration,
    },
    /// A value inside the newest state document.
    State {
        /// The document's name.
        name: String,
        /// Keys from the root of the document to the value.
        path: Vec<String>,
        /// What the value (or one of its list items) must be.
        matches: TextMatch,
    },
    /// Nothing came of a series that was observed before, for so long in powered-on time, while the device was heard.
    /// A series that never was is not missed, and neither is one whose device is silent.
    Absent {
        /// Which series; each that matches is expected.
        series: SeriesMatch,
        /// For how long.
        after: Duration,
    },
    /// A value differs from the one before it, since less than so long ago. The first sight of a value is no change.
    Changed {
        /// What.
        what: Watched,
        /// For how long a change counts.
        within: Duration,
    },
    /// All of them. False wins over unknown.
    All(Vec<Condition>),
    /// One of them. True wins over unknown.
    Any(Vec<Condition>),
    /// The opposite; unknown stays unknown.
    Not(Box<Condition>),
    /// Known to hold: what is unknown counts as false. `Not(Known(x))` is "unless x".
    Known(Box<Condition>),
    /// It holds on every component of the same kind of this device that was observed lately.
    EveryComponent(Box<Condition>),
    /// It holds on some component of another kind of this device: a fan stands still while a sensor is hot.
    AnyComponent {
        /// The other kind.
        kind: ComponentKind,
        /// What holds there.
        part: Box<Condition>,
    },
    /// The component itself, written `kind/id`, is one of these.
    On(TextMatch),
}

/// What a change is noticed of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// The value or the state attributes of samples.
    Series(SeriesMatch),
    /// A value inside a state document.
    Document {
        /// The document's name.
        name: String,
        /// Keys from the root of the document to the value, joined by dots.
        path: String,
    },
}

/// What a sample is compared with when a fixed number would be wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Reference {
    /// The newest value of another series of the same component: the limit that the hardware publishes.
    Other {
        /// Which series.
        series: SeriesMatch,
        /// Added to it.
        plus: f64,
    },
    /// What is usual for this component: the median of the samples before.
    Usual {
        /// So many times the median, and ...
        times: f64,
        /// ... at least so many usual deviations from it (the median of the distances from the median, scaled so that it is
        /// the standard deviation where values are distributed normally). What varies much by itself is no news.
        spreads: f64,
        /// Of so many samples; at least half of them must be known.
        of: u32,
    },
    /// The level that it will reach within a time, at the rate of the time before: it compares when that comes true.
    /// The rate is the median of the slopes between all pairs of samples (Theil and Sen); it counts only when also
    /// three quarters of the slopes are at least half of it, so that a jump or a zigzag is no trend.
    Reached {
        /// The level.
        level: f64,
        /// Within this time.
        within: Duration,
        /// Looking back so far; half of it must be known.
        over: Duration,
    },
    /// What other devices of the same kind measure: the median of their newest values of the same series (component,
    /// metric and attributes). Own values, older ones and those that could not be read last do not count.
    Peers {
        /// So many times the median, and ...
        times: f64,
        /// ... at least so many usual deviations from it (from the quartiles, scaled as for [`Self::Usual`]).
        spreads: f64,
        /// In what they are the same.
        same: Vec<Sameness>,
        /// Their values are no older than this.
        within: Duration,
        /// So many others must be known; at least 2.
        at_least: u32,
    },
    /// Both are counters: the share that one's growth is of the other's within a window.
    ShareOf {
        /// The counter of the whole.
        whole: SeriesMatch,
        /// The share compared with.
        level: f64,
        /// The window.
        within: Duration,
        /// The whole must grow by at least this; a share of less says nothing.
        at_least: f64,
    },
}

/// Selects series (or events) by name and attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesMatch {
    /// The metric's or event's name.
    pub metric: String,
    /// Attributes that must match. On a state attribute (`semconv::STATE_ATTRIBUTES`) a mismatch makes the condition
    /// false; on others it means another series.
    pub attributes: Vec<(String, TextMatch)>,
}

/// How a sample compares with a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Greater than.
    Above,
    /// Less than.
    Below,
    /// Greater or equal.
    AtLeast,
    /// Less or equal.
    AtMost,
    /// Equal.
    Equals,
}

/// Whether a text matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextMatch {
    /// It is one of these.
    OneOf(Vec<String>),
    /// It is none of these.
    NoneOf(Vec<String>),
    /// It begins with one of these.
    StartsWith(Vec<String>),
}

/// What a finding means, with placeholders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explanation {
    /// For the person at the machine: no jargon.
    pub person: String,
    /// For a technician: what was measured and why it matters.
    pub technician: String,
}

/// Words for the values of an attribute: by attribute, value and use (`keyword`, `media-jam`, `title`). The value `*`
/// stands for all others. So one entry can speak of a paper jam and of an open cover without having two rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words(pub BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>);

impl Words {
    /// The words for `value` of `attribute` in the use `usage`.
    pub fn get(&self, attribute: &str, value: &str, usage: &str) -> Option<&str> {
        let values = self.0.get(attribute)?;
        let words = |value: &str| values.get(value).and_then(|words| words.get(usage));
        words(value).or_else(|| words("*")).map(String::as_str)
    }
}

/// A diagnostic to ask for at breach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestToRun {
    /// The diagnostic's name in the closed list of the model.
    pub diagnostic: String,
    /// Whether its parameter is the finding's component id (else it takes none).
    pub subject_is_component: bool,
}

/// Something that may be behind the symptom.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// A stable name within the entry.
    pub id: String,
    /// One sentence for the ticket, with placeholders.
    pub text: String,
    /// Clues that speak for it; all of one clause must hold. Several clauses: one is enough.
    pub supported_by: Vec<Vec<Clue>>,
    /// Clues that exclude it; the sentence says why in the ticket.
    pub ruled_out_by: Vec<RuleOut>,
}

/// When a cause is excluded, and the sentence that says so.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleOut {
    /// All of these must hold.
    pub facts: Vec<Clue>,
    /// The sentence for the ticket: "The gateway answered in 1 ms".
    pub because: String,
}

/// What a cause is judged by.
#[derive(Debug, Clone, PartialEq)]
pub enum Clue {
    /// A result of a diagnostic.
    Tested(FactTest),
    /// What the device has observed anyway.
    Observed(Observed),
}

/// A condition on what is remembered of a device, as the levels of a rule have them. Only what some rule looks at is
/// remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// It must hold of one component of this kind; of the finding's own without.
    pub component: Option<ComponentKind>,
    /// The condition.
    pub condition: Condition,
}

/// A test on a result of a diagnostic, or on its outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct FactTest {
    /// The diagnostic's name.
    pub diagnostic: String,
    /// Keys from the root of its facts to the value; empty tests the outcome (`ok`, `problem`).
    pub path: Vec<String>,
    /// What must be true of the value.
    pub is: FactMatch,
}

/// What must be true of a fact.
#[derive(Debug, Clone, PartialEq)]
pub enum FactMatch {
    /// A number that compares so.
    Number(Compare, f64),
    /// A text (or one item of a list of texts) that matches.
    Text(TextMatch),
    /// Exactly this truth value.
    Bool(bool),
}

/// A knowledge base article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Article {
    /// Its title.
    pub title: String,
    /// Where it is, when it is outside.
    pub url: Option<String>,
    /// Its text, when it is here.
    pub body: Option<String>,
}

/// Observations in, findings out.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// What it shows: "raises after 15 minutes".
    pub name: String,
    /// What is observed, in order of time, relative to one start.
    pub observations: Vec<Observation>,
    /// What other devices of the same kind say, by their number, in order of time.
    pub peers: Vec<(usize, Observation)>,
    /// Let time pass until here before looking (for hold times without further samples).
    pub until: Option<Timestamp>,
    /// The transitions expected, in order: `fired`, `escalated`, `cleared`.
    pub expect: Vec<ExpectedTransition>,
}

/// One expected transition of an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedTransition {
    /// `fired`, `escalated` or `cleared`.
    pub transition: String,
    /// The severity, where the example says one.
    pub severity: Option<Severity>,
    /// The component, where the example says one.
    pub component: Option<Component>,
}

/// An override that holds only within a scope.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopedOverride {
    /// For whom.
    pub scope: Scope,
    /// The whole entry as it is for them.
    pub entry: KnowledgeEntry,
}

/// For whom an override holds: every part that is given must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// This site.
    pub site: Option<String>,
    /// Devices with this tag.
    pub tag: Option<String>,
    /// Devices of this class: `laptop`, `desktop`, `server`.
    pub device_class: Option<String>,
    /// This device.
    pub device: Option<DeviceId>,
}

/// What is known of a device when scopes are matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceTraits {
    /// The device.
    pub device: DeviceId,
    /// Its site.
    pub site: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its class.
    pub device_class: Option<String>,
}

impl KnowledgeSet {
    /// Builds the set and its index by metric, event and document.
    pub fn new(entries: impl IntoIterator<Item = KnowledgeEntry>, scoped: Vec<ScopedOverride>) -> Self {
        let entries: BTreeMap<RuleCode, KnowledgeEntry> =
            entries.into_iter().map(|entry| (entry.code.clone(), entry)).collect();
        let index = KnowledgeIndex::new(entries.values().chain(scoped.iter().map(|o| &o.entry)));
        Self { entries, scoped, index, quiet: Quiet::default() }
    }

    /// The same set for a world in which no device answers tests, such as a recording: nothing waits for them.
    #[must_use]
    pub fn without_tests(&self) -> Self {
        let mut set = self.clone();
        set.entries.values_mut().chain(set.scoped.iter_mut().map(|o| &mut o.entry)).for_each(|entry| {
            entry.tests.clear();
        });
        set
    }

    /// The same rules with other times at which breaches make no tickets.
    #[must_use]
    pub fn with_quiet(&self, quiet: Quiet) -> Self {
        Self { quiet, ..self.clone() }
    }

    /// The series that entries compare with those of other devices.
    pub(crate) fn comparisons(&self) -> &[Arc<Comparison>] {
        self.index.comparisons()
    }

    pub(crate) fn index(&self) -> &KnowledgeIndex {
        &self.index
    }

    /// The entry as it holds for one device: the last matching scoped override, else the entry itself.
    pub fn entry_for<'a>(&'a self, code: &RuleCode, device: &DeviceTraits) -> Option<&'a KnowledgeEntry> {
        let scoped = self.scoped.iter().rev().find(|o| o.entry.code == *code && o.scope.matches(device));
        scoped.map(|o| &o.entry).or_else(|| self.entries.get(code))
    }
}

impl Detection {
    /// The kinds of component that findings are about.
    pub fn kinds(&self) -> impl Iterator<Item = ComponentKind> {
        std::iter::once(self.component).chain(self.also.iter().copied())
    }

    /// The kinds in one line.
    pub fn about(&self) -> String {
        self.kinds().map(ComponentKind::as_str).collect::<Vec<_>>().join(" or ")
    }
}

impl Scope {
    /// Whether the device is within this scope.
    pub fn matches(&self, device: &DeviceTraits) -> bool {
        self.site.as_ref().is_none_or(|site| device.site.as_ref() == Some(site))
            && self.tag.as_ref().is_none_or(|tag| device.tags.contains(tag))
            && self.device_class.as_ref().is_none_or(|class| device.device_class.as_ref() == Some(class))
            && self.device.as_ref().is_none_or(|id| *id == device.device)
    }
}

impl SeriesMatch {
    /// Whether a sample with these attributes is meant. An attribute that is not there is none of any texts.
    pub fn selects(&self, attributes: &Attributes) -> bool {
        self.attributes.iter().all(|(name, text)| match attributes.get(name) {
            Some(value) => text.matches(value),
            None => match text {
                TextMatch::NoneOf(_) => true,
                TextMatch::OneOf(_) | TextMatch::StartsWith(_) => false,
            },
        })
    }
}

impl TextMatch {
    /// Whether `text` matches. Capitals do not matter: systems write the same word as `servfail` and `SERVFAIL`.
    pub fn matches(&self, text: &str) -> bool {
        let begins = |start: &str| {
            let head = text.as_bytes().get(..start.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
        };
        match self {
            Self::OneOf(texts) => texts.iter().any(|t| t.eq_ignore_ascii_case(text)),
            Self::NoneOf(texts) => !texts.iter().any(|t| t.eq_ignore_ascii_case(text)),
            Self::StartsWith(starts) => starts.iter().any(|start| begins(start)),
        }
    }
}

impl Compare {
    /// Whether `value` compares so with `level`.
    pub fn holds(self, value: f64, level: f64) -> bool {
        match self {
            Self::Above => value > level,
            Self::Below => value < level,
            Self::AtLeast => value >= level,
            Self::AtMost => value <= level,
            Self::Equals => value == level,
        }
    }
}
