//! The list of devices.

use super::{Frame, PageResult, render};
use crate::web::api;
use crate::web::caller::Caller;
use crate::web::context::Web;
use crate::web::input::{Query, given, page};
use crate::web::shown::Shown;
use crate::web::units;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use firstline_collector_core::expiry;
use firstline_collector_store::record::{Device, DeviceFilter, DeviceStatus, Page, TicketFilter};
use firstline_model::{Presence, RuleCode};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "devices.html")]
struct DevicesPage {
    frame: Frame,
    site: Shown,
    text: Shown,
    filtered: bool,
    rows: Vec<DeviceRow>,
    /// Open tickets about the collector's own certificates: key and title.
    certificates: Vec<(String, Shown)>,
    next: Option<String>,
}

pub(super) struct DeviceRow {
    pub(super) id: String,
    pub(super) hostname: Shown,
    pub(super) site: Shown,
    pub(super) presence: &'static str,
    pub(super) presence_class: &'static str,
    /// Since when it is so, for what is not online.
    pub(super) presence_since: Option<String>,
    pub(super) status: Option<&'static str>,
    pub(super) seen: String,
    pub(super) system: Shown,
    pub(super) model: Shown,
    pub(super) open_tickets: usize,
}

/// The filter.
#[derive(Deserialize)]
pub(in crate::web) struct DevicesQuery {
    site: Option<String>,
    q: Option<String>,
    after: Option<String>,
}

/// `GET /devices`
pub(in crate::web) async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<DevicesQuery>,
) -> PageResult {
    let (site, text) = (given(query.site), given(query.q));
    let filtered = site.is_some() || text.is_some();
    let now = web.now();
    let (mut rows, mut next) = (Vec::new(), None);
    if let Some(site) = caller.site_to_list(site.clone()) {
        let filter = DeviceFilter { site, text: text.clone(), status: None };
        let found = web.store().devices(&filter, &page(Some(100), query.after)?).await?;
        for device in &found.rows {
            let open = TicketFilter {
                states: api::open_states(),
                device: Some(device.id.clone()),
                ..TicketFilter::default()
            };
            let open = web.store().tickets(&open, &Page { limit: 100, after: None }).await?.rows.len();
            let mut row = DeviceRow::of(device, open);
            row.seen = device.last_seen_at.map_or_else(|| "never".to_owned(), |at| units::ago(at, now));
            rows.push(row);
        }
        next = found.next.map(|next| {
            let escape = |text: &Option<String>| units::query_escape(text.as_deref().unwrap_or_default());
            format!(
                "/devices?site={}&q={}&after={}",
                escape(&filter.site),
                escape(&text),
                units::query_escape(&next)
            )
        });
    }
    let mut certificates = Vec::new();
    // They are about the whole fleet, so whoever sees one site only is not told.
    if caller.site_to_list(None) == Some(None) {
        let rule = RuleCode::new(expiry::RULE).ok();
        let open = TicketFilter { states: api::open_states(), rule, ..TicketFilter::default() };
        let found = web.store().tickets(&open, &Page { limit: 10, after: None }).await?.rows;
        certificates.extend(found.iter().map(|ticket| (ticket.id.to_string(), Shown::line(&ticket.title))));
    }
    let page = DevicesPage {
        frame: Frame::of(&caller, "devices", "Devices"),
        site: Shown::line(&site.unwrap_or_default()),
        text: Shown::line(&text.unwrap_or_default()),
        filtered,
        rows,
        certificates,
        next,
    };
    render(StatusCode::OK, &page)
}

impl DeviceRow {
    pub(super) fn of(device: &Device, open_tickets: usize) -> Self {
        let fact = |name: &str| device.facts.get(name).and_then(|value| value.as_text()).unwrap_or_default();
        let (presence, presence_class) = presence(device);
        let is_away = device.presence.is_some_and(|presence| presence != Presence::Online);
        Self {
            id: device.id.to_string(),
            hostname: Shown::line(&device.hostname),
            site: Shown::line(device.site.as_deref().unwrap_or_default()),
            presence,
            presence_class,
            presence_since: device.last_seen_at.filter(|_| is_away).map(units::moment),
            status: (device.status != DeviceStatus::Active).then(|| device.status.as_str()),
            seen: String::new(),
            system: Shown::line(format!("{} {}", fact("os"), fact("os_version")).trim()),
            model: Shown::line(format!("{} {}", fact("manufacturer"), fact("model")).trim()),
            open_tickets,
        }
    }
}

/// Presence in words, with its class in the style sheet.
fn presence(device: &Device) -> (&'static str, &'static str) {
    match device.presence {
        Some(Presence::Online) => ("online", "dot-ok"),
        Some(Presence::Asleep) => ("asleep", "dot-away"),
        Some(Presence::ShutDown) => ("shut down", "dot-away"),
        Some(Presence::OffNetwork) => ("off network", "dot-away"),
        Some(Presence::Crashed) => ("crashed", "dot-bad"),
        Some(Presence::Retired) => ("retired", "dot-away"),
        None => ("not known yet", "dot-away"),
    }
}
