//! Back-tests: what a knowledge entry would have done to the tickets of the last days, on the history that is stored.
//!
//! The stored records are played twice at once through the code that serves live traffic, with the rules as they are and
//! with the changed entry among them, and the tickets are compared. It runs on a thread of its own and reads a page at
//! a time, so that the writer never waits for it; it is bounded in time and in what it keeps, can be called off, and says
//! what the history does not hold. See [`jobs`] for the pages and the REST interface, [`command`] for the terminal.

mod candidate;
pub(crate) mod command;
mod difference;
mod explain;
pub(crate) mod jobs;
mod play;
pub(crate) mod report;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use candidate::judge;
pub(crate) use jobs::{Ask, Backtests, Job, Refused, State};

use std::time::Duration;

/// Most days that are looked back.
pub(crate) const MOST_DAYS: u32 = 366;
/// How many days unless told otherwise.
pub(crate) const USUAL_DAYS: u32 = 30;
/// A back-test of the pages ends after this, and its answer is about what it has seen until then.
const LONGEST: Duration = Duration::from_secs(600);
