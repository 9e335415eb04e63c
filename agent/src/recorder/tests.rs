//! What the recorder keeps, how long, how much of it, and what damage costs.

use super::*;
use firstline_model::{Attributes, Body, semconv};

const START: Timestamp = Timestamp::from_millis(1_767_603_300_000);
const S: fn(u64) -> Duration = Duration::from_secs;

fn at(second: u64) -> Timestamp {
    START.plus(S(second))
}

fn sample(second: u64, component: &str, value: f64) -> Observation {
    let body = Body::Sample {
        metric: semconv::FILESYSTEM_UTILIZATION.into(),
        attributes: Attributes::none(),
        value,
    };
    Observation { component: component.parse().unwrap(), observed_at: at(second), body }
}

fn look(recorder: &mut Recorder, second: u64, seen: &[Observation]) {
    let runs = [RunOf { probe: "filesystem", places: 0..seen.len() }];
    recorder.record(&Look { seen, runs: &runs, is_steady: false }, at(second), S(second));
}

fn values(recorder: &mut Recorder, component: &str, from: u64, to: u64) -> Vec<(u64, f64)> {
    let window = recorder.window(&component.parse().unwrap(), (at(from), at(to)), S(to));
    window
        .into_iter()
        .map(|observation| {
            let Body::Sample { value, .. } = observation.body else { panic!("{observation:?}") };
            (observation.observed_at.since(START).as_secs(), value)
        })
        .collect()
}

fn bytes(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn every_look_is_there_in_full_with_what_is_not_written_yet_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("recorder");
    let mut recorder = Recorder::in_folder(place.clone());
    let used = |second: u64| (400 + second % 7) as f64 / 1000.0;
    for second in (0..600).step_by(4) {
        let seen = [sample(second, "filesystem//", used(second)), sample(second, "filesystem//home", 0.9)];
        look(&mut recorder, second, &seen);
    }
    let expected: Vec<_> = (100..=160).step_by(4).map(|second| (second, used(second))).collect();
    assert_eq!(values(&mut recorder, "filesystem//", 100, 160), expected);
    assert_eq!(values(&mut recorder, "filesystem//", 596, 10_000), [(596, used(596))]);
    assert_eq!(values(&mut recorder, "memory/0", 0, 600), []);

    let mut next = Recorder::in_folder(place);
    look(&mut next, 700, &[sample(700, "filesystem//", 0.5)]);
    assert_eq!(values(&mut next, "filesystem//", 100, 160), expected);
    assert_eq!(values(&mut next, "filesystem//", 596, 700), [(596, used(596)), (700, 0.5)]);
}

#[test]
fn three_days_of_looks_every_four_seconds_fit_and_the_fourth_day_ends_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("recorder");
    let mut recorder = Recorder::in_folder(place.clone());
    let parts: Vec<String> = (0..20).map(|part| format!("filesystem//{part}")).collect();
    // Every 40 s for four days, a tenth of the looks; the size is judged for all of them.
    for second in (0..96 * 3600).step_by(40) {
        let seen: Vec<_> =
            parts.iter().map(|part| sample(second, part, (second % 977) as f64 / 1000.0)).collect();
        look(&mut recorder, second, &seen);
    }
    let day = 24 * 3600;
    assert!(values(&mut recorder, "filesystem//0", 0, day / 2 - 1).is_empty(), "three days, and two files");
    assert_eq!(values(&mut recorder, "filesystem//0", day, day + 400).len(), 11);
    let whole = bytes(&place) * 10;
    assert!(whole < 100 << 20, "{whole} bytes for twenty series that all change");
}

#[test]
fn it_never_takes_more_room_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("recorder");
    let mut recorder = Recorder::in_folder(place.clone());
    recorder.most_bytes = 4 << 20;
    let long = "x".repeat(400);
    let mut most = 0;
    for second in 0..6_000 {
        // Never the same series, so that nothing is repeated.
        let seen: Vec<_> =
            (0..4).map(|part| sample(second, &format!("filesystem//{long}{second}-{part}"), 0.5)).collect();
        look(&mut recorder, second, &seen);
        if second % 100 == 0 && place.exists() {
            most = most.max(bytes(&place));
        }
    }
    assert!(most > 2 << 20, "the test never filled it: {most}");
    assert!(most <= recorder.most_bytes, "{most} bytes");
}

#[test]
fn damage_costs_what_is_damaged_and_what_leads_back_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("recorder");
    let mut recorder = Recorder::in_folder(place.clone());
    for second in 0..100 {
        look(&mut recorder, second, &[sample(second, "filesystem//", second as f64 / 1000.0)]);
    }
    assert_eq!(values(&mut recorder, "filesystem//", 0, 99).len(), 100);
    let file = std::fs::read_dir(&place).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    for (byte, left) in [(whole.len() - 1, 99), (FRAME_HEAD + 1, 0)] {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0xff;
        std::fs::write(&file, damaged).unwrap();
        assert_eq!(values(&mut recorder, "filesystem//", 0, 99).len(), left);
    }
    for garbage in [&whole[..whole.len() - 3], &[0xff; 64], &[]] {
        std::fs::write(&file, garbage).unwrap();
        assert!(values(&mut recorder, "filesystem//", 0, 99).len() < 100);
    }
}

#[test]
fn r10_it_is_closed_to_others_and_never_follows_a_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("recorder");
    let mut recorder = Recorder::in_folder(place.clone());
    look(&mut recorder, 0, &[sample(0, "filesystem//", 0.5)]);
    let file = std::fs::read_dir(&place).unwrap().next().unwrap().unwrap().path();
    for (path, mode) in [(&place, 0o700), (&file, 0o600)] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
    // A link where the next file would be, and one in the place of the folder.
    let precious = folder.path().join("precious");
    std::fs::write(&precious, "keep me").unwrap();
    let mut next = Recorder::in_folder(place.clone());
    symlink(&precious, place.join(format!("{:015}.rec", at(9).as_millis()))).unwrap();
    look(&mut next, 9, &[sample(9, "filesystem//", 0.5)]);
    let elsewhere = folder.path().join("elsewhere");
    symlink(&place, &elsewhere).unwrap();
    let mut linked = Recorder::in_folder(elsewhere);
    look(&mut linked, 10, &[sample(10, "filesystem//", 0.5)]);
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "keep me");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 2, "nothing was made through the link");
    assert!(values(&mut next, "filesystem//", 9, 9).is_empty());
    look(&mut next, 80, &[sample(80, "filesystem//", 0.6)]);
    assert_eq!(values(&mut next, "filesystem//", 80, 80), [(80, 0.6)], "it goes on when it can");
}
