//! The network probe against a real gateway: two network namespaces joined by a cable that the test can cut. Needs the
//! right to make namespaces and the command `ip`; elsewhere the test says that it was skipped.
#![cfg(target_os = "linux")]

use firstline_agent_probes::{Context, Overrides, Root, Sink, json, probe};
use firstline_model::Timestamp;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

const INSIDE: &str = "inside_the_namespace";
const GATEWAY: &str = "10.77.0.1";
const MARK: &str = "observation: ";
/// What the part inside is told through its environment.
const PROBE: &str = "FIRSTLINE_TEST_PROBE";
const SETTING: &str = "FIRSTLINE_TEST_SETTING";
const TIMES: &str = "FIRSTLINE_TEST_TIMES";

/// Two namespaces that vanish with the value.
struct Pair {
    id: String,
    pc: String,
    gateway: String,
}

impl Pair {
    fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}{}", std::process::id(), (b'a' + NEXT.fetch_add(1, Relaxed) as u8) as char);
        let pair = Self { id: id.clone(), pc: format!("fl-pc-{id}"), gateway: format!("fl-gw-{id}") };
        let (pc, gateway) = (&pair.pc, &pair.gateway);
        for command in [
            format!("netns add {pc}"),
            format!("netns add {gateway}"),
            format!("link add va{id} netns {pc} type veth peer name vb{id} netns {gateway}"),
            format!("-n {pc} addr add 10.77.0.2/24 dev va{id}"),
            format!("-n {gateway} addr add {GATEWAY}/24 dev vb{id}"),
            format!("-n {pc} link set lo up"),
            format!("-n {pc} link set va{id} up"),
            format!("-n {gateway} link set vb{id} up"),
            format!("-n {pc} route add default via {GATEWAY}"),
        ] {
            pair.ip(&command)?;
        }
        Ok(pair)
    }

    fn ip(&self, arguments: &str) -> Result<(), String> {
        let output = run("ip", arguments.split(' '))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    /// Runs the network probe in the namespace of the computer and gives what it saw.
    fn observe(&self) -> Vec<Value> {
        self.observe_with("network", "", 1)
    }

    /// Runs a probe several times in the namespace of the computer and gives what it saw at the last time; `setting` is
    /// an address for what that probe asks.
    fn observe_with(&self, probe: &str, setting: &str, times: u32) -> Vec<Value> {
        let own = std::env::current_exe().expect("the path of this test");
        let own = own.to_str().expect("a path of text");
        let arguments = ["netns", "exec", &self.pc, own, "--exact", INSIDE, "--ignored", "--nocapture"];
        #[expect(clippy::disallowed_methods, reason = "the test drives the system's own network tools")]
        let mut command = Command::new("ip");
        command.args(arguments).env(PROBE, probe).env(SETTING, setting).env(TIMES, times.to_string());
        let output = command.output().expect("the probe in the namespace");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter_map(|line| line.split_once(MARK));
        let seen: Vec<Value> =
            lines.map(|(_, line)| serde_json::from_str(line).expect("an observation")).collect();
        assert!(!seen.is_empty(), "nothing was observed: {text} {}", String::from_utf8_lossy(&output.stderr));
        seen
    }
}

/// Gives the listener of a port in a namespace. The thread that enters it ends there; the listener stays.
fn listen_in(namespace: &str, address: &'static str) -> TcpListener {
    let file = std::fs::File::open(format!("/run/netns/{namespace}")).expect("the namespace");
    let enter = move || {
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(file.as_fd(), kind).expect("to enter the namespace");
        TcpListener::bind(address).expect("a listener")
    };
    std::thread::spawn(enter).join().expect("the thread in the namespace")
}

impl Drop for Pair {
    fn drop(&mut self) {
        // One of them may be missing when setting up failed.
        let _ = self.ip(&format!("netns del {}", self.pc));
        let _ = self.ip(&format!("netns del {}", self.gateway));
    }
}

fn run<'a>(program: &str, arguments: impl Iterator<Item = &'a str>) -> Result<Output, String> {
    #[expect(clippy::disallowed_methods, reason = "the test drives the system's own network tools")]
    let mut command = Command::new(program);
    command.args(arguments).output().map_err(|error| format!("{program}: {error}"))
}

fn value(seen: &[Value], component: &str, metric: &str) -> Option<f64> {
    let about = |line: &&Value| {
        let is_component = line["component"].as_str().is_some_and(|name| name.starts_with(component));
        is_component && line["metric"] == metric
    };
    seen.iter().find(about)?["value"].as_f64()
}

const REACHABLE: &str = "endpoint.network.gateway.reachable";

#[test]
fn a_gateway_is_judged_by_echo_then_by_its_neighbour_entry_then_by_the_link() {
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => return eprintln!("skipped: no network namespaces: {why}"),
    };
    let (pc, gateway, id) = (&pair.pc, &pair.gateway, &pair.id);

    let healthy = pair.observe();
    assert_eq!(value(&healthy, "gateway/10.77.0.1", REACHABLE), Some(1.0));
    assert!(value(&healthy, "gateway/10.77.0.1", "endpoint.network.rtt").is_some());
    assert_eq!(value(&healthy, "network_interface/va", "hw.network.up"), Some(1.0));

    let silent = ["netns", "exec", gateway, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"];
    let silenced = run("ip", silent.into_iter()).is_ok_and(|output| output.status.success());
    if silenced {
        let seen = pair.observe();
        assert_eq!(value(&seen, "gateway/10.77.0.1", REACHABLE), Some(1.0), "a silent gateway is a good one");
        assert_eq!(value(&seen, "gateway/10.77.0.1", "endpoint.network.rtt"), None);
    } else {
        eprintln!("skipped: the gateway cannot be made to ignore echo requests");
    }

    pair.ip(&format!("-n {gateway} addr del {GATEWAY}/24 dev vb{id}")).expect("the gateway's address to go");
    pair.ip(&format!("-n {pc} neigh flush all")).expect("the neighbours to be forgotten");
    assert_eq!(value(&pair.observe(), "gateway/10.77.0.1", REACHABLE), Some(0.0));

    pair.ip(&format!("-n {gateway} link set vb{id} down")).expect("the cable to be cut");
    let cut = pair.observe();
    assert_eq!(value(&cut, "network_interface/va", "hw.network.up"), Some(0.0));
    assert_eq!(value(&cut, "network_interface/va", "endpoint.network.ip_config"), None);
}

fn state<'a>(seen: &'a [Value], metric: &str) -> Option<&'a str> {
    seen.iter().find(|line| line["metric"] == metric)?["attrs"]["state"].as_str()
}

#[test]
fn a_sign_in_page_that_answers_for_everybody_is_a_portal_until_it_lets_through() {
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => return eprintln!("skipped: no network namespaces: {why}"),
    };
    let listener = listen_in(&pair.gateway, "10.77.0.1:80");
    let (answer, answers) = std::sync::mpsc::channel::<&str>();
    std::thread::spawn(move || {
        for (stream, answer) in listener.incoming().zip(answers) {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(answer.as_bytes()).expect("the answer to be sent");
        }
    });
    let url = "http://10.77.0.1/generate_204";
    let metric = "endpoint.network.connectivity";
    for (says, expected) in [
        ("HTTP/1.1 302 Found\r\nLocation: http://login.invalid/\r\nContent-Length: 0\r\n\r\n", "portal"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsign in", "portal"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "full"),
    ] {
        answer.send(says).expect("the server");
        assert_eq!(state(&pair.observe_with("connectivity", url, 1), metric), Some(expected), "{says}");
    }
    let closed = "http://10.77.0.1:81/";
    assert_eq!(state(&pair.observe_with("connectivity", closed, 1), metric), Some("limited"));
    pair.ip(&format!("-n {} route del default", pair.pc)).expect("the default route to go");
    assert_eq!(state(&pair.observe_with("connectivity", "http://192.0.2.1/", 1), metric), Some("none"));
}

/// The value of a figure of the path to `target`.
fn of_target(seen: &[Value], metric: &str, target: &str) -> Option<f64> {
    seen.iter().find(|line| line["metric"] == metric && line["attrs"]["target"] == target)?["value"].as_f64()
}

const LOSS: &str = "endpoint.network.loss";

#[test]
fn every_fourth_lost_request_is_a_quarter_of_loss_and_a_gateway_that_ignores_them_is_none() {
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => return eprintln!("skipped: no network namespaces: {why}"),
    };
    let healthy = pair.observe_with("path", "", 10);
    assert_eq!(of_target(&healthy, LOSS, "gateway"), Some(0.0));
    assert!(of_target(&healthy, "endpoint.network.rtt", "gateway").is_some());
    assert!(of_target(&healthy, "endpoint.network.jitter", "gateway").is_some());

    let filter = |drop: &str| {
        let table = format!(
            "flush ruleset; table inet t {{ chain c {{ type filter hook input priority 0; \
             icmp type echo-request {drop}; }}; }}"
        );
        let arguments = ["netns", "exec", &pair.gateway, "nft", &table];
        run("ip", arguments.into_iter()).is_ok_and(|output| output.status.success())
    };
    if !filter("numgen inc mod 4 0 drop") {
        return eprintln!("skipped: the gateway cannot be made to lose packets (nft)");
    }
    assert_eq!(of_target(&pair.observe_with("path", "", 10), LOSS, "gateway"), Some(0.25));

    assert!(filter("drop"));
    let silent = pair.observe_with("path", "", 5);
    assert_eq!(of_target(&silent, LOSS, "gateway"), None);
    let about = |line: &&Value| line["component"] == "gateway/10.77.0.1" && line["unavailable"] == LOSS;
    assert_eq!(silent.iter().find(about).map(|line| &line["reason"]), Some(&Value::from("unsupported")));
}

#[test]
fn large_packets_that_vanish_without_a_word_are_found_by_their_size() {
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => return eprintln!("skipped: no network namespaces: {why}"),
    };
    let size = |seen: &[Value]| of_target(seen, "endpoint.network.path_mtu", GATEWAY);
    assert_eq!(size(&pair.observe_with("path", GATEWAY, 1)), Some(1500.0));
    // Only the far end knows; a cable of this kind lets four bytes more pass, the room of a VLAN's tag.
    pair.ip(&format!("-n {} link set vb{} mtu 1000", pair.gateway, pair.id)).expect("a smaller limit");
    let found = size(&pair.observe_with("path", GATEWAY, 1)).expect("a size");
    assert!((1000.0..=1004.0).contains(&found), "{found}");
}

/// The part that runs inside; does nothing of its own.
#[test]
#[ignore = "the other tests start it in a namespace: cargo nextest run -p firstline-agent-probes --test network_namespace"]
fn inside_the_namespace() {
    let told = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let name = told(PROBE).unwrap_or_else(|| "network".to_owned());
    let setting = told(SETTING);
    let overrides = Overrides {
        resolv_conf: Some("/dev/null".into()),
        connectivity_url: setting.clone().filter(|_| name == "connectivity"),
        path_target: setting.filter(|_| name == "path"),
        ..Overrides::default()
    };
    let mut probe = (probe(&name).expect("the probe").new)();
    let times: i64 = told(TIMES).and_then(|text| text.parse().ok()).unwrap_or(1);
    let interval = i64::try_from(probe.descriptor().interval.as_millis()).expect("an interval");
    for time in 0..times {
        let now = Timestamp::from_millis(time * interval);
        let context = Context { overrides: overrides.clone(), ..Context::new(Root::system(), now) };
        let mut sink = Sink::new(context.now);
        probe.collect(&context, &mut sink);
        if time == times - 1 {
            for observation in sink.into_parts().0 {
                println!("{MARK}{}", json::observation(&observation));
            }
        }
    }
}
