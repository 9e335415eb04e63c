//! One cause, many devices: one Problem ticket, told once, over a restart of the collector, and gone when they recover.

use firstline_model::{Attributes, Body, Component, Observation, Timestamp, Value, semconv};
use firstline_proto::convert::encode_record;
use firstline_tests::Collector;
use firstline_tests::healthy::runtime;
use firstline_tests::simulated::{SimulatedAgent, SimulatedStream, now_ms};
use firstline_tests::wait::{seconds, until_ok};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const QUICK_GATEWAY: &str = "for = \"2s\"\nclear = { equals = 1, for = \"2s\" }";

/// Devices of one site, each with its stream.
struct Place {
    agents: Vec<Arc<SimulatedAgent>>,
    streams: Vec<SimulatedStream>,
    first: usize,
}

/// Does one thing for every device, several at a time.
fn each<T: Send + 'static, F: Future<Output = anyhow::Result<T>> + Send + 'static>(
    runtime: &Runtime,
    work: impl IntoIterator<Item = F>,
) -> Vec<T> {
    let turns = Arc::new(Semaphore::new(16));
    runtime.block_on(async {
        let mut running = JoinSet::new();
        for (number, one) in work.into_iter().enumerate() {
            let turns = Arc::clone(&turns);
            running.spawn(async move {
                let _turn = turns.acquire().await;
                (number, one.await)
            });
        }
        let mut done: Vec<_> = running.join_all().await;
        done.sort_by_key(|(number, _)| *number);
        let named = done.into_iter();
        named.map(|(number, one)| one.unwrap_or_else(|error| panic!("device {number}: {error:#}"))).collect()
    })
}

impl Place {
    fn enrolled(collector: &Collector, runtime: &Runtime, site: &str, first: usize, count: usize) -> Self {
        let url = collector.enrollment_url(&["--uses", &count.to_string(), "--site", site]);
        let authority = std::fs::read_to_string(collector.authority()).expect("an authority");
        let agents = each(
            runtime,
            (first..first + count).map(|number| {
                let (url, authority) = (url.clone(), authority.clone());
                async move { SimulatedAgent::enroll(&url, &authority, &format!("pc-{number:04}")).await }
            }),
        );
        Self { agents: agents.into_iter().map(Arc::new).collect(), streams: Vec::new(), first }
    }

    /// Opens every stream. `life` tells the streams of one device apart.
    fn connect(&mut self, collector: &Collector, runtime: &Runtime, life: u8) {
        let address = collector.agents().to_string();
        let first = self.first;
        self.streams = each(
            runtime,
            self.agents.iter().cloned().enumerate().map(|(number, agent)| {
                let mut epoch = [life; 16];
                epoch[..8].copy_from_slice(&((first + number) as u64).to_be_bytes());
                let address = address.clone();
                async move { agent.stream_at(&address, epoch).await }
            }),
        );
    }

    /// Every device says whether its gateway answers.
    fn report(&mut self, runtime: &Runtime, switch: &str, reachable: impl Fn(usize) -> bool) {
        let streams = std::mem::take(&mut self.streams);
        self.streams = each(
            runtime,
            streams.into_iter().enumerate().map(|(number, mut stream)| {
                let record = record(switch, reachable(number));
                async move { stream.deliver(record).await.map(|_| stream) }
            }),
        );
    }

    /// What a dead switch does to streams.
    fn vanish(&mut self) {
        self.streams.clear();
    }
}

fn record(switch: &str, reachable: bool) -> Vec<u8> {
    let observed_at = Timestamp::from_millis(now_ms());
    let one = |component: &str, body: Body| Observation {
        component: component.parse::<Component>().expect("a component"),
        observed_at,
        body,
    };
    encode_record(&[
        one("os/0", Body::Facts(Value::map([("switch", Value::from(switch))]))),
        one(
            "gateway/192.0.2.1",
            Body::Sample {
                metric: semconv::GATEWAY_REACHABLE.into(),
                attributes: Attributes::none(),
                value: f64::from(u8::from(reachable)),
            },
        ),
    ])
}

fn tickets(collector: &mut Collector) -> Vec<Json> {
    let found = collector.rest().get_json("/api/v1/tickets?limit=500");
    found["items"].as_array().cloned().unwrap_or_default()
}

/// Waits until the one Problem fulfils a condition; there must never be a second one, nor tickets that nobody expects.
fn problem(collector: &mut Collector, own: usize, what: &str, is_so: impl Fn(&Json) -> bool) -> Json {
    until_ok(&format!("one Problem that {what}"), seconds(150), || {
        let all = tickets(collector);
        let (problems, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|t| t["kind"] == "problem");
        assert!(problems.len() <= 1, "{problems:#?}");
        assert!(others.len() <= own, "{} tickets of single devices: {others:#?}", others.len());
        match problems.into_iter().next() {
            Some(found) => {
                let found = collector.rest().get_json(&format!("/api/v1/tickets/{}", found["id"]));
                let affected = found["affected"].as_array().map_or(0, Vec::len);
                let short = format!("state {}, {affected} affected", found["state"]);
                if is_so(&found) { Ok(found) } else { Err(short) }
            }
            None => Err("there is none".to_owned()),
        }
    })
}

fn affected(ticket: &Json, rule: &str) -> usize {
    let all = ticket["affected"].as_array().cloned().unwrap_or_default();
    let devices: BTreeSet<String> =
        all.iter().filter(|one| one["rule"] == rule).map(|one| one["device"]["id"].to_string()).collect();
    devices.len()
}

fn kinds(collector: &mut Collector, ticket: &Json) -> Vec<String> {
    let timeline = collector.rest().get_json(&format!("/api/v1/tickets/{}/timeline", ticket["id"]));
    let lines = timeline["items"].as_array().or(timeline.as_array()).cloned().unwrap_or_default();
    lines.iter().map(|line| line["kind"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn five_hundred_devices_behind_one_dead_switch_are_one_problem_told_once() {
    let runtime = runtime();
    let mut collector = Collector::prepared().overriding("net.gateway", QUICK_GATEWAY);
    collector.start();
    let mut oslo = Place::enrolled(&collector, &runtime, "oslo", 0, 500);
    let mut bergen = Place::enrolled(&collector, &runtime, "bergen", 500, 30);
    oslo.connect(&collector, &runtime, 1);
    bergen.connect(&collector, &runtime, 1);
    oslo.report(&runtime, "sw-oslo-3", |_| true);
    bergen.report(&runtime, "sw-bergen-1", |_| true);
    assert_eq!(tickets(&mut collector), Vec::<Json>::new());

    // They report it, and one device elsewhere has the same fault for a reason of its own.
    oslo.report(&runtime, "sw-oslo-3", |_| false);
    bergen.report(&runtime, "sw-bergen-1", |number| number != 7);
    let found = problem(&mut collector, 1, "names all of them", |t| affected(t, "net.gateway") == 500);
    assert_eq!((&found["rule"], &found["component"]["id"]), (&"net.site_outage".into(), &"oslo".into()));
    assert_eq!((&found["device"], &found["site"]), (&Json::Null, &"oslo".into()));
    assert_eq!(found["children"], Json::Array(Vec::new()));
    let own =
        collector.ticket("net.gateway", "is of the one elsewhere", seconds(60), |t| t["state"] == "new");
    assert_eq!(own["device"]["hostname"], "pc-0507");
    assert_eq!(own["parent"], Json::Null);

    // Then they cannot even report; the collector restarts meanwhile.
    oslo.vanish();
    problem(&mut collector, 1, "has silent devices", |t| affected(t, "agent.silent") == 500);
    bergen.vanish();
    collector.stop();
    collector.start();
    bergen.connect(&collector, &runtime, 2);
    bergen.report(&runtime, "sw-bergen-1", |_| true);
    let found = problem(&mut collector, 1, "is as it was", |t| affected(t, "agent.silent") == 500);
    assert!(["new", "assigned"].contains(&found["state"].as_str().unwrap_or_default()), "{found}");

    // Everything comes back.
    oslo.connect(&collector, &runtime, 2);
    oslo.report(&runtime, "sw-oslo-3", |_| true);
    let over = problem(&mut collector, 1, "is resolved", |t| t["state"] == "resolved");
    assert_eq!(over["affected"], Json::Array(Vec::new()));
    assert_eq!(kinds(&mut collector, &over), ["opened", "resolved"]);
}

#[test]
fn a_printer_that_stops_for_six_is_a_problem_with_six_children() {
    let runtime = runtime();
    let mut collector = Collector::prepared().overriding("prn.stopped", "for = \"2s\"");
    collector.start();
    let mut office = Place::enrolled(&collector, &runtime, "oslo", 0, 6);
    office.connect(&collector, &runtime, 1);
    let say = |office: &mut Place, state: f64| {
        let observed_at = Timestamp::from_millis(now_ms());
        let body = || Body::Sample {
            metric: semconv::PRINTER_STATE.into(),
            attributes: Attributes::none(),
            value: state,
        };
        let component: Component = "printer/9f2c".parse().expect("a component");
        let record = encode_record(&[Observation { component, observed_at, body: body() }]);
        let streams = std::mem::take(&mut office.streams);
        office.streams = each(
            &runtime,
            streams.into_iter().map(|mut stream| {
                let record = record.clone();
                async move { stream.deliver(record).await.map(|_| stream) }
            }),
        );
    };
    say(&mut office, 3.0);
    say(&mut office, 5.0);
    let found = problem(&mut collector, 6, "has six children", |t| {
        t["children"].as_array().is_some_and(|children| children.len() == 6)
    });
    assert_eq!((&found["rule"], &found["component"]["id"]), (&"prn.stopped".into(), &"9f2c".into()));
    let child = collector.rest().get_json(&format!("/api/v1/tickets/{}", found["children"][0]));
    assert_eq!(child["parent"], found["id"]);
    let rest = collector.rest();
    let shown = |ticket: &Json| {
        let page = rest.get(&format!("/tickets/{}", ticket["id"]));
        assert_eq!(page.status, 200, "{}", page.body);
        page.body
    };
    assert!(shown(&found).contains(&format!("/tickets/{}\"", child["id"])), "the parent lists its children");
    assert!(shown(&child).contains(&format!("/tickets/{}\"", found["id"])), "the child shows its parent");
}
