//! The spool against its contract: numbers, survival, bounds, damage.

use super::*;
use crate::seams::Folder;
use firstline_model::{Body, Observation};
use firstline_proto::convert::decode_record;
use std::path::Path;

const T0: Timestamp = Timestamp::from_millis(1_767_603_300_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3601);
const ROOMY: Limits = Limits { quota: 1 << 20, keep_acked: Duration::from_secs(3600) };

fn place(folder: &Path) -> Box<dyn Disk> {
    Box::new(Folder { path: folder.join("spool.db") })
}

fn open(folder: &Path, epoch: u8, limits: Limits) -> Spool {
    Spool::open(place(folder), Epoch([epoch; 16]), limits, T0).unwrap()
}

fn seqs(spool: &Spool) -> Vec<(u8, Vec<u64>)> {
    let stored = spool.stored().unwrap();
    stored.iter().map(|e| (e.epoch.0[0], e.records.iter().map(|(seq, _)| seq.0).collect())).collect()
}

#[test]
fn records_are_numbered_from_one_and_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    for n in 1..=3_u64 {
        let appended = spool.append(&[n as u8; 10], T0).unwrap();
        assert_eq!(appended.records, [(Epoch([1; 16]), SequenceNumber(n), 10)]);
    }
    drop(spool);
    let mut spool = open(folder.path(), 2, ROOMY);
    assert_eq!(seqs(&spool), [(1, vec![1, 2, 3])]);
    assert_eq!(spool.read(Epoch([1; 16]), SequenceNumber(2), 2, T0).unwrap(), [vec![2; 10], vec![3; 10]]);
    spool.append(b"new life", T0).unwrap();
    assert_eq!(seqs(&spool), [(1, vec![1, 2, 3]), (2, vec![1])]);
}

#[test]
fn acked_records_are_kept_for_their_time_and_then_go_with_their_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    for _ in 0..3 {
        spool.append(b"x", T0).unwrap();
    }
    drop(spool);
    let mut spool = open(folder.path(), 2, ROOMY);
    spool.set_watermark(Epoch([1; 16]), SequenceNumber(2));
    assert_eq!(spool.flush(T0.plus(MINUTE), MINUTE).unwrap(), []);
    assert_eq!(spool.stored().unwrap()[0].watermark, SequenceNumber(2));
    let deleted = spool.flush(T0.plus(HOUR), HOUR).unwrap();
    assert_eq!(deleted, [(Epoch([1; 16]), SequenceNumber(2))]);
    assert_eq!(seqs(&spool), [(1, vec![3])]);
    spool.set_watermark(Epoch([1; 16]), SequenceNumber(3));
    spool.flush(T0.plus(HOUR), HOUR).unwrap();
    assert_eq!(seqs(&spool), []);
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn at_the_quota_acked_records_go_first_and_unacked_ones_leave_a_counted_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, Limits { quota: 100_000, keep_acked: Duration::from_secs(3600) });
    for _ in 0..100 {
        spool.append(&[0; 1000], T0).unwrap();
    }
    spool.set_watermark(Epoch([1; 16]), SequenceNumber(10));
    let appended = spool.append(&[0; 1000], T0).unwrap();
    assert_eq!(appended.trimmed, [(Epoch([1; 16]), SequenceNumber(10))]);
    assert_eq!(appended.records.len(), 1, "no gap record for acked records");
    let mut gaps = Vec::new();
    for _ in 0..10 {
        let appended = spool.append(&[0; 1000], T0).unwrap();
        if let [(epoch, gap, _), _] = appended.records[..] {
            let record = spool.read(epoch, gap, 1, T0).unwrap().remove(0);
            gaps.extend(decode_record(&record).unwrap());
        }
    }
    let [Observation { body: Body::Gap { first: 11, last: 74, .. }, .. }] = gaps[..] else {
        panic!("expected one gap of 11 to 74, found {gaps:?}")
    };
    assert!(spool.bytes() <= 100_000 + 1100);
}

#[test]
fn a_failed_write_leaves_everything_as_it_was_and_later_ones_work_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(b"one", T0).unwrap();
    let pages: i64 =
        spool.database.as_ref().unwrap().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    spool.database.as_ref().unwrap().pragma_update(None, "max_page_count", pages + 1).unwrap();
    spool.append(&vec![0; 100_000], T0).unwrap_err();
    // The failure opened the file anew, without the artificial bound.
    let appended = spool.append(b"two", T0).unwrap();
    assert_eq!(appended.records[0].1, SequenceNumber(2));
    assert_eq!(seqs(&spool), [(1, vec![1, 2])]);
}

#[test]
fn what_is_no_longer_kept_is_read_as_empty() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(b"one", T0).unwrap();
    assert_eq!(spool.read(Epoch([1; 16]), SequenceNumber(1), 2, T0).unwrap(), [b"one".to_vec(), vec![]]);
    assert_eq!(spool.read(Epoch([9; 16]), SequenceNumber(1), 1, T0).unwrap(), [Vec::<u8>::new()]);
}

/// What the gap records of the current epoch name.
fn gaps(spool: &mut Spool) -> Vec<(u8, u64, u64, String)> {
    let mut gaps = Vec::new();
    for stored in spool.stored().unwrap() {
        for (seq, _) in stored.records {
            let payload = spool.read(stored.epoch, seq, 1, T0).unwrap().remove(0);
            for observation in decode_record(&payload).into_iter().flatten() {
                if let Body::Gap { epoch, first, last, reason } = observation.body {
                    gaps.push((epoch.0[0], first, last, reason.into_owned()));
                }
            }
        }
    }
    gaps
}

fn damage(folder: &Path, needle: &[u8]) {
    let path = folder.join("spool.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] ^= 4;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn r22_a_flipped_byte_costs_the_record_that_it_is_in_and_the_loss_is_named_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    for n in 1..=20 {
        spool.append(format!("record number {n:02} of twenty").as_bytes(), T0).unwrap();
    }
    drop(spool);
    damage(folder.path(), b"record number 07");
    let mut spool = open(folder.path(), 2, ROOMY);
    let read = spool.read(Epoch([1; 16]), SequenceNumber(1), 20, T0).unwrap();
    assert_eq!(read.iter().filter(|payload| payload.is_empty()).count(), 1);
    assert!(read[6].is_empty());
    let news = spool.take_news();
    assert_eq!(news.len(), 1, "the gap record is durable before the number goes out empty");
    assert_eq!(gaps(&mut spool), [(1, 7, 7, "corrupt".to_owned())]);
    drop(spool);
    let mut spool = open(folder.path(), 3, ROOMY);
    assert!(spool.read(Epoch([1; 16]), SequenceNumber(7), 1, T0).unwrap()[0].is_empty());
    assert_eq!(gaps(&mut spool), [(1, 7, 7, "corrupt".to_owned())]);
}

#[test]
fn r22_a_file_that_sqlite_refuses_gives_up_nothing_that_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, Limits { quota: 8 << 20, ..ROOMY });
    let payload = |n: u64| vec![n as u8; (n * 700) as usize];
    for n in 1..=30 {
        spool.append(&payload(n), T0).unwrap();
    }
    drop(spool);
    damage(folder.path(), b"SQLite format 3");
    let mut spool = open(folder.path(), 2, Limits { quota: 8 << 20, ..ROOMY });
    let read = spool.read(Epoch([1; 16]), SequenceNumber(1), 30, T0).unwrap();
    for (n, read) in (1..).zip(read) {
        assert!(read == payload(n), "record {n} is not as it was");
    }
    assert_eq!(gaps(&mut spool), []);
    assert!(folder.path().join("spool-damaged-1.db").exists());
    spool.append(b"life goes on", T0).unwrap();
}

#[test]
fn r22_an_index_that_is_damaged_hides_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    {
        // A file of the form that had one, as pages that changed places may leave it: whole to look at, and empty.
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch(
            "CREATE TABLE epoch(id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, next INTEGER NOT NULL,
             watermark INTEGER NOT NULL, trimmed INTEGER NOT NULL DEFAULT 0, sum INTEGER)",
        )
        .unwrap();
    }
    let mut spool = open(folder.path(), 1, ROOMY);
    for n in 1..=3_u8 {
        spool.append(&[n; 10], T0).unwrap();
    }
    drop(spool);
    let index: usize = Connection::open(&path)
        .unwrap()
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name LIKE 'sqlite_autoindex_epoch%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let page = &mut bytes[(index - 1) * 4096..index * 4096];
    page.fill(0);
    // An index leaf without entries, whose content begins at the end of the page.
    (page[0], page[5]) = (0x0a, 0x10);
    std::fs::write(&path, bytes).unwrap();
    let mut spool = open(folder.path(), 2, ROOMY);
    let read = spool.read(Epoch([1; 16]), SequenceNumber(1), 3, T0).unwrap();
    assert_eq!(read, [vec![1; 10], vec![2; 10], vec![3; 10]]);
    assert_eq!(gaps(&mut spool), []);
}

#[test]
fn r22_a_spool_that_is_gone_is_named_and_so_is_what_an_old_copy_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(b"one", T0).unwrap();
    drop(spool);
    let copy = std::fs::read(folder.path().join("spool.db")).unwrap();
    let mut spool = open(folder.path(), 2, ROOMY);
    for _ in 0..3 {
        spool.append(b"later", T0).unwrap();
    }
    drop(spool);
    std::fs::write(folder.path().join("spool.db"), copy).unwrap();
    let mut spool = open(folder.path(), 3, ROOMY);
    assert_eq!(gaps(&mut spool), [(2, 1, 3, "corrupt".to_owned())]);
    drop(spool);
    std::fs::remove_file(folder.path().join("spool.db")).unwrap();
    let mut spool = open(folder.path(), 4, ROOMY);
    let named = gaps(&mut spool);
    assert!(named.contains(&(1, 1, 1, "corrupt".to_owned())), "{named:?}");
    spool.append(b"still numbered from its own beginning", T0).unwrap();
}

#[test]
fn r20_a_clock_that_jumps_ten_years_deletes_nothing_unacked_and_little_of_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(24 * 3600);
    let limits = Limits { quota: 1 << 20, keep_acked: day };
    let mut spool = open(folder.path(), 1, limits);
    for hour in 0..24 {
        spool.append(b"hourly", T0.plus(Duration::from_secs(hour * 3600))).unwrap();
    }
    spool.set_watermark(Epoch([1; 16]), SequenceNumber(20));
    let at = T0.plus(day);
    assert_eq!(spool.flush(at, Duration::ZERO).unwrap(), []);
    // Within a life the jump is not believed.
    assert_eq!(spool.flush(at.plus(day * 3650), MINUTE).unwrap(), [(Epoch([1; 16]), SequenceNumber(1))]);
    drop(spool);
    // A life that begins with a wrong clock deletes two hours' worth a pass.
    let mut spool = open(folder.path(), 2, limits);
    spool.flush(at.plus(day * 3650), Duration::ZERO).unwrap();
    assert_eq!(spool.stored().unwrap()[0].records[0].0, SequenceNumber(4));
    for _ in 0..30 {
        spool.flush(at.plus(day * 3650), Duration::ZERO).unwrap();
    }
    assert_eq!(seqs(&spool), [(1, vec![21, 22, 23, 24])], "what is not acked stays");
    // Spooled ten years ahead, then the clock is put right.
    spool.append(b"from the future", at.plus(day * 3650)).unwrap();
    spool.set_watermark(Epoch([2; 16]), SequenceNumber(1));
    drop(spool);
    let mut spool = open(folder.path(), 3, limits);
    spool.set_watermark(Epoch([2; 16]), SequenceNumber(1));
    spool.flush(at, Duration::ZERO).unwrap();
    spool.flush(at.plus(day + HOUR), day + HOUR).unwrap();
    assert!(
        spool.stored().unwrap().iter().all(|e| e.epoch != Epoch([2; 16])),
        "it is not kept for ten years"
    );
}

#[test]
fn records_go_only_after_the_watermark_that_covers_them_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    for _ in 0..3 {
        spool.append(b"x", T0).unwrap();
    }
    spool.set_watermark(Epoch([1; 16]), SequenceNumber(3));
    let raw = Connection::open(folder.path().join("spool.db")).unwrap();
    raw.execute_batch("CREATE TRIGGER refuse BEFORE UPDATE ON epoch BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    let (later, awake) = (T0.plus(Duration::from_secs(7200)), Duration::from_secs(7200));
    spool.flush(T0, Duration::ZERO).unwrap_err();
    spool.flush(later, awake).unwrap_err();
    let left: u32 = raw.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 3, "records went although nothing durable says that they are acked");
    raw.execute_batch("DROP TRIGGER refuse").unwrap();
    assert_eq!(spool.flush(later, awake).unwrap(), [(Epoch([1; 16]), SequenceNumber(3))]);
}

#[test]
fn an_epoch_begun_in_the_middle_of_a_life_numbers_from_one_and_survives() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    for _ in 0..3 {
        spool.append(b"in the outage", T0).unwrap();
    }
    spool.begin_epoch(Epoch([2; 16]));
    // Nobody has heard of it yet; then another takes its place.
    spool.begin_epoch(Epoch([3; 16]));
    for _ in 0..2 {
        spool.append(b"live", T0).unwrap();
    }
    assert_eq!(spool.current(), Epoch([3; 16]));
    // What the tally says of the older one still holds: nothing of it may be missed or named as missing.
    spool.flush(T0, MINUTE).unwrap();
    drop(spool);
    let spool = open(folder.path(), 4, ROOMY);
    assert_eq!(seqs(&spool), [(1, vec![1, 2, 3]), (3, vec![1, 2])]);
}

#[test]
fn a_damaged_spool_is_mended_for_each_epoch_of_a_life() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(b"in the outage", T0).unwrap();
    spool.append(b"in the outage", T0).unwrap();
    spool.begin_epoch(Epoch([2; 16]));
    for _ in 0..3 {
        spool.append(b"live", T0).unwrap();
    }
    drop(spool);
    // The database is gone; only the tally remembers.
    for file in ["spool.db", "spool.db-wal", "spool.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(file));
    }
    let mut spool = open(folder.path(), 3, ROOMY);
    let stored = spool.stored().unwrap();
    let last = stored.last().unwrap();
    let payloads = spool.read(last.epoch, SequenceNumber(1), 1, T0).unwrap();
    let gap = |observation: Observation| {
        let Body::Gap { epoch, first, last, .. } = observation.body else { panic!("not a gap") };
        (epoch.0[0], first, last)
    };
    let gaps: Vec<_> = decode_record(&payloads[0]).unwrap().into_iter().map(gap).collect();
    assert_eq!(gaps, [(1, 1, 2), (2, 1, 3)]);
}

fn awake(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_is_held_has_its_number_can_be_read_and_costs_no_write_until_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(b"first", T0).unwrap();
    let here = Epoch([1; 16]);
    assert_eq!(spool.hold(b"second".to_vec(), T0, awake(10)), (here, SequenceNumber(2), 6));
    assert_eq!(spool.hold(b"third".to_vec(), T0, awake(10)), (here, SequenceNumber(3), 5));
    assert_eq!((seqs(&spool), spool.unwritten()), (vec![(1, vec![1])], 2));
    let read = spool.read(here, SequenceNumber(1), 4, T0).unwrap();
    assert_eq!(read, [b"first".to_vec(), b"second".to_vec(), b"third".to_vec(), Vec::new()]);
    let due = spool.held_due().unwrap();
    assert!(due > awake(10) && due < awake(11), "what is not acked is on disk within a second: {due:?}");
    let written = spool.write_held(T0).unwrap();
    assert_eq!(written, [(here, SequenceNumber(2), 6), (here, SequenceNumber(3), 5)]);
    assert_eq!((spool.unwritten(), spool.held_due()), (0, None));
    drop(spool);
    let mut spool = open(folder.path(), 2, ROOMY);
    assert_eq!(seqs(&spool), [(1, vec![1, 2, 3])]);
    assert_eq!(spool.read(here, SequenceNumber(2), 2, T0).unwrap(), [b"second".to_vec(), b"third".to_vec()]);
}

#[test]
fn what_is_held_and_acked_waits_for_company_and_is_kept_as_acked() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    let here = Epoch([1; 16]);
    for second in 0..4 {
        spool.hold(vec![second as u8; 3], T0, awake(second));
    }
    let through = SequenceNumber(3);
    assert_eq!(spool.acked_from_memory(here, through).len(), 3);
    spool.set_watermark(here, through);
    assert_eq!(spool.acked_from_memory(here, through), [], "told once");
    assert_eq!(spool.unwritten(), 1);
    spool.set_watermark(here, SequenceNumber(4));
    assert!(spool.held_due().unwrap() > awake(3600), "nothing of it is urgent");
    // A pass of housekeeping does not count what is not in the file.
    spool.flush(T0.plus(MINUTE), MINUTE).unwrap();
    assert_eq!(spool.write_held(T0).unwrap().len(), 4);
    drop(spool);
    let spool = open(folder.path(), 2, ROOMY);
    assert_eq!(spool.stored().unwrap()[0].watermark, SequenceNumber(4));
    assert_eq!(seqs(&spool), [(1, vec![1, 2, 3, 4])], "a restored collector may ask for it");
}

#[test]
fn a_record_that_is_synced_takes_what_is_held_before_it_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    let here = Epoch([1; 16]);
    spool.hold(b"steady".to_vec(), T0, awake(1));
    let appended = spool.append(b"urgent", T0).unwrap();
    assert_eq!(appended.held, [(here, SequenceNumber(1), 6)]);
    assert_eq!(appended.records, [(here, SequenceNumber(2), 6)]);
    spool.hold(b"later".to_vec(), T0, awake(2));
    // A crash now.
    drop(spool);
    let mut spool = open(folder.path(), 2, ROOMY);
    assert_eq!(seqs(&spool), [(1, vec![1, 2])]);
    assert_eq!(spool.read(here, SequenceNumber(1), 1, T0).unwrap(), [b"steady".to_vec()]);
}

#[test]
fn many_held_records_go_to_disk_although_all_of_them_are_acked() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    let here = Epoch([1; 16]);
    for _ in 0..200 {
        let (_, seq, _) = spool.hold(vec![7; 1000], T0, awake(5));
        spool.set_watermark(here, seq);
    }
    assert_eq!(spool.held_due(), Some(awake(5)));
    spool.write_held(T0).unwrap();
    assert_eq!((seqs(&spool)[0].1.len(), spool.held_due()), (200, None));
}

#[test]
fn a_spool_that_is_mended_keeps_what_is_held_and_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    let here = Epoch([1; 16]);
    for n in 1..=3_u8 {
        spool.append(&[n; 900], T0).unwrap();
    }
    spool.hold(b"held".to_vec(), T0, awake(1));
    spool.mend_now(T0, &"for this test").unwrap();
    assert_eq!(spool.unwritten(), 0);
    assert_eq!(spool.read(here, SequenceNumber(4), 1, T0).unwrap(), [b"held".to_vec()]);
    let appended = spool.append(b"next", T0).unwrap();
    assert_eq!(appended.records, [(here, SequenceNumber(5), 4)]);
    assert_eq!(seqs(&spool), [(1, vec![1, 2, 3, 4, 5])]);
}
