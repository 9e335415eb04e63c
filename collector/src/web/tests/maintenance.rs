//! Maintenance windows over the interface, and the answer to "why is there no ticket?".

use super::support::{Desk, finding};
use axum::http::Method;
use firstline_collector_core::finding::{Finding, Phase, Standing};
use firstline_collector_store::plan::{CommitPlan, DevicePlan};
use firstline_collector_store::store::Ingest;
use firstline_model::{Component, ComponentKind, TicketId};
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

#[tokio::test]
async fn a_finding_on_a_devices_page_leads_to_its_ticket_or_says_why_there_is_none() {
    let desk = Desk::filled().await;
    let device = desk.add_device("pc-why", "oslo", 50, "/home").await;
    let mut plan = DevicePlan::unchanged(device);
    let of = |place: &str| finding(&Component::new(ComponentKind::Filesystem, place).unwrap(), desk.now());
    let parent = Standing::Member(TicketId(7));
    let pending = of("/pending");
    plan.findings = vec![
        Finding { suppressed: Some("snoozed: INC-000050".to_owned()), ..of("/home") },
        Finding { suppressed: None, phase: Phase::Pending, ..pending },
        Finding { suppressed: Some("maintenance: patches".to_owned()), ..of("/held") },
        Finding { suppressed: None, standing: parent, ..of("/shared") },
    ];
    desk.store.commit(CommitPlan::of(vec![plan])).await.unwrap();
    let page = desk.page("/devices/device-50", "viewer").await.text;
    let told = |place: &str| {
        let row =
            page.split("<tr>").find(|row| row.contains(&format!("<td>filesystem/{place}</td>"))).unwrap();
        row.split("<td>").last().unwrap().split("</td>").next().unwrap().to_owned()
    };
    let own = "<a class=\"key\" href=\"/tickets/50\">INC-000050</a> (snoozed: INC-000050)";
    assert_eq!(told("/home"), own);
    assert_eq!(told("/pending"), "none: it does not hold for long enough yet");
    assert_eq!(told("/held"), "none: maintenance: patches");
    assert_eq!(told("/shared"), "<a class=\"key\" href=\"/tickets/7\">PRB-000007</a> (shared cause)");
}
