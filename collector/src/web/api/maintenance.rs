//! `/maintenance`: times at which breaches make no tickets.

use super::reply;
use crate::maintenance::Definition;
use crate::web::caller::Caller;
use crate::web::context::Web;
use crate::web::failure::{Failure, Problem};
use crate::web::input::{JsonBody, Segment};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use firstline_collector_store::quiet::MaintenanceWindow;
use firstline_collector_store::record::AuditEntry;
use firstline_model::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// Most windows that are kept: each is looked at for every breach.
const MOST_WINDOWS: usize = 500;

/// A window.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WindowJson {
    id: String,
    #[serde(flatten)]
    definition: Definition,
    /// Whether it is now.
    active: bool,
    /// When it ends, if it is now. RFC 3339, UTC.
    active_until: Option<String>,
    created_by: String,
    created_at: String,
}

/// All windows.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Windows {
    items: Vec<WindowJson>,
}

impl WindowJson {
    fn of(kept: &MaintenanceWindow, now: Timestamp) -> Option<Self> {
        let definition: Definition = serde_json::from_str(&kept.definition).ok()?;
        let until = definition.window(kept.id).ok()?.until(now);
        Some(Self {
            id: kept.id.to_string(),
            definition,
            active: until.is_some(),
            active_until: until.map(|until| until.to_string()),
            created_by: kept.created_by.clone(),
            created_at: kept.created_at.to_string(),
        })
    }
}

/// All windows that concern what you may see.
#[utoipa::path(get, path = "/maintenance", operation_id = "listMaintenance", tag = "maintenance", responses(
    (status = 200, body = Windows),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(State(web): State<Web>, caller: Caller) -> Result<Json<Windows>, Failure> {
    let kept = web.store().windows().await?;
    let seen = kept.iter().filter(|window| window.site.is_none() || caller.sees(window.site.as_deref()));
    Ok(Json(Windows { items: seen.filter_map(|window| WindowJson::of(window, web.now())).collect() }))
}

/// Keeps a window. It takes effect within seconds.
#[utoipa::path(post, path = "/maintenance", operation_id = "addMaintenance", tag = "maintenance",
    request_body = Definition, responses(
    (status = 201, body = WindowJson),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn add(
    State(web): State<Web>,
    caller: Caller,
    JsonBody(definition): JsonBody<Definition>,
) -> Result<Response, Failure> {
    caller.require_acting()?;
    let checked = definition.window(0);
    let checked = checked.map_err(|error| Failure::bad_request(format!("{error:#}")))?;
    let site = definition.scope.site.clone();
    if !caller.sees(site.as_deref()) {
        return Err(Failure::forbidden("scope.site must be your own site"));
    }
    let now = web.now();
    if checked.is_over(now) {
        return Err(Failure::bad_request("the window is over already"));
    }
    if web.store().windows().await?.len() >= MOST_WINDOWS {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "there are 500 windows; remove those that are over (DELETE /maintenance/{id})",
        ));
    }
    let text = definition.text().map_err(|error| Failure::bad_request(format!("{error:#}")))?;
    let mut window = MaintenanceWindow {
        id: 0,
        name: checked.name,
        site,
        definition: text,
        created_by: caller.actor.clone(),
        created_at: now,
    };
    let line = AuditEntry {
        at: now,
        actor: caller.actor.clone(),
        action: "maintenance.create".to_owned(),
        subject: String::new(),
        detail: format!("{}: {}", window.name, window.definition),
    };
    window.id = web.store().add_window(&window, &line).await?;
    let Some(shape) = WindowJson::of(&window, now) else { return Err(Failure::internal()) };
    let mut response = reply::resource(&HeaderMap::new(), &shape)?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Removes a window. What it held back opens, when it is still true.
#[utoipa::path(delete, path = "/maintenance/{id}", operation_id = "removeMaintenance", tag = "maintenance", params(("id" = String, Path)), responses(
    (status = 204, description = "removed"),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<StatusCode, Failure> {
    let kept = web.store().windows().await?;
    let found = kept.iter().find(|window| window.id.to_string() == id);
    let found = found.filter(|window| window.site.is_none() || caller.sees(window.site.as_deref()));
    let Some(window) = found else {
        return Err(Failure::not_found());
    };
    caller.require_acting()?;
    if !caller.sees(window.site.as_deref()) {
        return Err(Failure::forbidden("the window is not of your site"));
    }
    let line = AuditEntry {
        at: web.now(),
        actor: caller.actor.clone(),
        action: "maintenance.delete".to_owned(),
        subject: format!("maintenance:{id}"),
        detail: window.name.clone(),
    };
    web.store().remove_window(window.id, &line).await?;
    Ok(StatusCode::NO_CONTENT)
}
