//! The fuzz targets with their committed corpora and deterministic mutations, as ordinary tests.

use firstline_tests::effort::effort;
use firstline_tests::fuzz::{self, TARGETS, Target, mutate::mutation};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz::corpus(target.name);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no corpus", target.name);
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), std::fs::read(path).expect("a readable file"))).collect()
}

/// Gives bytes to the target and says how to repeat what failed.
fn judge(target: &Target, what: &str, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).is_err() {
        let kept = std::env::temp_dir().join(format!("firstline-fuzz-{}", target.name));
        let place = match std::fs::write(&kept, bytes) {
            Ok(()) => format!("the input is kept in {}", kept.display()),
            Err(error) => format!("the input could not be kept: {error}"),
        };
        panic!("the target {} fails on {what}; {place}", target.name);
    }
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let corpus = corpus(target);
    for (file, bytes) in &corpus {
        judge(target, file, bytes);
    }
    for number in 0..effort(target.mutations, target.mutations * 10) {
        let (file, input) = &corpus[number % corpus.len()];
        let (_, other) = &corpus[(number / corpus.len()) % corpus.len()];
        judge(target, &format!("mutation {number} of {file}"), &mutation(input, other, number as u64));
    }
}

#[test]
fn r15_no_frame_of_either_side_makes_a_decoder_panic() {
    replay("frames");
}

#[test]
fn r3_no_signing_request_gets_more_than_a_device_certificate() {
    replay("signing_request");
}

#[test]
fn r22_no_damaged_spool_stops_the_agent() {
    replay("spool");
}

#[test]
fn no_configuration_file_makes_the_agent_panic() {
    replay("agent_config");
}

#[test]
fn no_knowledge_file_makes_the_collector_panic() {
    replay("knowledge");
}

#[test]
fn r15_no_rest_request_is_a_server_error() {
    replay("rest");
}

#[test]
fn no_answer_of_smartctl_makes_the_probe_panic() {
    replay("smartctl");
}

#[test]
fn no_reply_of_a_printer_makes_the_probe_panic() {
    replay("ipp");
}

#[test]
fn r15_no_snmp_answer_makes_the_walk_panic_or_endless() {
    replay("snmp");
}

#[test]
fn every_target_has_a_program_a_corpus_and_a_test() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = std::fs::read_to_string(manifest.join("fuzz/Cargo.toml")).expect("the manifest");
    let tests = std::fs::read_to_string(manifest.join("replay/main.rs")).expect("this file");
    for target in TARGETS {
        let name = target.name;
        assert!(
            programs.contains(&format!("name = \"{name}\"")),
            "{name} has no program in tests/fuzz/Cargo.toml"
        );
        assert!(manifest.join(format!("fuzz/fuzz_targets/{name}.rs")).is_file(), "{name} has no program");
        assert!(tests.contains(&format!("replay(\"{name}\")")), "{name} has no test");
        assert!(!corpus(target).is_empty());
    }
}
