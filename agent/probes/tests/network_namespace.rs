//! The network probe against a real gateway: two network namespaces joined by a cable that the test can cut. Needs the
//! right to make namespaces and the command `ip`; elsewhere the test says that it was skipped.
#![cfg(target_os = "linux")]

use firstline_agent_probes::{Context, Overrides, Root, Sink, json, probe};
use firstline_model::Timestamp;
use serde_json::Value;
use std::process::{Command, Output};

const INSIDE: &str = "inside_the_namespace";
const GATEWAY: &str = "10.77.0.1";
const MARK: &str = "observation: ";

/// Two namespaces that vanish with the value.
struct Pair {
    pc: String,
    gateway: String,
}

impl Pair {
    fn new() -> Result<Self, String> {
        let id = std::process::id();
        let pair = Self { pc: format!("fl-pc-{id}"), gateway: format!("fl-gw-{id}") };
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

    /// Runs the probe in the namespace of the computer and gives what it saw.
    fn observe(&self) -> Vec<Value> {
        let own = std::env::current_exe().expect("the path of this test");
        let own = own.to_str().expect("a path of text");
        let arguments = ["netns", "exec", &self.pc, own, "--exact", INSIDE, "--ignored", "--nocapture"];
        let output = run("ip", arguments.into_iter()).expect("the probe in the namespace");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter_map(|line| line.split_once(MARK));
        let seen: Vec<Value> =
            lines.map(|(_, line)| serde_json::from_str(line).expect("an observation")).collect();
        assert!(!seen.is_empty(), "nothing was observed: {text} {}", String::from_utf8_lossy(&output.stderr));
        seen
    }
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
    let (pc, gateway, id) = (&pair.pc, &pair.gateway, std::process::id());

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

/// The part that runs inside; does nothing of its own.
#[test]
#[ignore = "the other test starts it in a namespace: cargo nextest run -p firstline-agent-probes --test network_namespace"]
fn inside_the_namespace() {
    let nowhere = Some("/dev/null".into());
    let overrides = Overrides { resolv_conf: nowhere, ..Overrides::default() };
    let context = Context { overrides, ..Context::new(Root::system(), Timestamp::from_millis(0)) };
    let mut sink = Sink::new(context.now);
    let mut network = (probe("network").expect("the probe").new)();
    network.collect(&context, &mut sink);
    for observation in sink.into_parts().0 {
        println!("{MARK}{}", json::observation(&observation));
    }
}
