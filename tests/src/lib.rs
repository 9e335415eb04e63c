//! The harness.

pub mod simulated;
