//! A simulated device that keeps what it has until it is acked, as a real agent's spool does: within its credit, the newest
//! epoch first, coming again after a full-jitter pause (and no sooner than it is told) when the stream breaks. What it was promised can be compared with
//! what is stored.

use crate::database;
use crate::simulated::{ComeAgain, SimulatedAgent, SimulatedStream};
use anyhow::{Context, Result, bail};
use firstline_model::{Attributes, Body, Component, ComponentKind, Observation, Timestamp, Value, semconv};
use firstline_proto::convert::encode_record;
use firstline_proto::{limits, v1};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Most records of a batch, as with the real agent.
const BATCH: usize = 1_000;
/// The first pause after a broken stream, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How long an answer to a connection may take.
const CONNECT: Duration = Duration::from_secs(30);

/// Records of an epoch, from this number on.
type Portion = ([u8; 16], u64, Vec<Vec<u8>>);

/// One epoch of a keeper's spool.
#[derive(Debug, Default)]
struct Kept {
    name: [u8; 16],
    /// Everything through this is acked.
    acked: u64,
    sent: u64,
    last: u64,
    /// What is not acked.
    records: VecDeque<Vec<u8>>,
    /// When records were made that nobody acked yet, and how long acks took.
    made: VecDeque<(u64, Instant)>,
    took: Vec<(Instant, Duration)>,
}

#[derive(Debug, Default)]
struct Spool {
    /// The newest first.
    epochs: Vec<Kept>,
    streams: u64,
    /// See [`Keeper::behind_live`].
    behind_live: Option<u64>,
    refused: Vec<String>,
    impossible: Option<String>,
}

/// The spool of a device, which the test fills while the device delivers.
#[derive(Debug, Default)]
pub struct Keeper {
    spool: Mutex<Spool>,
    filled: Notify,
}

impl Keeper {
    /// An empty spool.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A new epoch begins, with so many records.
    pub fn begin(&self, name: [u8; 16], records: u64) {
        self.lock().epochs.insert(0, Kept { name, ..Kept::default() });
        self.fill(records, |seq| record(name, seq));
    }

    /// So many more records in the newest epoch.
    ///
    /// # Panics
    /// When no epoch has begun.
    pub fn fill(&self, records: u64, make: impl Fn(u64) -> Vec<u8>) {
        let mut spool = self.lock();
        let kept = spool.epochs.first_mut().expect("an epoch");
        for _ in 0..records {
            kept.last += 1;
            let payload = make(kept.last);
            kept.records.push_back(payload);
            kept.made.push_back((kept.last, Instant::now()));
        }
        drop(spool);
        self.filled.notify_one();
    }

    /// A small record in the newest epoch.
    pub fn observe(&self) {
        let name = self.lock().epochs.first().map(|kept| kept.name).unwrap_or_default();
        self.fill(1, |seq| record(name, seq));
    }

    /// How many records are kept.
    pub fn waiting(&self) -> u64 {
        self.lock().epochs.iter().map(|kept| kept.last - kept.acked).sum()
    }

    /// How many records of the newest epoch were acked.
    pub fn newest_acked(&self) -> u64 {
        self.lock().epochs.first().map_or(0, |kept| kept.acked)
    }

    /// How many records of older epochs still waited when the first one of the newest epoch was acked.
    pub fn behind_live(&self) -> Option<u64> {
        self.lock().behind_live
    }

    /// How long the acks of the newest epoch's records took, from when the record was made, with when that was.
    pub fn newest_took(&self) -> Vec<(Instant, Duration)> {
        self.lock().epochs.first().map(|kept| kept.took.clone()).unwrap_or_default()
    }

    /// How many streams were opened.
    pub fn streams(&self) -> u64 {
        self.lock().streams
    }

    /// With what words it was sent away.
    pub fn refused(&self) -> Vec<String> {
        self.lock().refused.clone()
    }

    /// Compares with what is stored: every record once, nothing else, and nothing acked that is missing.
    ///
    /// # Panics
    /// When something was acked that never was.
    pub fn is_stored(&self, device: &str, store: &Path) -> Result<u64, String> {
        let spool = self.lock();
        assert_eq!(spool.impossible, None);
        let mut all = 0;
        for kept in &spool.epochs {
            let name: String = kept.name.iter().map(|byte| format!("{byte:02X}")).collect();
            let of = |what: &str| {
                let query = format!(
                    "SELECT coalesce({what}, 0) FROM record WHERE device = '{device}' AND hex(epoch) = '{name}'"
                );
                database::number(store, &query)
            };
            let last = i64::try_from(kept.last).expect("a number");
            let found = [of("count(*)"), of("max(seq)"), of("count(DISTINCT payload)")];
            if found != [last; 3] {
                return Err(format!("{device}: {found:?} of {last} records ({} acked)", kept.acked));
            }
            all += kept.last;
        }
        Ok(all)
    }

    /// Delivers, until `stop` is true.
    pub async fn deliver(
        &self,
        agent: &SimulatedAgent,
        collector: watch::Receiver<SocketAddr>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut longest = PAUSES.0;
        let mut seed = u64::from_le_bytes(*b"a keeper") ^ agent.device_id.bytes().map(u64::from).sum::<u64>();
        while !*stop.borrow() {
            let at = *collector.borrow();
            let begun = Instant::now();
            let ended = tokio::select! {
                ended = self.stream(agent, at) => ended,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let mut told = Duration::ZERO;
            if let Err(error) = ended {
                told = error.downcast_ref::<ComeAgain>().map_or(told, |later| later.after);
                let error = format!("{error:#}");
                let mut spool = self.lock();
                if error.contains("cannot be") {
                    spool.impossible.get_or_insert(error);
                    return;
                }
                if error.contains("refused:") {
                    spool.refused.push(error);
                }
            }
            longest = if begun.elapsed() > PAUSES.1 { PAUSES.0 } else { (longest * 2).min(PAUSES.1) };
            seed = crate::oracle::generator::mix(&[seed]);
            tokio::time::sleep(told + longest.mul_f64(seed as f64 / u64::MAX as f64)).await;
        }
    }

    async fn stream(&self, agent: &SimulatedAgent, collector: SocketAddr) -> Result<()> {
        let offers: Vec<v1::EpochOffer> = self
            .lock()
            .epochs
            .iter()
            .map(|kept| v1::EpochOffer {
                epoch: kept.name.to_vec(),
                first_unacked: kept.acked + 1,
                next: kept.last + 1,
            })
            .collect();
        let address = collector.to_string();
        let opened = tokio::time::timeout(CONNECT, agent.stream_to(&address, offers)).await;
        let (mut stream, welcome) = opened.context("no answer")??;
        let mut credit = u64::from(welcome.credit);
        {
            let mut spool = self.lock();
            spool.streams += 1;
            for mark in &welcome.marks {
                spool.ack(&mark.epoch, mark.through_seq)?;
            }
            for kept in &mut spool.epochs {
                kept.sent = kept.acked;
            }
        }
        loop {
            self.transmit(&mut stream, credit).await?;
            tokio::select! {
                message = stream.receive() => match message? {
                    Some(v1::collector_message::Message::Ack(ack)) => {
                        self.lock().ack(&ack.epoch, ack.through_seq)?;
                        credit = u64::from(ack.credit);
                    }
                    Some(v1::collector_message::Message::Refusal(refusal)) => {
                        bail!("refused: {}", refusal.text)
                    }
                    Some(
                        v1::collector_message::Message::Trust(_)
                        | v1::collector_message::Message::Welcome(_)
                        | v1::collector_message::Message::Directive(_),
                    ) => {}
                    None => bail!("the collector closed the stream"),
                },
                () = self.filled.notified() => {}
            }
        }
    }

    async fn transmit(&self, stream: &mut SimulatedStream, credit: u64) -> Result<()> {
        for at in 0.. {
            loop {
                let Some((name, first, records)) = self.next_batch(at, credit)? else { return Ok(()) };
                if records.is_empty() {
                    break;
                }
                stream.send_batch(name, first, records).await?;
            }
        }
        Ok(())
    }

    /// The next records of the epoch at this place, none when they are all sent or the credit is used up; `None` when there
    /// is no such epoch.
    fn next_batch(&self, at: usize, credit: u64) -> Result<Option<Portion>> {
        let mut spool = self.lock();
        let in_flight: u64 = spool.epochs.iter().map(|kept| kept.sent - kept.acked).sum();
        let room = usize::try_from(credit.saturating_sub(in_flight))?.min(BATCH);
        let Some(kept) = spool.epochs.get_mut(at) else { return Ok(None) };
        let skip = usize::try_from(kept.sent - kept.acked)?;
        let mut bytes = 0;
        let fits = |record: &&Vec<u8>| {
            bytes += record.len();
            bytes <= limits::BATCH_BYTES
        };
        let records: Vec<_> = kept.records.iter().skip(skip).take(room).take_while(fits).cloned().collect();
        let first = kept.sent + 1;
        kept.sent += records.len() as u64;
        Ok(Some((kept.name, first, records)))
    }

    fn lock(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool {
    fn ack(&mut self, epoch: &[u8], through: u64) -> Result<()> {
        let Some(kept) = self.epochs.iter_mut().find(|kept| kept.name == *epoch) else { return Ok(()) };
        if through > kept.last || through < kept.acked {
            bail!("this cannot be: {through} acked of {}, after {}", kept.last, kept.acked);
        }
        while kept.acked < through {
            kept.acked += 1;
            kept.records.pop_front();
        }
        while let Some((_, made)) = kept.made.pop_front_if(|(seq, _)| *seq <= through) {
            kept.took.push((made, made.elapsed()));
        }
        kept.sent = kept.sent.max(kept.acked);
        if let [newest, older @ ..] = self.epochs.as_slice()
            && newest.name == *epoch
            && through > 0
        {
            self.behind_live.get_or_insert(older.iter().map(|kept| kept.last - kept.acked).sum());
        }
        Ok(())
    }
}

/// A record that is like no other of its epoch.
pub fn record(epoch: [u8; 16], seq: u64) -> Vec<u8> {
    let body = Body::Sample {
        metric: semconv::PROBE_DURATION.into(),
        attributes: Attributes::none(),
        value: seq as f64 + f64::from(epoch[15]) / 256.0,
    };
    encode_record(&[Observation {
        component: Component::only(ComponentKind::Agent),
        observed_at: Timestamp::from_millis(crate::simulated::now_ms()),
        body,
    }])
}

/// A record of some 50 KiB that is like no other of its epoch and costs little to judge: one document.
pub fn bulky(seq: u64) -> Vec<u8> {
    let text = "x".repeat(1_000);
    let mut values: Vec<(String, Value)> =
        (0..50).map(|number| (format!("text-{number}"), Value::from(text.clone()))).collect();
    values.push(("seq".to_owned(), Value::from(seq.to_string())));
    encode_record(&[Observation {
        component: Component::only(ComponentKind::Agent),
        observed_at: Timestamp::from_millis(crate::simulated::now_ms()),
        body: Body::Facts(Value::map(values)),
    }])
}
