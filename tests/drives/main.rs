//! What is said of drives, from smartctl's words to tickets: real captures (and a few of our own) through the probe that
//! reads them on a machine, and through the replay of the collector.
//!
//! What counts anything without meaning anything must not alarm anybody: entries in the NVMe error log, three packed
//! counters in attribute 188, damaged transfers in 199. What the drive itself calls failed must.

use firstline_agent_probes::isolate::{Isolated, Outcome};
use firstline_agent_probes::{Context, PROBES, Root, json};
use firstline_model::Timestamp;
use firstline_tests::process;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

const BEGIN: Timestamp = Timestamp::from_millis(1_767_603_300_000);
/// How often the probe asks a drive.
const BETWEEN: Duration = Duration::from_secs(1800);
/// A rule may want several readings.
const READINGS: u32 = 4;

fn captures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("drives").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the captures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A machine with one drive, of which smartctl says this.
fn machine(folder: &Path, capture: &Path) {
    let text = fs::read_to_string(capture).expect("a capture");
    let said: Value = serde_json::from_str(&text).expect("a capture is JSON");
    let is_nvme = said["device"]["protocol"] == "NVMe";
    let drive = if is_nvme { "nvme0n1" } else { "sda" };
    let block = folder.join("sys/block").join(drive);
    fs::create_dir_all(block.join("queue")).expect("a folder");
    fs::create_dir_all(block.join("device")).expect("a folder");
    fs::write(block.join("size"), "1000215216\n").expect("a file");
    fs::write(block.join("removable"), "0\n").expect("a file");
    let rotates = said["rotation_rate"].as_u64().is_some_and(|rate| rate > 0);
    fs::write(block.join("queue/rotational"), if rotates { "1\n" } else { "0\n" }).expect("a file");
    fs::write(block.join("device/model"), "DRIVE\n").expect("a file");
    fs::create_dir_all(folder.join("bin")).expect("a folder");
    fs::create_dir_all(folder.join("dev")).expect("a folder");
    fs::write(folder.join("dev/kmsg"), "").expect("a file");
    let smartctl = folder.join("bin/smartctl");
    fs::write(&smartctl, format!("#!/bin/sh\ncat <<'END'\n{text}\nEND\n")).expect("a program");
    fs::set_permissions(&smartctl, fs::Permissions::from_mode(0o755)).expect("rights");
}

/// The lines of a trace: each reading of the drive by the probe.
fn observed(device: &str, capture: &Path) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    machine(folder.path(), capture);
    let entry = PROBES.iter().find(|entry| entry.name == "physical_disk").expect("the probe");
    let mut isolated = Isolated::new(entry);
    let mut lines = Vec::new();
    for reading in 0..READINGS {
        let now = BEGIN.plus(BETWEEN * reading);
        let run = isolated.run(Context::new(Root::at(folder.path()), now));
        assert_eq!(run.outcome, Outcome::Completed, "{}", capture.display());
        for observation in &run.observations {
            let mut line = json::observation(observation);
            line["device"] = Value::from(device);
            lines.push(line.to_string());
        }
    }
    lines
}

/// The rules that opened a ticket, by capture.
fn tickets(captures: &[PathBuf]) -> BTreeMap<String, Vec<String>> {
    let mut trace: Vec<String> = Vec::new();
    let mut devices = BTreeMap::new();
    for (number, capture) in captures.iter().enumerate() {
        let device = format!("pc-{number:03}");
        trace.extend(observed(&device, capture));
        devices.insert(device, name(capture));
    }
    trace.sort_by_key(|line| {
        let value: Value = serde_json::from_str(line).expect("JSON");
        value["t"].as_str().map(str::to_owned)
    });
    let mut replay = process::command(process::binary("firstline-collector"))
        .args(["replay", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a replay");
    let mut input = replay.stdin.take().expect("its input");
    let feeder = std::thread::spawn(move || {
        for line in trace {
            writeln!(input, "{line}").expect("the replay reads");
        }
    });
    let output = replay.wait_with_output().expect("the replay ends");
    feeder.join().expect("the trace is written");
    assert!(output.status.success(), "the replay fails: {}", String::from_utf8_lossy(&output.stderr));
    let mut found: BTreeMap<String, Vec<String>> =
        devices.values().map(|name| (name.clone(), Vec::new())).collect();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        if line["transition"] == "opened" {
            let device = line["device"].as_str().expect("a ticket of a drive has a device");
            let rule = line["rule"].as_str().expect("a rule").to_owned();
            found.get_mut(&devices[device]).expect("a capture").push(rule);
        }
    }
    found
}

/// The only public captures that mean something: the drive that calls itself failed, drives that reported sectors that
/// could not be read, and one that has replaced 304 of them.
const FLAGGED: &[(&str, &str)] = &[
    ("MB0500EBNCR_13", "disk.ata_attr"),
    ("MB0500EBNCR_14", "disk.ata_attr"),
    ("ST3500418AS_12", "disk.ata_attr"),
    ("nvme-null-SAMSUNG_MZWLL3T2HAJQ-00005-nvme0", "nvme.critical_warning"),
];

#[test]
fn of_real_drives_only_those_that_mean_it_open_a_ticket() {
    let found = tickets(&captures("captures"));
    assert!(found.len() >= 40, "{} captures", found.len());
    let flagged: Vec<(&str, &str)> = found
        .iter()
        .flat_map(|(name, rules)| rules.iter().map(move |rule| (name.as_str(), rule.as_str())))
        .collect();
    assert_eq!(flagged, FLAGGED);
}

#[test]
fn a_drive_that_calls_itself_failed_or_loses_sectors_opens_a_ticket_and_bad_cables_and_log_entries_do_not() {
    let found = tickets(&captures("own"));
    for harmless in ["bad_cable", "nvme_many_log_entries", "packed_timeouts"] {
        assert_eq!(found[harmless], Vec::<String>::new(), "{harmless}");
    }
    for (capture, rule) in [
        ("nvme_read_only", "nvme.critical_warning"),
        ("nvme_unreliable", "nvme.critical_warning"),
        ("nvme_without_spare", "nvme.critical_warning"),
        ("own_verdict_failed", "disk.smart_failing"),
        ("pending_sectors", "disk.ata_attr"),
        ("reported_uncorrectable", "disk.ata_attr"),
    ] {
        // One cause, one ticket: what the drive warns of in its own words, and its verdict only where it has no words.
        assert_eq!(found[capture], [rule], "{capture}");
    }
    assert_eq!(found.len(), 9, "a capture that nobody judges: {found:?}");
}
