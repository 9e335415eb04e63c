//! Who reaches what: a walk over every route as nobody, as every role, and from another site.

use super::support::{Desk, session};
use crate::web::api;
use crate::web::routes::{Access, table};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value as Json, json};
use std::time::Duration;

/// Every operation of the REST interface as (method, path), with real values in place of variables.
fn operations() -> Vec<(Method, String)> {
    let document: Json = serde_json::from_str(api::document_text()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let id = if path.starts_with("/devices") { "device-1" } else { "1" };
        let path = format!("/api/v1{}", path.replace("{id}", id).replace("{code}", "fs.space"));
        for method in methods.as_object().unwrap().keys() {
            operations.push((method.to_uppercase().parse().unwrap(), path.clone()));
        }
    }
    operations
}

#[tokio::test]
async fn nobody_reaches_anything_but_the_public_routes() {
    let desk = Desk::filled().await;
    for (path, access, _) in table() {
        let path = path
            .replace("{id}", "1")
            .replace("{code}", "fs.space")
            .replace("{hash}", "x")
            .replace("{name}", "y");
        let answer = desk.get(&path, None).await;
        match access {
            Access::Public => assert!(
                matches!(answer.status.as_u16(), 200 | 404),
                "{path} answered {} although it is public",
                answer.status
            ),
            Access::Person if answer.status == StatusCode::METHOD_NOT_ALLOWED => {
                let posted = desk.form(&path, None, &[]).await;
                assert_eq!(posted.status, StatusCode::SEE_OTHER, "{path}");
            }
            Access::Person => {
                assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
                assert!(answer.header("location").starts_with("/login?next="), "{path}");
            }
            Access::Program => {
                answer.problem(401);
            }
        }
        assert!(!answer.text.contains("97 %"), "{path} shows a ticket to nobody");
    }
    for (method, path) in operations() {
        for authorization in [None, Some("Bearer wrong"), Some("Basic YTpi"), Some("Bearer")] {
            let mut request = Request::builder().method(method.clone()).uri(&path);
            if let Some(text) = authorization {
                request = request.header(header::AUTHORIZATION, text);
            }
            let request = request.header("sec-fetch-site", "same-origin").body(Body::empty()).unwrap();
            let answer = desk.send(request).await;
            answer.problem(401);
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_public_routes_are_these_and_no_others() {
    let public: Vec<_> =
        table().into_iter().filter(|(_, access, _)| *access == Access::Public).map(|r| r.0).collect();
    assert_eq!(public, ["/healthz", "/readyz", "/assets/{hash}/{name}", "/setup", "/login"]);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let desk = Desk::filled().await;
    for path in ["/login", "/healthz", "/nowhere", "/api/v1/nowhere", "/api/v1/tickets"] {
        let answer = desk.get(path, None).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(answer.header("strict-transport-security").starts_with("max-age="), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn roles_limit_what_is_done() {
    let desk = Desk::filled().await;
    let gateway = json!({"name": "gateway"});
    for (role, acts, audits) in
        [("viewer", 403, 403), ("technician", 202, 403), ("manager", 403, 403), ("admin", 202, 200)]
    {
        let path = "/api/v1/devices/device-1/diagnostics";
        let answer = desk.json(Method::POST, path, role, &gateway, &[]).await;
        assert_eq!(answer.status.as_u16(), acts, "{role}: {}", answer.text);
        assert_eq!(desk.get("/api/v1/audit", Some(role)).await.status.as_u16(), audits, "{role}");
        assert_eq!(desk.page("/audit", role).await.status.as_u16(), audits, "{role}");
        let live = "/api/v1/devices/device-1/live";
        let answer = desk.json(Method::POST, live, role, &json!({"seconds": 60}), &[]).await;
        assert_eq!(answer.status.as_u16(), acts, "{role}: {}", answer.text);
        let patched = desk.json(Method::PATCH, "/api/v1/tickets/1", role, &json!({"note": "x"}), &[]).await;
        assert_eq!(patched.status.as_u16(), if acts == 202 { 428 } else { 403 }, "{role}");
        let board = desk.page("/tickets/1", role).await;
        assert_eq!(board.text.contains("/tickets/1/actions"), acts == 202, "{role} sees the wrong buttons");
    }
}

#[tokio::test]
async fn another_site_looks_like_nothing() {
    let desk = Desk::filled().await;
    let who = "oslo-tech";
    for path in ["/api/v1/tickets/2", "/api/v1/tickets/2/timeline", "/api/v1/devices/device-2"] {
        let (other, none) =
            (desk.get(path, Some(who)).await, desk.get(&path.replace('2', "999"), Some(who)).await);
        assert_eq!(other.problem(404), none.problem(404), "{path} tells a foreign thing from a missing one");
        assert_eq!(desk.get(&path.replace('2', "1"), Some(who)).await.status, 200);
    }
    let answer = desk
        .json(Method::POST, "/api/v1/devices/device-2/diagnostics", who, &json!({"name": "link"}), &[])
        .await;
    answer.problem(404);
    desk.json(Method::POST, "/api/v1/devices/device-2/live", who, &json!({"seconds": 60}), &[])
        .await
        .problem(404);
    desk.json(Method::PATCH, "/api/v1/tickets/2", who, &json!({"note": "x"}), &[("if-match", "*")])
        .await
        .problem(404);
    for path in ["/api/v1/tickets", "/api/v1/devices", "/api/v1/findings", "/api/v1/suppressions"] {
        for query in ["", "?site=oslo"] {
            let answer = desk.get(&format!("{path}{query}"), Some(who)).await;
            assert_eq!(answer.json()["items"].as_array().unwrap().len(), 1, "{path}{query}");
            assert!(!answer.text.contains("bergen"), "{path}{query} leaks: {}", answer.text);
        }
        let foreign = desk.get(&format!("{path}?site=bergen"), Some(who)).await;
        assert_eq!(foreign.json()["items"], json!([]), "{path}");
    }
    let findings = desk.get("/api/v1/findings?device=device-2", Some(who)).await;
    assert_eq!(findings.json()["items"], json!([]));
    for path in ["/", "/?site=bergen", "/devices", "/devices?q=bergen", "/tickets/1", "/devices/device-1"] {
        let answer = desk.page(path, who).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains("Printer") && !answer.text.contains("pc-bergen"), "{path} leaks");
    }
    for path in ["/tickets/2", "/devices/device-2"] {
        assert_eq!(desk.page(path, who).await.status, 404);
    }
    desk.get("/metrics", Some(who)).await.problem(403);
}

#[tokio::test]
async fn sessions_end_when_idle_and_after_a_week() {
    let idle = Desk::filled().await;
    idle.pass(Duration::from_mins(8 * 60 - 1));
    assert_eq!(idle.page("/", "viewer").await.status, 200);
    idle.pass(Duration::from_hours(8));
    assert_eq!(idle.page("/", "viewer").await.status, StatusCode::SEE_OTHER);
    let busy = Desk::filled().await;
    for _ in 0..23 {
        busy.pass(Duration::from_hours(7));
        assert_eq!(busy.page("/", "viewer").await.status, 200);
    }
    busy.pass(Duration::from_hours(7));
    assert_eq!(busy.page("/", "viewer").await.status, StatusCode::SEE_OTHER, "used for more than seven days");
}

#[tokio::test]
async fn forms_need_the_token_of_their_session_and_the_same_origin() {
    let desk = Desk::filled().await;
    let page = desk.page("/tickets/1", "technician").await;
    let token = super::support::form_token(&page.text).to_owned();
    let path = "/tickets/1/actions";
    let fields =
        |token: &'static str| [("csrf", token), ("version", "1"), ("action", "note"), ("text", "hello")];
    for wrong in ["", "0000000000000000000000000000000000000000000000000000000000000000"] {
        assert_eq!(desk.form(path, Some("technician"), &fields(wrong)).await.status, 403);
    }
    let foreign = super::support::form_token(&desk.page("/", "admin").await.text).to_owned();
    let stolen = [("csrf", foreign.as_str()), ("version", "1"), ("action", "note"), ("text", "hello")];
    assert_eq!(desk.form(path, Some("technician"), &stolen).await.status, 403);
    let right = [("csrf", token.as_str()), ("version", "1"), ("action", "note"), ("text", "hello")];
    let cross_site = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::COOKIE, format!("__Host-firstline={}", session("technician")))
        .header("sec-fetch-site", "cross-site")
        .body(Body::from(format!("csrf={token}&version=1&action=note&text=hello")))
        .unwrap();
    assert_eq!(desk.send(cross_site).await.status, 403);
    assert_eq!(desk.form(path, Some("technician"), &right).await.status, StatusCode::SEE_OTHER);
    assert!(desk.page("/tickets/1", "viewer").await.text.contains("hello"));
}
