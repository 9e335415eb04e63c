//! Waiting that a person can end: Ctrl-C (SIGINT), SIGTERM and SIGHUP become messages, and every wait of a task
//! listens for them. So a task ends only where it waits, and what it began is undone in order.

use std::fmt;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Whoever holds this receives the signals; there is one per process.
pub(crate) struct Interrupt {
    signals: mpsc::Receiver<()>,
}

/// The error of a wait that a person ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped by a signal")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupt {
    /// From now on signals no longer end this process.
    pub(crate) fn listen() -> Result<Self> {
        let (sender, signals) = mpsc::channel();
        let tell = move || {
            // The receiver is gone only when the process is about to end.
            let _ = sender.send(());
        };
        ctrlc::set_handler(tell).context("cannot listen for Ctrl-C")?;
        Ok(Self { signals })
    }

    /// Waits for `time`, or less when a signal comes.
    pub(crate) fn wait(&self, time: Duration) -> Result<(), Interrupted> {
        match self.signals.recv_timeout(time) {
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => Err(Interrupted),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(()),
        }
    }

    /// Asks again and again until there is an answer; fails after `limit`, naming `what` was waited for.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        every: Duration,
        mut ask: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            if begun.elapsed() >= limit {
                bail!("{what} did not come within {} s", limit.as_secs());
            }
            self.wait(every)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interrupt() -> (mpsc::Sender<()>, Interrupt) {
        let (sender, signals) = mpsc::channel();
        (sender, Interrupt { signals })
    }

    #[test]
    fn a_wait_ends_with_the_signal_and_not_with_its_time() {
        let (sender, interrupt) = interrupt();
        sender.send(()).unwrap();
        let error = interrupt
            .until("nothing", Duration::from_secs(3600), Duration::from_secs(3600), || Ok(None::<()>))
            .unwrap_err();
        assert!(error.is::<Interrupted>());
    }

    #[test]
    fn what_does_not_come_is_named() {
        let (_sender, interrupt) = interrupt();
        let error = interrupt
            .until("the ticket", Duration::ZERO, Duration::from_secs(1), || Ok(None::<()>))
            .unwrap_err();
        assert_eq!(error.to_string(), "the ticket did not come within 0 s");
    }

    #[test]
    fn the_answer_is_returned_as_soon_as_it_is_there() {
        let (_sender, interrupt) = interrupt();
        let mut asked = 0;
        let answer = interrupt.until("x", Duration::from_secs(60), Duration::from_millis(1), || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(answer.unwrap(), 3);
    }
}
