//! Devices that send what the generator says to a collector that dies again and again. Each keeps what is not acked, as
//! a spool does, and writes down what it promised itself (`I`) and what it was promised (`A`).
//!
//! The devices live in the process of the test, which nobody kills, so their memory is as durable as it has to be. What
//! an agent's own disk does to its records is the matter of the tests that kill agents.

use super::generator::{mix, record};
use super::ledger::{Ledger, hex};
use crate::simulated::{SimulatedAgent, SimulatedStream};
use anyhow::{Context, Result, bail};
use firstline_model::Timestamp;
use firstline_proto::v1;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Records of a device that may be on their way.
const WINDOW: usize = 48;
/// Most records in a batch. Small, so that there are many commits.
const BATCH: u64 = 4;
/// How long a device waits before it tries the collector again. A real agent waits longer.
const RETRY: Duration = Duration::from_millis(20);
/// How long an attempt to connect may take; a collector that is being killed may never answer.
const CONNECT: Duration = Duration::from_secs(5);

/// Devices under way; they end with this value.
#[derive(Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    collector: watch::Sender<SocketAddr>,
    runtime: Option<tokio::runtime::Runtime>,
    devices: usize,
}

#[derive(Debug)]
struct Shared {
    seed: u64,
    ledger: Arc<Ledger>,
    is_closing: AtomicBool,
    /// Devices that closed with everything acked.
    closed: AtomicU64,
    acks: Mutex<u64>,
    acked: Condvar,
    broken: Mutex<Vec<String>>,
}

struct Device {
    index: u64,
    agent: SimulatedAgent,
    epoch: [u8; 16],
    epoch_name: String,
    next: u64,
    sent: u64,
    acked: u64,
    kept: VecDeque<(u64, Vec<u8>)>,
    /// Whether it keeps what was acked, as an agent does for a day.
    keeps_tail: bool,
}

impl Fleet {
    /// Enrolls so many devices and lets them send. They forget what was acked.
    ///
    /// # Panics
    /// When a device cannot be enrolled.
    pub fn started(
        devices: usize,
        seed: u64,
        ledger: &Arc<Ledger>,
        url: &str,
        authority: &str,
        at: SocketAddr,
    ) -> Self {
        Self::enrolled(devices, seed, ledger, (url, authority, at), false)
    }

    /// The same, of devices that keep what was acked and send it again to a collector that does not have it.
    ///
    /// # Panics
    /// When a device cannot be enrolled.
    pub fn keeping_a_tail(
        devices: usize,
        seed: u64,
        ledger: &Arc<Ledger>,
        url: &str,
        authority: &str,
        at: SocketAddr,
    ) -> Self {
        Self::enrolled(devices, seed, ledger, (url, authority, at), true)
    }

    fn enrolled(
        devices: usize,
        seed: u64,
        ledger: &Arc<Ledger>,
        (url, authority, at): (&str, &str, SocketAddr),
        keeps_tail: bool,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let shared = Arc::new(Shared {
            seed,
            ledger: Arc::clone(ledger),
            is_closing: AtomicBool::new(false),
            closed: AtomicU64::new(0),
            acks: Mutex::new(0),
            acked: Condvar::new(),
            broken: Mutex::new(Vec::new()),
        });
        let (collector, address) = watch::channel(at);
        for index in 0..devices as u64 {
            let hostname = format!("oracle-{index}");
            let enrolled = SimulatedAgent::enroll(url, authority, &hostname);
            let agent = runtime.block_on(enrolled).expect("a device can be enrolled");
            ledger.device(&agent.device_id, index);
            let mut epoch = [0; 16];
            epoch[..8].copy_from_slice(&mix(&[seed, index, 2]).to_be_bytes());
            epoch[8..].copy_from_slice(&index.to_be_bytes());
            let device = Device {
                index,
                agent,
                epoch,
                epoch_name: hex(&epoch),
                next: 1,
                sent: 0,
                acked: 0,
                kept: VecDeque::new(),
                keeps_tail,
            };
            runtime.spawn(live(device, Arc::clone(&shared), address.clone()));
        }
        Self { shared, collector, runtime: Some(runtime), devices }
    }

    /// The collector is somewhere else now.
    pub fn lead_to(&self, address: SocketAddr) {
        self.collector.send_replace(address);
    }

    /// How many acks were heard.
    pub fn acks(&self) -> u64 {
        *self.shared.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for so many further acks.
    ///
    /// # Panics
    /// After `limit`, or when a device met what cannot be.
    pub fn wait_for_acks(&self, more: u64, limit: Duration) {
        let started = Instant::now();
        let mut acks = self.shared.acks.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = *acks + more;
        while *acks < wanted {
            let left = limit.saturating_sub(started.elapsed());
            assert!(!left.is_zero(), "waited {} s in vain for {more} acks", limit.as_secs());
            let waited = self.shared.acked.wait_timeout(acks, left.min(Duration::from_millis(200)));
            acks = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.complain();
        }
    }

    /// No device makes further records; waits until all they have is acked.
    ///
    /// # Panics
    /// After `limit`, or when a device met what cannot be.
    pub fn close(mut self, limit: Duration) {
        self.shared.is_closing.store(true, Ordering::Release);
        crate::wait::until_ok("every device has an ack for everything", limit, || {
            self.complain();
            let closed = self.shared.closed.load(Ordering::Acquire);
            if closed == self.devices as u64 {
                Ok(())
            } else {
                Err(format!("{closed} of {} have", self.devices))
            }
        });
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    fn complain(&self) {
        let broken = self.shared.broken.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn live(mut device: Device, shared: Arc<Shared>, address: watch::Receiver<SocketAddr>) {
    loop {
        let at = *address.borrow();
        match device.send(&shared, at).await {
            Ok(()) => {
                shared.closed.fetch_add(1, Ordering::AcqRel);
                return;
            }
            Err(error) => {
                let error = format!("{error:#}");
                // Everything else is what a collector that dies does to its peers.
                if error.contains("cannot be") {
                    shared.broken.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                    return;
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl Device {
    /// Sends over one stream until it breaks; `Ok` when everything is acked and nothing more is to come.
    async fn send(&mut self, shared: &Shared, collector: SocketAddr) -> Result<()> {
        let first_unacked = if self.keeps_tail { 1 } else { self.acked + 1 };
        let offer = v1::EpochOffer { epoch: self.epoch.to_vec(), first_unacked, next: self.next };
        let collector = collector.to_string();
        let opened = self.agent.stream_to(&collector, vec![offer]);
        let (mut stream, welcome) = tokio::time::timeout(CONNECT, opened).await.context("no answer")??;
        let mark = welcome.marks.iter().find(|mark| mark.epoch == self.epoch).context("no mark")?;
        if self.keeps_tail && mark.through_seq < self.acked {
            // A collector that was restored from a backup. The ledger goes on to hold it to what was promised.
            self.acked = mark.through_seq;
        }
        // A mark is a promise as an ack is: an agent deletes what it covers.
        self.take_ack(shared, mark.through_seq)?;
        self.sent = self.acked;
        let mut credit = usize::try_from(welcome.credit)?;
        loop {
            let is_closing = shared.is_closing.load(Ordering::Acquire);
            if is_closing && self.acked + 1 == self.next {
                return Ok(());
            }
            self.transmit(shared, &mut stream, credit, is_closing).await?;
            match stream.receive().await? {
                Some(v1::collector_message::Message::Ack(ack)) if ack.epoch == self.epoch => {
                    self.take_ack(shared, ack.through_seq)?;
                    credit = usize::try_from(ack.credit)?;
                }
                Some(v1::collector_message::Message::Refusal(refusal)) => bail!("refused: {}", refusal.text),
                Some(
                    v1::collector_message::Message::Ack(_)
                    | v1::collector_message::Message::Trust(_)
                    | v1::collector_message::Message::Welcome(_)
                    | v1::collector_message::Message::Directive(_),
                ) => {}
                None => bail!("the collector closed the stream"),
            }
        }
    }

    async fn transmit(
        &mut self,
        shared: &Shared,
        stream: &mut SimulatedStream,
        credit: usize,
        is_closing: bool,
    ) -> Result<()> {
        loop {
            let room = WINDOW.min(credit).saturating_sub(usize::try_from(self.sent - self.acked)?);
            let first = self.sent + 1;
            let wanted = 1 + mix(&[shared.seed, self.index, first, 3]) % BATCH;
            while !is_closing && self.next < first + wanted && self.next <= self.acked + WINDOW as u64 {
                let at = Timestamp::from_millis(crate::backlog::now_ms());
                let payload = record(shared.seed, self.index, self.next, at);
                shared.ledger.durable(&self.agent.device_id, &self.epoch, self.next, &payload);
                self.kept.push_back((self.next, payload));
                self.next += 1;
            }
            let waiting = self.kept.iter().filter(|(seq, _)| *seq >= first);
            let records: Vec<Vec<u8>> =
                waiting.take(wanted as usize).map(|(_, payload)| payload.clone()).collect();
            if records.is_empty() || records.len() > room {
                return Ok(());
            }
            self.sent += records.len() as u64;
            stream.send_batch(self.epoch, first, records).await?;
        }
    }

    fn take_ack(&mut self, shared: &Shared, through: u64) -> Result<()> {
        if through >= self.next {
            bail!(
                "this cannot be: {} was acked through {through} but wrote only {}",
                self.epoch_name,
                self.next - 1
            );
        }
        if through > self.acked {
            self.acked = through;
            shared.ledger.acked(&self.agent.device_id, &self.epoch_name, through);
            if !self.keeps_tail {
                self.kept.retain(|(seq, _)| *seq > through);
            }
            *shared.acks.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            shared.acked.notify_all();
        }
        Ok(())
    }
}
