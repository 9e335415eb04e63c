//! The collector's clock. Everything that decides receives its reading as an argument.

use firstline_model::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in UTC.
pub(crate) fn now() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
