//! `/tickets`, `/tickets/{id}` and `/tickets/{id}/timeline`.

use super::Items;
use super::reply;
use super::ticket_shape::{Hostnames, TicketJson, TimelineJson};
use crate::web::caller::Caller;
use crate::web::context::{Site, Web};
use crate::web::failure::{Failure, Problem};
use crate::web::input::{Query, Segment, given, page, ticket_id};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use firstline_collector_core::ticket::{Ticket, TicketState};
use firstline_collector_store::record::TicketFilter;
use firstline_model::{DeviceId, RuleCode};
use serde::Deserialize;
use utoipa::IntoParams;

/// Which tickets to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TicketQuery {
    /// One or several states with commas between; `open` stands for all in which work remains.
    #[param(example = "open")]
    state: Option<String>,
    /// Only this device (its id).
    device: Option<String>,
    /// Only this rule (its check id).
    rule: Option<String>,
    /// Only this site.
    site: Option<String>,
    /// Only tickets whose title, summary or hostname contains this.
    q: Option<String>,
    /// How many items, 1 to 500; 100 when not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Tickets, most urgent first.
#[utoipa::path(get, path = "/tickets", operation_id = "listTickets", tag = "tickets", params(TicketQuery), responses(
    (status = 200, body = Items<TicketJson>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<TicketQuery>,
) -> Result<Json<Items<TicketJson>>, Failure> {
    let page = page(query.limit, query.after)?;
    let states = given(query.state).map_or(Ok(Vec::new()), |text| states(&text))?;
    let device = given(query.device).map(DeviceId::new).transpose();
    let rule = given(query.rule).map(RuleCode::new).transpose();
    let (device, rule) = match (device, rule) {
        (Ok(device), Ok(rule)) => (device, rule),
        (Err(invalid), _) | (_, Err(invalid)) => return Err(Failure::bad_request(invalid.to_string())),
    };
    let Some(site) = caller.site_to_list(given(query.site)) else {
        return Ok(Json(Items { items: Vec::new(), next: None }));
    };
    let filter = TicketFilter { states, device, rule, site, parent: None, text: given(query.q) };
    let found = web.store().tickets(&filter, &page).await?;
    let (mut names, mut items) = (Hostnames::default(), Vec::with_capacity(found.rows.len()));
    for ticket in &found.rows {
        items.push(TicketJson::load(&web, &mut names, ticket).await?);
    }
    Ok(Json(Items { items, next: found.next }))
}

/// The states in which work remains.
pub(in crate::web) fn open_states() -> Vec<TicketState> {
    TicketState::ALL.iter().copied().filter(|state| state.is_open()).collect()
}

fn states(text: &str) -> Result<Vec<TicketState>, Failure> {
    let mut states = Vec::new();
    for name in text.split(',').map(str::trim) {
        match (name, TicketState::from_text(name)) {
            ("open", _) => states.extend(open_states()),
            (_, Some(state)) => states.push(state),
            (_, None) => {
                let known: Vec<_> = TicketState::ALL.iter().map(|state| state.as_str()).collect();
                return Err(Failure::bad_request(format!(
                    "state must be open or one of {}",
                    known.join(", ")
                )));
            }
        }
    }
    Ok(states)
}

/// The ticket, or the same answer as for one that does not exist when it belongs to a site that the caller does not see.
pub(in crate::web) async fn seen(web: &Site, caller: &Caller, id: &str) -> Result<Ticket, Failure> {
    let ticket = web.store().ticket(ticket_id(id)?).await?;
    let ticket =
        ticket.filter(|ticket| caller.sees(ticket.site.as_deref())).ok_or_else(Failure::not_found)?;
    // A key with the wrong kind names another ticket than the one meant.
    if id.contains('-') && !ticket.key().starts_with(id.split('-').next().unwrap_or_default()) {
        return Err(Failure::not_found());
    }
    Ok(ticket)
}

/// One ticket, by number or key.
#[utoipa::path(get, path = "/tickets/{id}", operation_id = "getTicket", tag = "tickets", params(("id" = String, Path)), responses(
    (status = 200, body = TicketJson), (status = 304, description = "unchanged"),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn one(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let ticket = seen(&web, &caller, &id).await?;
    let shape = TicketJson::load(&web, &mut Hostnames::default(), &ticket).await?;
    reply::resource(&headers, &shape)
}

/// A ticket's history, oldest first.
#[utoipa::path(get, path = "/tickets/{id}/timeline", operation_id = "getTicketTimeline", tag = "tickets", params(("id" = String, Path)), responses(
    (status = 200, body = Items<TimelineJson>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn timeline(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Json<Items<TimelineJson>>, Failure> {
    let ticket = seen(&web, &caller, &id).await?;
    let entries = web.store().timeline(ticket.id).await?;
    Ok(Json(Items { items: entries.iter().map(TimelineJson::from).collect(), next: None }))
}
