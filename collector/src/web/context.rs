//! What the web side is given at construction, so that it stays free of clocks, randomness and other parts' insides.

use crate::backtest::Backtests;
use crate::web::password::Passwords;
use crate::web::throttle::Throttle;
use firstline_collector_core::knowledge::{Cause, Compare, Condition, KnowledgeEntry, Level};
use firstline_collector_core::sla::Calendar;
use firstline_collector_store::Store;
use firstline_model::{DeviceId, TicketId, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Semaphore, broadcast};

/// Everything that the web side needs from the rest of the collector.
#[derive(Clone)]
pub(crate) struct WebContext {
    /// Where everything is kept.
    pub(crate) store: Arc<dyn Store>,
    /// The collector's clock.
    pub(crate) clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Fills the slice with bytes that nobody can guess.
    pub(crate) random: Arc<RandomBytes>,
    /// The knowledge entries in force.
    pub(crate) knowledge: Arc<dyn KnowledgeList>,
    /// What-if questions over the stored history.
    pub(crate) backtests: Arc<Backtests>,
    /// Whether the collector can do its work.
    pub(crate) health: Arc<dyn Health>,
    /// Told after every commit that changed what pages show; the web side subscribes.
    pub(crate) changes: broadcast::Sender<Change>,
    /// Told when a person changed a device's tickets or asked it for a test, after that was stored.
    pub(crate) touched: Arc<dyn Fn(&DeviceId) + Send + Sync>,
    /// Has a device looked at every second for so long; `false`: it is not connected.
    pub(crate) watch: Arc<Watch>,
    /// The business hours of the desk, for the SLA clock.
    pub(crate) calendar: Calendar,
    /// Appends further figures in Prometheus' text format.
    pub(crate) metrics: Arc<dyn Fn(&mut String) + Send + Sync>,
}

/// Has a device watched, or says that it is not there.
pub(crate) type Watch = dyn Fn(&DeviceId, Duration) -> bool + Send + Sync;

/// Fills a slice with random bytes, or says that it cannot.
pub(crate) type RandomBytes = dyn Fn(&mut [u8]) -> Result<(), NoRandomness> + Send + Sync;

/// The system gave no random bytes; nothing secret can be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the system gave no random bytes")]
pub(crate) struct NoRandomness;

/// Lists the knowledge entries in force.
pub(crate) trait KnowledgeList: Send + Sync {
    /// All entries, by code.
    fn entries(&self) -> Arc<Vec<KnowledgeText>>;

    /// What is wrong with the newest files, one sentence with file and line each, when they are refused and what ran
    /// before still runs.
    fn refused(&self) -> Vec<RefusedFile>;
}

/// One reason why the newest knowledge files are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedFile {
    /// The file's name without its folder.
    pub(crate) file: String,
    /// The line, from 1; 0 when the file cannot be read at all.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) reason: String,
    /// What to do about it.
    pub(crate) advice: String,
}

/// Says what keeps the collector from doing its work.
pub(crate) trait Health: Send + Sync {
    /// One sentence per problem; empty when the collector is ready. Cheap: called by every `/readyz`.
    fn problems(&self) -> Vec<String>;
}

/// Something that pages show has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// The site of the device (or ticket); decides who is told.
    pub(crate) site: Option<String>,
    /// The device whose data changed.
    pub(crate) device: Option<DeviceId>,
    /// The tickets that are new or changed.
    pub(crate) tickets: Vec<TicketId>,
}

/// The texts of one knowledge entry, for reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KnowledgeText {
    /// The check id.
    pub(crate) code: String,
    /// One line, with placeholders.
    pub(crate) title: String,
    /// The group under which the helpdesk looks.
    pub(crate) category: String,
    /// Who is hit, 1 (widest) to 3.
    pub(crate) impact: u8,
    /// Whether the entry is in force.
    pub(crate) enabled: bool,
    /// Whether it opens tickets, or only explains others.
    pub(crate) opens_ticket: bool,
    /// The kind of component that it looks at.
    pub(crate) component: String,
    /// Each level: severity and hold time in words.
    pub(crate) levels: Vec<String>,
    /// What can be turned at each level without writing TOML.
    pub(crate) knobs: Vec<Knob>,
    /// For the person at the machine.
    pub(crate) person: String,
    /// For a technician.
    pub(crate) technician: String,
    /// Names of the diagnostics that run at breach.
    pub(crate) tests: Vec<String>,
    /// What may be behind it.
    pub(crate) causes: Vec<String>,
    /// What to do, in order.
    pub(crate) steps: Vec<String>,
    /// Title, address and text of the article.
    pub(crate) article: Option<ArticleText>,
}

/// What a form offers to change at one level of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Knob {
    /// The level: `warning`.
    pub(crate) severity: String,
    /// The table of an override that changes it: `detect` or `detect.warning`.
    pub(crate) table: String,
    /// The key of the comparison and its present number, when the level compares a sample with a fixed one.
    pub(crate) number: Option<(&'static str, String)>,
    /// The present hold time: `15m`.
    pub(crate) hold: String,
}

/// The article of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ArticleText {
    /// Its title.
    pub(crate) title: String,
    /// Where it is, when it is outside.
    pub(crate) url: Option<String>,
    /// Its text, when it is here.
    pub(crate) body: Option<String>,
}

impl KnowledgeText {
    /// The texts of an entry as the engine holds it.
    pub(crate) fn of(entry: &KnowledgeEntry) -> Self {
        Self {
            code: entry.code.as_str().to_owned(),
            title: entry.title.clone(),
            category: entry.category.clone(),
            impact: entry.impact,
            enabled: entry.enabled,
            opens_ticket: entry.opens_ticket,
            component: entry.detection.about(),
            levels: entry.detection.levels.iter().map(level_in_words).collect(),
            knobs: knobs(&entry.detection.levels),
            person: entry.explanation.person.clone(),
            technician: entry.explanation.technician.clone(),
            tests: entry.tests.iter().map(|test| test.diagnostic.clone()).collect(),
            causes: entry.causes.iter().map(|Cause { text, .. }| text.clone()).collect(),
            steps: entry.steps.clone(),
            article: entry.article.as_ref().map(|article| ArticleText {
                title: article.title.clone(),
                url: article.url.clone(),
                body: article.body.clone(),
            }),
        }
    }
}

/// One for each severity that has one level; several of a severity have to be changed in TOML.
fn knobs(levels: &[Level]) -> Vec<Knob> {
    let alone = |level: &&Level| levels.iter().filter(|other| other.severity == level.severity).count() == 1;
    let knob = |level: &Level| {
        let severity = level.severity.to_string();
        let table = if levels.len() == 1 { "detect".to_owned() } else { format!("detect.{severity}") };
        // What a table says itself stands before the groups in it.
        let own = if let Condition::All(parts) = &level.when { parts.first() } else { None };
        let number = match own.unwrap_or(&level.when) {
            Condition::Sample { compare, level, .. } => Some((key_of(*compare), level.to_string())),
            Condition::Relative { .. }
            | Condition::Increase { .. }
            | Condition::Event { .. }
            | Condition::State { .. }
            | Condition::Absent { .. }
            | Condition::Changed { .. }
            | Condition::All(_)
            | Condition::Any(_)
            | Condition::Not(_)
            | Condition::Known(_)
            | Condition::EveryComponent(_)
            | Condition::AnyComponent { .. }
            | Condition::On(_) => None,
        };
        Knob { severity, table, number, hold: crate::knowledge::duration(level.hold) }
    };
    levels.iter().filter(alone).map(knob).collect()
}

/// The key of knowledge files for a comparison.
fn key_of(compare: Compare) -> &'static str {
    match compare {
        Compare::Above => "above",
        Compare::Below => "below",
        Compare::AtLeast => "at_least_value",
        Compare::AtMost => "at_most_value",
        Compare::Equals => "equals",
    }
}

fn level_in_words(level: &Level) -> String {
    if level.hold.is_zero() {
        format!("{} at once", level.severity)
    } else {
        format!("{} after {}", level.severity, crate::web::units::duration(level.hold))
    }
}

/// The state that every handler sees: the context and what the web side itself keeps in memory.
pub(super) struct Site {
    pub(super) context: WebContext,
    pub(super) passwords: Passwords,
    pub(super) throttle: Throttle,
    /// How many live streams may be open at once.
    pub(super) streams: Arc<Semaphore>,
}

/// Shared by all handlers.
pub(super) type Web = Arc<Site>;

impl Site {
    /// How many live streams one collector serves at once; more are told to come back later.
    const MAX_STREAMS: usize = 512;

    pub(super) fn new(context: WebContext) -> Web {
        Arc::new(Self {
            context,
            passwords: Passwords::new(),
            throttle: Throttle::new(),
            streams: Arc::new(Semaphore::new(Self::MAX_STREAMS)),
        })
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.context.store.as_ref()
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.context.clock)()
    }
}
