//! What this process holds in memory (its key, what it is about to send) is not left behind in a file when it crashes.

use std::io;

/// Forbids core files of this process and of those that it starts. Windows writes none unless an administrator turns
/// them on.
///
/// # Errors
/// When the limit cannot be set.
pub fn forbid() -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    }
    Ok(())
}
