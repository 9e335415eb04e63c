//! Finds the rules that look at an observation, so that one that no rule looks at costs a lookup.

use super::{Comparison, Condition, KnowledgeEntry, Reference, SeriesMatch, Watched};
use firstline_model::{ComponentKind, RuleCode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Which rules look at what. Made once for a set of entries, overrides included.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnowledgeIndex {
    metrics: BTreeMap<String, MetricUse>,
    documents: BTreeMap<String, BTreeSet<(ComponentKind, RuleCode)>>,
    kinds: BTreeSet<ComponentKind>,
    /// The rules that ask for every component of their kind.
    of_all_components: BTreeSet<RuleCode>,
    /// Values inside documents whose changes are noticed, by document.
    watched: BTreeMap<String, BTreeSet<String>>,
    /// What is missed when it does not come: rule, its kind of component, the metric, and after how long.
    expected: BTreeSet<(RuleCode, ComponentKind, String, Duration)>,
    /// Few, so they are found by looking at each.
    comparisons: Vec<Arc<Comparison>>,
}

/// How the rules use one metric or event.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetricUse {
    /// The rules, with the kind of component that each is about.
    pub(crate) rules: BTreeSet<(ComponentKind, RuleCode)>,
    /// Kinds of component on which rules about other kinds look at it: remembered there, judged elsewhere.
    elsewhere: BTreeSet<ComponentKind>,
    /// How many of the newest samples are looked at.
    pub(crate) depth: usize,
    /// The longest window in which growth or events are counted; `None` when nothing is counted.
    pub(crate) window: Option<Duration>,
    /// How far back values are kept to see where they lead; `None` when nobody asks. Growth of the same metric is then
    /// not counted.
    pub(crate) history: Option<Duration>,
    /// Whether changes of the value are noticed.
    pub(crate) changes: bool,
    /// After how long it is missed; `None` when it is not.
    pub(crate) absent: Option<Duration>,
    /// Whether it is compared with what other devices say.
    pub(crate) compared: bool,
    /// The attributes that conditions name. Events are kept apart by these only, because the others (messages,
    /// program names) have no bound.
    pub(crate) selected: BTreeSet<String>,
}

impl MetricUse {
    /// The rules about this kind of component.
    pub(crate) fn rules_for(&self, kind: ComponentKind) -> impl Iterator<Item = &RuleCode> {
        self.rules.iter().filter(move |(of, _)| *of == kind).map(|(_, rule)| rule)
    }

    /// Whether any rule looks at it on this kind of component.
    pub(crate) fn is_remembered(&self, kind: ComponentKind) -> bool {
        self.elsewhere.contains(&kind) || self.rules_for(kind).next().is_some()
    }
}

impl KnowledgeIndex {
    pub(crate) fn new<'a>(entries: impl Iterator<Item = &'a KnowledgeEntry>) -> Self {
        let mut index = Self::default();
        for entry in entries {
            for kind in entry.detection.kinds() {
                index.kinds.insert(kind);
                for level in &entry.detection.levels {
                    index.add(entry, kind, &level.when);
                    if let Some(clear) = &level.clear {
                        index.add(entry, kind, clear);
                    }
                }
            }
        }
        index
    }

    /// How a metric or event is used; `None` when no rule looks at it.
    pub(crate) fn metric(&self, name: &str) -> Option<&MetricUse> {
        self.metrics.get(name)
    }

    /// The rules that look at a document of this name on this kind of component.
    pub(crate) fn document_rules(&self, name: &str, kind: ComponentKind) -> impl Iterator<Item = &RuleCode> {
        self.documents
            .get(name)
            .into_iter()
            .flatten()
            .filter(move |(of, _)| *of == kind)
            .map(|(_, rule)| rule)
    }

    /// Whether what is news of one component may be news of all others of its kind.
    pub(crate) fn asks_all_components(&self, rule: &RuleCode) -> bool {
        self.of_all_components.contains(rule)
    }

    /// Whether any rule is about this kind of component.
    pub(crate) fn has_kind(&self, kind: ComponentKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Values inside a document whose changes are noticed.
    pub(crate) fn watched(&self, document: &str) -> impl Iterator<Item = &str> {
        self.watched.get(document).into_iter().flatten().map(String::as_str)
    }

    /// What is missed when it does not come.
    pub(crate) fn expected(&self) -> &BTreeSet<(RuleCode, ComponentKind, String, Duration)> {
        &self.expected
    }

    /// What is compared with other devices.
    pub(crate) fn comparisons(&self) -> &[Arc<Comparison>] {
        &self.comparisons
    }

    fn add(&mut self, entry: &KnowledgeEntry, kind: ComponentKind, condition: &Condition) {
        let rule = (kind, entry.code.clone());
        let (series, depth, window) = match condition {
            Condition::Sample { series, of, .. } => (series, usize::try_from(*of).unwrap_or(1), None),
            Condition::Increase { series, within, .. } | Condition::Event { series, within, .. } => {
                (series, 1, Some(*within))
            }
            Condition::Relative { series, to, .. } => match to {
                Reference::Other { series: other, .. } => {
                    self.note(&rule, other, 1, None);
                    (series, 1, None)
                }
                Reference::Reached { over, .. } => {
                    let used = self.metrics.entry(series.metric.clone()).or_default();
                    used.history = used.history.max(Some(*over));
                    (series, 1, None)
                }
                Reference::Usual { of, .. } => {
                    (series, usize::try_from(*of).unwrap_or(1).saturating_add(1), None)
                }
                Reference::Peers { same, within, .. } => {
                    let (series_of, same) = (series.clone(), same.clone());
                    let one = Comparison { component: kind, series: series_of, same, within: *within };
                    if !self.comparisons.iter().any(|known| **known == one) {
                        self.comparisons.push(Arc::new(one));
                    }
                    self.metrics.entry(series.metric.clone()).or_default().compared = true;
                    (series, 1, None)
                }
                Reference::ShareOf { whole, within, .. } => {
                    self.note(&rule, whole, 1, Some(*within));
                    (series, 1, Some(*within))
                }
            },
            Condition::Absent { series, after } => {
                let (kind, rule) = &rule;
                self.expected.insert((rule.clone(), *kind, series.metric.clone(), *after));
                let used = self.metrics.entry(series.metric.clone()).or_default();
                used.absent = Some(used.absent.map_or(*after, |known| known.min(*after)));
                (series, 1, None)
            }
            Condition::Changed { what: Watched::Series(series), .. } => {
                self.metrics.entry(series.metric.clone()).or_default().changes = true;
                (series, 1, None)
            }
            Condition::Changed { what: Watched::Document { name, path }, .. } => {
                self.watched.entry(name.clone()).or_default().insert(path.clone());
                self.documents.entry(name.clone()).or_default().insert(rule);
                return;
            }
            Condition::State { name, .. } => {
                self.documents.entry(name.clone()).or_default().insert(rule);
                return;
            }
            Condition::All(parts) | Condition::Any(parts) => {
                for part in parts {
                    self.add(entry, kind, part);
                }
                return;
            }
            Condition::EveryComponent(part) => {
                self.of_all_components.insert(entry.code.clone());
                return self.add(entry, kind, part);
            }
            // Looked at when the finding's own component is observed; what is observed elsewhere is only remembered.
            Condition::AnyComponent { kind: elsewhere, part } => {
                let mut there = Self::default();
                there.add(entry, *elsewhere, part);
                for (metric, used) in there.metrics {
                    let known = self.metrics.entry(metric).or_default();
                    known.elsewhere.insert(*elsewhere);
                    known.depth = known.depth.max(used.depth);
                    known.window = known.window.max(used.window);
                    known.compared |= used.compared;
                    known.selected.extend(used.selected);
                }
                let known = std::mem::take(&mut self.comparisons);
                let new =
                    there.comparisons.into_iter().filter(|one| !known.contains(one)).collect::<Vec<_>>();
                self.comparisons = known.into_iter().chain(new).collect();
                return;
            }
            Condition::Not(part) | Condition::Known(part) => return self.add(entry, kind, part),
            Condition::On(_) => return,
        };
        self.note(&rule, series, depth, window);
    }

    fn note(
        &mut self,
        rule: &(ComponentKind, RuleCode),
        series: &SeriesMatch,
        depth: usize,
        window: Option<Duration>,
    ) {
        let used = self.metrics.entry(series.metric.clone()).or_default();
        used.rules.insert(rule.clone());
        used.depth = used.depth.max(depth);
        used.window = used.window.max(window);
        used.selected.extend(series.attributes.iter().map(|(name, _)| name.clone()));
    }
}

impl Condition {
    /// Whether it looks at this metric or event.
    pub(crate) fn asks_for(&self, metric: &str) -> bool {
        match self {
            Self::Sample { series, .. }
            | Self::Increase { series, .. }
            | Self::Event { series, .. }
            | Self::Absent { series, .. }
            | Self::Changed { what: Watched::Series(series), .. } => series.metric == metric,
            Self::Relative { series, to, .. } => {
                let other = match to {
                    Reference::Other { series, .. } => Some(series),
                    Reference::ShareOf { whole, .. } => Some(whole),
                    Reference::Usual { .. } | Reference::Reached { .. } | Reference::Peers { .. } => None,
                };
                series.metric == metric || other.is_some_and(|other| other.metric == metric)
            }
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.asks_for(metric)),
            Self::Not(part)
            | Self::Known(part)
            | Self::EveryComponent(part)
            | Self::AnyComponent { part, .. } => part.asks_for(metric),
            Self::State { .. } | Self::Changed { what: Watched::Document { .. }, .. } | Self::On(_) => false,
        }
    }
}
