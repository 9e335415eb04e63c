//! What the running agent says of its own cost: the processor time of each probe's runs, as its local socket tells it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench::report::Row;

/// The account of the agent.
pub(super) struct Overhead {
    told: Value,
}

/// Asks the agent that runs with this data folder.
#[cfg(unix)]
pub(super) fn of_running(data: &Path) -> Result<Overhead> {
    use std::io::{Read, Write};
    let path = data.join("status.sock");
    let mut socket = std::os::unix::net::UnixStream::connect(&path)
        .with_context(|| format!("cannot ask the agent at {}", path.display()))?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    socket.write_all(b"status\n")?;
    let mut line = String::new();
    socket.take(1 << 20).read_to_string(&mut line)?;
    let mut status: Value = serde_json::from_str(&line).context("the agent's status is no JSON")?;
    let told = status["overhead"].take();
    if told.is_null() {
        bail!("the agent does not tell what it uses: {line}");
    }
    Ok(Overhead { told })
}

#[cfg(not(unix))]
pub(super) fn of_running(_data: &Path) -> Result<Overhead> {
    bail!("the agent has no local socket on this system")
}

impl Overhead {
    /// Every probe with what its runs took, the costliest first.
    pub(super) fn print(&self) {
        println!("\nprobes since the start of the agent, by its own account");
        println!(
            "{:<20} {:>8} {:>14} {:>14} {:>8}",
            "probe", "runs", "mean CPU ms", "longest CPU ms", "over"
        );
        let mut probes = self.probes();
        probes.sort_by(|one, other| number(&other.1["cpu_ms"]).total_cmp(&number(&one.1["cpu_ms"])));
        for (name, spent) in probes {
            let mean = number(&spent["cpu_ms"]) / number(&spent["runs"]).max(1.0);
            println!(
                "{name:<20} {:>8} {mean:>14.2} {:>14.2} {:>8}",
                number(&spent["runs"]),
                number(&spent["longest_ms"]),
                number(&spent["over_budget"])
            );
        }
        println!("slowed down to stay within its processor time: {}", self.told["slowed_down"]);
    }

    /// The costliest run of any probe.
    pub(super) fn costliest_run(&self) -> Row {
        let longest = self.probes().iter().map(|(_, spent)| number(&spent["longest_ms"])).fold(0.0, f64::max);
        Row::at_most("costliest run of a probe, processor time", longest, "ms", 250.0)
    }

    fn probes(&self) -> Vec<(&String, &Value)> {
        self.told["probes"].as_object().into_iter().flatten().collect()
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}
