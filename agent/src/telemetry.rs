//! Logs: one line an event to standard error, where the service manager collects them.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging at `level` (`info`, `debug`, or levels by part of the program such as `info,firstline_agent=debug`).
///
/// Filters by fields of an event are not understood: they would need a whole engine of regular expressions, which is a
/// twentieth of the program's size.
pub(crate) fn start(level: &str) {
    let filter = understand(level).unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
}

/// The filter that the text means, or why it means none.
pub(crate) fn understand(level: &str) -> Result<Targets, String> {
    level.parse().map_err(|error: tracing_subscriber::filter::ParseError| error.to_string())
}
