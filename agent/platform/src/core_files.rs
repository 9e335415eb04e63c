//! What this process holds in memory (its key, what it is about to send) is not left behind in a file when it crashes.
//!
//! The limit is one byte and not none: no file begins so small, and Linux hands a core to a program that collects cores
//! (as systemd-coredump and apport) whatever the limit is, unless it is exactly one.

use std::io;

/// Forbids core files of this process and of those that it starts. Windows writes none unless an administrator turns
/// them on.
///
/// # Errors
/// When the limit cannot be set.
pub fn forbid() -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        // Who started this may have set none at all, which cannot be raised and is as good where cores become files.
        let most = getrlimit(Resource::Core).maximum.map_or(1, |most| most.min(1));
        setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}
