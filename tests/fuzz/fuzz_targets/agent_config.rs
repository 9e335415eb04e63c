//! libFuzzer's program for the target `agent_config`, which stands in `tests/src/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| firstline_tests::fuzz::run("agent_config", bytes));
