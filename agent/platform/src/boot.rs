//! Which boot of the machine this is.

/// A text that is the same for as long as the machine is not restarted, where the system has one (Linux); elsewhere
/// `None`, and restarts are then told by the uptime alone.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}
