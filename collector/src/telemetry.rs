//! The collector's own figures and logs.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Starts logging: one line an event to standard error.
pub(crate) fn start(level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Measurements that are kept for the quantiles.
const MOST_SAMPLES: usize = 4096;

/// What the collector counts of its own work.
#[derive(Debug, Default)]
pub struct Figures {
    pub commits: AtomicU64,
    pub batches: AtomicU64,
    pub records: AtomicU64,
    pub observations: AtomicU64,
    pub store_failures: AtomicU64,
    /// How often a device's quota was used up.
    pub throttled: AtomicU64,
    /// The last check found that the store takes no writes.
    pub store_refuses: AtomicBool,
    durable_ms: Mutex<VecDeque<u64>>,
}

impl Figures {
    /// A batch became durable (with all tickets that follow from it) this long after it was received.
    pub(crate) fn durable_after(&self, duration: Duration) {
        let mut samples = self.durable_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() >= MOST_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    /// Appends the figures in Prometheus' text format.
    pub(crate) fn render(&self, streams: usize, text: &mut String) {
        let mut line = |name: &str, kind: &str, help: &str, value: u64| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        line("firstline_streams", "gauge", "Open agent streams.", streams as u64);
        let writable = !self.store_refuses.load(Ordering::Relaxed);
        line("firstline_store_writable", "gauge", "Whether the store takes writes.", u64::from(writable));
        for (name, help, figure) in [
            ("firstline_commits_total", "Transactions committed.", &self.commits),
            ("firstline_batches_total", "Batches committed.", &self.batches),
            ("firstline_records_total", "Records committed.", &self.records),
            ("firstline_observations_total", "Observations judged.", &self.observations),
            ("firstline_throttled_total", "Times that a device used its quota up.", &self.throttled),
            ("firstline_store_failures_total", "Transactions that failed.", &self.store_failures),
        ] {
            line(name, "counter", help, figure.load(Ordering::Relaxed));
        }
        let mut samples: Vec<u64> =
            self.durable_ms.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        samples.sort_unstable();
        let name = "firstline_durable_milliseconds";
        let _ = writeln!(
            text,
            "# HELP {name} From a batch being received to it and its tickets being durable, newest {MOST_SAMPLES}.\n# TYPE {name} summary"
        );
        for quantile in [0.5, 0.95, 0.99] {
            if let Some(last) = samples.len().checked_sub(1) {
                let at = ((last as f64) * quantile).round() as usize;
                let _ = writeln!(text, "{name}{{quantile=\"{quantile}\"}} {}", samples[at.min(last)]);
            }
        }
        let _ = writeln!(text, "{name}_count {}", samples.len());
    }
}
