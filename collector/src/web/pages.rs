//! The pages of the helpdesk, rendered on the server; reading needs no script.

pub(super) mod audit;
pub(super) mod backtest;
pub(super) mod board;
pub(super) mod device;
pub(super) mod devices;
pub(super) mod knowledge;
pub(super) mod live;
mod recording;
pub(super) mod setup;
pub(super) mod sign_in;
pub(super) mod ticket;
pub(super) mod ticket_action;

use crate::web::assets;
use crate::web::caller::Caller;
use crate::web::failure::{Failure, PageFailure};
use crate::web::shown::Shown;
use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use firstline_collector_core::ticket::{Ticket, TicketState};
use firstline_model::Timestamp;

/// What a page handler gives back.
pub(super) type PageResult = Result<Response, PageFailure>;

/// What stands around every page: addresses of assets, the signed-in person, the section in the navigation.
struct Frame {
    title: Shown,
    section: &'static str,
    user: Option<Signed>,
    css: &'static str,
    script: &'static str,
    icon: &'static str,
}

/// The signed-in person.
struct Signed {
    name: Shown,
    role: &'static str,
    site: Option<Shown>,
    form_token: String,
    sees_audit: bool,
}

impl Frame {
    fn anonymous(title: &str) -> Self {
        Self {
            title: Shown::line(title),
            section: "",
            user: None,
            css: assets::url("firstline.css"),
            script: assets::url("firstline.js"),
            icon: assets::url("firstline.svg"),
        }
    }

    fn of(caller: &Caller, section: &'static str, title: &str) -> Self {
        let user = Signed {
            name: Shown::line(&caller.actor),
            role: caller.role.as_str(),
            site: caller.site.as_deref().map(Shown::line),
            form_token: caller.form_token().to_owned(),
            sees_audit: caller.require_whole_fleet_admin().is_ok(),
        };
        Self { section, user: Some(user), ..Self::anonymous(title) }
    }
}

fn render(status: StatusCode, page: &impl Template) -> PageResult {
    Ok((status, Html(page.render()?)).into_response())
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    status: u16,
    title: &'static str,
    detail: Shown,
}

/// A failure as a page.
pub(super) fn error_page(failure: &Failure) -> Response {
    let page = ErrorPage {
        frame: Frame::anonymous(failure.title()),
        status: failure.status.as_u16(),
        title: failure.title(),
        detail: Shown::line(&failure.detail),
    };
    match page.render() {
        Ok(html) => (failure.status, Html(html)).into_response(),
        Err(_) => (failure.status, failure.title()).into_response(),
    }
}

/// How much time the SLA leaves, in words, and how urgent that is as a class of the style sheet.
struct SlaView {
    text: String,
    class: &'static str,
}

fn sla(ticket: &Ticket, now: Timestamp) -> SlaView {
    let view = |text: String, class| SlaView { text, class };
    match ticket.state {
        TicketState::Resolved | TicketState::Closed => return view("done".to_owned(), "sla-done"),
        TicketState::Cancelled => return view("cancelled".to_owned(), "sla-done"),
        TicketState::OnHold => return view("paused".to_owned(), "sla-paused"),
        TicketState::New | TicketState::Assigned | TicketState::InProgress => {}
    }
    let response =
        ticket.response_due.filter(|_| ticket.responded_at.is_none()).map(|due| (due, "to respond"));
    let resolution = ticket.resolution_due.map(|due| (due, "to resolve"));
    let next = match (response, resolution) {
        (Some(first), Some(second)) if second.0 < first.0 => Some(second),
        (Some(first), _) => Some(first),
        (None, second) => second,
    };
    let Some((due, what)) = next else { return view("no target".to_owned(), "sla-done") };
    if now > due {
        return view(format!("{} late {what}", super::units::duration(now.since(due))), "sla-late");
    }
    let left = due.since(now);
    let whole = due.since(ticket.opened_at);
    let class = if left * 4 < whole { "sla-soon" } else { "sla-fine" };
    view(format!("{} {what}", super::units::duration(left)), class)
}

/// A ticket as a row of a list.
struct TicketRow {
    number: u64,
    key: String,
    priority: u8,
    title: Shown,
    state: String,
    assignee: Option<Shown>,
    device: Option<(String, Shown)>,
    component: Option<Shown>,
    site: Option<Shown>,
    age: String,
    opened_at: Timestamp,
    sla: SlaView,
    likely_cause: Option<Shown>,
    recurrence: u32,
    is_shared_cause: bool,
    parent: Option<u64>,
    /// Tickets that this one speaks for, where they are not listed themselves.
    gathers: usize,
}

impl TicketRow {
    fn of(ticket: &Ticket, hostname: Option<&str>, now: Timestamp) -> Self {
        Self {
            number: ticket.id.0,
            key: ticket.key(),
            priority: ticket.priority.0.min(5),
            title: Shown::line(&ticket.title),
            state: super::units::words(ticket.state.as_str()),
            assignee: ticket.assignee.as_deref().map(Shown::line),
            device: ticket
                .device
                .as_ref()
                .map(|id| (id.to_string(), Shown::line(hostname.unwrap_or(id.as_str())))),
            component: ticket.component.as_ref().map(|component| Shown::line(&component.to_string())),
            site: ticket.site.as_deref().map(Shown::line),
            age: super::units::duration(now.since(ticket.opened_at)),
            opened_at: ticket.opened_at,
            sla: sla(ticket, now),
            likely_cause: ticket.likely_cause.as_deref().map(Shown::line),
            recurrence: ticket.recurrence,
            is_shared_cause: ticket.device.is_none(),
            parent: ticket.parent.map(|parent| parent.0),
            gathers: 0,
        }
    }
}

/// A link that may be followed from a page: only web addresses, never scripts.
fn safe_link(url: Option<&str>) -> Option<Shown> {
    let url = url?;
    let web = url.starts_with("https://") || url.starts_with("http://");
    (web && !url.chars().any(|c| c.is_control() || c.is_whitespace())).then(|| Shown::line(url))
}
