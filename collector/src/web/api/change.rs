//! `PATCH /tickets/{id}`: what a technician does to a ticket.

use super::reply;
use super::ticket_shape::{Hostnames, TicketJson};
use super::tickets::seen;
use crate::web::caller::Caller;
use crate::web::context::{Site, Web};
use crate::web::desk::{act, actor, check_assignee};
use crate::web::failure::{Failure, Problem};
use crate::web::input::{JsonBody, Segment};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use firstline_collector_core::ticket::{OnHoldReason, Ticket, TicketInput, TicketState};
use firstline_model::Timestamp;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// What to change; what is left out stays as it is. All of it happens, or nothing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TicketChange {
    /// The user who gets it; null puts it back into the queue.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    assignee: Option<Option<String>>,
    /// The group that gets it.
    #[serde(default)]
    group: Option<String>,
    /// 1 to 3.
    #[serde(default)]
    tier: Option<u8>,
    /// `in_progress`, `on_hold` (with `on_hold_reason`), `resolved` (with `resolution`), `closed`, `cancelled` (with
    /// `reason`); `new` reopens a ticket that is resolved or closed (with `reason`).
    #[serde(default)]
    state: Option<String>,
    /// `awaiting_caller`, `awaiting_change`, `awaiting_problem` or `awaiting_vendor`.
    #[serde(default)]
    on_hold_reason: Option<String>,
    /// How it was resolved.
    #[serde(default)]
    resolution: Option<String>,
    /// Why it is cancelled or reopened.
    #[serde(default)]
    reason: Option<String>,
    /// Puts it to sleep until this moment (RFC 3339), at most 90 days from now; it comes back by itself.
    #[serde(default)]
    snooze_until: Option<String>,
    /// A note for the timeline.
    #[serde(default)]
    note: Option<String>,
}

/// Tells `"assignee": null` from no assignee at all.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(input).map(Some)
}

/// Changes a ticket. Send its ETag as `If-Match`, so that nobody's change is lost.
#[utoipa::path(patch, path = "/tickets/{id}", operation_id = "changeTicket", tag = "tickets",
    params(("id" = String, Path), ("If-Match" = String, Header)), request_body = TicketChange, responses(
    (status = 200, body = TicketJson),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    JsonBody(change): JsonBody<TicketChange>,
) -> Result<Response, Failure> {
    let ticket = seen(&web, &caller, &id).await?;
    caller.require_acting()?;
    let mut names = Hostnames::default();
    reply::check_if_match(&headers, &TicketJson::load(&web, &mut names, &ticket).await?)?;
    let inputs = inputs(&web, &caller, &ticket, change).await?;
    let ticket = act(&web, &caller, ticket, inputs).await?;
    let shape = TicketJson::load(&web, &mut names, &ticket).await?;
    reply::resource(&HeaderMap::new(), &shape)
}

async fn inputs(
    web: &Site,
    caller: &Caller,
    ticket: &Ticket,
    change: TicketChange,
) -> Result<Vec<TicketInput>, Failure> {
    let by = || actor(caller);
    let mut inputs = Vec::new();
    let state = change.state.as_deref().map(|state| wanted(ticket, state, &change, caller)).transpose()?;
    // A ticket is reopened before it is given to somebody, and given to somebody before work begins.
    let reopens = matches!(state, Some(TicketInput::Reopen { .. }));
    let (first, last) = if reopens { (state, None) } else { (None, state) };
    inputs.extend(first);
    if change.assignee.is_some() || change.group.is_some() {
        let assignee = change.assignee.unwrap_or_else(|| ticket.assignee.clone());
        if let Some(name) = &assignee {
            check_assignee(web, ticket, name).await?;
        }
        inputs.push(TicketInput::Assign { by: by(), assignee, group: change.group });
    }
    inputs.extend(change.tier.map(|tier| TicketInput::Escalate { by: by(), tier }));
    inputs.extend(change.note.map(|text| TicketInput::Note { by: by(), text }));
    if let Some(text) = &change.snooze_until {
        let until = moment(text)
            .ok_or_else(|| Failure::bad_request("snooze_until is not a moment as in 2026-01-05T20:00:00Z"))?;
        inputs.push(TicketInput::Snooze { by: by(), until });
    }
    inputs.extend(last);
    if inputs.is_empty() {
        return Err(Failure::bad_request(
            "say what to change: state, assignee, group, tier, snooze_until or note",
        ));
    }
    Ok(inputs)
}

fn moment(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

fn wanted(
    ticket: &Ticket,
    state: &str,
    change: &TicketChange,
    caller: &Caller,
) -> Result<TicketInput, Failure> {
    let by = actor(caller);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Ok(match TicketState::from_text(state) {
        Some(TicketState::InProgress) if ticket.state == TicketState::OnHold => TicketInput::Resume { by },
        Some(TicketState::InProgress) => TicketInput::Start { by },
        Some(TicketState::OnHold) => {
            let reason = change.on_hold_reason.as_deref().and_then(OnHoldReason::from_text);
            let Some(reason) = reason.filter(|reason| *reason != OnHoldReason::Snoozed) else {
                let known = OnHoldReason::ALL.iter().filter(|reason| **reason != OnHoldReason::Snoozed);
                let known: Vec<_> = known.map(|reason| reason.as_str()).collect();
                return Err(Failure::bad_request(format!(
                    "on_hold_reason must be one of {}",
                    known.join(", ")
                )));
            };
            TicketInput::Hold { by, reason }
        }
        Some(TicketState::Resolved) => TicketInput::Resolve { by, resolution: text(&change.resolution) },
        Some(TicketState::Closed) => TicketInput::Close { by },
        Some(TicketState::Cancelled) => TicketInput::Cancel { by, reason: text(&change.reason) },
        Some(TicketState::New) => TicketInput::Reopen { by, reason: text(&change.reason) },
        Some(TicketState::Assigned) => {
            return Err(Failure::bad_request("a ticket becomes assigned by its assignee: send that"));
        }
        None => {
            let states = "new, in_progress, on_hold, resolved, closed, cancelled";
            return Err(Failure::bad_request(format!("state must be one of {states}")));
        }
    })
}
