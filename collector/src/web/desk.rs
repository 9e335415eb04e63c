//! What a person does to a ticket, whether by a form or by the REST interface: one decision by the core, one write.

use crate::web::caller::{Caller, Through};
use crate::web::context::{Change, Site};
use crate::web::failure::Failure;
use axum::http::StatusCode;
use firstline_collector_core::ticket::{Actor, Effect, Ticket, TicketInput, apply};
use firstline_collector_store::record::{AuditEntry, PendingDiagnostic};

/// Applies the inputs in order and keeps the result in one write; nothing is kept when one of them is refused.
pub(super) async fn act(
    web: &Site,
    caller: &Caller,
    before: Ticket,
    inputs: Vec<TicketInput>,
) -> Result<Ticket, Failure> {
    let now = web.now();
    let actions: Vec<&'static str> = inputs.iter().map(name).collect();
    let (mut ticket, mut timeline, mut effects) = (before.clone(), Vec::new(), Vec::new());
    for input in inputs {
        let applied = apply(ticket, input, web.context.calendar, now)
            .map_err(|refused| Failure::new(StatusCode::CONFLICT, refused.to_string()))?;
        ticket = applied.0;
        timeline.extend(applied.1);
        effects.extend(applied.2);
    }
    if ticket == before {
        return Ok(ticket);
    }
    // Several inputs of one request are one change.
    ticket.version = before.version.saturating_add(1);
    let audit = AuditEntry {
        at: now,
        actor: caller.actor.clone(),
        action: "ticket.change".to_owned(),
        subject: format!("ticket:{}", ticket.key()),
        detail: actions.join(", "),
    };
    web.store().save_ticket(&ticket, &timeline, &audit).await?;
    for effect in effects {
        let Effect::RunDiagnostic { ticket, device, request_id, request } = effect;
        let audit = AuditEntry {
            at: now,
            actor: "firstline".to_owned(),
            action: "diagnostic.request".to_owned(),
            subject: format!("device:{device}"),
            detail: request.name().to_owned(),
        };
        let pending =
            PendingDiagnostic { ticket: Some(ticket), device, request_id, request, created_at: now };
        web.store().request_diagnostic(&pending, &audit).await?;
    }
    if let Some(device) = &ticket.device {
        (web.context.touched)(device);
    }
    // Nobody listens when no page is open; that is no failure.
    let _ = web.context.changes.send(Change {
        site: ticket.site.clone(),
        device: ticket.device.clone(),
        tickets: vec![ticket.id],
    });
    Ok(ticket)
}

/// The caller as the one who did it.
pub(super) fn actor(caller: &Caller) -> Actor {
    Actor::Person(caller.actor.clone())
}

/// Checks that the ticket can be given to this name: an account that may sign in and sees the ticket's site.
pub(super) async fn check_assignee(web: &Site, ticket: &Ticket, name: &str) -> Result<(), Failure> {
    let user = web.store().user(name).await?.filter(|user| !user.disabled);
    match user {
        Some(user) if user.site.is_none() || user.site == ticket.site => Ok(()),
        Some(_) | None => {
            Err(Failure::bad_request("assignee must be the name of a user who sees this ticket"))
        }
    }
}

/// The caller's own user name; programs with a token have none.
pub(super) fn own_name(caller: &Caller) -> Result<String, Failure> {
    match caller.through {
        Through::Session { .. } => Ok(caller.actor.clone()),
        Through::BearerToken { .. } => Err(Failure::bad_request("name the assignee")),
    }
}

fn name(input: &TicketInput) -> &'static str {
    match input {
        TicketInput::Assign { .. } => "assign",
        TicketInput::Start { .. } => "start",
        TicketInput::Hold { .. } => "hold",
        TicketInput::Snooze { .. } => "snooze",
        TicketInput::Resume { .. } => "resume",
        TicketInput::Resolve { .. } => "resolve",
        TicketInput::Reopen { .. } => "reopen",
        TicketInput::Close { .. } => "close",
        TicketInput::Cancel { .. } => "cancel",
        TicketInput::Note { .. } => "note",
        TicketInput::Escalate { .. } => "escalate",
        TicketInput::FindingFired { .. }
        | TicketInput::FindingEscalated { .. }
        | TicketInput::FindingRecovering
        | TicketInput::SnoozeOver
        | TicketInput::FindingRelapsed
        | TicketInput::FindingCleared { .. }
        | TicketInput::TestFinished(_)
        | TicketInput::JoinParent { .. }
        | TicketInput::TestExpired { .. }
        | TicketInput::EffectSeen(_)
        | TicketInput::Explained { .. } => "engine",
    }
}
