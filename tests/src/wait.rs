//! Waiting for conditions. A test that sleeps is either too slow or wrong.

use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How often a condition that cannot be waited for is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Shorthand, because tests are full of limits.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Looks until `look` finds something.
///
/// # Panics
/// After `limit`, naming what did not happen.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    until_ok(what, limit, || look().ok_or(()).map_err(|()| String::new()))
}

/// Looks until `look` succeeds; its last failure is part of the message.
///
/// # Panics
/// After `limit`, naming what did not happen and how it stood at the end.
pub fn until_ok<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    // Nobody ever sends: the receiver is a clock that a person can interrupt.
    let (_sender, never) = mpsc::channel::<()>();
    loop {
        match look() {
            Ok(found) => return found,
            Err(state) if started.elapsed() >= limit => {
                panic!("waited {} s in vain: {what}. {state}", limit.as_secs());
            }
            Err(_) => {
                let _ = never.recv_timeout(LOOK);
            }
        }
    }
}

/// Makes sure that nothing comes for as long as `quiet`.
///
/// # Panics
/// When `look` finds something.
pub fn never(what: &str, quiet: Duration, mut look: impl FnMut() -> Option<String>) {
    let started = Instant::now();
    let (_sender, never) = mpsc::channel::<()>();
    while started.elapsed() < quiet {
        if let Some(found) = look() {
            panic!("this was not to happen: {what}. {found}");
        }
        let _ = never.recv_timeout(LOOK);
    }
}

/// Lets a moment pass. Only for choosing a random instant, such as that of a kill: nothing may depend on what has
/// happened by then.
pub fn pass(moment: Duration) {
    let (_sender, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(moment);
}
