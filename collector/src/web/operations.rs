//! What machines ask of a collector: is it alive, is it ready, how is it doing.

use crate::web::caller::Caller;
use crate::web::context::Web;
use crate::web::failure::Failure;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use firstline_collector_store::record::Totals;
use std::fmt::Write;

/// `GET /healthz`: the process serves requests. Says nothing of the store, so that a broken disk does not get the
/// process restarted in a circle.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 when work can be taken in, else 503 with one reason per line.
pub(super) async fn readyz(State(web): State<Web>) -> Response {
    let mut problems = web.context.health.problems();
    if let Err(error) = web.store().any_user().await {
        problems.push(error.to_string());
    }
    if problems.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response()
}

/// `GET /metrics`, for any role. The figures are of the whole fleet, so nobody limited to a site gets them.
pub(super) async fn metrics(State(web): State<Web>, caller: Caller) -> Result<Response, Failure> {
    if caller.site.is_some() {
        return Err(Failure::forbidden("the figures are of all sites, and this token is limited to one"));
    }
    let mut text = figures(&web.store().totals().await?);
    (web.context.metrics)(&mut text);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn figures(totals: &Totals) -> String {
    let mut text = String::new();
    let devices: Vec<_> = totals.devices.iter().map(|(status, count)| (status.as_str(), *count)).collect();
    gauge(&mut text, "firstline_devices", "Devices by status.", "status", &devices);
    let tickets: Vec<_> = totals.tickets.iter().map(|(state, count)| (state.as_str(), *count)).collect();
    gauge(&mut text, "firstline_tickets", "Tickets by state.", "state", &tickets);
    gauge(
        &mut text,
        "firstline_records_stored",
        "Records of devices in the store.",
        "",
        &[("", totals.records)],
    );
    gauge(&mut text, "firstline_findings_firing", "Findings that fire now.", "", &[("", totals.firing)]);
    text
}

fn gauge(text: &mut String, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (value, count) in values {
        let _ = match label {
            "" => writeln!(text, "{name} {count}"),
            label => writeln!(text, "{name}{{{label}=\"{value}\"}} {count}"),
        };
    }
}
