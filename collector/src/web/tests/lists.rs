//! Problem bodies, paging, filters, entity tags, health and figures.

use super::support::{Desk, ticket};
use axum::body::Body;
use axum::http::{Method, Request, header};
use firstline_collector_core::ticket::Ticket;
use firstline_collector_store::plan::{CommitPlan, DevicePlan};
use firstline_collector_store::record::Role;
use firstline_collector_store::store::Ingest;
use serde_json::json;

#[tokio::test]
async fn every_error_of_the_interface_is_a_problem() {
    let desk = Desk::filled().await;
    let token = "Bearer token-admin";
    let post = |body: Body, kind: &str| {
        Request::post("/api/v1/devices/device-1/diagnostics")
            .header(header::AUTHORIZATION, token)
            .header(header::CONTENT_TYPE, kind)
            .body(body)
            .unwrap()
    };
    desk.get("/api/v1/nowhere", Some("admin")).await.problem(404);
    desk.get("/api/v1/tickets/999", Some("admin")).await.problem(404);
    desk.get("/api/v1/tickets/%ff", Some("admin")).await.problem(404);
    desk.get("/api/v1/devices/a%20b", Some("admin")).await.problem(404);
    for query in
        ["limit=0", "limit=501", "limit=x", "state=lost", "stat=open", "device=a%20b", "after=made-up"]
    {
        desk.get(&format!("/api/v1/tickets?{query}"), Some("admin")).await.problem(400);
    }
    let delete =
        Request::delete("/api/v1/tickets").header(header::AUTHORIZATION, token).body(Body::empty()).unwrap();
    desk.send(delete).await.problem(405);
    desk.send(post(Body::from("name=link"), "application/x-www-form-urlencoded")).await.problem(415);
    desk.send(post(Body::from("{"), "application/json")).await.problem(400);
    desk.send(post(Body::from("{\"name\":\"link\",\"cmd\":\"id\"}"), "application/json")).await.problem(400);
    desk.send(post(Body::from(format!("{}1{}", "[".repeat(65), "]".repeat(65))), "application/json"))
        .await
        .problem(400);
    desk.send(post(Body::from("x".repeat(1024 * 1024 + 1)), "application/json")).await.problem(413);
    let sized = Request::post("/api/v1/tickets")
        .header(header::CONTENT_LENGTH, "99999999")
        .body(Body::empty())
        .unwrap();
    desk.send(sized).await.problem(413);
}

#[tokio::test]
async fn diagnostics_come_from_the_closed_list_only() {
    let desk = Desk::filled().await;
    let path = "/api/v1/devices/device-1/diagnostics";
    for bad in [
        json!({"name": "run_command", "subject": "id"}),
        json!({"name": "link", "subject": "eth0"}),
        json!({"name": "printer"}),
        json!({"name": "printer", "subject": "a\nb"}),
        json!({"name": "printer", "subject": "x".repeat(600)}),
    ] {
        desk.json(Method::POST, path, "technician", &bad, &[]).await.problem(400);
    }
    let good = json!({"name": "printer", "subject": "finance-2"});
    let accepted = desk.json(Method::POST, path, "technician", &good, &[]).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    assert!(accepted.json()["request_id"].as_str().unwrap().starts_with("person-"));
    for _ in 0..19 {
        assert_eq!(desk.json(Method::POST, path, "technician", &good, &[]).await.status, 202);
    }
    desk.json(Method::POST, path, "technician", &good, &[]).await.problem(429);
}

#[tokio::test]
async fn a_device_is_watched_for_at_most_five_minutes_and_only_while_it_is_connected() {
    let desk = Desk::filled().await;
    let ask = async |device: &str, seconds: i64| {
        let path = format!("/api/v1/devices/{device}/live");
        desk.json(Method::POST, &path, "technician", &json!({"seconds": seconds}), &[]).await
    };
    let accepted = ask("device-1", 300).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    assert!(accepted.json()["until"].as_str().unwrap().ends_with('Z'));
    for seconds in [301, -1, i64::MAX] {
        ask("device-1", seconds).await.problem(400);
    }
    let away = ask("device-2", 60).await;
    away.problem(409);
    assert!(away.text.contains("not connected"), "{}", away.text);
    let audit = desk.get("/api/v1/audit", Some("admin")).await.text;
    assert!(audit.contains("device.live") && audit.contains("300 s"), "{audit}");
}

#[tokio::test]
async fn lists_are_paged_without_gaps_or_repeats() {
    let desk = Desk::filled().await;
    for number in 3..=11 {
        desk.add_device(&format!("pc-{number:02}"), "oslo", number, &format!("Ticket {number}")).await;
    }
    for (list, key) in [("tickets", "id"), ("devices", "id"), ("findings", "device"), ("audit", "at")] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = desk.get(&format!("/api/v1/{list}?limit=4{after}"), Some("admin")).await.json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 4);
            seen.extend(items.iter().map(|item| item[key].to_string()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", crate::web::units::query_escape(next)),
                None => break,
            }
        }
        let whole = desk.get(&format!("/api/v1/{list}?limit=500"), Some("admin")).await.json();
        let whole: Vec<_> =
            whole["items"].as_array().unwrap().iter().map(|item| item[key].to_string()).collect();
        assert_eq!(seen, whole, "{list}");
        assert!(list == "audit" || whole.len() == 11, "{list}: {}", whole.len());
    }
}

#[tokio::test]
async fn tickets_are_filtered() {
    let desk = Desk::filled().await;
    for (query, expected) in [
        ("", vec![1, 2]),
        ("state=open", vec![1, 2]),
        ("state=new,closed", vec![1, 2]),
        ("state=resolved", vec![]),
        ("device=device-2", vec![2]),
        ("rule=fs.space", vec![1, 2]),
        ("rule=net.dns", vec![]),
        ("site=bergen", vec![2]),
        ("q=finance-2", vec![2]),
        ("q=pc-oslo", vec![1]),
        ("q=%25", vec![1]),
    ] {
        let answer = desk.get(&format!("/api/v1/tickets?{query}"), Some("viewer")).await.json();
        let ids: Vec<u64> =
            answer["items"].as_array().unwrap().iter().map(|t| t["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
    }
}

#[tokio::test]
async fn single_resources_have_tags() {
    let desk = Desk::filled().await;
    for path in ["/api/v1/tickets/1", "/api/v1/devices/device-1", "/api/v1/knowledge/fs.space"] {
        let first = desk.get(path, Some("viewer")).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{path}: {tag}");
        for offered in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let again = Request::get(path)
                .header(header::AUTHORIZATION, "Bearer token-viewer")
                .header(header::IF_NONE_MATCH, &offered)
                .body(Body::empty())
                .unwrap();
            let again = desk.send(again).await;
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{path} with {offered}");
            assert_eq!(again.header("etag"), tag);
        }
    }
    assert_eq!(desk.get("/api/v1/tickets/INC-000001", Some("viewer")).await.json()["key"], "INC-000001");
    desk.get("/api/v1/tickets/PRB-000001", Some("viewer")).await.problem(404);
}

#[tokio::test]
async fn health_and_figures() {
    let desk = Desk::filled().await;
    assert_eq!(desk.get("/healthz", None).await.status, 200);
    assert_eq!(desk.get("/readyz", None).await.status, 200);
    desk.problems.lock().unwrap().push("the disk is full".to_owned());
    let unready = desk.get("/readyz", None).await;
    assert_eq!((unready.status.as_u16(), unready.text.as_str()), (503, "the disk is full\n"));
    assert_eq!(desk.get("/healthz", None).await.status, 200);
    let figures = desk.get("/metrics", Some("viewer")).await;
    assert_eq!(figures.status, 200);
    for line in
        ["firstline_devices{status=\"active\"} 2", "firstline_tickets{state=\"new\"} 2", "firstline_extra 1"]
    {
        assert!(figures.text.lines().any(|found| found == line), "{line} is missing in\n{}", figures.text);
    }
}

#[tokio::test]
async fn assets_are_cached_for_ever_under_their_hash_only() {
    let desk = Desk::empty();
    let page = desk.get("/login", None).await.text;
    let start = page.find("/assets/").unwrap();
    let path = page[start..].split('"').next().unwrap();
    let asset = desk.get(path, None).await;
    assert_eq!(asset.status, 200);
    assert!(asset.header("cache-control").contains("immutable"));
    let stale = path.replacen(&path[8..24], "0000000000000000", 1);
    assert_eq!(desk.get(&stale, None).await.status, 404);
}

#[tokio::test]
async fn the_board_lists_a_shared_cause_and_not_each_of_its_tickets_unless_a_text_is_sought() {
    let desk = Desk::empty();
    desk.add_user("admin", Role::Admin, None).await;
    let device = desk.add_device("pc-1", "oslo", 1, "/a").await;
    desk.add_device("pc-2", "oslo", 2, "/b").await;
    let now = desk.now();
    let mut plan = DevicePlan::unchanged(device.clone());
    let cause = Ticket { device: None, ..ticket(3, &device, "oslo", "the cause", now) };
    let child = Ticket { parent: Some(cause.id), version: 2, ..ticket(1, &device, "oslo", "/a", now) };
    while desk.store.reserve_tickets(1).await.unwrap() < cause.id {}
    plan.tickets = vec![child, cause];
    desk.store.commit(CommitPlan::of(vec![plan])).await.unwrap();

    let page = desk.page("/", "admin").await.text;
    assert!(page.contains("2 open tickets") && page.contains("1 ticket of it"), "{page}");
    assert!(page.contains("/tickets/3\"") && page.contains("/tickets/2\"") && !page.contains("/tickets/1\""));
    let found = desk.page("/?q=pc-1", "admin").await.text;
    assert!(found.contains("/tickets/1\""), "{found}");
}
