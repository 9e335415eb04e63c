//! What devices say is shown as what they said, everywhere: hundreds of texts that try to be something else, in every
//! place where a device can put one, through the real wire into the real collector, and out through every way in which
//! it shows them: pages in a real browser, JSON, queries, logs, terminals.

use firstline_model::{Component, ComponentKind, Observation, Timestamp};
use firstline_proto::convert::encode_record;
use firstline_proto::v1;
use firstline_tests::browser::{self, Browser};
use firstline_tests::effort::effort;
use firstline_tests::figure::figure;
use firstline_tests::hostile::{core, cut, deceives, everywhere, facts, faults, payloads, report};
use firstline_tests::needs::{Need, met};
use firstline_tests::rest::{Reply, Rest};
use firstline_tests::simulated::{SimulatedAgent, now_ms};
use firstline_tests::{Collector, healthy, wait::seconds};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// So many texts come from one device, which has a page; each text is also all that a device of its own says of itself.
const TEXTS_OF_A_TALKER: usize = 10;
/// So many talkers have one site, so that their tickets fit on the board: two a text.
const TALKERS_OF_A_SITE: usize = 10;
/// Texts are cut to this many signs on some pages.
const SHORTEST_CUT: usize = 60;

/// Who said what.
struct Stage {
    collector: Collector,
    /// Hostname by device.
    hostnames: BTreeMap<String, String>,
    /// Everything else by device, for those that said more.
    talkers: BTreeMap<String, Vec<String>>,
}

fn stage(texts: &[String]) -> Stage {
    let mut collector = Collector::prepared()
        .with_arguments(&["--log", "debug,h2=info,hyper=info,hyper_util=info,rustls=info,tower=info"]);
    collector.start();
    let authority = std::fs::read_to_string(collector.authority()).expect("an authority");
    let many = texts.len().to_string();
    let talkers: Vec<&[String]> = texts.chunks(TEXTS_OF_A_TALKER).collect();
    let sites: Vec<String> = (0..talkers.len().div_ceil(TALKERS_OF_A_SITE))
        .map(|n| collector.enrollment_url(&["--uses", &many, "--site", &format!("site-{n}")]))
        .collect();
    let nowhere = collector.enrollment_url(&["--uses", &many]);
    let runtime = healthy::runtime();
    let mut playing = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        let said = talkers.get(n).map(|said| said.to_vec()).unwrap_or_default();
        let url = if said.is_empty() { nowhere.clone() } else { sites[n / TALKERS_OF_A_SITE].clone() };
        let (text, authority) = (text.clone(), authority.clone());
        playing.push(async move {
            let name = cut(&text, 255);
            let agent = SimulatedAgent::enroll(&url, &authority, name).await?;
            play(&agent, &text, &said).await?;
            anyhow::Ok((agent.device_id, text, said))
        });
    }
    let (mut hostnames, mut talkers) = (BTreeMap::new(), BTreeMap::new());
    let mut playing = playing.into_iter();
    loop {
        // A few at a time: handshakes have a time limit.
        let some: Vec<_> = playing.by_ref().take(8).map(|play| runtime.spawn(play)).collect();
        if some.is_empty() {
            break;
        }
        for played in some {
            let (device, text, said) = runtime.block_on(played).expect("it ran").expect("it was heard");
            hostnames.insert(device.clone(), text);
            if !said.is_empty() {
                talkers.insert(device, said);
            }
        }
    }
    Stage { collector, hostnames, talkers }
}

/// One device: it says of itself what `text` is, says `said` everywhere, and answers the tests that it is asked for.
async fn play(agent: &SimulatedAgent, text: &str, said: &[String]) -> anyhow::Result<()> {
    let (epoch, now) = ([7; 16], Timestamp::from_millis(now_ms()));
    let own = Observation {
        component: Component::only(ComponentKind::Os),
        observed_at: now,
        body: firstline_model::Body::Facts(facts(text)),
    };
    let mut broken: Vec<Observation> = said.iter().flat_map(|text| faults(text, now)).collect();
    broken.sort_by_key(|observation| observation.observed_at);
    let mut records = vec![encode_record(&[own])];
    records.extend(said.iter().map(|text| encode_record(&everywhere(text, now))));
    if !broken.is_empty() {
        records.push(encode_record(&broken));
    }
    let last = records.len() as u64;
    let mut stream = agent.stream(epoch).await?;
    stream.send_batch(epoch, 1, records).await?;
    let (mut acked, mut answered) = (0, 0);
    // Two tickets a text, one test each.
    while acked < last || answered < 2 * said.len() as u64 {
        let message = tokio::time::timeout(seconds(30), stream.receive()).await;
        let message =
            message.map_err(|_| anyhow::anyhow!("{acked} of {last} acked, {answered} tests asked for"))?;
        match message? {
            Some(v1::collector_message::Message::Ack(ack)) => acked = ack.through_seq,
            Some(v1::collector_message::Message::Directive(directive)) => {
                if let Some(v1::directive::Directive::RunDiagnostic(run)) = directive.directive {
                    let text = &said[answered as usize % said.len()];
                    let answer = Observation {
                        component: Component::only(ComponentKind::Os),
                        observed_at: Timestamp::from_millis(now_ms()),
                        body: firstline_model::Body::Diagnostic(report(&run.request_id, text)),
                    };
                    answered += 1;
                    stream.send_batch(epoch, last + answered, vec![encode_record(&[answer])]).await?;
                }
            }
            Some(v1::collector_message::Message::Refusal(refusal)) => {
                anyhow::bail!("refused: {}", refusal.text)
            }
            Some(v1::collector_message::Message::Welcome(_) | v1::collector_message::Message::Trust(_)) => {}
            None => anyhow::bail!("the stream ended"),
        }
    }
    while acked < last + answered {
        match tokio::time::timeout(seconds(30), stream.receive()).await?? {
            Some(v1::collector_message::Message::Ack(ack)) => acked = ack.through_seq,
            Some(_) => {}
            None => anyhow::bail!("the stream ended"),
        }
    }
    Ok(())
}

#[test]
fn r26_hostile_texts_of_devices_stay_texts_in_pages_json_queries_logs_and_terminals() {
    if !met(&[Need::Program(browser::PROGRAM)]) {
        return;
    }
    let texts = payloads();
    let begun = Instant::now();
    let mut stage = stage(&texts);
    figure("r26.texts", texts.len(), "count");
    figure("r26.stage", begun.elapsed().as_secs(), "s");
    let begun = Instant::now();
    let tickets = json(&mut stage, &texts);
    figure("r26.json", begun.elapsed().as_secs(), "s");
    let begun = Instant::now();
    pages(&mut stage, &texts, &tickets);
    figure("r26.pages", begun.elapsed().as_secs(), "s");
    let begun = Instant::now();
    queries(&mut stage, &texts);
    figure("r26.queries", begun.elapsed().as_secs(), "s");
    terminals(&stage);
    logs(&stage);
}

// --- pages

/// What a page shows and what does not belong on one, told by a script of the test's.
const LOOK: &str = r"(() => {
  const known = new Set(('html head meta title link script body a header img nav form input span b button main section ' +
    'div h1 h2 h3 p ul ol li table thead tbody tr th td label datalist option details summary dl dt dd code kbd time ' +
    'textarea select s').split(' '));
  const wrong = [];
  for (const element of document.querySelectorAll('*')) {
    if (!known.has(element.localName)) wrong.push('<' + element.localName + '>');
    for (const { name, value } of element.attributes) {
      if (/^(on|style$|srcdoc|srcset|ping|formaction|background|poster|xlink)/i.test(name)) wrong.push(element.localName + ' ' + name);
      if (/^(href|src|action)$/.test(name) && !/^([/](?![/\\])|#|https:)/.test(value)) wrong.push(name + '=' + value);
    }
  }
  const scripts = document.querySelectorAll('script');
  if (scripts.length !== 1) wrong.push(scripts.length + ' scripts');
  const values = [...document.querySelectorAll('input')].map(input => input.value);
  const next = document.querySelector('a[rel=next]');
  return {
    text: document.documentElement.textContent + ' ' + values.join(' '),
    wrong, next: next && next.getAttribute('href'), path: location.pathname,
  };
})()";

/// Opens a page and judges it; returns where the list goes on.
fn look(browser: &mut Browser, address: &str, expected: &[&str]) -> Option<String> {
    browser.open(address);
    let page = browser.evaluate(LOOK);
    let mut bad = browser.misdeeds();
    // Who is signed in goes on to the path that was asked for. It is one of ours, and need not exist.
    if address.contains("/login?next=") && page["path"] != "/login" {
        bad.retain(|said| !said.contains("the server responded with a status of 404"));
    }
    assert!(bad.is_empty(), "{address}: {bad:#?}");
    assert_eq!(page["wrong"], serde_json::json!([]), "{address} holds what no page of ours holds");
    let text = page["text"].as_str().expect("a text");
    let deceiving: BTreeSet<char> = text.chars().filter(|&c| c != '\n' && deceives(c)).collect();
    assert!(deceiving.is_empty(), "{address} shows {deceiving:?}");
    let shown = core(text);
    for text in expected {
        let wanted: String = core(text).chars().take(SHORTEST_CUT).collect();
        assert!(shown.contains(&wanted), "{address} does not show {text:?}");
    }
    page["next"].as_str().map(str::to_owned)
}

fn sign_in(stage: &mut Stage, browser: &mut Browser) {
    browser.sign_in(&stage.collector.setup_link());
    let cookies = browser.cookies();
    let cookie = cookies.iter().find(|cookie| cookie["name"] == "__Host-firstline").expect("a session");
    assert_eq!((&cookie["secure"], &cookie["httpOnly"]), (&true.into(), &true.into()), "{cookie}");
    assert_eq!(browser.evaluate("document.cookie"), "", "a script can read the session");
    assert_eq!(browser.misdeeds(), Vec::<String>::new(), "the first sign-in");
}

fn pages(stage: &mut Stage, texts: &[String], tickets: &[(u64, String)]) {
    let origin = format!("https://{}", stage.collector.web());
    let mut browser = Browser::start(&origin);
    sign_in(stage, &mut browser);
    let mut seen = 0;
    // Lists: each page in full, and all of them together show every text.
    for (start, expected) in [("/devices", texts.len()), ("/audit", 0)] {
        let mut address = start.to_owned();
        let mut shown = 0;
        loop {
            let next = look(&mut browser, &format!("{origin}{address}"), &[]);
            seen += 1;
            shown +=
                browser.evaluate("document.querySelectorAll('tbody tr').length").as_u64().expect("a number");
            match next {
                Some(next) => address = next,
                None => break,
            }
        }
        assert!(shown >= expected as u64, "{start} lists {shown}");
    }
    // Longer ones, and those with a NUL, are refused before they are looked for.
    let can_be_asked = |text: &&String| text.len() <= 256 && !text.contains('\0');
    for hostname in texts.iter().filter(can_be_asked).step_by(effort(20, 1)) {
        // What is asked for comes back in the page too.
        let asked = escaped(hostname);
        look(&mut browser, &format!("{origin}/devices?q={asked}&site={asked}"), &[hostname]);
        look(&mut browser, &format!("{origin}/?site={asked}&q={asked}"), &[hostname]);
        look(&mut browser, &format!("{origin}/login?next={asked}"), &[]);
        seen += 3;
    }
    for (device, said) in &stage.talkers {
        let said: Vec<&str> =
            said.iter().map(String::as_str).chain([stage.hostnames[device].as_str()]).collect();
        look(&mut browser, &format!("{origin}/devices/{device}"), &said);
        seen += 1;
    }
    let sites = stage.talkers.len().div_ceil(TALKERS_OF_A_SITE);
    for site in 0..sites {
        let name = format!("site-{site}");
        let count = tickets.iter().filter(|(_, at)| *at == name).count();
        look(&mut browser, &format!("{origin}/?site={name}"), &[]);
        let rows = browser.evaluate("document.querySelectorAll('table.board tbody tr').length");
        assert!(rows.as_u64() >= Some(count as u64), "the board of {name} shows {rows} of {count} tickets");
        seen += 1;
    }
    for (number, _) in tickets.iter().step_by(effort(20, 1)) {
        look(&mut browser, &format!("{origin}/tickets/{number}"), &[]);
        seen += 1;
    }
    figure("r26.pages_seen", seen, "count");
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

// --- JSON

/// Every header that an answer of the interface may have.
const HEADERS: &[&str] = &[
    "content-type",
    "content-length",
    "transfer-encoding",
    "content-security-policy",
    "strict-transport-security",
    "x-content-type-options",
    "referrer-policy",
    "x-frame-options",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "cache-control",
    "etag",
    "date",
    "connection",
    "vary",
];

fn checked(path: &str, reply: &Reply) -> Json {
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    unadorned(path, reply);
    reply.json()
}

/// An answer has the headers that answers have, each once.
fn unadorned(path: &str, reply: &Reply) {
    let kind = reply.header("content-type").unwrap_or_default();
    assert!(
        kind.starts_with("application/json") || kind.starts_with("application/problem+json"),
        "{path}: {kind}"
    );
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    let names: Vec<&str> = reply.headers.iter().map(|(name, _)| name.as_str()).collect();
    for name in &names {
        assert!(HEADERS.contains(name), "{path} has the header {name}");
        assert_eq!(names.iter().filter(|other| other == &name).count(), 1, "{path} has {name} twice");
    }
}

/// All rows of a list.
fn list(rest: &Rest, path: &str) -> Vec<Json> {
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let address = format!("{path}?limit=500{after}");
        let page = checked(&address, &rest.get(&address));
        rows.extend(page["items"].as_array().expect("items").iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return rows,
        }
    }
}

/// JSON gives back the very text that the device sent, whatever it is; returns each ticket's number and site.
fn json(stage: &mut Stage, texts: &[String]) -> Vec<(u64, String)> {
    let rest = stage.collector.rest();
    let devices = list(&rest, "/api/v1/devices");
    assert_eq!(devices.len(), texts.len());
    for device in &devices {
        let id = device["id"].as_str().expect("an id");
        assert_eq!(device["hostname"], *stage.hostnames[id], "{device}");
    }
    for (device, said) in &stage.talkers {
        let path = format!("/api/v1/devices/{device}");
        let shown = checked(&path, &rest.get(&path));
        assert_eq!(shown["facts"]["model"], *stage.hostnames[device], "{path}");
        let all = shown.to_string();
        for text in said {
            let written = serde_json::to_string(cut(text, 500)).expect("json");
            assert!(all.contains(written.trim_matches('"')), "{path} does not hold {text:?}");
        }
    }
    let mut tickets = list(&rest, "/api/v1/tickets");
    // Those of a shared cause belong to no device.
    tickets.retain(|ticket| !ticket["device"].is_null());
    let count = 2 * stage.talkers.values().map(Vec::len).sum::<usize>();
    assert_eq!(tickets.len(), count, "two tickets for each text");
    let mut names: BTreeSet<String> = texts.iter().map(|text| core(cut(text, 500))).collect();
    names.insert("empty".to_owned());
    let mut found = Vec::new();
    for ticket in &tickets {
        let named = ticket["component"]["id"].as_str().expect("a component");
        assert!(names.contains(&core(named)), "{ticket}");
        let title = ticket["title"].as_str().expect("a title");
        assert!(!title.chars().any(deceives), "{title:?}");
        let wanted: String = core(named).chars().take(SHORTEST_CUT).collect();
        let is_report = ticket["rule"] == "user.report";
        assert!(!is_report || core(title).contains(&wanted), "{title:?} does not name {named:?}");
        assert_eq!(ticket["tested"].as_array().map(Vec::len), Some(2), "{ticket}");
        let number = ticket["id"].as_u64().or_else(|| ticket["id"].as_str().and_then(|id| id.parse().ok()));
        found.push((number.expect("a number"), ticket["site"].as_str().unwrap_or_default().to_owned()));
    }
    for path in ["/api/v1/findings", "/api/v1/suppressions", "/api/v1/audit"] {
        list(&rest, path);
    }
    found
}

// --- queries

/// A text that is asked for is looked for, and is never part of the question.
fn queries(stage: &mut Stage, texts: &[String]) {
    let rest = stage.collector.rest();
    let devices = texts.len();
    for text in texts.iter().step_by(effort(12, 1)) {
        let asked = escaped(text);
        let path = format!("/api/v1/devices?limit=500&q={asked}");
        let found = rest.get(&path);
        if found.status != 400 {
            let found = checked(&path, &found);
            let wanted = text.trim().to_ascii_lowercase();
            for device in found["items"].as_array().expect("items") {
                let hostname = device["hostname"].as_str().expect("a name").to_ascii_lowercase();
                let is_meant =
                    hostname.contains(&wanted) || device["id"].as_str().expect("an id").contains(&wanted);
                assert!(is_meant, "{text:?} found {hostname:?}");
            }
            let itself = found["items"]
                .as_array()
                .is_some_and(|rows| rows.iter().any(|row| row["hostname"] == **text));
            assert!(
                itself || wanted.is_empty() || found["next"].is_string(),
                "{text:?} does not find itself"
            );
        }
        for path in [
            format!("/api/v1/tickets?q={asked}"),
            format!("/api/v1/tickets?site={asked}"),
            format!("/api/v1/tickets?state={asked}"),
            format!("/api/v1/tickets?rule={asked}"),
            format!("/api/v1/tickets?device={asked}"),
            format!("/api/v1/devices?after={asked}"),
            format!("/api/v1/tickets?order={asked}"),
            format!("/api/v1/devices/{asked}"),
        ] {
            let reply = rest.get(&path);
            assert!(matches!(reply.status, 200 | 400 | 404), "{path}: {} {}", reply.status, reply.body);
            unadorned(&path, &reply);
            assert!(!reply.body.to_lowercase().contains("sqlite"), "{path}: {}", reply.body);
        }
    }
    let after = list(&rest, "/api/v1/devices").len();
    assert_eq!(after, devices, "a query changed what there is");
}

// --- terminals and logs

/// What stands in a terminal is lines of characters that can be seen.
fn readable(what: &str, output: &str) {
    for line in output.lines() {
        let bad: BTreeSet<char> = line.chars().filter(|&c| deceives(c)).collect();
        assert!(bad.is_empty(), "{what} prints {bad:?}: {line:?}");
    }
}

fn terminals(stage: &Stage) {
    for arguments in [&["device", "list"][..], &["doctor"], &["authority", "status"], &["user", "list"]] {
        let output = stage.collector.run(arguments);
        let said = String::from_utf8(output.stdout).expect("text");
        readable(&arguments.join(" "), &said);
        readable(&arguments.join(" "), &String::from_utf8(output.stderr).expect("text"));
        if arguments == ["device", "list"] {
            assert_eq!(said.lines().count(), stage.hostnames.len(), "one device is one line");
        }
    }
}

fn logs(stage: &Stage) {
    let lines = stage.collector.log().lines();
    assert!(lines.iter().filter(|line| line.contains("device enrolled")).count() >= stage.hostnames.len());
    for line in &lines {
        let bad: BTreeSet<char> = line.chars().filter(|&c| deceives(c)).collect();
        assert!(bad.is_empty(), "the log holds {bad:?}: {line:?}");
        let is_whole = line.get(..4).is_some_and(|year| year.chars().all(|c| c.is_ascii_digit()))
            && line.get(10..11) == Some("T")
            && [" TRACE ", " DEBUG ", "  INFO ", "  WARN ", " ERROR "]
                .iter()
                .any(|level| line.get(27..34).is_some_and(|at| at == *level));
        assert!(is_whole, "this line of the log is none of the collector's: {line:?}");
    }
}

#[test]
fn r26_the_browser_of_these_tests_notices_what_a_page_should_not_do() {
    if !met(&[Need::Program(browser::PROGRAM)]) {
        return;
    }
    let mut browser = Browser::start("https://127.0.0.1:1");
    for (page, expected) in [
        ("<script>window.x=1</script>", "a script ran"),
        ("<img src=data:x onerror=alert(1)>", "a dialog"),
        ("<img src=data:x onerror='window.x=1'>", "a script ran"),
        ("<svg onload=console.log(1)>", "console"),
        ("<script>throw 1</script>", "exception"),
        ("<link rel=stylesheet href=http://127.0.0.1:1/a.css>", "a request went elsewhere"),
        ("<img src=http://evil.invalid/a.png>", "a request went elsewhere"),
        (
            "<meta http-equiv=content-security-policy content=\"script-src 'none'\"><script>1</script>",
            "violation of script-src",
        ),
    ] {
        browser.open(&format!("data:text/html,<!doctype html>{page}"));
        let seen = browser.misdeeds();
        assert!(seen.iter().any(|misdeed| misdeed.contains(expected)), "{page}: {seen:#?}");
    }
    browser.open("data:text/html,<!doctype html><p>quiet");
    assert_eq!(browser.misdeeds(), Vec::<String>::new());
}
