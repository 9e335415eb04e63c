//! libFuzzer's program for the target `signing_request`, which stands in `tests/src/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| firstline_tests::fuzz::run("signing_request", bytes));
