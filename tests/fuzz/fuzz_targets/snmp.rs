//! libFuzzer's program for the target `snmp`, which stands in `tests/src/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| firstline_tests::fuzz::run("snmp", bytes));
