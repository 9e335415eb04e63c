//! The REST interface as a target: JSON bodies, paths and queries by an administrator's token. Whatever comes, the answer is
//! JSON and no server error, and the ticket that was there stays readable.

use firstline_collector::untrusted::Rest;
use firstline_collector_core::ticket::{Priority, Ticket, TicketKind, TicketState};
use firstline_collector_store::engines::memory::Memory;
use firstline_collector_store::plan::{CommitPlan, DevicePlan};
use firstline_collector_store::record::{AuditEntry, Device, DeviceStatus, EnrollmentToken};
use firstline_collector_store::store::{Enrollment, Ingest, People};
use firstline_model::{
    Component, ComponentKind, DeviceId, Presence, RuleCode, Severity, TicketId, Timestamp, Value,
};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Runtime;

/// A Monday morning.
const NOW: Timestamp = Timestamp::from_millis(1_767_603_300_000);
const TOKEN: &str = "token";
const TICKET: &str = "/api/v1/tickets/1";

/// What the first byte of an input chooses.
const DOORS: [(&str, &str); 4] = [
    ("PATCH", TICKET),
    ("POST", "/api/v1/devices/pc-1/diagnostics"),
    ("GET", "/api/v1/tickets?"),
    ("GET", "/api/v1/"),
];

pub(super) fn rest(bytes: &[u8]) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    });
    runtime.block_on(one(bytes));
}

async fn one(bytes: &[u8]) {
    let Some((door, bytes)) = bytes.split_first() else { return };
    let (method, path) = DOORS[usize::from(*door) % DOORS.len()];
    let rest = Rest::over(store().await, NOW);
    let (_, etag, _) = rest.send("GET", TICKET, TOKEN, None, b"").await.expect("a plain request");
    let (path, body) = if method == "GET" {
        (format!("{path}{}", String::from_utf8_lossy(bytes)), b"".as_slice())
    } else {
        (path.to_owned(), bytes)
    };
    // The event stream never ends, which is its purpose.
    if path.contains("events") {
        return;
    }
    // A path that no request can carry never reaches the program.
    let Ok((status, _, answer)) = rest.send(method, &path, TOKEN, etag.as_deref(), body).await else {
        return;
    };
    assert!(status < 500, "{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
    if !answer.is_empty() {
        serde_json::from_slice::<serde_json::Value>(&answer).unwrap_or_else(|error| {
            panic!("{method} {path}: {status} and no JSON ({error}): {}", String::from_utf8_lossy(&answer))
        });
    }
    let (status, ..) = rest.send("GET", TICKET, TOKEN, None, b"").await.expect("a plain request");
    assert_eq!(status, 200, "the ticket cannot be read any more");
}

/// One device with one ticket.
async fn store() -> Arc<Memory> {
    let store = Arc::new(Memory::new());
    let audit = AuditEntry {
        at: NOW,
        actor: "test".to_owned(),
        action: "test".to_owned(),
        subject: "test".to_owned(),
        detail: String::new(),
    };
    store.create_api_token(&Rest::token(TOKEN, NOW), &audit).await.expect("a token");
    let id = DeviceId::new("pc-1").expect("an id");
    let token = EnrollmentToken {
        hash: [1; 32],
        uses_left: 1,
        expires_at: NOW.plus(Duration::from_hours(1)),
        site: Some("oslo".to_owned()),
        created_at: NOW,
    };
    store.create_token(&token, &audit).await.expect("a token");
    store.enroll(&token.hash, &device(&id), NOW).await.expect("a device");
    store.reserve_tickets(1).await.expect("a number");
    let mut plan = DevicePlan::unchanged(id.clone());
    plan.tickets = vec![ticket(&id)];
    store.commit(CommitPlan::of(vec![plan])).await.expect("a ticket");
    store
}

fn device(id: &DeviceId) -> Device {
    Device {
        id: id.clone(),
        hostname: "pc-1".to_owned(),
        site: Some("oslo".to_owned()),
        status: DeviceStatus::Active,
        tags: Vec::new(),
        facts: Value::map([("os", Value::from("linux"))]),
        agent_version: "0".to_owned(),
        enrolled_at: NOW,
        last_seen_at: Some(NOW),
        presence: Some(Presence::Online),
        certificate_fingerprint: "ab".repeat(32),
        certificate_not_after: NOW.plus(Duration::from_hours(720)),
    }
}

fn ticket(device: &DeviceId) -> Ticket {
    Ticket {
        id: TicketId(1),
        kind: TicketKind::Incident,
        state: TicketState::New,
        on_hold: None,
        snoozed_until: None,
        device: Some(device.clone()),
        rule: Some(RuleCode::new("fs.space").expect("a code")),
        component: Component::new(ComponentKind::Filesystem, "/home").ok(),
        site: Some("oslo".to_owned()),
        impact: 3,
        urgency: 1,
        priority: Priority(3),
        severity: Severity::Critical,
        title: "Drive /home is 97 % full".to_owned(),
        summary: String::new(),
        technical: String::new(),
        opened_at: NOW,
        first_observed_at: NOW,
        updated_at: NOW,
        resolved_at: None,
        resolution: None,
        responded_at: None,
        response_due: Some(NOW.plus(Duration::from_mins(10))),
        resolution_due: Some(NOW.plus(Duration::from_hours(7))),
        pauses: Vec::new(),
        assignee: None,
        group: None,
        tier: 1,
        parent: None,
        evidence: Vec::new(),
        tested: Vec::new(),
        ruled_out: Vec::new(),
        likely_cause: None,
        steps: Vec::new(),
        article: None,
        changes: Vec::new(),
        recurrence: 0,
        version: 1,
    }
}
