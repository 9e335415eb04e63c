//! What an administrator does: set up, watch, change configuration and knowledge while everything runs.

use firstline_tests::agent::probes;
use firstline_tests::database::{WriteLock, number};
use firstline_tests::effort::effort;
use firstline_tests::process;
use firstline_tests::wait::{pass, seconds, until};
use firstline_tests::{Agent, Collector};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn an_invalid_configuration_is_refused_with_its_line_while_the_old_one_serves() {
    let mut collector = Collector::started();
    let agent = Agent::enrolled(&collector).probing(&["memory"], "").started();
    collector.wait_for_device(agent.device());

    agent.write_config(&format!("{}[spool]\nquota = 5\n", probes(&["memory"])));
    let line = probes(&["memory"]).lines().count() + 2;
    let refusal = agent.log().wait("the configuration is refused", seconds(15), |text| {
        text.contains("the one in force stays").then(|| text.to_owned())
    });
    assert!(refusal.contains(&format!("line {line}")), "{refusal} does not name line {line}");
    assert!(refusal.contains("quota"), "{refusal}");

    // It goes on with what it had, and does not repeat itself.
    let database = collector.database();
    let query = "SELECT count(*) FROM record";
    let before = number(&database, query);
    until("records keep coming", seconds(20), || (number(&database, query) > before).then_some(()));

    let said = agent.log().lines().iter().filter(|line| line.contains("the one in force stays")).count();
    assert_eq!(said, 1, "one save is one refusal");

    agent.write_config(&format!("{}[spool]\nquota_mib = 5\n", probes(&["memory"])));
    agent.log().wait("a valid one takes effect", seconds(15), |text| {
        text.contains("configuration reloaded").then_some(())
    });
}

#[test]
fn invalid_knowledge_is_refused_with_its_line_while_the_old_set_serves() {
    let mut collector = Collector::prepared();
    // A valid file first, so that something of the administrator's own is at stake.
    collector.write_knowledge("space.toml", "override = \"fs.space\"\n[detect]\nfor = \"7m\"\n");
    collector.start();
    let rest = collector.rest();
    let shown = || rest.get_json("/api/v1/knowledge/fs.space")["levels"].to_string();
    assert!(shown().contains("warning after 7 min"), "{}", shown());

    collector.write_knowledge("space.toml", "override = \"fs.space\"\n[detect]\nfor = \"8m\"\nbelov = 0.2\n");
    let refusal = collector.log().wait("the file is refused", seconds(15), |text| {
        text.contains("knowledge refused").then(|| text.to_owned())
    });
    assert!(refusal.contains("space.toml:4"), "{refusal} does not name file and line");
    assert!(refusal.contains("belov"), "{refusal}");
    assert!(shown().contains("warning after 7 min"), "the set before it does not serve: {}", shown());
    // What ran before still runs, so the collector is ready; its doctor says what is wrong.
    assert_eq!(rest.anonymous().get("/readyz").status, 200);
    let doctor = collector.run(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(!doctor.status.success() && said.contains("space.toml:4"), "{said}");

    collector.write_knowledge("space.toml", "override = \"fs.space\"\n[detect]\nfor = \"8m\"\n");
    until("the valid file takes effect", seconds(15), || {
        shown().contains("warning after 8 min").then_some(())
    });
    assert_eq!(rest.anonymous().get("/readyz").status, 200);
}

#[test]
fn the_first_sign_in_link_works_once() {
    let mut collector = Collector::started();
    let link = collector.setup_link();
    let (_, token) = link.split_once("/setup?token=").unwrap();
    let anybody = collector.rest().anonymous();

    assert_eq!(anybody.get("/").status, 303);
    assert_eq!(anybody.get("/setup?token=wrong").status, 404);
    assert_eq!(anybody.get(&format!("/setup?token={token}")).status, 200);
    let form = |name| [("token", token), ("name", name), ("password", "correct horse battery")];
    let done = anybody.post_form("/setup", &form("ada"));
    assert_eq!(done.status, 303, "{}", done.body);
    let cookie = done.header("set-cookie").unwrap();
    for attribute in ["Secure", "HttpOnly", "SameSite"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let session = cookie.split(';').next().unwrap();
    assert_eq!(anybody.ask("GET", "/", &[("cookie", session)], "").status, 200);

    assert_eq!(anybody.get(&format!("/setup?token={token}")).status, 404);
    assert_eq!(anybody.post_form("/setup", &form("eve")).status, 404);
    assert_eq!(number(&collector.database(), "SELECT count(*) FROM user"), 1);

    // Neither does a restart print a new one.
    collector.stop();
    collector.start();
    let again = collector.rest().anonymous();
    assert_eq!(again.get(&format!("/setup?token={token}")).status, 404);
    let links = collector.answers().into_iter().filter(|line| line.contains("/setup")).count();
    assert_eq!(links, 0);
}

#[test]
fn machines_can_watch_the_collector() {
    let mut collector = Collector::started();
    let agent = Agent::enrolled(&collector).probing(&["memory"], "").started();
    collector.wait_for_device(agent.device());
    let rest = collector.rest();
    let anybody = rest.anonymous();

    assert_eq!(anybody.get("/healthz").body, "ok\n");
    let ready = anybody.get("/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    assert_eq!(anybody.get("/metrics").status, 401);
    assert_eq!(anybody.get("/api/v1/tickets").status, 401);
    let figures = until("records are counted", seconds(20), || {
        let figures = rest.get("/metrics");
        assert_eq!(figures.status, 200);
        let value = |name: &str| {
            let line = figures.body.lines().find(|line| line.starts_with(name))?;
            line.rsplit(' ').next()?.parse::<f64>().ok()
        };
        (value("firstline_records_total ")? > 0.0).then(|| figures.body.clone())
    });
    assert!(figures.contains("firstline_streams 1"), "{figures}");
    assert!(figures.contains("firstline_devices{status=\"active\"} 1"), "{figures}");
}

#[test]
fn r23_a_store_that_cannot_be_written_shows_within_10_s_though_no_agent_is_there() {
    let mut collector = Collector::prepared().expecting_error("nothing of this group was saved");
    collector.start();
    let anybody = collector.rest().anonymous();
    assert_eq!(anybody.get("/readyz").status, 200);
    let lock = WriteLock::on(&collector.database());
    let said = until("the collector is not ready", seconds(10), || {
        let ready = anybody.get("/readyz");
        (ready.status == 503).then_some(ready.body)
    });
    assert!(said.contains("the store cannot be written"), "{said}");
    assert_eq!(anybody.get("/healthz").status, 200, "a restart would not help");
    drop(lock);
    until("the collector is ready again", seconds(10), || {
        (anybody.get("/readyz").status == 200).then_some(())
    });
}

#[test]
fn a_body_that_is_too_large_is_answered_though_its_sender_writes_all_of_it_first() {
    let mut collector = Collector::started();
    let rest = collector.rest();
    let headers = [("content-type", "application/json")];
    for size in [2 << 20, 12 << 20] {
        let body = "x".repeat(size);
        for round in 0..5 {
            let answer = rest.try_ask("PATCH", "/api/v1/tickets/1", &headers, &body);
            let status =
                answer.map(|reply| reply.status).unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_eq!(status, 413, "{size} bytes");
        }
    }
}

/// What `doctor --json` says of one thing; its exit code and the finding.
fn examined(collector: &Collector, what: &str) -> (Option<i32>, serde_json::Value) {
    let output = collector.run(&["doctor", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = said["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|finding| finding["what"] == what).cloned();
    (output.status.code(), finding.unwrap_or_else(|| panic!("no finding {what} in {said:#}")))
}

#[test]
fn doctor_says_what_is_wrong_since_when_and_what_to_do() {
    // A folder that the collector makes itself, closed to others.
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::prepared_in(folder.path().join("data"));
    collector.start();
    for what in
        ["file modes", "disk", "clock", "authority", "store", "backup", "agents' listener", "web listener"]
    {
        let (code, finding) = examined(&collector, what);
        assert_eq!((code, &finding["ok"]), (Some(0), &serde_json::Value::Bool(true)), "{finding:#}");
    }
    let (_, listener) = examined(&collector, "web listener");
    assert!(listener["detail"].as_str().unwrap().contains("in 396 days"), "{listener:#}");

    let key = collector.data().join("authority/key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, finding) = examined(&collector, "file modes");
    assert_eq!(code, Some(1));
    assert!(finding["detail"].as_str().unwrap().contains("chmod go="), "{finding:#}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();

    collector.write_knowledge("space.toml", "override = \"fs.space\"\n[detect]\nbelov = 1\n");
    let (code, finding) = examined(&collector, "knowledge");
    assert_eq!(code, Some(1));
    assert!(finding["since"].is_string() && finding["remedy"].as_str().unwrap().contains("knowledge check"));
    std::fs::remove_file(collector.data().join("knowledge.d/space.toml")).unwrap();

    collector.stop();
    let (code, finding) = examined(&collector, "agents' listener");
    assert_eq!(code, Some(1));
    assert!(finding["remedy"].as_str().unwrap().contains("serve"), "{finding:#}");
    assert_eq!(collector.run(&["doctor", "--nonsense"]).status.code(), Some(2));
}

#[test]
fn a_first_start_killed_at_any_moment_is_finished_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..effort(40, 1_000) {
        let collector = Collector::prepared_in(folder.path().join(format!("data-{round}")));
        let mut command = process::command(process::binary("firstline-collector"));
        command.arg("--data").arg(collector.data()).args(["token", "create", "--host", "desk.example"]);
        let mut first = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        pass(Duration::from_micros(750 * (round % 40)));
        first.kill().unwrap();
        first.wait().unwrap();
        // Whatever it left, the next one makes an authority, and the one after finds the same.
        let fingerprint = |url: String| url.split_once("ca=").map(|(_, ca)| ca.to_owned());
        let made = fingerprint(collector.enrollment_url(&["--host", "desk.example"]));
        assert_eq!(made, fingerprint(collector.enrollment_url(&["--host", "desk.example"])), "round {round}");
    }
}
