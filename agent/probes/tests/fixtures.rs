//! Every captured machine below `testdata/<probe>/<situation>/` gives the observations of its `expected.json`.
//!
//! A situation is a root folder (`proc`, `sys`, `etc`, `run`, `bin`, `statvfs.json`). When it has a folder `later`, that
//! is the root of a second run one minute after the first, and what the second run reports is expected. A file
//! `tls_files` names the files that the configuration would name.
//! `FIRSTLINE_ACCEPT=1` writes what was reported into the files, to be read and judged by a person before it is committed.
#![cfg(target_os = "linux")]

use firstline_agent_probes::isolate::{Isolated, Outcome};
use firstline_agent_probes::{Context, PROBES, ProbeEntry, Root, json};
use firstline_model::Timestamp;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: Timestamp = Timestamp::from_millis(1_767_603_300_000);

#[test]
fn captured_machines_give_the_expected_observations() {
    let accept = std::env::var_os("FIRSTLINE_ACCEPT").is_some();
    let mut wrong = Vec::new();
    let mut ran = 0;
    for (entry, situation) in situations() {
        ran += 1;
        let reported = run(entry, &situation);
        let file = situation.join("expected.json");
        if accept {
            fs::write(&file, lines(&reported)).unwrap();
            continue;
        }
        let expected: Vec<Value> =
            serde_json::from_str(&fs::read_to_string(&file).unwrap_or_else(|_| "[]".to_owned())).unwrap();
        // Both sides go through the same reading of numbers, whose last digit is not exact.
        let reported: Vec<Value> = serde_json::from_str(&lines(&reported)).unwrap();
        if expected != reported {
            wrong.push(format!(
                "{}:\nexpected {}reported {}",
                situation.display(),
                lines(&expected),
                lines(&reported)
            ));
        }
    }
    assert!(ran > 0, "no situations were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_probe_has_three_situations_and_one_of_them_is_hostile() {
    // What this one measures, a captured machine has not: the network-namespace tests are its situations.
    for entry in PROBES.iter().filter(|entry| entry.name != "path") {
        let of_probe: Vec<PathBuf> = situations()
            .into_iter()
            .filter(|(of, _)| of.name == entry.name)
            .map(|(_, folder)| folder)
            .collect();
        assert!(of_probe.len() >= 3, "{} has {} situations", entry.name, of_probe.len());
        assert!(of_probe.iter().any(|folder| folder.ends_with("hostile")), "{}", entry.name);
    }
}

fn run(entry: &ProbeEntry, situation: &Path) -> Vec<Value> {
    let mut isolated = Isolated::new(entry);
    let mut runs = vec![(situation.to_owned(), BEGIN)];
    let later = situation.join("later");
    if later.is_dir() {
        runs.push((later, BEGIN.plus(std::time::Duration::from_secs(60))));
    }
    let mut reported = Vec::new();
    for (root, now) in runs {
        let mut context = Context::new(Root::at(&root), now);
        let tls_files = fs::read_to_string(root.join("tls_files")).unwrap_or_default();
        context.overrides.tls_files = tls_files.lines().map(str::to_owned).collect();
        let run = isolated.run(context);
        assert_eq!(run.outcome, Outcome::Completed, "{}", situation.display());
        let place = root.display().to_string();
        reported = run
            .observations
            .iter()
            .map(|observation| without(&place, json::observation(observation)))
            .collect();
    }
    reported
}

/// Details name files; the folder of the captured machine is taken out of them.
fn without(place: &str, mut line: Value) -> Value {
    if let Some(Value::String(detail)) = line.get_mut("detail") {
        *detail = detail.replace(place, "");
    }
    line
}

fn situations() -> Vec<(&'static ProbeEntry, PathBuf)> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut found = Vec::new();
    for entry in PROBES {
        let Ok(folders) = fs::read_dir(testdata.join(entry.name)) else { continue };
        let mut folders: Vec<PathBuf> = folders.filter_map(|folder| Some(folder.ok()?.path())).collect();
        folders.sort();
        // Machines of other systems have a test of their own.
        let is_foreign = |folder: &PathBuf| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("windows_") || name.starts_with("macos_")
        };
        let own = folders.into_iter().filter(|folder| folder.is_dir() && !is_foreign(folder));
        found.extend(own.map(|folder| (entry, folder)));
    }
    found
}

/// One observation a line, so that a change of one is a change of one line.
fn lines(observations: &[Value]) -> String {
    let lines: Vec<String> = observations.iter().map(Value::to_string).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}
