//! Back-tests over what real streams brought: from a program, from the command line, and from a page in a real browser.

use firstline_model::{Attributes, Body, Component, Observation, Timestamp, semconv};
use firstline_proto::convert::encode_record;
use firstline_tests::browser::{self, Browser};
use firstline_tests::healthy::{enrolled, runtime};
use firstline_tests::needs::{Need, met};
use firstline_tests::rest::Rest;
use firstline_tests::simulated::now_ms;
use firstline_tests::wait::{seconds, until_ok};
use firstline_tests::{Agent, Collector};
use serde_json::{Value as Json, json};
use std::time::Duration;

const HIGHER: &str = "override = \"fs.space\"\n[detect.warning]\nabove = 0.95\n";
const DEVICES: [f64; 3] = [0.97, 0.92, 0.5];

/// Three devices tell of the last half hour: one disk is at 97 %, one at 92 %, one is well. Returns their ids.
fn history(collector: &Collector) -> Vec<String> {
    let runtime = runtime();
    let agents = enrolled(collector, &runtime, DEVICES.len());
    for (agent, value) in agents.iter().zip(DEVICES) {
        let now = Timestamp::from_millis(now_ms());
        let records = (0..30).map(|minute| {
            let attributes = Attributes::none().with(semconv::attribute::FILESYSTEM_TYPE, "ext4");
            let body = Body::Sample { metric: semconv::FILESYSTEM_UTILIZATION.into(), attributes, value };
            let component: Component = "filesystem//home".parse().expect("a component");
            let observed_at = now.minus(Duration::from_secs(60 * (30 - minute)));
            encode_record(&[Observation { component, observed_at, body }])
        });
        runtime.block_on(async {
            let mut stream = agent.stream([3; 16]).await.expect("a stream");
            for record in records {
                stream.deliver(record).await.expect("it is acked");
            }
        });
    }
    agents.into_iter().map(|agent| agent.device_id).collect()
}

fn done(rest: &Rest, id: &str) -> Json {
    until_ok("the back-test is over", seconds(60), || {
        let one = rest.get_json(&format!("/api/v1/backtests/{id}"));
        if one["state"] == "running" { Err(one.to_string()) } else { Ok(one) }
    })
}

#[test]
fn a_back_test_of_a_higher_threshold_names_the_stored_ticket_that_would_be_lost() {
    let mut collector = Collector::started();
    let devices = history(&collector);
    let of = |device: &str| {
        let device = device.to_owned();
        move |ticket: &Json| ticket["device"]["id"] == device.as_str()
    };
    collector.ticket_where("fs.space", of(&devices[0]), "is of the full one", seconds(30), |_| true);
    let lost = collector.ticket_where("fs.space", of(&devices[1]), "is of the other", seconds(30), |_| true);
    let rest = collector.rest();
    let headers = [("content-type", "application/json")];
    let body = json!({"toml": HIGHER}).to_string();
    let begun = rest.ask("POST", "/api/v1/knowledge/fs.space/backtests", &headers, &body);
    assert_eq!(begun.status, 202, "{}", begun.body);
    let done = done(&rest, begun.json()["id"].as_str().expect("an id"));
    let report = &done["report"];
    assert_eq!(
        (&report["before"]["tickets"], &report["after"]["tickets"]),
        (&json!(2), &json!(1)),
        "{done:#}"
    );
    assert_eq!((&report["stored"], &report["gained_total"]), (&json!(2), &json!(0)), "{done:#}");
    let named = &report["lost"][0];
    assert_eq!(
        (&named["ticket"]["key"], &named["ticket"]["id"], &named["device"]["id"]),
        (&lost["key"], &lost["id"], &json!(devices[1])),
        "{done:#}"
    );
    assert_eq!(report["history"]["complete"], false, "half an hour is stored of the thirty days");
    let missing = report["history"]["missing"][0].as_str().expect("a sentence");
    assert!(missing.contains("days are missing") && missing.contains("kept for 7 days"), "{missing}");
    // Nothing came of it: the tickets are as they were.
    assert_eq!(rest.get_json("/api/v1/tickets?rule=fs.space")["items"].as_array().map(Vec::len), Some(2));

    // The command line says the same while the collector runs.
    let file = collector.data().join("higher.toml");
    std::fs::write(&file, HIGHER).expect("a file");
    let file = file.to_str().expect("a path");
    let said = collector.run_json(&["knowledge", "backtest", file, "--days", "30", "--json"]);
    for key in ["before", "after", "lost", "gained", "components", "stored"] {
        assert_eq!(said[key], report[key], "{key}");
    }
    let words = collector.run(&["knowledge", "backtest", file]);
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(words.contains("2 -> 1 tickets; 1 lost, 0 gained"), "{words}");
    assert!(words.contains(lost["key"].as_str().expect("a key")), "{words}");
}

/// The size of the memory never changes, so that an agent says it once and then only repeats it.
const UNCHANGED: &str = r#"
id = "test.unchanged"
title = "The memory has a size"
category = "memory"
severity = "info"
impact = 3
[detect]
component = "memory"
metric = "system.memory.limit"
above = 1
for = "10s"
[explain]
person = "The memory has a size."
technician = "The memory has {value}."
[[cause]]
id = "size"
text = "It has one."
[[step]]
text = "None."
[article]
title = "The memory has a size"
body = "Issue: none."
[[example]]
name = "is noted after ten seconds"
component = "memory/0"
observations = [{ t = "0s", every = "5s", to = "20s", metric = "system.memory.limit", value = 8000000000 }]
expect = [{ transition = "fired", severity = "info" }]
"#;

#[test]
fn a_back_test_sees_what_a_real_agent_only_repeats() {
    let collector = Collector::started();
    let mut agent = Agent::enrolled(&collector).probing(&["memory"], "").started();
    let file = collector.data().join("unchanged.toml");
    std::fs::write(&file, UNCHANGED).expect("a file");
    let file = file.to_str().expect("a path");
    let report = until_ok("the size has held for ten seconds", seconds(90), || {
        let report = collector.run_json(&["knowledge", "backtest", file, "--days", "1", "--json"]);
        if report["gained_total"] == 1 { Ok(report) } else { Err(report.to_string()) }
    });
    assert_eq!(report["gained"][0]["device"]["id"], agent.device(), "{report:#}");
    let left_out = report["history"]["missing"].to_string();
    assert!(!left_out.contains("left out"), "{left_out}");
    agent.stop();
}

#[test]
fn a_technician_plays_another_threshold_on_the_page_of_an_entry() {
    if !met(&[Need::Program(browser::PROGRAM)]) {
        return;
    }
    let mut collector = Collector::started();
    let devices = history(&collector);
    let lost = collector.ticket_where(
        "fs.space",
        |ticket| ticket["device"]["id"] == devices[1].as_str(),
        "is of the fuller one",
        seconds(30),
        |_| true,
    );
    let origin = format!("https://{}", collector.web());
    let mut browser = Browser::start(&origin);
    browser.sign_in(&collector.setup_link());
    browser.open(&format!("{origin}/knowledge/fs.space"));
    browser.follow("document.querySelector('a[href=\"/knowledge/fs.space/backtest\"]').click()");
    browser.keep_picture("backtest-form");
    browser.follow(
        "document.getElementById('number_warning').value = '0.95'; \
         document.querySelector('form.stack').requestSubmit()",
    );
    let address = browser.evaluate("location.href").as_str().expect("an address").to_owned();
    assert!(address.starts_with(&format!("{origin}/backtests/")), "{address}");
    let text = until_ok("the answer is on the page", seconds(60), || {
        browser.open(&address);
        let heading = browser.evaluate("document.querySelector('h1').textContent");
        if heading == "2 → 1 tickets" {
            Ok(browser.evaluate("document.body.innerText"))
        } else {
            Err(heading.to_string())
        }
    });
    browser.keep_picture("backtest-answer");
    let text = text.as_str().expect("text");
    assert!(text.contains("days are missing") && text.contains("filesystem//home"), "{text}");
    let number =
        browser.evaluate("document.querySelector('td a.key[href^=\"/tickets/\"]').getAttribute('href')");
    assert_eq!(number, format!("/tickets/{}", lost["id"]));
    assert_eq!(browser.misdeeds(), Vec::<String>::new());
}
