//! Logs: one line an event to standard error, where the service manager collects them.

use tracing_subscriber::EnvFilter;

/// Starts logging at `level` (`info`, `debug`, or a filter such as `info,firstline_agent=debug`).
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
