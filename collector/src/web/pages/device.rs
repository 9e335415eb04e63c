//! One device on one page: is it well, what does it measure, what is wrong, what is it.

use super::devices::DeviceRow;
use super::live::{Live, LiveQuery};
use super::{Frame, PageResult, TicketRow, render};
use crate::web::caller::Caller;
use crate::web::context::{KnowledgeText, Web};
use crate::web::input::{Query, Segment, device_id};
use crate::web::shown::Shown;
use crate::web::units;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use firstline_collector_core::desk::Suppression;
use firstline_collector_core::finding::{Finding, Phase, Standing};
use firstline_collector_core::present::word;
use firstline_collector_core::quiet::BELOW_IMPACT;
use firstline_collector_core::ticket::Ticket;
use firstline_collector_store::quiet::SuppressionFilter;
use firstline_collector_store::record::{DeviceStatus, LatestContent, LatestValue, Page, TicketFilter};
use firstline_model::{
    Attributes, Component, ComponentKind, Presence, Severity, Timestamp, UnavailableReason,
};
use std::collections::BTreeMap;

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    frame: Frame,
    device: DeviceRow,
    id: String,
    agent_version: Shown,
    enrolled: String,
    certificate_until: String,
    tags: Vec<Shown>,
    domains: Vec<DomainView>,
    findings: Vec<FindingView>,
    held: Vec<HeldView>,
    tickets: Vec<TicketRow>,
    facts: Vec<(Shown, Shown)>,
    /// Somebody watches.
    live: Option<Live>,
    may_watch: bool,
}

/// One part of a machine's health, such as its network.
struct DomainView {
    name: &'static str,
    anchor: &'static str,
    verdict: &'static str,
    class: &'static str,
    components: Vec<ComponentView>,
}

struct ComponentView {
    name: Shown,
    rows: Vec<ValueRow>,
}

struct ValueRow {
    label: Shown,
    series: Shown,
    value: Shown,
    /// Why there is no value, in words.
    missing: bool,
    /// The part does not exist in this device.
    absent: bool,
    detail: Shown,
    age: String,
    /// The device's clock was wrong, and the age is by the collector's.
    clock_suspect: bool,
    lines: Vec<(Shown, Shown)>,
}

struct FindingView {
    rule: String,
    component: Shown,
    severity: &'static str,
    phase: &'static str,
    since: String,
    value: String,
    /// Number and key of the ticket that it belongs to.
    ticket: Option<(String, String)>,
    /// Why there is none.
    why_none: Option<Shown>,
}

/// A breach that made no ticket.
struct HeldView {
    rule: String,
    component: Shown,
    reason: Shown,
    at: String,
    until: Option<String>,
}

/// The parts of a machine, in the order in which a technician asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Domain {
    Processor,
    Memory,
    Disk,
    Power,
    Network,
    Printing,
    System,
    Agent,
}

impl Domain {
    const ALL: &'static [Self] = &[
        Self::Processor,
        Self::Memory,
        Self::Disk,
        Self::Power,
        Self::Network,
        Self::Printing,
        Self::System,
        Self::Agent,
    ];

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Processor => ("Processor and heat", "processor"),
            Self::Memory => ("Memory", "memory"),
            Self::Disk => ("Disks and file systems", "disk"),
            Self::Power => ("Battery", "power"),
            Self::Network => ("Network", "network"),
            Self::Printing => ("Printers", "printing"),
            Self::System => ("System and security", "system"),
            Self::Agent => ("Agent", "agent"),
        }
    }

    const fn of(kind: ComponentKind) -> Self {
        match kind {
            ComponentKind::Cpu | ComponentKind::Sensor | ComponentKind::Fan | ComponentKind::Gpu => {
                Self::Processor
            }
            ComponentKind::Memory => Self::Memory,
            ComponentKind::Filesystem | ComponentKind::PhysicalDisk | ComponentKind::LogicalDisk => {
                Self::Disk
            }
            ComponentKind::Battery => Self::Power,
            ComponentKind::Network
            | ComponentKind::NetworkInterface
            | ComponentKind::Gateway
            | ComponentKind::DnsServer
            | ComponentKind::Vpn
            | ComponentKind::Wifi
            | ComponentKind::Endpoint
            | ComponentKind::Site => Self::Network,
            ComponentKind::Printer => Self::Printing,
            ComponentKind::Os
            | ComponentKind::Service
            | ComponentKind::Application
            | ComponentKind::Process
            | ComponentKind::Security
            | ComponentKind::Device
            | ComponentKind::User => Self::System,
            ComponentKind::Agent => Self::Agent,
        }
    }
}

/// `GET /devices/{id}`
pub(in crate::web) async fn show(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
    Query(query): Query<LiveQuery>,
) -> PageResult {
    let id = device_id(&id)?;
    let device = caller.seen(web.store().device(&id).await?)?;
    let now = web.now();
    let latest = web.store().latest(&id).await?;
    let findings: Vec<Finding> =
        web.store().findings(Some(&id), None).await?.into_iter().map(|found| found.finding).collect();
    let breaches = SuppressionFilter { device: Some(id.clone()), ..SuppressionFilter::default() };
    let held = web.store().suppressions(&breaches, &Page { limit: 20, after: None }).await?.rows;
    let filter = TicketFilter { device: Some(id.clone()), ..TicketFilter::default() };
    let mut tickets = web.store().tickets(&filter, &Page { limit: 50, after: None }).await?.rows;
    tickets.sort_by_key(|ticket| (!ticket.state.is_open(), std::cmp::Reverse(ticket.updated_at)));
    let open = tickets.iter().filter(|ticket| ticket.state.is_open()).count();
    let mut row = DeviceRow::of(&device, open);
    row.seen = device.last_seen_at.map_or_else(|| "never".to_owned(), |at| units::ago(at, now));
    let is_online = device.status == DeviceStatus::Active && device.presence == Some(Presence::Online);
    let entries = web.context.knowledge.entries();
    let page = DevicePage {
        frame: Frame::of(&caller, "devices", &device.hostname),
        device: row,
        id: id.to_string(),
        agent_version: Shown::line(&device.agent_version),
        enrolled: units::moment(device.enrolled_at),
        certificate_until: units::moment(device.certificate_not_after),
        tags: device.tags.iter().map(|tag| Shown::line(tag)).collect(),
        domains: domains(&latest, &findings, now),
        findings: findings
            .iter()
            .map(|finding| FindingView::of(finding, ticket_of(finding, &tickets, &entries), now))
            .collect(),
        held: held.iter().map(|one| HeldView::of(&one.suppression, now)).collect(),
        tickets: tickets.iter().map(|ticket| TicketRow::of(ticket, Some(&device.hostname), now)).collect(),
        facts: units::document_lines(&device.facts),
        live: Live::of(&query, now),
        may_watch: caller.may_act() && is_online,
    };
    render(StatusCode::OK, &page)
}

fn domains(latest: &[LatestValue], findings: &[Finding], now: Timestamp) -> Vec<DomainView> {
    let mut by_domain: BTreeMap<Domain, BTreeMap<&Component, Vec<ValueRow>>> = BTreeMap::new();
    for value in latest {
        let components = by_domain.entry(Domain::of(value.component.kind)).or_default();
        components.entry(&value.component).or_default().push(ValueRow::of(value, now));
    }
    let views = Domain::ALL.iter().filter_map(|domain| {
        let components = by_domain.remove(domain).unwrap_or_default();
        let worst = findings
            .iter()
            .filter(|finding| Domain::of(finding.component.kind) == *domain)
            .filter(|finding| matches!(finding.phase, Phase::Firing | Phase::Clearing))
            .map(|finding| finding.severity)
            .max();
        if components.is_empty() && worst.is_none() {
            return None;
        }
        let mut rows = components.values().flatten();
        let (nothing_there, nothing_read) = (rows.clone().all(|row| row.absent), rows.all(|row| row.missing));
        let (verdict, class) = match worst {
            Some(Severity::Critical) => ("critical", "bad"),
            Some(Severity::Warning) => ("warning", "warn"),
            Some(Severity::Info) => ("note", "note"),
            None if nothing_there => ("not part of this device", "none"),
            None if nothing_read => ("cannot be read", "none"),
            None => ("in order", "ok"),
        };
        let components = components
            .into_iter()
            .map(|(component, rows)| ComponentView { name: Shown::line(&component.to_string()), rows })
            .collect();
        let (name, anchor) = domain.names();
        Some(DomainView { name, anchor, verdict, class, components })
    });
    views.collect()
}

impl ValueRow {
    fn of(latest: &LatestValue, now: Timestamp) -> Self {
        let mut row = Self {
            label: units::label(&latest.name),
            series: series(&latest.series),
            value: Shown::default(),
            missing: false,
            absent: false,
            detail: Shown::default(),
            age: units::ago(latest.observed_at, now),
            clock_suspect: latest.clock_suspect,
            lines: Vec::new(),
        };
        match &latest.content {
            LatestContent::Sample { value, attributes } => {
                row.series = series(attributes);
                row.value = Shown::line(&units::measured(&latest.name, *value));
            }
            LatestContent::State(document) => row.lines = units::document_lines(document),
            LatestContent::Unavailable { reason, detail } => {
                row.missing = true;
                row.absent = *reason == UnavailableReason::NotPresent;
                row.value = Shown::line(reason_text(*reason));
                row.detail = Shown::line(detail);
            }
        }
        row
    }
}

fn series(attributes: &Attributes) -> Shown {
    let pairs: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Shown::line(&pairs.join(", "))
}

const fn reason_text(reason: UnavailableReason) -> &'static str {
    match reason {
        UnavailableReason::NotPermitted => "not permitted",
        UnavailableReason::Unsupported => "unsupported",
        UnavailableReason::NotPresent => "not present",
        UnavailableReason::TimedOut => "timed out",
        UnavailableReason::Malformed => "not understood",
    }
}

impl HeldView {
    fn of(one: &Suppression, now: Timestamp) -> Self {
        Self {
            rule: one.rule.to_string(),
            component: Shown::line(&one.component.to_string()),
            reason: Shown::line(&one.reason),
            at: units::ago(one.at, now),
            until: one.until.filter(|until| *until > now).map(units::moment),
        }
    }
}

/// The ticket that stands for a finding, or why none does.
type TicketOrWhy = (Option<(String, String)>, Option<String>);

/// `tickets` are the device's, open ones first; `entries` are those in force.
fn ticket_of(finding: &Finding, tickets: &[Ticket], entries: &[KnowledgeText]) -> TicketOrWhy {
    let own = tickets.iter().find(|ticket| {
        ticket.rule.as_ref() == Some(&finding.rule) && ticket.component.as_ref() == Some(&finding.component)
    });
    let link = |ticket: &Ticket| Some((ticket.id.0.to_string(), ticket.key()));
    let none = |why: &str| (None, Some(format!("none: {why}")));
    if let Some(open) = own.filter(|ticket| ticket.state.is_open()) {
        return (link(open), finding.suppressed.as_ref().map(|why| format!(" ({why})")));
    }
    if let Standing::Member(parent) = finding.standing {
        return (
            Some((parent.0.to_string(), format!("PRB-{:06}", parent.0))),
            Some(" (shared cause)".to_owned()),
        );
    }
    if let Some(why) = &finding.suppressed {
        return none(why);
    }
    if finding.phase == Phase::Pending {
        return none("it does not hold for long enough yet");
    }
    if let Standing::Waiting(until) = finding.standing {
        return none(&format!("compared with other devices until {} UTC", units::moment(until)));
    }
    let entry = entries.iter().find(|entry| entry.code == finding.rule.as_str());
    if entry.is_some_and(|entry| !entry.opens_ticket) {
        return none(BELOW_IMPACT);
    }
    match own {
        // It was resolved, closed or cancelled while the finding goes on.
        Some(over) => (link(over), Some(format!(" ({})", units::words(over.state.as_str())))),
        None => none("it is older than the 50 newest tickets of this device, or is being decided about"),
    }
}

impl FindingView {
    fn of(finding: &Finding, (ticket, why_none): TicketOrWhy, now: Timestamp) -> Self {
        let measured = |value: f64| units::measured(&finding.metric, value);
        let value = match (finding.value, finding.threshold) {
            // The level of what is a word (yes, stopped) would say nothing.
            (Some(value), Some(_)) if word(&finding.metric, value).is_some() => measured(value),
            (Some(value), Some(level)) => format!("{} (level {})", measured(value), measured(level)),
            (Some(value), None) => measured(value),
            (None, _) => String::new(),
        };
        Self {
            rule: finding.rule.to_string(),
            component: Shown::line(&finding.component.to_string()),
            severity: finding.severity.as_str(),
            phase: finding.phase.as_str(),
            since: units::ago(finding.since, now),
            value,
            ticket,
            why_none: why_none.as_deref().map(Shown::line),
        }
    }
}
