//! What a damaged disk can do to an agent's spool: many copies of one spool, each damaged in a way of its own, each opened
//! as a new life of the agent would open it. What was made durable is known here, so the expectation needs no product
//! code: every record is delivered unchanged or named in a gap record, and one flipped bit costs one record at most.

use firstline_agent::untrusted::{Delivered, spool_delivers, spool_keeps};
use firstline_model::Body;
use firstline_proto::convert::decode_record;
use firstline_tests::effort::effort;
use firstline_tests::figure::figure;
use firstline_tests::process::say;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tempfile::TempDir;

const LIFE: [u8; 16] = *b"the life before.";
const NEXT_LIFE: [u8; 16] = *b"the one after it";
const RECORDS: u64 = 120;

/// Seeded, so that a failure names a seed that repeats it.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound.max(1) as u64).expect("a number below a size")
    }
}

/// Mostly small, some larger than a page, two much larger.
fn payload(seq: u64) -> Vec<u8> {
    let length = match seq {
        40 | 90 => 60_000,
        seq if seq % 7 == 0 => 5_000 + seq * 13,
        seq => 200 + seq * 5,
    };
    (0..length).map(|at| (at * 31 + seq * 7) as u8).collect()
}

/// The files of a spool as a kill leaves them: some of it in the database, the newest in its journal.
struct Original {
    files: BTreeMap<&'static str, Vec<u8>>,
}

impl Original {
    fn killed() -> Self {
        let folder = tempfile::tempdir().expect("a test's own file");
        let payloads: Vec<_> = (1..=RECORDS).map(payload).collect();
        let mut files = BTreeMap::new();
        spool_keeps(folder.path(), LIFE, &payloads, || {
            for name in ["spool.db", "spool.db-wal", "spool.tally"] {
                files.insert(name, std::fs::read(folder.path().join(name)).expect("a test's own file"));
            }
        })
        .expect("a test's own file");
        assert!(files["spool.db-wal"].len() > 50_000, "the journal takes no part in this test");
        Self { files }
    }

    fn copy(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a test's own file");
        for (name, bytes) in &self.files {
            std::fs::write(folder.path().join(name), bytes).expect("a test's own file");
        }
        folder
    }
}

/// How many of the records that were durable are missing from what is delivered. Each of them must be named.
fn judge(delivered: &[Delivered], seed: u64, what: &str) -> usize {
    let mut named = BTreeSet::new();
    for (_, _, payload) in delivered {
        for observation in decode_record(payload).into_iter().flatten() {
            if let Body::Gap { epoch, first, last, .. } = observation.body {
                assert_eq!(epoch.0, LIFE, "seed {seed}, {what}: a gap of a life that never was");
                named.extend(first..=last.min(first + 10_000));
            }
        }
    }
    let mut arrived = BTreeSet::new();
    for (epoch, seq, bytes) in delivered.iter().filter(|(.., bytes)| !bytes.is_empty()) {
        if *epoch == LIFE {
            assert!(*bytes == payload(*seq), "seed {seed}, {what}: record {seq} is changed");
            assert!(arrived.insert(*seq), "seed {seed}, {what}: record {seq} comes twice");
        }
    }
    let missing: Vec<u64> = (1..=RECORDS).filter(|seq| !arrived.contains(seq)).collect();
    let unnamed: Vec<_> = missing.iter().filter(|seq| !named.contains(*seq)).collect();
    assert!(unnamed.is_empty(), "seed {seed}, {what}: {unnamed:?} are lost and nobody says so");
    missing.len()
}

/// Damages one file and says how.
fn damage(folder: &Path, original: &Original, random: &mut Random) -> (String, bool) {
    let name = *["spool.db", "spool.db-wal", "spool.tally"]
        .get(random.below(11).saturating_sub(8))
        .expect("a test's own file");
    let mut bytes = original.files[name].clone();
    let (at, other) = (random.below(bytes.len()), random.below(bytes.len()));
    let kind = random.below(10);
    let what = match kind {
        0..=5 => {
            bytes[at] ^= 1 << random.below(8);
            "a flipped bit"
        }
        6 => {
            bytes.truncate(at);
            "cut off"
        }
        7 => {
            bytes[at..].fill(0);
            "a tail of zeros"
        }
        8 => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0xee);
            "a lost page"
        }
        _ => {
            let (a, b) = (at / 4096 * 4096, other / 4096 * 4096);
            for n in 0..4096 {
                if a + n < bytes.len() && b + n < bytes.len() {
                    bytes.swap(a + n, b + n);
                }
            }
            "swapped pages"
        }
    };
    std::fs::write(folder.join(name), bytes).expect("a test's own file");
    (format!("{name} {what} at {at}"), kind <= 5)
}

#[test]
fn r22_a_damaged_spool_delivers_or_names_every_record_and_a_flipped_bit_costs_one() {
    let original = Original::killed();
    // The last one once lost records behind an index whose page had changed places.
    let damages = effort(300_u64, 10_000);
    for seed in (0..damages).chain([2286]) {
        if seed.is_multiple_of(1_000) && seed < damages {
            say(&format!("{seed} of {damages} spools were damaged and read"));
        }
        let folder = original.copy();
        let (what, is_flip) = damage(folder.path(), &original, &mut Random(seed));
        let delivered = spool_delivers(folder.path(), NEXT_LIFE)
            .unwrap_or_else(|error| panic!("seed {seed}, {what}: the agent cannot start: {error}"));
        let missing = judge(&delivered, seed, &what);
        assert!(!is_flip || missing <= 1, "seed {seed}, {what}: {missing} records are lost");
        // The life after that finds the same and names nothing twice.
        let again = spool_delivers(folder.path(), *b"and one more lif").unwrap();
        assert_eq!(judge(&again, seed, &what), missing, "seed {seed}, {what}: the second life differs");
    }
    figure("spool_damage.damages", damages, "count");
    figure("spool_damage.unnamed", 0, "count");
}

#[test]
fn r22_an_undamaged_spool_delivers_everything_and_names_nothing() {
    let folder = Original::killed().copy();
    let delivered = spool_delivers(folder.path(), NEXT_LIFE).unwrap();
    assert_eq!(delivered.len() as u64, RECORDS);
    assert_eq!(judge(&delivered, 0, "nothing"), 0);
}
