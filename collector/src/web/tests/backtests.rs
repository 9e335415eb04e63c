//! Back-tests over the interface and the pages: who may ask, what is refused, and what they see of each other's.

use super::support::{Desk, form_token};
use axum::http::{Method, StatusCode};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

const PATH: &str = "/api/v1/knowledge/fs.space/backtests";
const HIGHER: &str = "override = \"fs.space\"\n[detect.warning]\nabove = 0.95\n";

async fn ended(desk: &Desk, id: &str, who: &str) -> Json {
    let begun = Instant::now();
    loop {
        let one = desk.get(&format!("/api/v1/backtests/{id}"), Some(who)).await.json();
        if one["state"] != "running" {
            return one;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{one:#}");
        tokio::task::yield_now().await;
    }
}

async fn begin(desk: &Desk, who: &str, body: &Json) -> String {
    let begun = desk.json(Method::POST, PATH, who, body, &[]).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text);
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(begun.header("location"), format!("/api/v1/backtests/{id}"));
    id
}

#[tokio::test]
async fn technicians_and_administrators_ask_and_the_audit_log_says_who() {
    let desk = Desk::filled().await;
    let body = json!({"toml": HIGHER, "days": 7});
    for who in ["viewer", "manager"] {
        desk.json(Method::POST, PATH, who, &body, &[]).await.problem(403);
        desk.get("/api/v1/backtests", Some(who)).await.problem(403);
        assert_eq!(desk.page("/knowledge/fs.space/backtest", who).await.status, 403);
        assert!(!desk.page("/knowledge/fs.space", who).await.text.contains("/backtest\""), "{who}");
    }
    let id = begin(&desk, "technician", &body).await;
    let done = ended(&desk, &id, "admin").await;
    assert_eq!(done["state"], "done");
    assert!(done["requested_by"].as_str().unwrap().starts_with("token:"), "{done:#}");
    let report = &done["report"];
    assert_eq!((&report["before"]["tickets"], &report["history"]["complete"]), (&json!(0), &json!(false)));
    assert!(report["history"]["missing"][0].as_str().unwrap().contains("no record of any device"));
    let audit = desk.get("/api/v1/audit", Some("admin")).await.json();
    let line = &audit["items"][0];
    assert_eq!((&line["action"], &line["subject"]), (&json!("backtest.begin"), &json!("rule:fs.space")));
    assert!(line["detail"].as_str().unwrap().contains("above = 0.95"), "{line}");
    let page = desk.page(&format!("/backtests/{id}"), "technician").await;
    assert!(page.text.contains("0 → 0 tickets") && !page.text.contains("http-equiv"), "{}", page.text);
    let (one, nothing) = (format!("/api/v1/backtests/{id}"), json!({}));
    let over = desk.json(Method::DELETE, &one, "technician", &nothing, &[]).await;
    assert_eq!(over.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_is_wrong_with_a_change_is_said_with_its_line_and_nothing_begins() {
    let desk = Desk::filled().await;
    for (body, said) in [
        (json!({"toml": "override = \"fs.space\"\n[detect]\nabuv = 1\n"}), "the change:3"),
        (json!({"toml": "override = \"mem.oom\"\nenabled = false\n"}), "about mem.oom"),
        (json!({"toml": HIGHER, "days": 0}), "between 1 and 366"),
        (json!({"toml": HIGHER, "day": 1}), "unknown field"),
        (json!({"toml": "x".repeat(65 * 1024)}), "longer than 64 KiB"),
    ] {
        let problem = desk.json(Method::POST, PATH, "technician", &body, &[]).await.problem(400);
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let listed = desk.get("/api/v1/backtests", Some("admin")).await.json();
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn who_is_limited_to_a_site_asks_about_it_and_sees_no_answer_about_others() {
    let desk = Desk::filled().await;
    let everywhere = begin(&desk, "technician", &json!({"toml": HIGHER})).await;
    ended(&desk, &everywhere, "technician").await;
    let own = begin(&desk, "oslo-tech", &json!({"toml": HIGHER})).await;
    assert_eq!(ended(&desk, &own, "oslo-tech").await["site"], "oslo");
    desk.get(&format!("/api/v1/backtests/{everywhere}"), Some("oslo-tech")).await.problem(404);
    let listed = desk.get("/api/v1/backtests", Some("oslo-tech")).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let foreign = json!({"toml": HIGHER, "site": "bergen"});
    desk.json(Method::POST, PATH, "oslo-tech", &foreign, &[]).await.problem(403);
}

#[tokio::test]
async fn the_form_turns_fields_into_an_override_and_keeps_what_was_typed_when_it_is_wrong() {
    let desk = Desk::filled().await;
    let path = "/knowledge/fs.space/backtest";
    let page = desk.page(path, "technician").await;
    assert!(page.text.contains("name=\"number_warning\"") && page.text.contains("value=\"15m\""));
    let token = form_token(&page.text).to_owned();
    let fields = |number: &'static str, hold: &'static str| {
        vec![("csrf", token.clone()), ("days", "7".to_owned())]
            .into_iter()
            .chain([("number_warning", number.to_owned()), ("hold_warning", hold.to_owned())])
            .collect::<Vec<_>>()
    };
    for (number, hold, said) in [
        ("0.9", "15m", "nothing differs"),
        ("high", "15m", "is not a number"),
        ("0.95", "soon", "the change:"),
        ("0.95", "1h\"\n[x]", "is not a time"),
    ] {
        let typed = fields(number, hold);
        let typed: Vec<(&str, &str)> = typed.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = desk.form(path, Some("technician"), &typed).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{number} {hold}");
        assert!(
            answer.text.contains(said) && answer.text.contains(&format!("value=\"{number}\"")),
            "{}",
            answer.text
        );
    }
    let typed = fields("0.95", "30m");
    let typed: Vec<(&str, &str)> = typed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let begun = desk.form(path, Some("technician"), &typed).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.text);
    let id = begun.header("location").strip_prefix("/backtests/").unwrap().to_owned();
    let done = ended(&desk, &id, "technician").await;
    assert_eq!(done["toml"], "override = \"fs.space\"\n[detect.warning]\nabove = 0.95\nfor = \"30m\"\n");
    assert_eq!((&done["state"], &done["days"]), (&json!("done"), &json!(7)));
}
