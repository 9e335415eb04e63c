//! Maintenance windows over the interface, and the answer to "why is there no ticket?".

use super::support::Desk;
use axum::http::Method;
use serde_json::{Value as Json, json};

const PATH: &str = "/api/v1/maintenance";

fn night(site: Option<&str>) -> Json {
    json!({
        "name": "patch night",
        "scope": {"site": site},
        "rules": ["fs."],
        "recurring": {"days": ["tue"], "from": "22:00", "until": "04:00", "time_zone": "Europe/Oslo"}
    })
}

#[tokio::test]
async fn a_window_is_made_listed_and_removed_and_the_audit_log_says_by_whom() {
    let desk = Desk::filled().await;
    let made = desk.json(Method::POST, PATH, "technician", &night(None), &[]).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    assert_eq!((&made["name"], &made["recurring"]["from"]), (&json!("patch night"), &json!("22:00")));
    let listed = desk.get(PATH, Some("viewer")).await.json();
    assert_eq!(listed["items"], json!([made]));
    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());
    desk.json(Method::DELETE, &one, "viewer", &json!({}), &[]).await.problem(403);
    assert_eq!(desk.json(Method::DELETE, &one, "technician", &json!({}), &[]).await.status, 204);
    desk.json(Method::DELETE, &one, "technician", &json!({}), &[]).await.problem(404);
    assert_eq!(desk.get(PATH, Some("viewer")).await.json()["items"], json!([]));
    let audit = desk.get("/api/v1/audit", Some("admin")).await.json();
    let actions: Vec<&str> =
        audit["items"].as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(actions[..2], ["maintenance.delete", "maintenance.create"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_window_is_said_and_nothing_is_kept() {
    let desk = Desk::filled().await;
    desk.json(Method::POST, PATH, "viewer", &night(None), &[]).await.problem(403);
    for (body, said) in [
        (json!({"name": "x"}), "either once or recurring"),
        (
            json!({"name": "", "once": {"from": "2999-01-05T20:00:00Z", "until": "2999-01-06T20:00:00Z"}}),
            "name",
        ),
        (
            json!({"name": "x", "once": {"from": "2001-01-05T20:00:00Z", "until": "2001-01-06T20:00:00Z"}}),
            "over already",
        ),
        (json!({"name": "x", "every": "day"}), "every"),
    ] {
        let problem = desk.json(Method::POST, PATH, "technician", &body, &[]).await.problem(400);
        assert!(problem["detail"].as_str().unwrap().contains(said), "{body}: {problem}");
    }
    assert_eq!(desk.get(PATH, Some("viewer")).await.json()["items"], json!([]));
}

#[tokio::test]
async fn who_sees_one_site_makes_windows_for_that_site_only() {
    let desk = Desk::filled().await;
    for site in [None, Some("bergen")] {
        desk.json(Method::POST, PATH, "oslo-tech", &night(site), &[]).await.problem(403);
        assert_eq!(desk.json(Method::POST, PATH, "technician", &night(site), &[]).await.status, 201);
    }
    assert_eq!(desk.json(Method::POST, PATH, "oslo-tech", &night(Some("oslo")), &[]).await.status, 201);
    let seen = desk.get(PATH, Some("oslo-tech")).await.json();
    let sites: Vec<&Json> =
        seen["items"].as_array().unwrap().iter().map(|one| &one["scope"]["site"]).collect();
    assert_eq!(sites, [&Json::Null, &json!("oslo")]);
    desk.json(Method::DELETE, &format!("{PATH}/1"), "oslo-tech", &json!({}), &[]).await.problem(403);
    desk.json(Method::DELETE, &format!("{PATH}/2"), "oslo-tech", &json!({}), &[]).await.problem(404);
}

#[tokio::test]
async fn why_there_is_no_ticket_is_told_by_the_interface_and_on_the_devices_page() {
    let desk = Desk::filled().await;
    let found = desk.get("/api/v1/suppressions?device=device-1", Some("viewer")).await.json();
    let one = &found["items"][0];
    for name in ["time", "device", "rule", "component", "reason", "until"] {
        assert!(one.get(name).is_some(), "{name} is missing in {one}");
    }
    let count = async |query: &str| {
        let found = desk.get(&format!("/api/v1/suppressions?{query}"), Some("viewer")).await.json();
        found["items"].as_array().unwrap().len()
    };
    assert_eq!(count("reason=hidden").await, count("").await);
    assert_eq!(count("reason=maintenance").await, 0);
    assert_eq!(count("rule=no.such").await, 0);
    let page = desk.page("/devices/device-1", "viewer").await.text;
    assert!(page.contains("Why is there no ticket?") && page.contains("hidden by"), "{page}");
}
