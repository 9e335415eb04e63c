//! How far long work is, for the person who waits: a line on standard error every two seconds, none for short work.
#![expect(clippy::print_stderr, reason = "this is where the program speaks to the person who waits")]

use std::time::{Duration, Instant};

const SAY: Duration = Duration::from_secs(2);

/// One piece of work.
pub(crate) struct Progress {
    what: &'static str,
    said: Instant,
}

impl Progress {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, said: Instant::now() }
    }

    /// So many bytes are done, of so many.
    pub(crate) fn at(&mut self, done: u64, total: u64) {
        if self.said.elapsed() < SAY {
            return;
        }
        self.said = Instant::now();
        let percent = (done.min(total) * 100).checked_div(total).unwrap_or(100);
        eprintln!("{}: {percent} % ({} of {} MiB)", self.what, done >> 20, total >> 20);
    }
}
