//! The buttons of the ticket page.

use super::PageResult;
use crate::web::api;
use crate::web::caller::Caller;
use crate::web::context::Web;
use crate::web::desk::{act, actor, own_name};
use crate::web::failure::Failure;
use crate::web::input::{Form, Segment};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use firstline_collector_core::ticket::{OnHoldReason, Ticket, TicketInput, TicketState};
use serde::Deserialize;

/// One button with its text, as pressed on a page that showed this version.
#[derive(Deserialize)]
pub(in crate::web) struct ActionForm {
    #[serde(default)]
    csrf: String,
    version: u64,
    action: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    reason: String,
}

/// `POST /tickets/{id}/actions`
pub(in crate::web) async fn apply(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
    Form(form): Form<ActionForm>,
) -> PageResult {
    caller.check_form(Some(&form.csrf))?;
    let ticket = api::seen_ticket(&web, &caller, &id).await?;
    caller.require_acting()?;
    if ticket.version != form.version {
        let detail = "somebody changed the ticket meanwhile: load it again, then decide";
        return Err(Failure::new(StatusCode::CONFLICT, detail).into());
    }
    let by = actor(&caller);
    let input = match form.action.as_str() {
        "take" => TicketInput::Assign { by, assignee: Some(own_name(&caller)?), group: None },
        "release" => TicketInput::Assign { by, assignee: None, group: None },
        "start" => TicketInput::Start { by },
        "hold" => match OnHoldReason::from_text(&form.reason) {
            Some(reason) => TicketInput::Hold { by, reason },
            None => return Err(Failure::bad_request("say what the ticket waits for").into()),
        },
        "resume" => TicketInput::Resume { by },
        "resolve" => TicketInput::Resolve { by, resolution: form.text },
        "close" => TicketInput::Close { by },
        "reopen" => TicketInput::Reopen { by, reason: form.text },
        "cancel" => TicketInput::Cancel { by, reason: form.text },
        "note" => TicketInput::Note { by, text: form.text },
        "escalate" => TicketInput::Escalate { by, tier: ticket.tier.saturating_add(1) },
        _ => return Err(Failure::bad_request("there is no such action").into()),
    };
    let ticket = act(&web, &caller, ticket, vec![input]).await?;
    Ok(Redirect::to(&format!("/tickets/{}", ticket.id)).into_response())
}

/// Which buttons make sense now.
pub(super) struct Actions {
    pub(super) version: u64,
    pub(super) take: bool,
    pub(super) release: bool,
    pub(super) start: bool,
    pub(super) resume: bool,
    pub(super) hold: Vec<(&'static str, String)>,
    pub(super) open: bool,
    pub(super) escalate: Option<u8>,
    pub(super) close: bool,
    pub(super) reopen: bool,
}

impl Actions {
    /// `None` for callers who only read.
    pub(super) fn of(ticket: &Ticket, caller: &Caller) -> Option<Self> {
        if !caller.may_act() {
            return None;
        }
        let open = ticket.state.is_open();
        let mine = ticket.assignee.as_deref() == Some(caller.actor.as_str());
        let hold = if open {
            OnHoldReason::ALL
                .iter()
                .filter(|reason| ticket.on_hold != Some(**reason) && **reason != OnHoldReason::Snoozed)
                .map(|reason| (reason.as_str(), crate::web::units::words(reason.as_str())))
                .collect()
        } else {
            Vec::new()
        };
        Some(Self {
            version: ticket.version,
            take: open && !mine,
            release: open && ticket.assignee.is_some(),
            start: matches!(ticket.state, TicketState::New | TicketState::Assigned),
            resume: ticket.state == TicketState::OnHold,
            hold,
            open,
            escalate: (open && ticket.tier < 3).then_some(ticket.tier + 1),
            close: ticket.state == TicketState::Resolved,
            reopen: matches!(ticket.state, TicketState::Resolved | TicketState::Closed),
        })
    }
}
