//! The committed OpenAPI document is the one that the code describes.

use crate::web::api;
use std::path::Path;

/// Set `FIRSTLINE_BLESS=1` to write the file instead of comparing it.
#[test]
fn the_committed_openapi_document_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/v1.json");
    let fresh = format!("{}\n", api::document_text());
    if std::env::var_os("FIRSTLINE_BLESS").is_some() {
        std::fs::write(&file, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == fresh,
        "collector/openapi/v1.json is stale: run this test with FIRSTLINE_BLESS=1 and commit"
    );
}

#[test]
fn the_document_is_openapi_3_1_with_both_ways_to_sign_in() {
    let document: serde_json::Value = serde_json::from_str(api::document_text()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    assert!(schemes.contains_key("bearer") && schemes.contains_key("session"));
    let ticket = &document["components"]["schemas"]["TicketJson"]["properties"];
    for field in [
        "id",
        "key",
        "kind",
        "state",
        "priority",
        "impact",
        "urgency",
        "title",
        "rule",
        "device",
        "component",
        "site",
        "opened_at",
        "first_observed_at",
        "updated_at",
        "resolved_at",
        "sla",
        "assignee",
        "tier",
        "parent",
        "children",
        "summary",
        "evidence",
        "tested",
        "ruled_out",
        "likely_cause",
        "steps",
        "article",
        "changes",
        "recurrence",
        "mirrors",
    ] {
        assert!(ticket[field].is_object(), "{field} is missing");
    }
}
