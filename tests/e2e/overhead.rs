//! What the agent costs its machine is no secret: the collector gets it as metrics, and `doctor` tells it on the machine.

use firstline_tests::database::number;
use firstline_tests::wait::{seconds, until};
use firstline_tests::{Agent, Collector, process};
use serde_json::Value;

#[test]
fn the_agents_own_cost_is_seen_at_the_collector_and_on_the_machine() {
    let mut collector = Collector::started();
    let agent = Agent::enrolled(&collector)
        .probing(&["memory", "cpu"], "[limits]\ncpu_s_per_hour = 3600\n")
        .started();
    collector.wait_for_device(agent.device());
    let database = collector.database();
    for metric in [
        "process.cpu.time",
        "process.memory.usage",
        "endpoint.agent.probe.cpu.time",
        "endpoint.agent.slowed_down",
    ] {
        let query =
            format!("SELECT count(*) FROM latest WHERE component_kind = 'agent' AND name = '{metric}'");
        until(metric, seconds(20), || (number(&database, &query) > 0).then_some(()));
    }
    let mut doctor = process::command(process::binary("firstline-agent"));
    doctor.args(["doctor", "--json", "--data"]).arg(agent.data());
    let output = doctor.output().expect("doctor runs");
    let told: Value = serde_json::from_slice(&output.stdout).expect("doctor prints JSON");
    let findings = told["findings"].as_array().expect("findings");
    let overhead =
        findings.iter().find(|finding| finding["what"] == "overhead").expect("the agent's own cost");
    let detail = overhead["detail"].as_str().unwrap_or_default();
    assert!(overhead["ok"] == true && detail.contains("of processor time"), "{overhead}");
    assert!(detail.contains("MiB of memory") && detail.contains("the costliest run was"), "{overhead}");
}
