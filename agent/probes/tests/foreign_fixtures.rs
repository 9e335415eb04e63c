//! Machines that run another system, captured below `testdata/<probe>/windows_<situation>` and `macos_<situation>`, give
//! the observations of their `expected.json` on every system that these tests run on.
//!
//! As with the situations of Linux, `later` is a second look one minute after the first, and `FIRSTLINE_ACCEPT=1` writes
//! what was reported, to be judged by a person. [`firstline_agent_probes::on_windows::Captured`] says what a folder holds.

use firstline_agent_probes::on_windows::{self, Captured};
use firstline_agent_probes::{Context, PROBES, Root, Sink, json, network, on_macos, printer};
use firstline_model::Timestamp;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const BEGIN: Timestamp = Timestamp::from_millis(1_767_603_300_000);

/// Every probe that has a half for Windows, with its situations of Windows; at least three, one of them hostile.
const ON_WINDOWS: &[&str] = &[
    "account",
    "cpu",
    "disk_io",
    "memory",
    "filesystem",
    "network",
    "printer",
    "os",
    "physical_disk",
    "power",
    "security",
    "software",
];

#[test]
fn captured_windows_machines_give_the_expected_observations() {
    let mut wrong = Vec::new();
    for probe in ON_WINDOWS {
        for situation in situations(probe, "windows_") {
            let mut looks = vec![(situation.clone(), BEGIN)];
            let later = situation.join("later");
            if later.is_dir() {
                looks.push((later, BEGIN.plus(Duration::from_secs(60))));
            }
            let mut half = on_windows::half(probe);
            let mut reported = Vec::new();
            for (folder, now) in looks {
                let (machine, mut sink) = (Captured::at(&folder), Sink::new(now));
                let context = Context::new(Root::at(&folder), now);
                match (&mut half, *probe) {
                    (Some(half), _) => half.collect(&machine, &context, &mut sink),
                    (None, "network") => network::on_windows::report(&machine, &context, &mut sink),
                    (None, "printer") => {
                        let spooler = printer::on_windows::Spooler::read(&machine, now);
                        printer::report_spooler(spooler, &context, &mut sink);
                    }
                    (None, other) => panic!("{other} has no half for Windows"),
                }
                reported = sink.into_parts().0.iter().map(json::observation).collect();
            }
            wrong.extend(compare(&situation, &reported));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_half_has_three_situations_and_one_of_them_is_hostile() {
    for probe in ON_WINDOWS {
        assert!(PROBES.iter().any(|entry| entry.name == *probe), "{probe}");
        let situations = situations(probe, "windows_");
        assert!(situations.len() >= 3, "{probe} has {} situations of Windows", situations.len());
        assert!(situations.iter().any(|folder| folder.ends_with("windows_hostile")), "{probe}");
    }
}

/// Every probe that has a half for macOS.
const ON_MACOS: &[&str] =
    &["cpu", "memory", "filesystem", "network", "os", "physical_disk", "power", "security", "software"];

#[test]
fn captured_macs_give_the_expected_observations() {
    let mut wrong = Vec::new();
    for probe in ON_MACOS {
        let found = situations(probe, "macos_");
        assert!(found.len() >= 3, "{probe} has {} situations of macOS", found.len());
        assert!(found.iter().any(|folder| folder.ends_with("macos_hostile")), "{probe}");
        for situation in found {
            let mut looks = vec![(situation.clone(), BEGIN)];
            let later = situation.join("later");
            if later.is_dir() {
                looks.push((later, BEGIN.plus(Duration::from_secs(60))));
            }
            let mut half = on_macos::half(probe);
            let mut reported = Vec::new();
            for (folder, now) in looks {
                let mut sink = Sink::new(now);
                let context = Context::new(Root::at(&folder), now);
                let machine = on_macos::Captured::at(&folder);
                match (&mut half, *probe) {
                    (Some(half), _) => half.collect(&machine, &context, &mut sink),
                    (None, "network") => network::on_macos::report(&machine, &context, &mut sink),
                    (None, other) => panic!("{other} has no half for macOS"),
                }
                reported = sink.into_parts().0.iter().map(json::observation).collect();
            }
            wrong.extend(compare(&situation, &reported));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn situations(probe: &str, system: &str) -> Vec<PathBuf> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(probe);
    let folders = fs::read_dir(testdata).into_iter().flatten().filter_map(|folder| Some(folder.ok()?.path()));
    let is_of_system =
        |folder: &PathBuf| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(system));
    let mut found: Vec<PathBuf> = folders.filter(is_of_system).collect();
    found.sort();
    found
}

/// What differs from the file, or nothing.
fn compare(situation: &Path, reported: &[Value]) -> Option<String> {
    let file = situation.join("expected.json");
    if std::env::var_os("FIRSTLINE_ACCEPT").is_some() {
        fs::write(&file, lines(reported)).expect("the file can be written");
        return None;
    }
    let expected: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(&file).unwrap_or_else(|_| "[]".to_owned()))
            .expect("the file is a list");
    // Both sides go through the same reading of numbers, whose last digit is not exact.
    let reported: Vec<Value> = serde_json::from_str(&lines(reported)).expect("what was written is read");
    (expected != reported).then(|| {
        format!("{}:\nexpected {}reported {}", situation.display(), lines(&expected), lines(&reported))
    })
}

/// One observation a line, so that a change of one is a change of one line.
fn lines(observations: &[Value]) -> String {
    let lines: Vec<String> = observations.iter().map(Value::to_string).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}
