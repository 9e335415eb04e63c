//! The spool against its contract: numbers, survival, bounds, damage.

use super::*;
use crate::seams::Folder;
use firstline_proto::convert::decode_record;
use std::path::Path;

const T0: Timestamp = Timestamp::from_millis(1_767_603_300_000);
const ROOMY: Limits = Limits { quota: 1 << 20, keep_acked: Duration::from_secs(3600) };

fn place(folder: &Path) -> Box<dyn Disk> {
    Box::new(Folder { path: folder.join("spool.db") })
}

fn open(folder: &Path, epoch: u8, limits: Limits) -> Spool {
    Spool::open(place(folder), Epoch([epoch; 16]), limits).unwrap()
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
    assert_eq!(spool.read(Epoch([1; 16]), SequenceNumber(2), 2).unwrap(), [vec![2; 10], vec![3; 10]]);
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
    assert_eq!(spool.flush(T0.plus(Duration::from_secs(60))).unwrap(), []);
    assert_eq!(spool.stored().unwrap()[0].watermark, SequenceNumber(2));
    let deleted = spool.flush(T0.plus(Duration::from_secs(3601))).unwrap();
    assert_eq!(deleted, [(Epoch([1; 16]), SequenceNumber(2))]);
    assert_eq!(seqs(&spool), [(1, vec![3])]);
    spool.set_watermark(Epoch([1; 16]), SequenceNumber(3));
    spool.flush(T0.plus(Duration::from_secs(3601))).unwrap();
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
            let record = spool.read(epoch, gap, 1).unwrap().remove(0);
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
    let pages: i64 = spool.database.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    spool.database.pragma_update(None, "max_page_count", pages + 1).unwrap();
    spool.append(&vec![0; 100_000], T0).unwrap_err();
    // The failure opened the file anew, without the artificial bound.
    let appended = spool.append(b"two", T0).unwrap();
    assert_eq!(appended.records[0].1, SequenceNumber(2));
    assert_eq!(seqs(&spool), [(1, vec![1, 2])]);
}

#[test]
fn a_damaged_file_is_set_aside_and_a_new_one_begins() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("spool.db"), vec![0x5a; 8192]).unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(b"one", T0).unwrap();
    assert!(folder.path().join("spool-damaged-1.db").exists());
}

#[test]
fn what_is_no_longer_kept_is_read_as_empty() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    spool.append(b"one", T0).unwrap();
    assert_eq!(spool.read(Epoch([1; 16]), SequenceNumber(1), 2).unwrap(), [b"one".to_vec(), vec![]]);
    assert_eq!(spool.read(Epoch([9; 16]), SequenceNumber(1), 1).unwrap(), [Vec::<u8>::new()]);
}

#[test]
fn no_random_damage_to_the_file_makes_opening_panic_or_fail_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), 1, ROOMY);
    for _ in 0..50 {
        spool.append(&[7; 200], T0).unwrap();
    }
    drop(spool);
    let whole = std::fs::read(folder.path().join("spool.db")).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let place = tempfile::tempdir().unwrap();
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        std::fs::write(place.path().join("spool.db"), damaged).unwrap();
        if let Ok(mut spool) = Spool::open(self::place(place.path()), Epoch([2; 16]), ROOMY) {
            let _ = spool.stored();
            let _ = spool.append(b"after damage", T0);
        }
    }
}
