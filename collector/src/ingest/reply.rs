//! The way back from the worker to the stream that a batch came on, and what keeps batches of a stream in order when one
//! of them could not be stored.
//!
//! Batches of a stream wait in the worker's queue one behind the other. When one is not stored, the stream is told and
//! ends, but what it had queued before it heard of that is still there, and would be stored with a mark that covers the
//! batch that was not: the agent would be told that a record is safe which nobody has. So the first failure closes the
//! way for everything behind it; the agent sends it all again on its next stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is durable.
    Committed,
    /// It is not, and the agent has to send it again.
    NotStored,
    /// It is not and never will be: the device's identity was withdrawn.
    Withdrawn,
}

/// The batches of one stream, as far as the worker is concerned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    is_broken: Arc<AtomicBool>,
}

impl Line {
    /// A place for the next batch, and where its answer arrives.
    pub(crate) fn place(&self) -> (Reply, oneshot::Receiver<Applied>) {
        let (answer, applied) = oneshot::channel();
        (Reply { answer, line: self.clone() }, applied)
    }
}

/// The place of one batch.
#[derive(Debug)]
pub(crate) struct Reply {
    answer: oneshot::Sender<Applied>,
    line: Line,
}

impl Reply {
    /// Whether a batch before it was not stored, so that this one must not be.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.line.is_broken.load(Ordering::Acquire)
    }

    /// Tells the stream, if it is still there. A session that ended meanwhile gets its ack as a mark in the next welcome.
    pub(crate) fn send(self, applied: Applied) {
        if applied != Applied::Committed {
            self.line.is_broken.store(true, Ordering::Release);
        }
        let _ = self.answer.send(applied);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_batch_that_was_not_stored_is_cut_off() {
        let line = Line::default();
        let ((first, _a), (second, _b), (third, _c)) = (line.place(), line.place(), line.place());
        first.send(Applied::Committed);
        assert!(!second.is_cut_off());
        second.send(Applied::NotStored);
        assert!(third.is_cut_off());
        assert!(!Line::default().place().0.is_cut_off(), "another stream begins anew");
    }
}
