//! Agents that do nothing wrong while somebody else does: each keeps one stream, sends a record every half second (or as
//! told), and notes how long its ack took.

use crate::collector::Collector;
use crate::simulated::{SimulatedAgent, SimulatedStream, healthy_minute};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often each sends.
const EVERY: Duration = Duration::from_millis(500);

/// Within this all of them are let in.
const COME: Duration = Duration::from_secs(120);

/// What they noted: when the record was sent, and how long its ack took.
type Acks = Arc<Mutex<Vec<(Instant, Duration)>>>;

/// Some healthy agents, until the value goes.
#[derive(Debug)]
pub struct Healthy {
    runtime: Runtime,
    agents: Vec<JoinHandle<anyhow::Result<()>>>,
    acks: Acks,
    stop: watch::Sender<bool>,
}

/// Enrolls devices of this process.
///
/// # Panics
/// When one is refused.
pub fn enrolled(collector: &Collector, runtime: &Runtime, count: usize) -> Vec<SimulatedAgent> {
    let uses = count.to_string();
    let url = collector.enrollment_url(&["--uses", &uses]);
    let authority = std::fs::read_to_string(collector.authority()).expect("an authority");
    (0..count)
        .map(|number| {
            let name = format!("sim-{number:04}");
            let enrolled = runtime.block_on(SimulatedAgent::enroll(&url, &authority, &name));
            enrolled.unwrap_or_else(|error| panic!("device {number}: {error:#}"))
        })
        .collect()
}

/// A runtime for agents.
///
/// # Panics
/// When there is none.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

impl Healthy {
    /// So many, with their streams open.
    pub fn start(collector: &Collector, count: usize) -> Self {
        Self::sending_every(EVERY, collector, count)
    }

    /// So many that send this often.
    pub fn sending_every(every: Duration, collector: &Collector, count: usize) -> Self {
        let runtime = runtime();
        let acks = Acks::default();
        let inside = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = watch::channel(false);
        let agents = enrolled(collector, &runtime, count).into_iter().enumerate().map(|(number, agent)| {
            let (acks, stopped, inside) = (Arc::clone(&acks), stopped.clone(), Arc::clone(&inside));
            let offset = every.mul_f64(number as f64 / count as f64);
            runtime.spawn(async move {
                let mut stream = let_in(&agent, number).await?;
                inside.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(offset).await;
                for minute in 0.. {
                    if *stopped.borrow() {
                        break;
                    }
                    let begun = Instant::now();
                    let took = stream.deliver(healthy_minute(minute)).await?;
                    acks.lock().unwrap_or_else(PoisonError::into_inner).push((begun, took));
                    tokio::time::sleep(every.saturating_sub(took)).await;
                }
                Ok(())
            })
        });
        let agents = agents.collect();
        let healthy = Self { runtime, agents, acks, stop };
        crate::wait::until("all healthy agents are let in", COME, || {
            (inside.load(Ordering::Relaxed) == count).then_some(())
        });
        let here = healthy.acks().len();
        crate::wait::until("all healthy agents send", crate::wait::seconds(60), || {
            (healthy.acks().len() >= here + count * 2).then_some(())
        });
        healthy
    }

    fn acks(&self) -> Vec<(Instant, Duration)> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long acks took of what was sent from `begun` on.
    ///
    /// # Panics
    /// When an agent's stream was lost.
    pub fn since(&self, begun: Instant) -> Vec<Duration> {
        let lost = self.agents.iter().filter(|agent| agent.is_finished()).count();
        assert_eq!(lost, 0, "healthy agents lost their streams");
        self.acks().into_iter().filter(|(sent, _)| *sent >= begun).map(|(_, took)| took).collect()
    }

    /// Lets them run for a while and tells how long acks took.
    pub fn during(&self, length: Duration) -> Vec<Duration> {
        let begun = Instant::now();
        crate::wait::never("a healthy agent loses its stream", length, || {
            let lost = self.agents.iter().filter(|agent| agent.is_finished()).count();
            (lost > 0).then(|| format!("{lost} did"))
        });
        self.since(begun)
    }

    /// Ends them.
    ///
    /// # Panics
    /// When one of them was refused, with what it was told.
    pub fn stop(self) {
        // They look at it after each ack.
        let _ = self.stop.send(true);
        for agent in self.agents {
            self.runtime.block_on(agent).expect("an agent ends").expect("an agent is served to its end");
        }
    }
}

/// A stream. Of many that come in the same second some are turned away before the collector knows who they are; they come
/// again.
async fn let_in(agent: &SimulatedAgent, number: usize) -> anyhow::Result<SimulatedStream> {
    let begun = Instant::now();
    loop {
        match agent.stream(epoch(number)).await {
            Ok(stream) => return Ok(stream),
            Err(error) if begun.elapsed() > COME => return Err(error),
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}

/// An epoch for this agent of this run.
fn epoch(number: usize) -> [u8; 16] {
    let mut epoch = [0; 16];
    epoch[..8].copy_from_slice(&(number as u64).to_be_bytes());
    epoch[8..].copy_from_slice(&(crate::simulated::now_ms() as u64).to_be_bytes());
    epoch
}
