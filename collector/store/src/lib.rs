//! Keeps what the collector knows.
