//! What happened, as one number: every log line of the product and every act of the simulation, with its virtual time,
//! goes into a hash. The same seed has the same hash, or the simulation is worth nothing.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// Where agents say what is durable and what was acked.
const LEDGER: &str = "firstline_agent::ledger";
/// Lines that are kept for the report of a failure.
const KEPT: usize = 4_000;

/// The trace of one seed.
#[derive(Debug, Clone)]
pub(crate) struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    begin: Option<Instant>,
    hash: u64,
    lines: u64,
    errors: Vec<String>,
    ledger: Vec<String>,
    kept: std::collections::VecDeque<String>,
    loud: bool,
}

impl Trace {
    pub(crate) fn new(loud: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            begin: None,
            hash: 0xcbf2_9ce4_8422_2325,
            lines: 0,
            errors: Vec::new(),
            ledger: Vec::new(),
            kept: std::collections::VecDeque::new(),
            loud,
        })))
    }

    /// Time counts from now.
    pub(crate) fn begin(&self, at: Instant) {
        self.inner().begin = Some(at);
    }

    /// Notes an act of the simulation.
    pub(crate) fn act(&self, text: &str) {
        self.inner().line("-----", text);
    }

    /// The hash of everything until now.
    pub(crate) fn hash(&self) -> u64 {
        self.inner().hash
    }

    /// Lines until now.
    pub(crate) fn lines(&self) -> u64 {
        self.inner().lines
    }

    /// ERROR lines of the product.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.inner().errors.clone()
    }

    /// What agents said became durable or was acked, since the last call.
    pub(crate) fn take_ledger(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().ledger)
    }

    /// The newest lines.
    pub(crate) fn newest(&self, count: usize) -> Vec<String> {
        let inner = self.inner();
        inner.kept.iter().skip(inner.kept.len().saturating_sub(count)).cloned().collect()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn line(&mut self, level: &str, text: &str) {
        let at = self.begin.map_or(0, |begin| begin.elapsed().as_millis());
        let line = format!("{at:>9} {level} {text}");
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.lines += 1;
        if self.loud {
            // The person asked for the trace; nobody is left to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }
}

use std::io::Write as _;

impl Subscriber for Trace {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !metadata.is_span() && metadata.target().starts_with("firstline") && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = *event.metadata().level();
        let mut inner = self.inner();
        inner.line(level.as_str(), &format!("{}{}", event.metadata().target(), text.0));
        if level == Level::ERROR {
            inner.errors.push(text.0);
        } else if event.metadata().target() == LEDGER {
            inner.ledger.push(text.0);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}
