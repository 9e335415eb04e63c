//! Stores to test and things to put into them.

use firstline_collector_core::finding::{
    DeviceState, Finding, History, LatestSample, LatestState, Phase, Rhythm, SeriesKey, Standing,
};
use firstline_collector_core::ticket::{
    Actor, Change, Evidence, OnHoldReason, Pause, Priority, RuledOut, TestResult, Tested, Ticket, TicketKind,
    TicketState, TimelineEntry,
};
use firstline_collector_store::Store;
use firstline_collector_store::engines::ENGINES;
use firstline_collector_store::plan::{CommitPlan, DevicePlan, NewMark, NewRecord};
use firstline_collector_store::record::{
    AuditEntry, Device, DeviceStatus, EnrollOutcome, EnrollmentToken, LatestContent, LatestValue,
};
use firstline_model::{
    Attributes, Component, ComponentKind, DeviceId, DiagnosticOutcome, Epoch, Presence, RuleCode,
    SequenceNumber, Severity, TicketId, Timestamp, UnavailableReason, Value,
};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// One engine, empty; its folder lives as long as this.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<dyn Store>,
    _folder: TempDir,
}

/// Every engine of the registry.
pub(crate) fn every_engine() -> Vec<Subject> {
    let open = |engine: &firstline_collector_store::engines::Engine| {
        let folder = tempfile::tempdir().unwrap();
        Subject { name: engine.name, store: (engine.open)(folder.path()).unwrap(), _folder: folder }
    };
    ENGINES.iter().map(open).collect()
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_767_603_300_000 + seconds * 1000)
}

pub(crate) fn id(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

pub(crate) fn rule(code: &str) -> RuleCode {
    RuleCode::new(code).unwrap()
}

pub(crate) fn component(text: &str) -> Component {
    text.parse().unwrap()
}

pub(crate) fn audit(action: &str) -> AuditEntry {
    AuditEntry {
        at: at(0),
        actor: "anna".to_owned(),
        action: action.to_owned(),
        subject: "something".to_owned(),
        detail: "<b>'; DROP TABLE audit".to_owned(),
    }
}

pub(crate) fn device(name: &str) -> Device {
    Device {
        id: id(name),
        hostname: format!("{name}.example"),
        site: Some("ignored".to_owned()),
        status: DeviceStatus::Active,
        tags: vec!["kiosk".to_owned(), "a,b\"c".to_owned()],
        facts: Value::map([("os", Value::from("linux")), ("memory", Value::from(0.1 + 0.2))]),
        agent_version: "0.1.0".to_owned(),
        enrolled_at: at(0),
        last_seen_at: None,
        presence: None,
        certificate_fingerprint: "ab".repeat(32),
        certificate_not_after: at(3600),
    }
}

pub(crate) fn token(hash: u8, uses: u32, site: Option<&str>) -> EnrollmentToken {
    EnrollmentToken {
        hash: [hash; 32],
        uses_left: uses,
        expires_at: at(600),
        site: site.map(str::to_owned),
        created_at: at(0),
    }
}

/// Enrols a device at a site.
pub(crate) async fn enrolled(store: &dyn Store, name: &str, site: Option<&str>) -> DeviceId {
    let mut hash = [0; 32];
    hash[..name.len().min(32)].copy_from_slice(&name.as_bytes()[..name.len().min(32)]);
    let token = EnrollmentToken { hash, ..token(0, 1, site) };
    store.create_token(&token, &audit("token.create")).await.unwrap();
    assert_eq!(store.enroll(&hash, &device(name), at(1)).await.unwrap(), EnrollOutcome::Enrolled);
    id(name)
}

pub(crate) const EPOCH: Epoch = Epoch([7; 16]);

pub(crate) fn record(seq: u64) -> NewRecord {
    NewRecord {
        epoch: EPOCH,
        seq: SequenceNumber(seq),
        received_at: at(i64::try_from(seq).unwrap()),
        payload: seq.to_le_bytes().to_vec(),
        clock_suspect: seq.is_multiple_of(2),
    }
}

pub(crate) fn mark(before: Option<u64>, through: u64) -> NewMark {
    NewMark { epoch: EPOCH, before: before.map(SequenceNumber), through: SequenceNumber(through) }
}

/// A batch with the records `before + 1 ..= through`.
pub(crate) fn batch(device: &DeviceId, before: u64, through: u64) -> DevicePlan {
    DevicePlan {
        records: (before + 1..=through).map(record).collect(),
        marks: vec![mark((before > 0).then_some(before), through)],
        seen_at: Some(at(100)),
        ..DevicePlan::unchanged(device.clone())
    }
}

pub(crate) fn plan(parts: impl IntoIterator<Item = DevicePlan>) -> CommitPlan {
    CommitPlan::of(parts.into_iter().collect())
}

pub(crate) fn finding(code: &str, part: &str, phase: Phase, since: i64) -> Finding {
    Finding {
        rule: rule(code),
        component: component(part),
        phase,
        severity: Severity::Critical,
        since: at(since),
        fired_at: Some(at(since + 1)),
        level_since: vec![Some(at(since)), None],
        clear_since: None,
        cleared_at: (phase == Phase::Cleared).then(|| at(since + 2)),
        value: Some(1.0 / 3.0),
        threshold: Some(f64::INFINITY),
        metric: "system.filesystem.utilization".to_owned(),
        suppressed: Some("hidden by net.gateway".to_owned()),
        held_until: None,
        episodes: 3,
        standing: Standing::default(),
        recent_fires: Vec::new(),
    }
}

/// A state with everything in it that a state can have.
pub(crate) fn state() -> DeviceState {
    let series = SeriesKey {
        component: component("filesystem//home"),
        metric: "system.filesystem.utilization".into(),
        attributes: Attributes::none().with("system.filesystem.type", "ext4"),
    };
    let rhythm = Rhythm { powered_at: at(4), spacing: Duration::new(60, 7), unbroken_since: at(1) };
    let attributes = Attributes::none().with("hw.state", "ok").with("system.filesystem.type", "ext4");
    let history = History {
        changed_at: Some(at(2)),
        before: vec![0.1, 1e-300, f64::MAX],
        before_states: vec![
            Attributes::none().with("hw.state", "ok"),
            Attributes::none(),
            Attributes::none(),
        ],
        window: vec![(at(1), 2.5), (at(2), -0.0)],
        unavailable: Some((at(6), "not_permitted".to_owned())),
        beside: Vec::new(),
    };
    let sample = LatestSample::new(at(5), 0.1 + 0.2, attributes, rhythm);
    let sample = sample.with_history(history).first_seen(at(1));
    let document = Value::map([
        ("printer_state_reasons", Value::texts(["media-jam-error"])),
        ("$odd", Value::from(true)),
        ("pages", Value::from(f64::NEG_INFINITY)),
    ]);
    let mut state = DeviceState { away: Duration::new(3600, 5), ..DeviceState::default() };
    state.samples.insert(series, sample);
    state.states.insert(
        (component("printer/finance-2"), "printer".to_owned()),
        LatestState {
            observed_at: at(7),
            document,
            changed: std::collections::BTreeMap::from([("serial".to_owned(), at(6))]),
        },
    );
    state.presence = Some(Presence::Asleep);
    state.presence_since = Some(at(8));
    state.quiet_until = Some(at(9));
    state
}

/// An open incident with every field filled.
pub(crate) fn ticket(number: u64, device: Option<&DeviceId>, code: &str, part: &str) -> Ticket {
    Ticket {
        id: TicketId(number),
        kind: if device.is_some() { TicketKind::Incident } else { TicketKind::Problem },
        state: TicketState::New,
        on_hold: Some(OnHoldReason::AwaitingVendor),
        snoozed_until: Some(at(77)),
        device: device.cloned(),
        rule: Some(rule(code)),
        component: Some(component(part)),
        site: Some("oslo".to_owned()),
        impact: 3,
        urgency: 1,
        priority: Priority(3),
        severity: Severity::Warning,
        title: "C: is 97 % full".to_owned(),
        summary: "There is little room left".to_owned(),
        technical: "used 97 %".to_owned(),
        opened_at: at(10),
        first_observed_at: at(9),
        updated_at: at(10),
        resolved_at: None,
        resolution: Some("cleaned".to_owned()),
        responded_at: Some(at(11)),
        pauses: vec![Pause { from: at(13), until: Some(at(14)) }, Pause { from: at(15), until: None }],
        response_due: Some(at(12)),
        resolution_due: Some(at(1000)),
        assignee: Some("anna".to_owned()),
        group: Some("desk".to_owned()),
        tier: 2,
        parent: Some(TicketId(99)),
        evidence: vec![Evidence {
            label: "used space".to_owned(),
            value: "97.3 %".to_owned(),
            metric: "system.filesystem.utilization".to_owned(),
            observed_at: at(9),
        }],
        tested: vec![
            Tested {
                request_id: "1-1".to_owned(),
                diagnostic: "largest_directories".to_owned(),
                subject: "C:".to_owned(),
                asked_at: at(10),
                result: Some(TestResult {
                    outcome: DiagnosticOutcome::Problem,
                    summary: "Windows.old has 20 GB".to_owned(),
                    facts: Value::map([("bytes", Value::from(2.1e10))]),
                    finished_at: at(11),
                }),
            },
            Tested {
                request_id: "1-2".to_owned(),
                diagnostic: "link".to_owned(),
                subject: String::new(),
                asked_at: at(10),
                result: None,
            },
        ],
        ruled_out: vec![RuledOut {
            cause: "a log runs wild".to_owned(),
            because: "logs are small".to_owned(),
        }],
        likely_cause: Some("an old update".to_owned()),
        steps: vec!["Empty it".to_owned()],
        article: Some(("Free space".to_owned(), Some("https://kb.example/1".to_owned()))),
        changes: vec![Change { at: at(3), what: "Windows 11 25H2 installed".to_owned() }],
        recurrence: 2,
        version: 1,
    }
}

/// The same ticket, one version on, in another state.
pub(crate) fn moved(ticket: &Ticket, state: TicketState) -> Ticket {
    Ticket {
        state,
        version: ticket.version + 1,
        resolved_at: (state == TicketState::Resolved).then(|| at(50)),
        ..ticket.clone()
    }
}

pub(crate) fn line(number: u64, kind: &'static str) -> TimelineEntry {
    TimelineEntry {
        ticket: TicketId(number),
        at: at(10),
        actor: Actor::Person("anna".to_owned()),
        kind,
        text: format!("it was {kind}"),
    }
}

pub(crate) fn latest(part: &str, name: &str, content: LatestContent) -> LatestValue {
    LatestValue {
        component: component(part),
        name: name.to_owned(),
        series: Attributes::none().with("direction", "read"),
        observed_at: at(4),
        content,
        clock_suspect: part == "memory/0",
    }
}

/// One of each content.
pub(crate) fn contents() -> Vec<LatestContent> {
    vec![
        LatestContent::Sample { value: 0.1 + 0.2, attributes: Attributes::none().with("state", "ok") },
        LatestContent::State(Value::map([("name", Value::from("x"))])),
        LatestContent::Unavailable { reason: UnavailableReason::NotPermitted, detail: "/dev/sda".to_owned() },
    ]
}

pub(crate) fn only(kind: ComponentKind) -> Component {
    Component::only(kind)
}
