//! Who did what.

use super::{Frame, PageResult, render};
use crate::web::caller::Caller;
use crate::web::context::Web;
use crate::web::input::{PageQuery, Query, page};
use crate::web::shown::Shown;
use crate::web::units;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    rows: Vec<AuditRow>,
    next: Option<String>,
}

struct AuditRow {
    at: String,
    actor: Shown,
    action: Shown,
    subject: Shown,
    detail: Shown,
}

/// `GET /audit`
pub(in crate::web) async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> PageResult {
    caller.require_whole_fleet_admin()?;
    let found = web.store().audit(&page(query.limit, query.after)?).await?;
    let rows = found.rows.iter().map(|entry| AuditRow {
        at: units::moment(entry.at),
        actor: Shown::line(&entry.actor),
        action: Shown::line(&entry.action),
        subject: Shown::line(&entry.subject),
        detail: Shown::line(&entry.detail),
    });
    let page = AuditPage {
        frame: Frame::of(&caller, "audit", "Audit"),
        rows: rows.collect(),
        next: found.next.map(|next| format!("/audit?after={}", units::query_escape(&next))),
    };
    render(StatusCode::OK, &page)
}
