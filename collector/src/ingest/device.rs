//! What one device's batch, or time passing, means: pure judgement by the core, gathered into a plan for the store.

use super::repeats::{Earlier, Read};
use firstline_collector_core::desk::DeskOutcome;
use firstline_collector_core::device::{Decided, KnownDevice, News};
use firstline_collector_core::device_clock::DeviceClock;
use firstline_collector_core::finding::Finding;
use firstline_collector_core::finding::SeriesKey;
use firstline_collector_core::knowledge::{DeviceTraits, KnowledgeSet};
use firstline_collector_core::peers::Peers;
use firstline_collector_store::plan::{DevicePlan, NewMark, NewRecord};
use firstline_collector_store::record::{AuditEntry, Device, DeviceSnapshot, LatestContent, LatestValue};
use firstline_model::semconv::attribute;
use firstline_model::{
    Attributes, Body, Component, ComponentKind, DeviceId, Epoch, Observation, Presence, RuleCode,
    SequenceNumber, TicketId, Timestamp, Value, semconv,
};
use firstline_proto::convert::InventoryChange;
use std::collections::BTreeMap;

/// A device in memory: what the store holds of it, and what is only worth knowing while the process lives.
pub(crate) struct Live {
    /// The device's row and marks. State and tickets of the snapshot stand in `known`.
    pub device: Device,
    pub marks: Vec<(Epoch, SequenceNumber)>,
    known: KnownDevice,
    /// What its times mean.
    clock: DeviceClock,
}

/// A batch as the worker has it.
pub(crate) struct Incoming {
    pub epoch: Epoch,
    pub first: SequenceNumber,
    pub through: SequenceNumber,
    pub records: Vec<Vec<u8>>,
    pub received_at: Timestamp,
    /// By the agent's steady time, as its observations are.
    pub sent_at: Timestamp,
    /// What the device's clock said then.
    pub clock: Timestamp,
}

impl Incoming {
    /// A record of this batch.
    pub(crate) fn record(&self, epoch: Epoch, seq: SequenceNumber) -> Option<&[u8]> {
        let place = seq.0.checked_sub(self.first.0).filter(|_| epoch == self.epoch)?;
        Some(self.records.get(usize::try_from(place).ok()?)?.as_slice())
    }
}

/// A plan in the making.
pub(crate) struct Draft {
    pub plan: DevicePlan,
    latest: BTreeMap<(Component, String, Attributes), LatestValue>,
    findings_before: BTreeMap<(RuleCode, Component), Box<Finding>>,
    news: News,
    state_changed: bool,
    /// What the device said last of whether it is there.
    pub said: Option<Presence>,
    /// Something was repeated of a record that is not here.
    pub lacks_earlier: bool,
    /// How many observations were taken in.
    pub observations: u64,
}

impl Live {
    /// Takes over what the store holds.
    pub(crate) fn new(snapshot: DeviceSnapshot) -> Self {
        let DeviceSnapshot { device, marks, state, tickets } = snapshot;
        let traits = Self::traits_of(&device);
        let known = KnownDevice::new(traits, device.hostname.clone(), device.facts.clone(), state, tickets);
        Self { device, marks, known, clock: DeviceClock::default() }
    }

    /// Who a device is, for the scopes of entries.
    pub(crate) fn traits_of(device: &Device) -> DeviceTraits {
        let class = device.facts.get("device_class").and_then(Value::as_text);
        DeviceTraits {
            device: device.id.clone(),
            site: device.site.clone(),
            tags: device.tags.clone(),
            device_class: class.map(str::to_owned),
        }
    }

    /// What the core knows of it.
    pub(crate) fn known_mut(&mut self) -> &mut KnownDevice {
        &mut self.known
    }

    /// The device's name.
    pub(crate) fn id(&self) -> &DeviceId {
        &self.device.id
    }

    /// Begins a plan.
    pub(crate) fn draft(&self) -> Draft {
        Draft {
            plan: DevicePlan::unchanged(self.id().clone()),
            latest: BTreeMap::new(),
            findings_before: self.known.state.findings.clone(),
            news: News::default(),
            state_changed: false,
            said: None,
            lacks_earlier: false,
            observations: 0,
        }
    }

    /// Takes a batch in. What is known already (a stream that was lost brings it again) is left out.
    pub(crate) fn take_batch(
        &mut self,
        knowledge: &KnowledgeSet,
        peers: &mut Peers,
        batch: &Incoming,
        earlier: &Earlier,
        draft: &mut Draft,
    ) {
        let mark = self.marks.iter().find(|(epoch, _)| *epoch == batch.epoch).map(|(_, mark)| *mark);
        let known = mark.unwrap_or(SequenceNumber(0));
        draft.plan.seen_at = draft.plan.seen_at.max(Some(batch.received_at));
        if batch.through <= known {
            return;
        }
        self.clock.heard(batch.sent_at, batch.clock, batch.received_at);
        let mut seq = batch.first;
        for payload in &batch.records {
            if seq > known && !payload.is_empty() {
                self.take_record(knowledge, peers, batch, (seq, payload), earlier, draft);
                draft.plan.records.push(NewRecord {
                    epoch: batch.epoch,
                    seq,
                    received_at: batch.received_at,
                    payload: payload.clone(),
                    clock_suspect: self.clock.is_suspect(),
                });
            }
            seq = seq.next();
        }
        self.say_offset(knowledge, peers, batch.received_at, draft);
        self.move_mark(batch.epoch, mark, batch.through, draft);
    }

    /// Inventories that were told as changes, as they are now, and the names of those whose base is not here.
    fn inventories(
        changes: &[InventoryChange],
        earlier: &Earlier,
        draft: &Draft,
    ) -> (Vec<Observation>, Vec<String>) {
        let (mut made, mut lacking) = (Vec::new(), Vec::new());
        for change in changes {
            let key = (change.component.clone(), change.name.clone(), Attributes::none());
            let newer = draft.latest.get(&key).and_then(|latest| match &latest.content {
                LatestContent::State(document) => Some(document),
                LatestContent::Sample { .. } | LatestContent::Unavailable { .. } => None,
            });
            match earlier.inventory(change, newer) {
                Some(observation) => made.push(observation),
                None => lacking.push(format!("{} of {}", change.name, change.component)),
            }
        }
        (made, lacking)
    }

    fn take_record(
        &mut self,
        knowledge: &KnowledgeSet,
        peers: &mut Peers,
        batch: &Incoming,
        (seq, payload): (SequenceNumber, &[u8]),
        earlier: &Earlier,
        draft: &mut Draft,
    ) {
        let (action, detail) = match earlier.read(batch.epoch, payload) {
            Ok(Read { observations, missing, inventories }) => {
                let (made, lacking) = Self::inventories(&inventories, earlier, draft);
                for mut observation in observations.into_iter().chain(made) {
                    // Nothing is seen after it was sent; a clock that says so would make what follows look old.
                    let corrected = |at: Timestamp| self.clock.corrected(at.min(batch.sent_at));
                    observation.observed_at = corrected(observation.observed_at);
                    if let Body::Diagnostic(report) = &mut observation.body {
                        report.finished_at = corrected(report.finished_at);
                    }
                    self.take(knowledge, peers, observation, batch.received_at, draft);
                }
                if missing.is_empty() && lacking.is_empty() {
                    return;
                }
                draft.lacks_earlier = true;
                let missing: Vec<String> =
                    missing.iter().map(|seq| format!("record {seq}")).chain(lacking).collect();
                let missing = missing.join(", ");
                tracing::warn!(device = %self.id(), %seq, missing, "a record leads back to what is not here; it is kept as it came, and the agent is asked to say everything again");
                ("record.repeats_missing", format!("it leads back to what is not here: {missing}"))
            }
            Err(error) => {
                tracing::warn!(device = %self.id(), %seq, error = %error, "a record cannot be read; it is kept as it came");
                ("record.unreadable", error.to_string())
            }
        };
        draft.plan.audit.push(AuditEntry {
            at: batch.received_at,
            actor: format!("device:{}", self.id()),
            action: action.to_owned(),
            subject: format!("{}/{seq}", batch.epoch),
            detail,
        });
    }

    /// Tells the rules how far the device's clock is off.
    fn say_offset(
        &mut self,
        knowledge: &KnowledgeSet,
        peers: &mut Peers,
        received_at: Timestamp,
        draft: &mut Draft,
    ) {
        let (component, metric) = (Component::only(ComponentKind::Os), semconv::TIME_OFFSET);
        let attributes = Attributes::none().with(attribute::REFERENCE, "collector");
        let series =
            SeriesKey { component: component.clone(), metric: metric.into(), attributes: attributes.clone() };
        let is_followed = self.known.state.samples.contains_key(&series);
        if let Some(value) = self.clock.offset_to_say(received_at, is_followed) {
            let body = Body::Sample { metric: metric.into(), attributes, value };
            let observed_at = self.engine_time(received_at);
            self.take(knowledge, peers, Observation { component, observed_at, body }, received_at, draft);
        }
    }

    /// The collector's time `now` in the time of the device's observations.
    fn engine_time(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.as_millis().saturating_add(self.clock.ahead_ms()))
    }

    fn move_mark(
        &mut self,
        epoch: Epoch,
        before: Option<SequenceNumber>,
        through: SequenceNumber,
        draft: &mut Draft,
    ) {
        match draft.plan.marks.iter_mut().find(|mark| mark.epoch == epoch) {
            Some(mark) => mark.through = through,
            None => draft.plan.marks.push(NewMark { epoch, before, through }),
        }
        match self.marks.iter_mut().find(|(known, _)| *known == epoch) {
            Some((_, mark)) => *mark = through,
            None => self.marks.push((epoch, through)),
        }
    }

    /// Takes one observation in.
    pub(crate) fn take(
        &mut self,
        knowledge: &KnowledgeSet,
        peers: &mut Peers,
        observation: Observation,
        received_at: Timestamp,
        draft: &mut Draft,
    ) {
        draft.observations += 1;
        if self.known.observe(knowledge, peers, &observation, &mut draft.news) {
            self.device.facts.clone_from(&self.known.facts);
            self.device.hostname.clone_from(&self.known.hostname);
            draft.plan.facts = Some(self.device.facts.clone());
        }
        draft.state_changed = true;
        if let Some(latest) = latest_of(&observation, self.clock.is_suspect()) {
            let key = (latest.component.clone(), latest.name.clone(), latest.series.clone());
            draft.latest.insert(key, latest);
        }
        match observation.body {
            Body::Diagnostic(report) => draft.plan.finished_requests.push(report.request_id),
            Body::Gap { epoch, first, last, reason } => draft.plan.audit.push(AuditEntry {
                at: received_at,
                actor: format!("device:{}", self.id()),
                action: "record.gap".to_owned(),
                subject: format!("{epoch}/{first}-{last}"),
                detail: format!("{} records were given up: {reason}", last.saturating_sub(first) + 1),
            }),
            Body::Presence(presence) => draft.said = Some(presence),
            Body::Sample { .. }
            | Body::Facts(_)
            | Body::State { .. }
            | Body::Event { .. }
            | Body::Unavailable { .. } => {}
        }
    }

    /// Lets time pass.
    pub(crate) fn pass_time(&mut self, knowledge: &KnowledgeSet, now: Timestamp, draft: &mut Draft) {
        let before = draft.news.transitions.len();
        self.known.pass_time(knowledge, self.engine_time(now), &mut draft.news);
        draft.state_changed |= draft.news.transitions.len() > before;
    }

    /// Whether a breach is held back.
    pub(crate) fn holds_back(&self) -> bool {
        self.known.state.findings.values().any(|finding| finding.suppressed.is_some())
    }

    /// When time passing means something next, by the collector's clock.
    pub(crate) fn deadline(&self, knowledge: &KnowledgeSet) -> Option<Timestamp> {
        let findings = self.known.next_deadline(knowledge);
        let findings =
            findings.map(|at| Timestamp::from_millis(at.as_millis().saturating_sub(self.clock.ahead_ms())));
        [findings, self.known.next_expiry()].into_iter().flatten().min()
    }

    /// Turns transitions and reports into tickets, and gives tests up that nobody answered.
    pub(crate) fn decide(
        &mut self,
        knowledge: &KnowledgeSet,
        now: Timestamp,
        next_id: &mut dyn FnMut() -> TicketId,
        draft: &mut Draft,
    ) {
        let news = std::mem::take(&mut draft.news);
        let Decided { outcome, expired_requests } = self.known.decide(knowledge, now, &news, next_id);
        let DeskOutcome { tickets, timeline, effects, suppressions } = outcome;
        draft.plan.tickets.extend(tickets);
        draft.plan.timeline.extend(timeline);
        draft.plan.effects.extend(effects);
        draft.plan.suppressions.extend(suppressions);
        draft.plan.finished_requests.extend(expired_requests);
    }

    /// Finishes the plan.
    pub(crate) fn finish(&mut self, now: Timestamp, mut draft: Draft) -> DevicePlan {
        if draft.state_changed {
            draft.plan.state = Some(self.known.state.clone());
        }
        for (key, finding) in &self.known.state.findings {
            if draft.findings_before.get(key) != Some(finding) {
                draft.plan.findings.push(finding.as_ref().clone());
            }
        }
        draft.plan.latest = draft.latest.into_values().collect();
        self.known.forget_old_tickets(now);
        draft.plan
    }
}

impl Draft {
    /// The components that something was reported of.
    pub(crate) fn components(&self) -> impl Iterator<Item = &Component> {
        self.latest.keys().map(|(component, _, _)| component)
    }

    /// What is still to be decided about.
    pub(crate) fn news_mut(&mut self) -> &mut News {
        &mut self.news
    }
}

fn latest_of(observation: &Observation, clock_suspect: bool) -> Option<LatestValue> {
    let (name, series, content) = match &observation.body {
        Body::Sample { metric, attributes, value } => (
            metric.to_string(),
            attributes
                .iter()
                .filter(|(name, _)| !semconv::STATE_ATTRIBUTES.contains(name))
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            LatestContent::Sample { value: *value, attributes: attributes.clone() },
        ),
        Body::State { name, document } => {
            (name.to_string(), Attributes::none(), LatestContent::State(document.clone()))
        }
        Body::Unavailable { what, reason, detail } => (
            what.to_string(),
            Attributes::none(),
            LatestContent::Unavailable { reason: *reason, detail: detail.clone() },
        ),
        // The newest answer of each test stands on the device's page, also when no ticket asked for it.
        Body::Diagnostic(report) => (
            format!("diagnostic {}", report.name),
            Attributes::none().with("subject", report.subject.as_str()),
            LatestContent::State(Value::map([
                ("request_id", Value::from(report.request_id.as_str())),
                ("outcome", Value::from(report.outcome.as_str())),
                ("summary", Value::from(report.summary.as_str())),
                ("facts", report.facts.clone()),
            ])),
        ),
        Body::Event { .. } | Body::Presence(_) | Body::Facts(_) | Body::Gap { .. } => return None,
    };
    Some(LatestValue {
        component: observation.component.clone(),
        name,
        series,
        observed_at: observation.observed_at,
        content,
        clock_suspect,
    })
}
