//! Reads the stored records page by page and plays them through both sets of rules.

use super::candidate::Rules;
use super::report::Report;
use super::tally::Tally;
use crate::ingest::repeats::{Earlier, Read};
use crate::maintenance;
use crate::replay::Replay;
use anyhow::{Context, Result};
use firstline_collector_core::device::KnownDevice;
use firstline_collector_core::device_clock::SUSPECT;
use firstline_collector_core::finding::DeviceState;
use firstline_collector_core::knowledge::{DeviceTraits, KnowledgeSet};
use firstline_collector_core::quiet::Quiet;
use firstline_collector_store::Store;
use firstline_collector_store::history::{KeptRecord, RecordPlace};
use firstline_collector_store::record::{Device, DeviceFilter, Page, TicketFilter};
use firstline_model::{Body, DeviceId, Observation, Timestamp, Value};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Records of one page: some milliseconds of reading, and at most this many frames in memory.
const PAGE: u32 = 500;
/// Stored tickets that are looked through for links.
const MOST_STORED: usize = 20_000;
/// Bytes of earlier records that are held for what repeats them, some 60 MiB when they are read. A device has some kilobytes
/// of them; beyond this, they are read again when they are needed.
const EARLIER_BYTES: usize = 4 << 20;

/// What is to be played.
pub(crate) struct Plan {
    pub(crate) rules: Rules,
    /// How many days back.
    pub(crate) days: u32,
    /// Only devices of this site.
    pub(crate) site: Option<String>,
    /// Until when.
    pub(crate) now: Timestamp,
    /// How long it may take.
    pub(crate) longest: Duration,
    /// How long records are kept, if that is known.
    pub(crate) kept_for: Option<Duration>,
}

/// How far it is; whoever asked may call it off here.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Where the history begins, in milliseconds.
    from: AtomicI64,
    /// Until where it was played.
    reached: AtomicI64,
    until: AtomicI64,
    records: AtomicU64,
    observations: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress {
    /// Calls it off.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// How much of the time is played, in percent.
    pub(crate) fn percent(&self) -> u8 {
        let (from, until) = (self.from.load(Ordering::Relaxed), self.until.load(Ordering::Relaxed));
        let done = self.reached.load(Ordering::Relaxed).saturating_sub(from);
        let share = done.saturating_mul(100).checked_div(until.saturating_sub(from)).unwrap_or(0);
        u8::try_from(share.clamp(0, 100)).unwrap_or(100)
    }

    /// Until when the history is played.
    pub(crate) fn reached(&self) -> Timestamp {
        Timestamp::from_millis(self.reached.load(Ordering::Relaxed))
    }

    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(crate) fn observations(&self) -> u64 {
        self.observations.load(Ordering::Relaxed)
    }
}

/// What was played and what came of it.
pub(super) struct Played {
    pub(super) asked_from: Timestamp,
    /// When the first record came.
    pub(super) first: Option<Timestamp>,
    /// Until when it was played.
    pub(super) until: Timestamp,
    /// It was stopped because it took too long.
    pub(super) out_of_time: bool,
    pub(super) devices: HashMap<DeviceId, Device>,
    pub(super) heard: u64,
    pub(super) records: u64,
    pub(super) observations: u64,
    /// Records that this version cannot read.
    pub(super) unreadable: u64,
    /// Parts of records that repeat an earlier one which is deleted.
    pub(super) repeated_in_vain: u64,
    /// Records that agents gave up before they were sent.
    pub(super) given_up: u64,
    /// Records of devices whose clock was off.
    pub(super) suspect: u64,
    pub(super) before: Tally,
    pub(super) after: Tally,
    pub(super) stored: Vec<firstline_collector_core::ticket::Ticket>,
}

/// Plays it; `None` when it was called off.
pub(crate) async fn play(store: &dyn Store, plan: &Plan, progress: &Progress) -> Result<Option<Report>> {
    let begun = Instant::now();
    let windows = store.windows().await.context("maintenance windows cannot be read")?;
    let quiet = Quiet { windows: maintenance::in_force(&windows), ..Quiet::standard() };
    let rules = |set: &KnowledgeSet| set.without_tests().with_quiet(quiet.clone());
    let (before, after) = (rules(&plan.rules.before), rules(&plan.rules.after));
    let devices = devices(store, plan.site.clone()).await?;
    let asked_from = plan.now.minus(DAY.saturating_mul(plan.days));
    let mut stage = Stage {
        before: Replay::of_enrolled_devices(&before, Tally::default()),
        after: Replay::of_enrolled_devices(&after, Tally::default()),
        places: HashMap::new(),
        devices: &devices,
        earlier: HashMap::new(),
        earlier_bytes: 0,
        unreadable: 0,
        repeated_in_vain: 0,
        given_up: 0,
        suspect: 0,
    };
    let oldest = store.oldest_record().await.context("the history cannot be read")?;
    let from = oldest.map_or(plan.now, |oldest| oldest.max(asked_from)).min(plan.now);
    progress.until.store(plan.now.as_millis(), Ordering::Relaxed);
    progress.from.store(from.as_millis(), Ordering::Relaxed);
    progress.reached.store(from.as_millis(), Ordering::Relaxed);
    let mut after_place = RecordPlace::before(asked_from);
    let (mut first, mut out_of_time) = (None, false);
    loop {
        let page = store.kept_records(&after_place, plan.now, PAGE).await;
        let page = page.context("the history cannot be read")?;
        let Some(last) = page.last() else { break };
        after_place = last.place();
        let reached = last.received_at;
        for record in page {
            if progress.is_cancelled() {
                return Ok(None);
            }
            if devices.contains_key(&record.device) {
                first = first.or(Some(record.received_at));
                stage.find_repeated(store, &record).await?;
                let observations = stage.take(&record)?;
                progress.records.fetch_add(1, Ordering::Relaxed);
                progress.observations.fetch_add(observations, Ordering::Relaxed);
            }
        }
        progress.reached.store(reached.as_millis(), Ordering::Relaxed);
        if begun.elapsed() >= plan.longest {
            out_of_time = true;
            break;
        }
    }
    let until = if out_of_time { progress.reached() } else { plan.now };
    stage.before.reach(until)?;
    stage.after.reach(until)?;
    let Stage { before, after, places, unreadable, repeated_in_vain, given_up, suspect, .. } = stage;
    let played = Played {
        asked_from,
        first,
        until,
        out_of_time,
        heard: places.len() as u64,
        records: progress.records(),
        observations: progress.observations(),
        unreadable,
        repeated_in_vain,
        given_up,
        suspect,
        before: before.finish()?.1,
        after: after.finish()?.1,
        stored: stored(store, plan).await?,
        devices,
    };
    Ok(Some(played.report(plan)))
}

/// All devices that the history may be of, as they are now.
async fn devices(store: &dyn Store, site: Option<String>) -> Result<HashMap<DeviceId, Device>> {
    let filter = DeviceFilter { site, ..DeviceFilter::default() };
    let mut page = Page::first(Page::MAX_LIMIT);
    let mut found = HashMap::new();
    loop {
        let rows = store.devices(&filter, &page).await.context("the devices cannot be read")?;
        found.extend(rows.rows.into_iter().map(|device| (device.id.clone(), device)));
        page.after = rows.next;
        if page.after.is_none() {
            return Ok(found);
        }
    }
}

/// The tickets of the rule that really were opened, for links.
async fn stored(store: &dyn Store, plan: &Plan) -> Result<Vec<firstline_collector_core::ticket::Ticket>> {
    let filter = TicketFilter {
        rule: Some(plan.rules.code.clone()),
        site: plan.site.clone(),
        ..TicketFilter::default()
    };
    let mut page = Page::first(Page::MAX_LIMIT);
    let mut found = Vec::new();
    loop {
        let rows = store.tickets(&filter, &page).await.context("the tickets cannot be read")?;
        found.extend(rows.rows);
        page.after = rows.next;
        if page.after.is_none() || found.len() >= MOST_STORED {
            return Ok(found);
        }
    }
}

/// Both replays, side by side.
struct Stage<'k> {
    before: Replay<'k, Tally>,
    after: Replay<'k, Tally>,
    places: HashMap<DeviceId, usize>,
    devices: &'k HashMap<DeviceId, Device>,
    /// What kept records lead back to, by device.
    earlier: HashMap<DeviceId, Earlier>,
    earlier_bytes: usize,
    unreadable: u64,
    repeated_in_vain: u64,
    given_up: u64,
    suspect: u64,
}

impl Stage<'_> {
    /// Gets hold of what the record repeats.
    async fn find_repeated(&mut self, store: &dyn Store, record: &KeptRecord) -> Result<()> {
        if self.earlier_bytes >= EARLIER_BYTES {
            self.earlier.clear();
            self.earlier_bytes = 0;
        }
        let earlier = self.earlier.entry(record.device.clone()).or_default();
        let bytes = earlier.find_kept(store, &record.device, record.epoch, &record.payload).await;
        self.earlier_bytes += bytes.context("the history cannot be read")?;
        Ok(())
    }

    /// Plays one record; returns how many observations it held.
    fn take(&mut self, record: &KeptRecord) -> Result<u64> {
        self.suspect += u64::from(record.clock_suspect);
        let read =
            self.earlier.get(&record.device).map(|earlier| earlier.read(record.epoch, &record.payload));
        // Inventories are lists for people; no entry judges them.
        let Some(Ok(Read { mut observations, missing, inventories: _ })) = read else {
            self.unreadable += 1;
            return Ok(0);
        };
        self.repeated_in_vain += missing.len() as u64;
        in_time_of_receipt(&mut observations, record);
        self.before.reach(record.received_at)?;
        self.after.reach(record.received_at)?;
        let place = match self.places.get(&record.device) {
            Some(place) => *place,
            None => self.join(record),
        };
        for observation in &observations {
            match &observation.body {
                // Answers of tests that were asked for then: nobody asked in this replay.
                Body::Diagnostic(_) => continue,
                Body::Gap { first, last, .. } => self.given_up += last.saturating_sub(*first) + 1,
                Body::Sample { .. }
                | Body::State { .. }
                | Body::Event { .. }
                | Body::Unavailable { .. }
                | Body::Presence(_)
                | Body::Facts(_) => {}
            }
            self.before.judge(place, observation)?;
            self.after.judge(place, observation)?;
        }
        Ok(observations.len() as u64)
    }

    /// A device says something for the first time. What it is, is taken as it is known now: an unchanged inventory is
    /// not sent again, so the history need not hold it.
    fn join(&mut self, record: &KeptRecord) -> usize {
        let device = self.devices.get(&record.device);
        let class = device.and_then(|device| device.facts.get("device_class")).and_then(Value::as_text);
        let traits = DeviceTraits {
            device: record.device.clone(),
            site: device.and_then(|device| device.site.clone()),
            tags: device.map(|device| device.tags.clone()).unwrap_or_default(),
            device_class: class.map(str::to_owned),
        };
        let hostname = device.map_or_else(|| record.device.to_string(), |device| device.hostname.clone());
        let facts = device.map_or_else(|| Value::map::<&'static str>([]), |device| device.facts.clone());
        let known = KnownDevice::new(traits, hostname, facts, DeviceState::default(), Vec::new());
        let place = self.before.join(known.clone());
        self.after.join(known);
        self.places.insert(record.device.clone(), place);
        place
    }
}

/// Stored observations are in the device's time. Live, the batch said how that relates to the collector's; here the
/// newest observation of a record does, which was made shortly before it was sent.
fn in_time_of_receipt(observations: &mut [Observation], record: &KeptRecord) {
    let received = record.received_at.as_millis();
    let Some(newest) = observations.iter().map(|one| one.observed_at.as_millis()).max() else { return };
    let behind = received.saturating_sub(newest);
    let bound = i64::try_from(SUSPECT.as_millis()).unwrap_or(i64::MAX);
    let is_off = behind < -bound || (record.clock_suspect && behind > bound);
    for one in observations {
        let at = if is_off {
            one.observed_at.as_millis().saturating_add(behind)
        } else {
            one.observed_at.as_millis()
        };
        one.observed_at = Timestamp::from_millis(at.min(received));
    }
}
