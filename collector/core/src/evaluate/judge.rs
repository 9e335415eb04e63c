//! The life of one finding: pending, firing, clearing, cleared.

use super::condition::{Decider, Moment, Truth, Verdict, all, evaluate, negate};
use super::{Transition, TransitionKind, transition};
use crate::finding::{DeviceState, Finding, Phase, Standing};
use crate::knowledge::{DeviceTraits, KnowledgeEntry, KnowledgeSet, Level};
use crate::quiet;
use firstline_model::{Attributes, Component, RuleCode, Timestamp};
use std::time::Duration;

/// Causes of causes end here; deeper chains, or circles, settle with the next observation.
const MAX_ROUNDS: usize = 8;

/// Whether deadlines at the very moment are due (all observations until then are known), or only earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Earlier ones only: an observation at that moment comes first.
    Before,
    /// That moment included.
    At,
}

/// Judges the findings of one device and reports how they change.
pub(crate) struct Judge<'a> {
    pub(crate) knowledge: &'a KnowledgeSet,
    pub(crate) device: &'a DeviceTraits,
    pub(crate) out: &'a mut Vec<Transition>,
}

impl Judge<'_> {
    /// Judges these rules of one component after an observation.
    pub(crate) fn look<'r>(
        &mut self,
        state: &mut DeviceState,
        rules: impl Iterator<Item = &'r RuleCode>,
        component: &Component,
        at: Timestamp,
    ) {
        let first = self.out.len();
        for rule in rules {
            self.judge(state, rule, component, at);
            for sibling in self.siblings(state, rule, component) {
                self.judge(state, rule, &sibling, at);
            }
            self.end_replaced(state, rule, component, at);
        }
        self.uncover(state, first, at);
    }

    /// The other components whose findings of this rule are under way, when the rule asks for every component: an
    /// interface that comes up ends what was pending on another one.
    fn siblings(&self, state: &DeviceState, rule: &RuleCode, component: &Component) -> Vec<Component> {
        if state.findings.is_empty() || !self.knowledge.index().asks_all_components(rule) {
            return Vec::new();
        }
        let under_way = state.findings.values().filter(|finding| {
            finding.rule == *rule && finding.component != *component && finding.phase != Phase::Cleared
        });
        under_way.map(|finding| finding.component.clone()).collect()
    }

    /// Settles the deadlines of these rules that passed before `at`.
    pub(crate) fn settle_before<'r>(
        &mut self,
        state: &mut DeviceState,
        rules: impl Iterator<Item = &'r RuleCode>,
        component: &Component,
        at: Timestamp,
    ) {
        if state.findings.is_empty() {
            return;
        }
        let first = self.out.len();
        for rule in rules {
            let own = (rule.clone(), component.clone());
            while self.settle_one(state, &own, at, Until::Before) {}
            for sibling in self.siblings(state, rule, component) {
                let key = (rule.clone(), sibling);
                while self.settle_one(state, &key, at, Until::Before) {}
            }
        }
        self.uncover(state, first, at);
    }

    /// Settles every deadline of the device until `until`, in order of time.
    pub(crate) fn settle_all(&mut self, state: &mut DeviceState, until: Timestamp, how: Until) {
        // Each round settles one; a finding has few deadlines, so this ends long before the bound.
        let bound = 16 * (state.findings.len() + 1);
        for _ in 0..bound {
            let mut due: Vec<_> = state
                .findings
                .iter()
                .filter_map(|(key, f)| Some((deadline(self.knowledge, self.device, state, f)?, key.clone())))
                .collect();
            due.sort();
            let first = self.out.len();
            let settled = due.iter().find(|(_, key)| self.settle_one(state, key, until, how));
            let Some((at, _)) = settled else { break };
            self.uncover(state, first, *at);
        }
        if how == Until::At {
            self.recheck_hidden(state, until);
        }
    }

    /// Settles the next deadline of one finding; `false` when none is due or nothing comes of it.
    fn settle_one(
        &mut self,
        state: &mut DeviceState,
        key: &(RuleCode, Component),
        until: Timestamp,
        how: Until,
    ) -> bool {
        let Some(finding) = state.findings.get(key) else { return false };
        let Some(due) = deadline(self.knowledge, self.device, state, finding) else { return false };
        let is_due = match how {
            Until::Before => due < until,
            Until::At => due <= until,
        };
        if !is_due {
            return false;
        }
        let before = finding.clone();
        self.judge(state, &key.0, &key.1, due);
        state.findings.get(key) != Some(&before)
    }

    /// Ends findings whose entry is gone or disabled: nothing would ever clear them.
    pub(crate) fn retire_unknown(&mut self, state: &mut DeviceState, now: Timestamp) {
        let first = self.out.len();
        for finding in state.findings.values_mut().filter(|finding| finding.phase != Phase::Cleared) {
            let entry = self.knowledge.entry_for(&finding.rule, self.device);
            if entry.is_none_or(|e| !e.enabled || !e.detection.kinds().any(|k| k == finding.component.kind)) {
                let at = now.max(finding.since);
                end(finding, at);
                self.out.push(transition(finding, TransitionKind::Cleared, at, &Attributes::none()));
            }
        }
        self.uncover(state, first, now);
    }

    /// After something ended, what it hid may fire.
    pub(super) fn uncover(&mut self, state: &mut DeviceState, first: usize, at: Timestamp) {
        let mut seen = first;
        for _ in 0..MAX_ROUNDS {
            let ended = self.out[seen..].iter().any(|transition| match transition.kind {
                TransitionKind::Cleared | TransitionKind::Lapsed => true,
                TransitionKind::Pending
                | TransitionKind::Fired
                | TransitionKind::Escalated
                | TransitionKind::Recovering
                | TransitionKind::Relapsed
                | TransitionKind::Suppressed { .. }
                | TransitionKind::Unsuppressed => false,
            });
            if !ended {
                return;
            }
            seen = self.out.len();
            self.recheck_hidden(state, at);
        }
    }

    fn recheck_hidden(&mut self, state: &mut DeviceState, at: Timestamp) {
        let hidden: Vec<_> = state
            .findings
            .iter()
            .filter(|(_, f)| f.suppressed.is_some())
            .map(|(key, _)| key.clone())
            .collect();
        for (rule, component) in hidden {
            self.judge(state, &rule, &component, at);
        }
    }

    /// Judges one rule on one component at one moment.
    pub(super) fn judge(
        &mut self,
        state: &mut DeviceState,
        rule: &RuleCode,
        component: &Component,
        at: Timestamp,
    ) {
        let Some(entry) = self.knowledge.entry_for(rule, self.device) else { return };
        if !entry.enabled || !entry.detection.kinds().any(|kind| kind == component.kind) {
            return;
        }
        let verdicts: Vec<Verdict> = {
            let moment = Moment { state, component, at };
            entry.detection.levels.iter().map(|level| evaluate(&level.when, moment)).collect()
        };
        // The usual case ends here: nothing holds, and nothing did.
        let key = (rule.clone(), component.clone());
        let known = state.findings.get(&key);
        if known.is_none_or(|f| f.phase == Phase::Cleared) && verdicts.iter().all(|v| v.truth != Truth::True)
        {
            return;
        }
        let mut finding = match known {
            Some(known) => known.clone(),
            None => Box::new(new_finding(entry, component, at)),
        };
        let at = at.max(last_change(state, &finding));
        let powered = state.powered(at);
        let recovery = recovery(entry, &finding, Moment { state, component, at }, &verdicts);
        let reached = note_levels(entry, &mut finding, &verdicts, powered);
        match finding.phase {
            Phase::Pending | Phase::Cleared => {
                self.rise(entry, state, &mut finding, &verdicts, reached, at);
            }
            Phase::Firing | Phase::Clearing => {
                self.stand(entry, state, &mut finding, &verdicts, reached, &recovery, at);
            }
        }
        if finding.phase == Phase::Cleared {
            state.judged.remove(&key);
        } else {
            state.judged.insert(key.clone(), at);
        }
        state.findings.insert(key, finding);
    }

    /// A finding that does not fire yet.
    fn rise(
        &mut self,
        entry: &KnowledgeEntry,
        state: &DeviceState,
        finding: &mut Finding,
        verdicts: &[Verdict],
        reached: Option<usize>,
        at: Timestamp,
    ) {
        let Some(worst) = reached.or_else(|| finding.level_since.iter().rposition(Option::is_some)) else {
            if finding.phase == Phase::Pending {
                end(finding, at);
                self.out.push(transition(finding, TransitionKind::Lapsed, at, &Attributes::none()));
            }
            return;
        };
        if finding.phase == Phase::Cleared {
            finding.phase = Phase::Pending;
            finding.since = verdicts[worst].decider.as_ref().map_or(at, |d| d.observed_at.min(at));
            finding.fired_at = None;
            finding.cleared_at = None;
            finding.suppressed = None;
            finding.held_until = None;
            finding.severity = entry.detection.levels[worst].severity;
            let attributes = decide(finding, &verdicts[worst]);
            if reached.is_none() {
                self.out.push(transition(finding, TransitionKind::Pending, at, &attributes));
            }
        }
        let Some(level) = reached else { return };
        finding.phase = Phase::Firing;
        finding.severity = entry.detection.levels[level].severity;
        finding.fired_at = Some(at);
        finding.clear_since = None;
        finding.episodes = finding.episodes.saturating_add(1);
        quiet::flapping::note(&mut finding.recent_fires, at);
        let attributes = decide(finding, &verdicts[level]);
        self.fire_or_hide(entry, state, finding, &attributes, at);
    }

    /// A finding that fires, or recovers.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of a state machine; a struct would only rename them"
    )]
    fn stand(
        &mut self,
        entry: &KnowledgeEntry,
        state: &DeviceState,
        finding: &mut Finding,
        verdicts: &[Verdict],
        reached: Option<usize>,
        recovery: &Verdict,
        at: Timestamp,
    ) {
        if let Some(level) = reached
            && entry.detection.levels[level].severity > finding.severity
        {
            finding.severity = entry.detection.levels[level].severity;
            let attributes = decide(finding, &verdicts[level]);
            self.tell(finding, TransitionKind::Escalated, at, &attributes);
        }
        let powered = state.powered(at);
        let is_true = verdicts.iter().any(|v| v.truth == Truth::True && v.fresh_until >= powered);
        if entry.detection.latched {
            return self.recheck(entry, state, finding, is_true, at);
        }
        match recovery.truth {
            Truth::Unknown => {}
            Truth::False => {
                finding.clear_since = None;
                if finding.phase == Phase::Clearing {
                    finding.phase = Phase::Firing;
                    let attributes =
                        recovery.decider.as_ref().map(|d| d.attributes.clone()).unwrap_or_default();
                    self.tell(finding, TransitionKind::Relapsed, at, &attributes);
                }
            }
            Truth::True => {
                let attributes = recovery.decider.as_ref().map(|d| d.attributes.clone()).unwrap_or_default();
                let powered = state.powered(at);
                let since = finding.clear_since.unwrap_or(powered).max(recovery.unbroken_since);
                finding.clear_since = Some(since);
                let due = since.plus(clear_hold(entry, finding));
                if powered >= due && recovery.fresh_until >= due {
                    end(finding, at);
                    let mut cleared = transition(finding, TransitionKind::Cleared, at, &attributes);
                    // The ticket says with which value it recovered.
                    cleared.value = recovery.decider.as_ref().and_then(|d| d.value);
                    self.out.push(cleared);
                    return;
                }
                if finding.phase == Phase::Firing {
                    finding.phase = Phase::Clearing;
                    self.tell(finding, TransitionKind::Recovering, at, &attributes);
                }
            }
        }
        self.recheck(entry, state, finding, is_true, at);
    }

    /// Tells of a firing finding that it fires, or what hides it now.
    pub(crate) fn tell_again(
        &mut self,
        state: &mut DeviceState,
        rule: &RuleCode,
        component: &Component,
        now: Timestamp,
    ) {
        let key = (rule.clone(), component.clone());
        let (Some(entry), Some(known)) =
            (self.knowledge.entry_for(rule, self.device), state.findings.get(&key))
        else {
            return;
        };
        let is_told = match known.phase {
            Phase::Firing | Phase::Clearing => known.suppressed.is_none(),
            Phase::Pending | Phase::Cleared => false,
        };
        if !is_told {
            return;
        }
        let mut finding = known.clone();
        let attributes = deciding_attributes(state, &finding);
        let at = now.max(last_change(state, &finding));
        self.fire_or_hide(entry, state, &mut finding, &attributes, at);
        // What fired is told with the time at which it did.
        if let (None, Some(told), Some(fired_at)) =
            (&finding.suppressed, self.out.last_mut(), finding.fired_at)
        {
            told.at = fired_at;
        }
        state.findings.insert(key, finding);
    }

    /// Reports a change, unless the finding is hidden.
    fn tell(&mut self, finding: &Finding, kind: TransitionKind, at: Timestamp, attributes: &Attributes) {
        if finding.suppressed.is_none() {
            self.out.push(transition(finding, kind, at, attributes));
        }
    }
}

/// When something happens to the finding if nothing is observed, by the device's clock.
pub(crate) fn deadline(
    knowledge: &KnowledgeSet,
    device: &DeviceTraits,
    state: &DeviceState,
    finding: &Finding,
) -> Option<Timestamp> {
    if finding.phase == Phase::Cleared {
        return None;
    }
    let entry = knowledge.entry_for(&finding.rule, device).filter(|entry| entry.enabled)?;
    // What was judged is settled. Looking back from an earlier change, windows that ran out since would turn up again:
    // levels that hold at one of those moments and not at the next would be due for ever.
    let judged = state.judged.get(&(finding.rule.clone(), finding.component.clone())).copied();
    let last = judged.map_or_else(|| last_change(state, finding), |at| at.max(last_change(state, finding)));
    // While counters are not judged nothing is learned from them, so look from when they are again.
    let from = state.quiet_until.map_or(last, |until| until.max(last));
    let moment = Moment { state, component: &finding.component, at: from };
    let verdicts: Vec<Verdict> =
        entry.detection.levels.iter().map(|level| evaluate(&level.when, moment)).collect();
    let reached_severity = match finding.phase {
        Phase::Pending => None,
        Phase::Firing | Phase::Clearing | Phase::Cleared => Some(finding.severity),
    };
    let holds =
        entry.detection.levels.iter().zip(&verdicts).enumerate().filter_map(|(at, (level, verdict))| {
            let since = finding.level_since.get(at).copied().flatten()?;
            let due = since.max(verdict.unbroken_since).plus(level.hold);
            let worse = reached_severity.is_none_or(|reached| level.severity > reached);
            let counts = worse && verdict.truth == Truth::True && verdict.fresh_until >= due;
            counts.then(|| state.wall(due)).flatten()
        });
    let recovery = recovery(entry, finding, moment, &verdicts);
    let clearing = match (finding.phase, recovery.truth, finding.clear_since) {
        (Phase::Clearing, Truth::True, Some(since)) if !entry.detection.latched => {
            let due = since.max(recovery.unbroken_since).plus(clear_hold(entry, finding));
            (recovery.fresh_until >= due).then(|| state.wall(due)).flatten()
        }
        // Recovery that began while counters were not judged is noticed when they are again.
        (Phase::Firing, Truth::True, _) if !entry.detection.latched && from > last => Some(from),
        (Phase::Pending | Phase::Firing | Phase::Clearing | Phase::Cleared, _, _) => None,
    };
    let by_itself = window_end(entry, finding, moment, &verdicts, &recovery);
    let held = finding.held_until.filter(|_| finding.phase == Phase::Firing);
    holds.chain(clearing).chain(by_itself).chain(held).min()
}

/// When a window that runs out changes the finding although nothing is observed.
fn window_end(
    entry: &KnowledgeEntry,
    finding: &Finding,
    moment: Moment<'_>,
    verdicts: &[Verdict],
    recovered: &Verdict,
) -> Option<Timestamp> {
    if entry.detection.latched {
        return None;
    }
    let next_change = |verdicts: &[Verdict], recovered: &Verdict, after: Timestamp| {
        let changes = verdicts.iter().chain([recovered]).filter_map(|verdict| verdict.changes_at);
        changes.filter(|at| *at > after).min()
    };
    let mut at = next_change(verdicts, recovered, moment.at)?;
    // A clear condition may look further back than the level itself, so the first window to end may mean nothing yet.
    for _ in 0..MAX_ROUNDS {
        let moment = Moment { at, ..moment };
        let verdicts: Vec<Verdict> =
            entry.detection.levels.iter().map(|level| evaluate(&level.when, moment)).collect();
        let recovered = recovery(entry, finding, moment, &verdicts);
        let level_changes = verdicts.iter().zip(&finding.level_since).any(|(verdict, since)| {
            (verdict.truth == Truth::True && since.is_none())
                || (verdict.truth == Truth::False && since.is_some())
        });
        let recovery_changes = match finding.phase {
            Phase::Firing => recovered.truth == Truth::True,
            Phase::Clearing => recovered.truth == Truth::False,
            Phase::Pending | Phase::Cleared => false,
        };
        if level_changes || recovery_changes {
            return Some(at);
        }
        at = next_change(&verdicts, &recovered, at)?;
    }
    Some(at)
}

/// Remembers since when each level holds, and returns the worst one that has held long enough.
fn note_levels(
    entry: &KnowledgeEntry,
    finding: &mut Finding,
    verdicts: &[Verdict],
    powered: Timestamp,
) -> Option<usize> {
    finding.level_since.resize(entry.detection.levels.len(), None);
    let mut reached = None;
    for (at, (level, verdict)) in entry.detection.levels.iter().zip(verdicts).enumerate() {
        match verdict.truth {
            Truth::Unknown => {}
            Truth::False => finding.level_since[at] = None,
            Truth::True => {
                let since = finding.level_since[at].unwrap_or(powered).max(verdict.unbroken_since);
                finding.level_since[at] = Some(since);
                let due = since.plus(level.hold);
                if powered >= due && verdict.fresh_until >= due {
                    reached = Some(at);
                }
            }
        }
    }
    reached
}

/// Whether the finding recovers: no level holds, and the clear condition of the worst level it reached does.
fn recovery(entry: &KnowledgeEntry, finding: &Finding, moment: Moment<'_>, verdicts: &[Verdict]) -> Verdict {
    if let Some(holding) = verdicts.iter().find(|verdict| verdict.truth == Truth::True) {
        return negate(holding.clone());
    }
    let clear = worst_level(entry, finding).and_then(|level| level.clear.as_ref());
    match clear {
        Some(clear) => evaluate(clear, moment),
        None => all(verdicts.iter().cloned().map(negate)).unwrap_or_else(Verdict::unknown),
    }
}

/// Of levels that are as bad as each other, the one about the metric that raised it: a level about another metric may
/// never be known on this component, and would keep the finding for ever.
fn worst_level<'e>(entry: &'e KnowledgeEntry, finding: &Finding) -> Option<&'e Level> {
    let levels = &entry.detection.levels;
    let reached = || levels.iter().filter(|level| level.severity == finding.severity);
    reached()
        .rfind(|level| level.when.asks_for(&finding.metric))
        .or_else(|| reached().next_back())
        .or_else(|| levels.last())
}

fn clear_hold(entry: &KnowledgeEntry, finding: &Finding) -> Duration {
    worst_level(entry, finding).map_or(Duration::ZERO, |level| level.clear_hold)
}

fn new_finding(entry: &KnowledgeEntry, component: &Component, at: Timestamp) -> Finding {
    let mildest =
        entry.detection.levels.first().map_or(firstline_model::Severity::Info, |level| level.severity);
    Finding {
        rule: entry.code.clone(),
        component: component.clone(),
        phase: Phase::Cleared,
        severity: mildest,
        since: at,
        fired_at: None,
        level_since: Vec::new(),
        clear_since: None,
        cleared_at: None,
        value: None,
        threshold: None,
        metric: String::new(),
        suppressed: None,
        held_until: None,
        episodes: 0,
        standing: Standing::Own,
        recent_fires: Vec::new(),
    }
}

/// Takes over what decided; returns the attributes of the deciding sample.
fn decide(finding: &mut Finding, verdict: &Verdict) -> Attributes {
    let Some(Decider { metric, value, threshold, attributes, .. }) = &verdict.decider else {
        return Attributes::none();
    };
    if *finding.metric != **metric {
        finding.metric = metric.to_string();
    }
    finding.value = *value;
    finding.threshold = *threshold;
    attributes.clone()
}

/// The attributes of the newest sample of the metric that decided.
pub(super) fn deciding_attributes(state: &DeviceState, finding: &Finding) -> Attributes {
    let newest =
        state.samples.of(&finding.component, &finding.metric).max_by_key(|(_, sample)| sample.observed_at);
    newest.map(|(_, sample)| sample.attributes.clone()).unwrap_or_default()
}

pub(super) fn end(finding: &mut Finding, at: Timestamp) {
    finding.phase = Phase::Cleared;
    finding.cleared_at = Some(at);
    finding.clear_since = None;
    finding.standing = Standing::Own;
    finding.level_since.fill(None);
}

/// The latest moment at which the finding is known to have changed: nothing happens to it before that.
fn last_change(state: &DeviceState, finding: &Finding) -> Timestamp {
    let cleared = finding.clear_since.and_then(|since| state.wall(since));
    [finding.fired_at, finding.cleared_at, cleared].into_iter().flatten().fold(finding.since, Timestamp::max)
}
