//! What is looked at before the agent does anything: that nobody but root and the user it runs as can change its program,
//! its configuration or its data. Otherwise it does not start, because it would lend them its rights.

use anyhow::{Context, Result};
use firstline_agent_platform::{private_file, trust};
use std::path::Path;

/// Files of the data folder that are no secret: a person edits them, or an editor leaves them behind.
const READABLE: &[&str] = &["agent.toml", "agent.toml.new"];

/// Refuses to go on when others could change what this process relies on, then makes the data folder if it is missing.
/// From here on every file that this process makes is private.
pub(crate) fn establish(data: &Path, config: Option<&Path>) -> Result<()> {
    private_file::close_new_files();
    look(data, config)?;
    private_file::ensure_folder(data)?;
    trust::private_folder(data, READABLE).context(REFUSED)
}

/// The same as [`establish`], without making anything.
pub(crate) fn look(data: &Path, config: Option<&Path>) -> Result<()> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    trust::only_ours(&program).context(REFUSED)?;
    trust::only_ours(data).context(REFUSED)?;
    if let Some(config) = config.filter(|config| config.exists()) {
        trust::only_ours(config).context(REFUSED)?;
    }
    if data.exists() {
        trust::private_folder(data, READABLE).context(REFUSED)?;
    }
    Ok(())
}

const REFUSED: &str = "not started, because another user could change what this service relies on";
