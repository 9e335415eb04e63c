//! libFuzzer's program for the target `rest`, which stands in `tests/src/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| firstline_tests::fuzz::run("rest", bytes));
