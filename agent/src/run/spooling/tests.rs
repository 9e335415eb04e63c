//! The way into the spool over a disk that refuses: what is kept, what is named, and what an agent knows of a spool that it
//! could not open.

use super::*;
use crate::config::Settings;
use crate::identity::Identity;
use crate::run::Diagnostics;
use crate::seams::{Clock, Connecting, Disk, Folder, Network, Seams};
use crate::spool::{Limits, Spool};
use firstline_agent_platform::clock::Reading;
use firstline_model::{Body, Component, ComponentKind, Epoch, Observation, SequenceNumber, Timestamp};
use firstline_proto::convert::decode_record;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const BEFORE: Epoch = Epoch([1; 16]);
const NOW: Epoch = Epoch([7; 16]);

/// A folder that refuses while it is told to, as a full disk does at once and a read-only one when it is opened.
struct Moody {
    folder: Folder,
    refuses: Arc<AtomicBool>,
}

impl Disk for Moody {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> rusqlite::Result<rusqlite::Connection> {
        if self.refuses.load(Ordering::Relaxed) {
            let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            return Err(rusqlite::Error::SqliteFailure(full, Some("no space is left".to_owned())));
        }
        self.folder.open()
    }

    fn set_aside(&self) -> io::Result<()> {
        self.folder.set_aside()
    }

    fn folder(&self) -> Option<&Path> {
        self.folder.folder()
    }
}

struct Hand(AtomicU64);

impl Clock for Hand {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_767_603_300_000).plus(self.read().awake)
    }

    fn read(&self) -> Reading {
        Reading { awake: Duration::from_millis(self.0.load(Ordering::Relaxed)), suspended: None }
    }
}

struct Nowhere;

impl Network for Nowhere {
    fn connect<'a>(&'a self, _: &'a Identity) -> Connecting<'a> {
        Box::pin(std::future::pending())
    }
}

struct Scene {
    folder: tempfile::TempDir,
    refuses: Arc<AtomicBool>,
    clock: Arc<Hand>,
}

impl Scene {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            refuses: Arc::new(AtomicBool::new(true)),
            clock: Arc::new(Hand(AtomicU64::new(1000))),
        }
    }

    fn place(&self) -> Folder {
        Folder { path: self.folder.path().join("spool.db") }
    }

    fn spool(&self, epoch: Epoch) -> Spool {
        let limits = Limits { quota: 64 << 20, keep_acked: Duration::from_secs(3600) };
        Spool::open(Box::new(self.place()), epoch, limits, self.clock.wall()).unwrap()
    }

    fn agent(&self) -> Agent {
        let seams = Seams {
            clock: Arc::clone(&self.clock) as _,
            random: Arc::new(|| Ok(NOW.0)),
            network: Arc::new(Nowhere),
            disk: Box::new(Moody { folder: self.place(), refuses: Arc::clone(&self.refuses) }),
        };
        let identity = Identity {
            device_id: "pc".to_owned(),
            collector: "nowhere:1".to_owned(),
            private_key: String::new(),
            certificate: String::new(),
            authorities: Vec::new(),
        };
        let (waiting, _) = std::sync::mpsc::sync_channel(1);
        Agent::new(Settings::default(), identity, seams, Diagnostics::through(waiting)).unwrap()
    }

    fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

fn seen(number: u64) -> Collected {
    let observation = Observation {
        component: Component::only(ComponentKind::Agent),
        observed_at: SEEN.plus(Duration::from_millis(number)),
        body: Body::Presence(firstline_model::Presence::Online),
    };
    Collected::new(vec![observation], false)
}

/// When the first of these was seen: before the scenes begin.
const SEEN: Timestamp = Timestamp::from_millis(1_767_603_200_000);

/// What a spool holds of an epoch: number and content of each record.
fn content(spool: &mut Spool, epoch: Epoch, now: Timestamp) -> Vec<(u64, Vec<Observation>)> {
    let stored = spool.stored().unwrap();
    let Some(stored) = stored.into_iter().find(|stored| stored.epoch == epoch) else { return Vec::new() };
    let read = |(seq, _): (SequenceNumber, usize)| {
        let payload = spool.read(epoch, seq, 1, now).unwrap().remove(0);
        (seq.0, decode_record(&payload).unwrap())
    };
    stored.records.into_iter().map(read).collect()
}

#[test]
fn r23_an_agent_whose_spool_cannot_be_opened_runs_and_moves_to_it_when_the_disk_heals() {
    let scene = Scene::new();
    scene.spool(BEFORE).append(b"from the life before", scene.clock.wall()).unwrap();
    let mut agent = scene.agent();
    assert_eq!(agent.sender.backlog().0, 0, "nothing is known of the spool yet");
    for number in 0..3 {
        agent.take(seen(number));
    }
    let said = agent.status.line(serde_json::json!({}));
    assert!(said.contains("no space is left"), "{said}");
    assert_eq!(agent.unspooled.len(), 3);
    scene.refuses.store(false, Ordering::Relaxed);
    scene.pass(SPOOL_RETRY);
    assert!(agent.next_wake() <= SPOOL_RETRY, "the disk is asked again by itself");
    agent.housekeeping();
    assert!(agent.status.line(serde_json::json!({})).contains("\"spool_trouble\":null"));
    // The record of the life before, what tells of the refusal, and the three that waited.
    assert_eq!(agent.sender.backlog().0, 5);
    drop(agent);
    let mut spool = scene.spool(Epoch([9; 16]));
    let records = content(&mut spool, NOW, scene.clock.wall());
    assert_eq!(records.len(), 4);
    let Body::Event { name, attributes } = &records[0].1[0].body else { panic!("{records:?}") };
    assert_eq!(name, "endpoint.agent.spool_refused");
    assert_eq!((attributes.get("waited"), attributes.get("left_out")), (Some("3"), Some("0")));
}

#[test]
fn r23_what_finds_no_room_in_memory_is_named_in_a_gap_record_with_numbers_of_its_own() {
    const MADE: u64 = 700;
    let scene = Scene::new();
    let mut agent = scene.agent();
    for number in 0..MADE {
        agent.take(seen(number));
    }
    let kept = agent.unspooled.len() as u64;
    let lost = agent.unspooled.left_out();
    assert!(lost > 0 && kept + lost == MADE, "{kept} wait, {lost} are left out");
    scene.refuses.store(false, Ordering::Relaxed);
    scene.pass(SPOOL_RETRY);
    agent.housekeeping();
    // The sender has the hole as numbers that are given up, then the gap record, the story, and the rest.
    assert_eq!(agent.sender.backlog().0, kept + 2);
    drop(agent);
    let mut spool = scene.spool(Epoch([9; 16]));
    let records = content(&mut spool, NOW, scene.clock.wall());
    assert_eq!(records.len() as u64, kept + 2);
    let expected = Body::Gap { epoch: NOW, first: 1, last: lost, reason: "disk_refused".into() };
    assert_eq!((records[0].0, &records[0].1[0].body), (lost + 1, &expected));
    // What was kept is the newest, in order, and nothing of it is missing.
    let kept_at: Vec<i64> = records[2..].iter().map(|(_, seen)| seen[0].observed_at.as_millis()).collect();
    let expected: Vec<i64> = (lost as i64..MADE as i64).map(|number| SEEN.as_millis() + number).collect();
    assert!(kept_at == expected, "{} records from {:?} on", kept_at.len(), kept_at.first());
    // A number that was given up is read as empty and is not taken for damage.
    assert!(spool.read(NOW, SequenceNumber(1), 1, scene.clock.wall()).unwrap()[0].is_empty());
    assert_eq!(spool.take_news(), []);
}

#[test]
fn r23_a_refusing_disk_is_asked_every_two_seconds_and_not_at_every_observation() {
    let scene = Scene::new();
    let mut agent = scene.agent();
    scene.refuses.store(false, Ordering::Relaxed);
    agent.take(seen(1));
    assert_eq!(agent.unspooled.len(), 1, "it was asked just now");
    scene.pass(SPOOL_RETRY);
    agent.take(seen(2));
    assert_eq!(agent.unspooled.len(), 0);
}

#[test]
fn r8_a_link_in_the_place_of_the_spool_still_ends_the_agent() {
    let scene = Scene::new();
    scene.refuses.store(false, Ordering::Relaxed);
    let victim = scene.folder.path().join("victim");
    std::fs::write(&victim, b"mine").unwrap();
    std::fs::hard_link(&victim, scene.folder.path().join("spool.db")).unwrap();
    let seams = Seams {
        clock: Arc::clone(&scene.clock) as _,
        random: Arc::new(|| Ok(NOW.0)),
        network: Arc::new(Nowhere),
        disk: Box::new(scene.place()),
    };
    let identity = Identity {
        device_id: "pc".to_owned(),
        collector: "nowhere:1".to_owned(),
        private_key: String::new(),
        certificate: String::new(),
        authorities: Vec::new(),
    };
    let (waiting, _) = std::sync::mpsc::sync_channel(1);
    let refused = Agent::new(Settings::default(), identity, seams, Diagnostics::through(waiting));
    let Err(error) = refused else { panic!("it started") };
    assert!(format!("{error:#}").contains("hard link"), "{error:#}");
}
