//! The collector's clock. What decides receives its reading as an argument; what runs by itself (sessions, the worker)
//! receives the clock when it is made, so that a simulation can turn it.

use firstline_model::Timestamp;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time, in UTC.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's clock.
pub(crate) fn system() -> Clock {
    Arc::new(now)
}

/// Now, in UTC, by the machine's clock.
pub(crate) fn now() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
