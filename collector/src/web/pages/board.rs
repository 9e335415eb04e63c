//! The 8:55 board: what is open, most urgent first.

use super::{Frame, PageResult, TicketRow, render};
use crate::web::api;
use crate::web::caller::Caller;
use crate::web::context::{Site, Web};
use crate::web::failure::Failure;
use crate::web::input::{Query, given};
use crate::web::shown::Shown;
use crate::web::units;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use firstline_collector_core::ticket::Ticket;
use firstline_collector_store::record::{DeviceFilter, Page, TicketFilter};
use firstline_model::TicketId;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Template)]
#[template(path = "board.html")]
struct BoardPage {
    frame: Frame,
    headline: String,
    site: Shown,
    text: Shown,
    filtered: bool,
    sites: Vec<Shown>,
    counters: Counters,
    rows: Vec<TicketRow>,
    hidden: usize,
    fleet: FleetLine,
}

/// Only the part that the script swaps.
#[derive(Template)]
#[template(path = "board_list.html")]
struct BoardList {
    headline: String,
    filtered: bool,
    counters: Counters,
    rows: Vec<TicketRow>,
    hidden: usize,
    fleet: FleetLine,
}

struct Counters {
    late: usize,
    unassigned: usize,
    urgent: usize,
    causes: usize,
}

/// What is known of the fleet when nothing is wrong.
struct FleetLine {
    devices: usize,
    more: bool,
    last_data: Option<String>,
}

/// The filter.
#[derive(Deserialize)]
pub(in crate::web) struct BoardQuery {
    site: Option<String>,
    q: Option<String>,
    #[serde(default)]
    part: String,
}

/// More rows than a person works through are not sent; the counters still count them.
const MAX_ROWS: usize = 200;

/// `GET /`
pub(in crate::web) async fn board(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<BoardQuery>,
) -> PageResult {
    let (site, text) = (given(query.site), given(query.q));
    let filtered = site.is_some() || text.is_some();
    let tickets = match caller.site_to_list(site.clone()) {
        Some(site) => open_tickets(&web, site, text.clone()).await?,
        None => Vec::new(),
    };
    let now = web.now();
    let devices: BTreeSet<_> = tickets.iter().filter_map(|ticket| ticket.device.as_ref()).collect();
    // What has a shared cause is worked there. Who looks for a text or a device wants to see it all the same.
    let gathered = if text.is_some() { BTreeMap::new() } else { gathered(&tickets) };
    let is_listed = |ticket: &&Ticket| ticket.parent.is_none_or(|parent| !gathered.contains_key(&parent));
    let headline = headline(tickets.iter().filter(is_listed).count(), devices.len());
    let counters = Counters {
        late: tickets.iter().filter(is_listed).filter(|ticket| api::is_breached(ticket, now)).count(),
        unassigned: tickets.iter().filter(is_listed).filter(|ticket| ticket.assignee.is_none()).count(),
        urgent: tickets.iter().filter(is_listed).filter(|ticket| ticket.priority.0 <= 2).count(),
        causes: tickets.iter().filter(|ticket| ticket.device.is_none()).count(),
    };
    let sites: BTreeSet<&str> = tickets.iter().filter_map(|ticket| ticket.site.as_deref()).collect();
    let sites = sites.into_iter().map(Shown::line).collect();
    let mut names = api::Hostnames::default();
    let mut rows = Vec::new();
    for ticket in tickets.iter().filter(is_listed).take(MAX_ROWS) {
        let hostname = match &ticket.device {
            Some(id) => Some(names.of(&web, id).await?),
            None => None,
        };
        let gathers = gathered.get(&ticket.id).copied().unwrap_or_default();
        rows.push(TicketRow { gathers, ..TicketRow::of(ticket, hostname.as_deref(), now) });
    }
    let hidden = tickets.iter().filter(is_listed).count() - rows.len();
    let fleet = fleet_line(&web, &caller).await?;
    if query.part == "list" {
        return render(StatusCode::OK, &BoardList { headline, filtered, counters, rows, hidden, fleet });
    }
    let page = BoardPage {
        frame: Frame::of(&caller, "board", &headline),
        headline,
        site: Shown::line(&site.unwrap_or_default()),
        text: Shown::line(&text.unwrap_or_default()),
        filtered,
        sites,
        counters,
        rows,
        hidden,
        fleet,
    };
    render(StatusCode::OK, &page)
}

/// How many of the tickets belong to a shared cause that is among them too, by that cause's ticket.
fn gathered(tickets: &[Ticket]) -> BTreeMap<TicketId, usize> {
    let causes: BTreeSet<TicketId> =
        tickets.iter().filter(|ticket| ticket.device.is_none()).map(|ticket| ticket.id).collect();
    let mut gathered = BTreeMap::new();
    for parent in tickets.iter().filter_map(|ticket| ticket.parent).filter(|id| causes.contains(id)) {
        *gathered.entry(parent).or_default() += 1;
    }
    gathered
}

async fn open_tickets(
    web: &Site,
    site: Option<String>,
    text: Option<String>,
) -> Result<Vec<Ticket>, Failure> {
    /// Beyond this the board says that there are more, and the fleet has other worries.
    const MAX_TICKETS: usize = 2_000;
    let filter = TicketFilter { states: api::open_states(), site, text, ..TicketFilter::default() };
    let mut page = Page { limit: 500, after: None };
    let mut tickets = Vec::new();
    while tickets.len() < MAX_TICKETS {
        let found = web.store().tickets(&filter, &page).await?;
        tickets.extend(found.rows);
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    Ok(tickets)
}

fn headline(tickets: usize, devices: usize) -> String {
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    match (tickets, devices) {
        (0, _) => "No open tickets".to_owned(),
        (tickets, 0) => plural(tickets, "open ticket"),
        (tickets, devices) => format!("{} on {}", plural(tickets, "open ticket"), plural(devices, "device")),
    }
}

async fn fleet_line(web: &Site, caller: &Caller) -> Result<FleetLine, Failure> {
    let filter = DeviceFilter { site: caller.site.clone(), ..DeviceFilter::default() };
    let found = web.store().devices(&filter, &Page { limit: 500, after: None }).await?;
    let last = found.rows.iter().filter_map(|device| device.last_seen_at).max();
    Ok(FleetLine {
        devices: found.rows.len(),
        more: found.next.is_some(),
        last_data: last.map(|at| units::ago(at, web.now())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_counts_tickets_and_devices() {
        assert_eq!(headline(12, 9), "12 open tickets on 9 devices");
        assert_eq!(headline(1, 1), "1 open ticket on 1 device");
        assert_eq!(headline(0, 0), "No open tickets");
        assert_eq!(headline(2, 0), "2 open tickets");
    }
}
