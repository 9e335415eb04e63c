//! Where the agent's files lie unless `--data` says otherwise.

use std::path::PathBuf;

/// The agent's data folder: identity, spool, state of probes. Root only.
pub fn data() -> PathBuf {
    #[cfg(target_os = "windows")]
    let path = r"C:\ProgramData\Firstline\agent";
    #[cfg(target_os = "macos")]
    let path = "/Library/Application Support/Firstline/agent";
    #[cfg(not(any(target_os = "windows", target_os = "macos")))]
    let path = "/var/lib/firstline-agent";
    PathBuf::from(path)
}
