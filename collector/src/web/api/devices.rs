//! `/devices` and `/devices/{id}/diagnostics`.

use super::Items;
use super::reply;
use super::shapes::{DeviceDetail, DeviceJson, FindingJson, LatestJson, request_id};
use crate::web::caller::Caller;
use crate::web::context::{Site, Web};
use crate::web::failure::{Failure, Problem};
use crate::web::input::{JsonBody, Query, Segment, device_id, given, page};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use firstline_collector_store::record::{AuditEntry, DeviceFilter, DeviceStatus, PendingDiagnostic};
use firstline_model::{Component, DeviceId, DiagnosticRequest, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// What an agent does with one order at most.
pub(in crate::web) const LONGEST_LIVE: Duration = Duration::from_secs(300);

/// Which devices to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeviceQuery {
    /// Only this site.
    site: Option<String>,
    /// Only devices whose hostname or id contains this.
    q: Option<String>,
    /// `active`, `revoked`, `retired` or `quarantined`.
    status: Option<String>,
    /// How many items, 1 to 500; 100 when not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Devices, by hostname.
#[utoipa::path(get, path = "/devices", operation_id = "listDevices", tag = "devices", params(DeviceQuery), responses(
    (status = 200, body = Items<DeviceJson>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<Items<DeviceJson>>, Failure> {
    let page = page(query.limit, query.after)?;
    let status = given(query.status).as_deref().map(status_of).transpose()?;
    let Some(site) = caller.site_to_list(given(query.site)) else {
        return Ok(Json(Items { items: Vec::new(), next: None }));
    };
    let found = web.store().devices(&DeviceFilter { site, text: given(query.q), status }, &page).await?;
    Ok(Json(Items { items: found.rows.iter().map(DeviceJson::from).collect(), next: found.next }))
}

fn status_of(text: &str) -> Result<DeviceStatus, Failure> {
    let known = "status must be active, revoked, retired or quarantined";
    DeviceStatus::from_text(text).ok_or_else(|| Failure::bad_request(known))
}

/// One device with its newest values and its findings.
#[utoipa::path(get, path = "/devices/{id}", operation_id = "getDevice", tag = "devices", params(("id" = String, Path)), responses(
    (status = 200, body = DeviceDetail), (status = 304, description = "unchanged"),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn one(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let id = device_id(&id)?;
    let device = caller.seen(web.store().device(&id).await?)?;
    let detail = DeviceDetail {
        device: (&device).into(),
        latest: web.store().latest(&id).await?.iter().map(LatestJson::from).collect(),
        findings: web.store().findings(Some(&id), None).await?.iter().map(FindingJson::from).collect(),
    };
    reply::resource(&headers, &detail)
}

/// A test to run on the device: one of the closed list, read-only.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DiagnosticBody {
    /// `largest_directories`, `printer`, `link`, `gateway`, `dns_servers`, `top_processes`, `service`,
    /// `physical_disk`, `kernel_log` or `recorder`.
    #[schema(example = "gateway")]
    name: String,
    /// What to test, where the test asks for it: a mount point, a queue, a service, a drive; for `recorder` a component such as `memory/0`.
    #[serde(default)]
    subject: Option<String>,
}

/// The request under which the result will come back.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DiagnosticAccepted {
    request_id: String,
}

/// Asks the device to run a test; it is sent when the device is connected.
#[utoipa::path(post, path = "/devices/{id}/diagnostics", operation_id = "runDiagnostic", tag = "devices", params(("id" = String, Path)),
    request_body = DiagnosticBody, responses(
    (status = 202, body = DiagnosticAccepted),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn run_diagnostic(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
    JsonBody(body): JsonBody<DiagnosticBody>,
) -> Result<(StatusCode, Json<DiagnosticAccepted>), Failure> {
    let id = device_id(&id)?;
    let device = caller.seen(web.store().device(&id).await?)?;
    caller.require_acting()?;
    if device.status != DeviceStatus::Active {
        return Err(Failure::new(StatusCode::CONFLICT, "the device is not active, so it cannot be tested"));
    }
    let request_id = ask(&web, &caller, &id, &body.name, body.subject.as_deref().unwrap_or_default()).await?;
    Ok((StatusCode::ACCEPTED, Json(DiagnosticAccepted { request_id })))
}

/// How long to look.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LiveBody {
    /// 0 to 300 seconds; 0 ends it.
    #[schema(example = 60, maximum = 300)]
    seconds: u64,
}

/// Until when.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LiveAccepted {
    /// RFC 3339; the device is looked at every second until then, and its values come as always.
    until: String,
}

/// Looks at a connected device every second: processor, memory, disks and network, and its programs every five.
#[utoipa::path(post, path = "/devices/{id}/live", operation_id = "watchDevice", tag = "devices", params(("id" = String, Path)),
    request_body = LiveBody, responses(
    (status = 202, body = LiveAccepted),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn live(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
    JsonBody(body): JsonBody<LiveBody>,
) -> Result<(StatusCode, Json<LiveAccepted>), Failure> {
    let id = device_id(&id)?;
    let until = watch(&web, &caller, &id, Duration::from_secs(body.seconds)).await?;
    Ok((StatusCode::ACCEPTED, Json(LiveAccepted { until: until.to_string() })))
}

/// Has a device looked at every second, on behalf of a person who answers for it in the audit log. Until when.
pub(in crate::web) async fn watch(
    web: &Site,
    caller: &Caller,
    id: &DeviceId,
    time: Duration,
) -> Result<Timestamp, Failure> {
    caller.seen(web.store().device(id).await?)?;
    caller.require_acting()?;
    if time > LONGEST_LIVE {
        return Err(Failure::bad_request("seconds must be at most 300; ask again for more"));
    }
    let now = web.now();
    let audit = AuditEntry {
        at: now,
        actor: caller.actor.clone(),
        action: "device.live".to_owned(),
        subject: format!("device:{id}"),
        detail: format!("{} s", time.as_secs()),
    };
    web.store().append_audit(&audit).await?;
    if !(web.context.watch)(id, time) {
        let detail =
            "the device is not connected now, so it cannot be watched; its newest values are on its page";
        return Err(Failure::new(StatusCode::CONFLICT, detail));
    }
    Ok(now.plus(time))
}

/// Keeps a person's request for a test. A device answers them one by one, so few may wait.
pub(in crate::web) async fn ask(
    web: &Site,
    caller: &Caller,
    device: &DeviceId,
    name: &str,
    subject: &str,
) -> Result<String, Failure> {
    const MAX_WAITING: usize = 20;
    let known = DiagnosticRequest::NAMES.iter().find(|(known, _)| *known == name);
    let Some((name, parameter)) = known else {
        let names: Vec<_> = DiagnosticRequest::NAMES.iter().map(|(name, _)| *name).collect();
        return Err(Failure::bad_request(format!("name must be one of {}", names.join(", "))));
    };
    match parameter {
        Some(parameter) if subject.is_empty() => {
            return Err(Failure::bad_request(format!(
                "{name} needs a subject: the {}",
                parameter.replace('_', " ")
            )));
        }
        None if !subject.is_empty() => return Err(Failure::bad_request(format!("{name} takes no subject"))),
        Some(_) | None => {}
    }
    if subject.len() > Component::MAX_ID_BYTES || subject.chars().any(char::is_control) {
        return Err(Failure::bad_request("subject must be one line of at most 512 bytes"));
    }
    let Some(request) = DiagnosticRequest::from_name(name, subject) else { return Err(Failure::internal()) };
    if web.store().pending_diagnostics(device).await?.len() >= MAX_WAITING {
        return Err(Failure::too_many("the device has not answered the tests asked for before", 60));
    }
    let mut bytes = [0; 16];
    (web.context.random)(&mut bytes)?;
    let (request_id, now) = (request_id(&bytes), web.now());
    let audit = AuditEntry {
        at: now,
        actor: caller.actor.clone(),
        action: "diagnostic.request".to_owned(),
        subject: format!("device:{device}"),
        detail: format!("{name} {subject}").trim_end().to_owned(),
    };
    let pending = PendingDiagnostic {
        ticket: None,
        device: device.clone(),
        request_id: request_id.clone(),
        request,
        created_at: now,
    };
    web.store().request_diagnostic(&pending, &audit).await?;
    (web.context.touched)(device);
    Ok(request_id)
}
