//! When the operating system asks the service to stop.

#[cfg(unix)]
#[path = "signal/unix.rs"]
mod imp;

#[cfg(windows)]
#[path = "signal/windows.rs"]
mod imp;

/// Ends when a request to stop has come: SIGTERM, SIGINT or Ctrl-C. If the handler cannot be set up it never ends,
/// and the system's way of ending a process stays in force.
pub async fn stop_requested() {
    imp::stop_requested().await;
}
