//! Plays many agents against a collector: each enrolls, keeps one stream over mutual TLS, and sends one record a minute
//! (or as told). Prints one JSON line with what was acked and how long acks took.
//!
//! usage: load ADDRESS AUTHORITY-PEM AGENTS INTERVAL-MS SECONDS
#![expect(clippy::print_stdout, reason = "the result is one line on standard output")]

use anyhow::{Context, Result, bail};
use firstline_tests::simulated::{SimulatedAgent, healthy_minute};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Barrier, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, authority, agents, interval, seconds] = arguments.as_slice() else {
        bail!("usage: load ADDRESS AUTHORITY-PEM AGENTS INTERVAL-MS SECONDS");
    };
    let authority = std::fs::read_to_string(authority).with_context(|| format!("cannot read {authority}"))?;
    let agents: u64 = agents.parse().context("AGENTS is not a number")?;
    let interval = Duration::from_millis(interval.parse().context("INTERVAL-MS is not a number")?);
    let length = Duration::from_secs(seconds.parse().context("SECONDS is not a number")?);

    let (acked, mut acks) = mpsc::unbounded_channel();
    let at_once = Arc::new(Semaphore::new(8));
    let connected = Arc::new(Barrier::new(usize::try_from(agents)? + 1));
    for number in 0..agents {
        let (url, authority) = (url.clone(), authority.clone());
        let (acked, at_once, connected) = (acked.clone(), Arc::clone(&at_once), Arc::clone(&connected));
        tokio::spawn(async move {
            let ready = async {
                let _turn = at_once.acquire().await?;
                let agent = SimulatedAgent::enroll(&url, &authority, &format!("sim-{number:04}")).await?;
                let mut epoch = [0; 16];
                epoch[..8].copy_from_slice(&number.to_be_bytes());
                agent.stream(epoch).await
            };
            let stream = ready.await;
            connected.wait().await;
            let sent = async {
                let mut stream = stream?;
                let begin = Instant::now();
                // Spread over the interval, as agents that started at different times are.
                let offset = interval.mul_f64(number as f64 / agents as f64);
                for turn in 0_u32.. {
                    let due = begin + offset + interval * turn;
                    if due >= begin + length {
                        break;
                    }
                    sleep_until(due).await;
                    let _ = acked.send(Ok(stream.deliver(healthy_minute(u64::from(turn))).await?));
                }
                Ok::<_, anyhow::Error>(())
            };
            if let Err(error) = sent.await {
                let _ = acked.send(Err(error));
            }
        });
    }
    drop(acked);
    connected.wait().await;
    // The measuring side reads the collector's processor time from here on.
    println!("connected");
    let (mut took, mut failures) = (Vec::new(), Vec::new());
    while let Some(result) = acks.recv().await {
        match result {
            Ok(duration) => took.push(duration.as_secs_f64() * 1000.0),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    took.sort_by(f64::total_cmp);
    let quantile =
        |q: f64| took.get(((took.len().max(1) - 1) as f64 * q).round() as usize).copied().unwrap_or(0.0);
    println!(
        "{}",
        serde_json::json!({
            "agents": agents, "acked": took.len(), "failed": failures.len(), "failure": failures.first(),
            "ack_ms": {"p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99), "max": quantile(1.0)},
        })
    );
    if failures.is_empty() { Ok(()) } else { bail!("{} agents failed", failures.len()) }
}
