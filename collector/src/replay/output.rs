//! What a replay says: one line for each thing that became of a ticket, and one for each breach without one.

use firstline_collector_core::ticket::{Ticket, TicketState};
use firstline_model::Timestamp;
use firstline_model::deceptive::one_line;
use serde::Serialize;
use std::io::{self, Write};

/// Where it is told what becomes of the tickets of a recording.
pub(crate) trait Listener {
    /// A ticket was opened or changed.
    fn ticket(&mut self, before: Option<&Ticket>, after: &Ticket, at: Timestamp) -> io::Result<()>;
    /// A breach made no ticket.
    fn suppressed(&mut self, one: &Suppressed<'_>) -> io::Result<()>;
    /// Nothing more comes.
    fn finish(&mut self) -> io::Result<()>;
}

/// Writes lines for programs (NDJSON) or for a person.
pub(super) struct Output<W: Write> {
    out: W,
    json: bool,
    /// How many tickets were opened.
    pub(super) opened: u64,
    /// How many breaches made no ticket.
    pub(super) suppressed: u64,
}

#[derive(Serialize)]
struct TicketLine<'a> {
    t: String,
    ticket: u64,
    transition: &'a str,
    kind: &'a str,
    device: Option<&'a str>,
    rule: Option<&'a str>,
    component: Option<String>,
    priority: String,
    likely_cause: Option<&'a str>,
    parent: Option<u64>,
    severity: &'a str,
    site: Option<&'a str>,
    title: &'a str,
}

#[derive(Serialize)]
struct SuppressedLine<'a> {
    t: String,
    suppressed: &'a str,
    device: Option<&'a str>,
    rule: &'a str,
    component: String,
    parent: Option<u64>,
}

/// A breach without a ticket of its own.
pub(crate) struct Suppressed<'a> {
    pub(crate) at: Timestamp,
    pub(crate) reason: &'a str,
    pub(crate) device: Option<&'a str>,
    pub(crate) rule: &'a str,
    pub(crate) component: String,
    /// The ticket that explains it.
    pub(crate) parent: Option<u64>,
}

impl<W: Write> Output<W> {
    pub(super) fn new(out: W, json: bool) -> Self {
        Self { out, json, opened: 0, suppressed: 0 }
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write> Listener for Output<W> {
    /// What became of a ticket, when anything did that a person would be told.
    fn ticket(&mut self, before: Option<&Ticket>, after: &Ticket, at: Timestamp) -> io::Result<()> {
        let Some(transition) = transition(before, after) else { return Ok(()) };
        self.opened += u64::from(transition == "opened");
        let line = TicketLine {
            t: second(at),
            ticket: after.id.0,
            transition,
            kind: after.kind.as_str(),
            device: after.device.as_ref().map(firstline_model::DeviceId::as_str),
            rule: after.rule.as_ref().map(firstline_model::RuleCode::as_str),
            component: after.component.as_ref().map(ToString::to_string),
            priority: format!("P{}", after.priority.0),
            likely_cause: after.likely_cause.as_deref(),
            parent: after.parent.map(|parent| parent.0),
            severity: after.severity.as_str(),
            site: after.site.as_deref(),
            title: &after.title,
        };
        if self.json {
            return self.line(&line);
        }
        let parent = line.parent.map_or(String::new(), |parent| format!(" (part of #{parent})"));
        let place = one_line(line.device.or(line.site).unwrap_or("-"));
        writeln!(
            self.out,
            "{}  {:<9} #{:<5} {} {:<9} {place:<12} {}{parent}",
            line.t,
            line.transition,
            line.ticket,
            line.priority,
            line.kind,
            one_line(line.title)
        )
    }

    fn suppressed(&mut self, one: &Suppressed<'_>) -> io::Result<()> {
        self.suppressed += 1;
        let line = SuppressedLine {
            t: second(one.at),
            suppressed: one.reason,
            device: one.device,
            rule: one.rule,
            component: one.component.clone(),
            parent: one.parent,
        };
        if self.json {
            return self.line(&line);
        }
        let place = one_line(one.device.unwrap_or("-"));
        writeln!(
            self.out,
            "{}  no ticket          {place:<12} {} {}: {}",
            line.t,
            one.rule,
            one_line(&one.component),
            one_line(one.reason)
        )
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Times as traces write them: without a fraction when there is none.
fn second(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix(".000Z") {
        Some(whole) => format!("{whole}Z"),
        None => text,
    }
}

fn transition(before: Option<&Ticket>, after: &Ticket) -> Option<&'static str> {
    let Some(before) = before else { return Some("opened") };
    let was_open = before.state.is_open();
    match after.state {
        TicketState::New | TicketState::Assigned | TicketState::InProgress | TicketState::OnHold => {
            if !was_open {
                return Some("reopened");
            }
        }
        TicketState::Resolved if was_open => return Some("resolved"),
        TicketState::Closed | TicketState::Cancelled if before.state != after.state => return Some("closed"),
        TicketState::Resolved | TicketState::Closed | TicketState::Cancelled => {}
    }
    let told = |ticket: &Ticket| {
        (ticket.severity, ticket.priority, ticket.likely_cause.clone(), ticket.parent, ticket.title.clone())
    };
    (told(before) != told(after)).then_some("updated")
}
