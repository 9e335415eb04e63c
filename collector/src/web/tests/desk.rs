//! Working on tickets: by the page's buttons and by the interface; and being told of it.

use super::support::{Desk, form_token};
use crate::web::Change;
use axum::body::Body;
use axum::http::{Method, Request, header};
use firstline_model::TicketId;
use futures_util::StreamExt;
use serde_json::{Value as Json, json};
use tower::ServiceExt;

async fn press(desk: &Desk, fields: &[(&str, &str)]) -> u16 {
    let page = desk.page("/tickets/1", "technician").await.text;
    let token = form_token(&page).to_owned();
    let start = page.find("name=\"version\" value=\"").unwrap() + "name=\"version\" value=\"".len();
    let version = page[start..].split('"').next().unwrap().to_owned();
    let mut all = vec![("csrf", token.as_str()), ("version", version.as_str())];
    all.extend_from_slice(fields);
    desk.form("/tickets/1/actions", Some("technician"), &all).await.status.as_u16()
}

#[tokio::test]
async fn a_ticket_is_worked_from_new_to_closed_and_back_with_the_buttons() {
    let desk = Desk::filled().await;
    for (fields, state) in [
        (&[("action", "take")][..], "assigned"),
        (&[("action", "start")], "in_progress"),
        (&[("action", "hold"), ("reason", "awaiting_vendor")], "on_hold"),
        (&[("action", "resume")], "in_progress"),
        (&[("action", "note"), ("text", "called the <b>vendor</b>")], "in_progress"),
        (&[("action", "escalate")], "in_progress"),
        (&[("action", "resolve"), ("text", "emptied the recycle bin")], "resolved"),
        (&[("action", "close")], "closed"),
        (&[("action", "reopen"), ("text", "full again")], "assigned"),
    ] {
        assert_eq!(press(&desk, fields).await, 303, "{fields:?}");
        let ticket = desk.get("/api/v1/tickets/1", Some("viewer")).await.json();
        let reopened = state == "assigned" && fields[0].1 == "reopen";
        assert!(ticket["state"] == state || reopened, "{fields:?} led to {}", ticket["state"]);
        assert!(ticket["assignee"] == "technician" || reopened);
    }
    assert_eq!(press(&desk, &[("action", "close")]).await, 409, "an open ticket cannot be closed");
    assert_eq!(press(&desk, &[("action", "resolve"), ("text", " ")]).await, 409, "a resolution needs words");
    assert_eq!(press(&desk, &[("action", "explode")]).await, 400);
    let timeline = desk.get("/api/v1/tickets/1/timeline", Some("viewer")).await.json();
    assert!(timeline["items"].as_array().unwrap().len() >= 10);
    let audit = desk.get("/api/v1/audit", Some("admin")).await.text;
    assert!(audit.contains("ticket.change") && audit.contains("ticket:INC-000001"));
}

#[tokio::test]
async fn a_page_that_is_stale_changes_nothing() {
    let desk = Desk::filled().await;
    let token = form_token(&desk.page("/", "technician").await.text).to_owned();
    let fields = [("csrf", token.as_str()), ("version", "1"), ("action", "take")];
    assert_eq!(desk.form("/tickets/1/actions", Some("technician"), &fields).await.status, 303);
    assert_eq!(desk.form("/tickets/1/actions", Some("technician"), &fields).await.status, 409);
}

async fn patch(desk: &Desk, body: Json) -> (u16, Json) {
    let tag = desk.get("/api/v1/tickets/1", Some("technician")).await.header("etag").to_owned();
    let answer =
        desk.json(Method::PATCH, "/api/v1/tickets/1", "technician", &body, &[("if-match", &tag)]).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn the_interface_changes_tickets_all_or_nothing() {
    let desk = Desk::filled().await;
    let path = "/api/v1/tickets/1";
    desk.json(Method::PATCH, path, "technician", &json!({"note": "x"}), &[]).await.problem(428);
    desk.json(Method::PATCH, path, "technician", &json!({"note": "x"}), &[("if-match", "\"old\"")])
        .await
        .problem(412);
    let (status, ticket) =
        patch(&desk, json!({"assignee": "technician", "state": "in_progress", "note": "on it"})).await;
    assert_eq!(
        (status, &ticket["state"], &ticket["assignee"]),
        (200, &json!("in_progress"), &json!("technician"))
    );
    assert_eq!(ticket["version"], 2, "one request is one change");
    for (bad, expected) in [
        (json!({}), 400),
        (json!({"state": "assigned"}), 400),
        (json!({"state": "on_hold"}), 400),
        (json!({"assignee": "nobody-here"}), 400),
        (json!({"priority": "P1"}), 400),
        (json!({"state": "closed", "note": "lost"}), 409),
        (json!({"state": "resolved"}), 409),
        (json!({"tier": 9}), 409),
    ] {
        assert_eq!(patch(&desk, bad.clone()).await.0, expected, "{bad}");
    }
    let timeline = desk.get("/api/v1/tickets/1/timeline", Some("viewer")).await.text;
    assert!(!timeline.contains("lost"), "a refused change left a note");
    let (status, ticket) =
        patch(&desk, json!({"state": "on_hold", "on_hold_reason": "awaiting_caller"})).await;
    assert_eq!((status, &ticket["on_hold_reason"]), (200, &json!("awaiting_caller")));
    let (status, ticket) = patch(&desk, json!({"state": "resolved", "resolution": "done"})).await;
    assert_eq!((status, &ticket["resolution"]), (200, &json!("done")));
    let (status, ticket) = patch(&desk, json!({"state": "new", "reason": "back", "assignee": null})).await;
    assert_eq!((status, &ticket["assignee"]), (200, &Json::Null));
}

#[tokio::test]
async fn a_live_stream_tells_of_changes_of_the_callers_site_only() {
    let desk = Desk::filled().await;
    let request = Request::get("/api/v1/events")
        .header(header::AUTHORIZATION, "Bearer token-oslo-tech")
        .body(Body::empty())
        .unwrap();
    let response = desk.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    for (site, ticket) in [("bergen", 2), ("oslo", 1)] {
        let change = Change { site: Some(site.to_owned()), device: None, tickets: vec![TicketId(ticket)] };
        desk.changes.send(change).unwrap();
    }
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&first), "event: change\ndata: {\"device\":null,\"tickets\":[1]}\n\n");
}

#[tokio::test]
async fn a_ticket_is_snoozed_until_a_moment_and_not_for_ever() {
    let desk = Desk::filled().await;
    let path = "/api/v1/tickets/1";
    let change =
        async |body: Json| desk.json(Method::PATCH, path, "technician", &body, &[("if-match", "*")]).await;
    let now = desk.get(path, Some("viewer")).await.json()["opened_at"].as_str().unwrap().to_owned();
    let opened: jiff::Timestamp = now.parse().unwrap();
    let until = (opened + jiff::Span::new().hours(24 * 7)).to_string();
    let far = (opened + jiff::Span::new().hours(24 * 400)).to_string();
    change(json!({"snooze_until": "tomorrow"})).await.problem(400);
    assert!(change(json!({"snooze_until": far})).await.status.is_client_error());
    assert!(change(json!({"snooze_until": now})).await.status.is_client_error());
    assert!(change(json!({"state": "on_hold", "on_hold_reason": "snoozed"})).await.status.is_client_error());
    let snoozed = change(json!({"snooze_until": until})).await.json();
    assert_eq!((&snoozed["state"], &snoozed["on_hold_reason"]), (&json!("on_hold"), &json!("snoozed")));
    assert_eq!(snoozed["snoozed_until"].as_str().unwrap()[..10], until[..10]);
    let back = change(json!({"state": "in_progress"})).await.json();
    assert_eq!(back["snoozed_until"], Json::Null);
}
