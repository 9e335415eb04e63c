//! A collector with two sites in memory, and a caller of its router.

use crate::backtest::{self, Backtests};
use crate::web::context::Knob;
use crate::web::{
    Change, Health, KnowledgeList, KnowledgeText, RefusedFile, WebContext, router, secret_hash,
};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use firstline_collector_core::desk::Suppression;
use firstline_collector_core::finding::{Finding, Phase, Standing};
use firstline_collector_core::sla::Calendar;
use firstline_collector_core::ticket::{
    Actor, Evidence, Priority, RuledOut, TestResult, Tested, Ticket, TicketKind, TicketState, TimelineEntry,
};
use firstline_collector_store::engines::memory::Memory;
use firstline_collector_store::plan::{CommitPlan, DevicePlan};
use firstline_collector_store::record::{
    ApiToken, AuditEntry, Device, DeviceStatus, EnrollmentToken, LatestContent, LatestValue, Role, Session,
    User,
};
use firstline_collector_store::store::{Enrollment, Ingest, People};
use firstline_model::{
    Attributes, Component, ComponentKind, DeviceId, DiagnosticOutcome, Presence, RuleCode, Severity,
    TicketId, Timestamp, UnavailableReason, Value, semconv,
};
use serde_json::Value as Json;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast;
use tower::ServiceExt;

/// 2026-01-05 08:55 UTC, a Monday.
pub(super) const START: i64 = 1_767_603_300_000;

pub(super) struct Desk {
    pub(super) router: Router,
    pub(super) store: Arc<Memory>,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) problems: Arc<Mutex<Vec<String>>>,
    now: Arc<AtomicI64>,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not json: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is a problem body with the status of the answer.
    pub(super) fn problem(&self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty() && problem["type"] == "about:blank");
        problem
    }
}

struct Problems(Arc<Mutex<Vec<String>>>);

impl Health for Problems {
    fn problems(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct OneEntry;

impl KnowledgeList for OneEntry {
    fn entries(&self) -> Arc<Vec<KnowledgeText>> {
        Arc::new(vec![KnowledgeText {
            code: "fs.space".to_owned(),
            title: "{component} is {value} full".to_owned(),
            category: "filesystem".to_owned(),
            impact: 3,
            enabled: true,
            opens_ticket: true,
            component: "filesystem".to_owned(),
            levels: vec!["warning after 15 min".to_owned(), "critical after 5 min".to_owned()],
            knobs: vec![Knob {
                severity: "warning".to_owned(),
                table: "detect.warning".to_owned(),
                number: Some(("above", "0.9".to_owned())),
                hold: "15m".to_owned(),
            }],
            person: "There is hardly any room left on this disk.".to_owned(),
            technician: "Used space is above the level for the hold time.".to_owned(),
            tests: vec!["largest_directories".to_owned()],
            causes: vec!["A log or a temporary folder grew".to_owned()],
            steps: vec!["Look at the largest folders below".to_owned()],
            article: None,
        }])
    }

    fn refused(&self) -> Vec<RefusedFile> {
        vec![RefusedFile {
            file: "mine.toml".to_owned(),
            line: 3,
            reason: "`abuv` is not a key of [detect]".to_owned(),
            advice: "did you mean `above`?".to_owned(),
        }]
    }
}

impl Desk {
    /// Nothing but an empty store.
    pub(super) fn empty() -> Self {
        let store = Arc::new(Memory::new());
        let now = Arc::new(AtomicI64::new(START));
        let (changes, _) = broadcast::channel(16);
        let problems = Arc::new(Mutex::new(Vec::new()));
        let (clock, counter) = (Arc::clone(&now), AtomicU64::new(1));
        let context = WebContext {
            store: Arc::clone(&store) as _,
            clock: Arc::new(move || Timestamp::from_millis(clock.load(Ordering::Relaxed))),
            random: Arc::new(move |bytes: &mut [u8]| {
                // Unique is all that a test needs of randomness.
                let number = counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                bytes.iter_mut().zip(number.iter().rev().cycle()).for_each(|(byte, n)| *byte = *n);
                Ok(())
            }),
            knowledge: Arc::new(OneEntry),
            backtests: Arc::new(Backtests::new(
                Arc::clone(&store) as _,
                Arc::new({
                    let now = Arc::clone(&now);
                    move || Timestamp::from_millis(now.load(Ordering::Relaxed))
                }),
                Box::new(|text| {
                    backtest::judge(
                        &crate::knowledge::rules(None).map_err(|why| vec![why])?,
                        &[],
                        "the change",
                        text,
                    )
                }),
                Duration::from_hours(7 * 24),
            )),
            health: Arc::new(Problems(Arc::clone(&problems))),
            changes: changes.clone(),
            touched: Arc::new(|_| ()),
            watch: Arc::new(|device, _| device.as_str() == "device-1"),
            calendar: Calendar::default(),
            metrics: Arc::new(|text| text.push_str("firstline_extra 1\n")),
        };
        Self { router: router(context), store, changes, problems, now }
    }

    /// Two devices in two sites with a ticket each (1 in oslo, 2 in bergen); users and tokens for every role.
    pub(super) async fn filled() -> Self {
        let desk = Self::empty();
        desk.add_device("pc-oslo", "oslo", 1, "Disk C: is 97 % full").await;
        desk.add_device("pc-bergen", "bergen", 2, "Printer finance-2 has stopped").await;
        for role in Role::ALL {
            desk.add_user(role.as_str(), *role, None).await;
        }
        desk.add_user("oslo-tech", Role::Technician, Some("oslo")).await;
        desk
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }

    pub(super) fn pass(&self, time: Duration) {
        self.now.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// A user with a living session (secret: see [`session`]) and a bearer token called `token-NAME`.
    pub(super) async fn add_user(&self, name: &str, role: Role, site: Option<&str>) {
        let (now, site) = (self.now(), site.map(str::to_owned));
        let user = User {
            name: name.to_owned(),
            role,
            site: site.clone(),
            password_hash: "no password".to_owned(),
            created_at: now,
            disabled: false,
        };
        let audit = audit(now);
        assert!(self.store.add_user(&user, &audit).await.unwrap());
        let session = Session {
            hash: secret_hash(&session(name)),
            user: name.to_owned(),
            created_at: now,
            used_at: now,
            expires_at: now.plus(Duration::from_hours(168)),
        };
        self.store.create_session(&session, &audit).await.unwrap();
        let token = ApiToken { hash: secret_hash(&format!("token-{name}")), role, site, created_at: now };
        self.store.create_api_token(&token, &audit).await.unwrap();
    }

    pub(super) async fn add_device(&self, hostname: &str, site: &str, number: u64, title: &str) -> DeviceId {
        let (now, audit) = (self.now(), audit(self.now()));
        let id = DeviceId::new(format!("device-{number}")).unwrap();
        let hash = secret_hash(&format!("enrollment-{number}"));
        let token = EnrollmentToken {
            hash,
            uses_left: 1,
            expires_at: now.plus(Duration::from_hours(1)),
            site: Some(site.to_owned()),
            created_at: now,
        };
        self.store.create_token(&token, &audit).await.unwrap();
        self.store.enroll(&hash, &device(&id, hostname, site, now), now).await.unwrap();
        while self.store.reserve_tickets(1).await.unwrap() < TicketId(number) {}
        let component = Component::new(ComponentKind::Filesystem, title).unwrap();
        let mut plan = DevicePlan::unchanged(id.clone());
        plan.tickets = vec![ticket(number, &id, site, title, now)];
        plan.timeline = vec![TimelineEntry {
            ticket: TicketId(number),
            at: now,
            actor: Actor::Firstline,
            kind: "opened",
            text: format!("Opened: {title}"),
        }];
        plan.findings = vec![finding(&component, now)];
        plan.suppressions = vec![Suppression {
            rule: plan.findings[0].rule.clone(),
            component: component.clone(),
            at: now,
            reason: format!("hidden by {component}"),
            until: None,
        }];
        plan.latest = latest(&component, title, now);
        plan.seen_at = Some(now);
        plan.presence = Some(Presence::Online);
        self.store.commit(CommitPlan::of(vec![plan])).await.unwrap();
        id
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 * 1024 * 1024).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// GET as a program (`token-NAME`), or as nobody.
    pub(super) async fn get(&self, path: &str, who: Option<&str>) -> Answer {
        let mut request = Request::get(path);
        if let Some(who) = who {
            request = request.header(header::AUTHORIZATION, format!("Bearer token-{who}"));
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// GET of a page as a person.
    pub(super) async fn page(&self, path: &str, who: &str) -> Answer {
        let cookie = format!("__Host-firstline={}", session(who));
        self.send(Request::get(path).header(header::COOKIE, cookie).body(Body::empty()).unwrap()).await
    }

    /// A JSON request as a program.
    pub(super) async fn json(
        &self,
        method: Method,
        path: &str,
        who: &str,
        body: &Json,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer token-{who}"))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// POST of a form from a page of this collector.
    pub(super) async fn form(&self, path: &str, who: Option<&str>, fields: &[(&str, &str)]) -> Answer {
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", crate::web::units::query_escape(value)))
            .collect();
        let mut request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        if let Some(who) = who {
            request = request.header(header::COOKIE, format!("__Host-firstline={}", session(who)));
        }
        self.send(request.body(Body::from(body.join("&"))).unwrap()).await
    }
}

/// The secret of a user's session: 64 hexadecimal digits.
pub(super) fn session(name: &str) -> String {
    crate::web::session::hex(&secret_hash(name))
}

/// The form token on a page.
pub(super) fn form_token(page: &str) -> &str {
    let start = page.find("name=\"csrf\" value=\"").unwrap() + "name=\"csrf\" value=\"".len();
    &page[start..start + 64]
}

pub(super) fn audit(at: Timestamp) -> AuditEntry {
    AuditEntry {
        at,
        actor: "test".to_owned(),
        action: "test".to_owned(),
        subject: "test".to_owned(),
        detail: String::new(),
    }
}

fn device(id: &DeviceId, hostname: &str, site: &str, now: Timestamp) -> Device {
    Device {
        id: id.clone(),
        hostname: hostname.to_owned(),
        site: Some(site.to_owned()),
        status: DeviceStatus::Active,
        tags: vec!["floor-2".to_owned()],
        facts: Value::map([
            ("os", Value::from("windows")),
            ("os_version", Value::from("11 24H2")),
            ("model", Value::from(hostname)),
            ("nested", Value::map([("of the device", Value::from(hostname))])),
        ]),
        agent_version: hostname.to_owned(),
        enrolled_at: now,
        last_seen_at: Some(now),
        presence: Some(Presence::Online),
        certificate_fingerprint: "ab".repeat(32),
        certificate_not_after: now.plus(Duration::from_hours(720)),
    }
}

/// A ticket in which `text` stands wherever a device or a person can put text.
pub(super) fn ticket(number: u64, device: &DeviceId, site: &str, text: &str, now: Timestamp) -> Ticket {
    let facts = Value::map([(text.to_owned(), Value::from(text))]);
    Ticket {
        id: TicketId(number),
        kind: TicketKind::Incident,
        state: TicketState::New,
        on_hold: None,
        snoozed_until: None,
        device: Some(device.clone()),
        rule: Some(RuleCode::new("fs.space").unwrap()),
        component: Component::new(ComponentKind::Filesystem, text).ok(),
        site: Some(site.to_owned()),
        impact: 3,
        urgency: 1,
        priority: Priority(3),
        severity: Severity::Critical,
        title: text.to_owned(),
        summary: format!("In words: {text}"),
        technical: format!("In technical words: {text}"),
        opened_at: now.minus(Duration::from_mins(20)),
        first_observed_at: now.minus(Duration::from_mins(35)),
        updated_at: now,
        resolved_at: None,
        resolution: None,
        responded_at: None,
        response_due: Some(now.plus(Duration::from_mins(10))),
        resolution_due: Some(now.plus(Duration::from_hours(7))),
        pauses: Vec::new(),
        assignee: None,
        group: None,
        tier: 1,
        parent: None,
        evidence: vec![Evidence {
            label: text.to_owned(),
            value: text.to_owned(),
            metric: semconv::FILESYSTEM_UTILIZATION.to_owned(),
            observed_at: now,
        }],
        tested: vec![Tested {
            request_id: format!("{number}-1"),
            diagnostic: "largest_directories".to_owned(),
            subject: text.to_owned(),
            asked_at: now,
            result: Some(TestResult {
                outcome: DiagnosticOutcome::Problem,
                summary: text.to_owned(),
                facts,
                finished_at: now,
            }),
        }],
        ruled_out: vec![RuledOut { cause: text.to_owned(), because: text.to_owned() }],
        likely_cause: Some(text.to_owned()),
        steps: vec![text.to_owned()],
        article: Some((text.to_owned(), Some(format!("javascript:{text}")))),
        changes: vec![firstline_collector_core::ticket::Change { at: now, what: text.to_owned() }],
        recurrence: 0,
        version: 1,
    }
}

pub(super) fn finding(component: &Component, now: Timestamp) -> Finding {
    Finding {
        rule: RuleCode::new("fs.space").unwrap(),
        component: component.clone(),
        phase: Phase::Firing,
        severity: Severity::Critical,
        since: now.minus(Duration::from_mins(35)),
        fired_at: Some(now.minus(Duration::from_mins(20))),
        level_since: Vec::new(),
        clear_since: None,
        cleared_at: None,
        value: Some(0.973),
        threshold: Some(0.95),
        metric: semconv::FILESYSTEM_UTILIZATION.to_owned(),
        suppressed: Some(format!("hidden by {component}")),
        held_until: None,
        episodes: 1,
        standing: Standing::default(),
        recent_fires: Vec::new(),
    }
}

fn latest(component: &Component, text: &str, now: Timestamp) -> Vec<LatestValue> {
    let one = |name: &str, content: LatestContent| LatestValue {
        component: component.clone(),
        name: name.to_owned(),
        series: Attributes::none(),
        observed_at: now,
        content,
        clock_suspect: name == "volume",
    };
    vec![
        one(
            semconv::FILESYSTEM_UTILIZATION,
            LatestContent::Sample { value: 0.973, attributes: Attributes::none().with("type", text) },
        ),
        one("volume", LatestContent::State(Value::map([("label", Value::from(text))]))),
        one(
            semconv::FILESYSTEM_ERRORS,
            LatestContent::Unavailable {
                reason: UnavailableReason::NotPermitted,
                detail: format!("cannot read {text}"),
            },
        ),
    ]
}
