//! The standard library's monotonic clock; suspended time is not known.

use super::Reading;
use std::sync::OnceLock;
use std::time::Instant;

pub(super) fn read() -> Reading {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    Reading { awake: ORIGIN.get_or_init(Instant::now).elapsed(), suspended: None }
}
