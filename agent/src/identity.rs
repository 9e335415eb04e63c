//! Who this agent is: its key, its certificate, and whom it trusts. One private file, replaced as a whole.

use anyhow::{Context, Result, bail};
use firstline_agent_platform::private_file;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The identity that enrollment gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The device's name.
    pub device_id: String,
    /// Host and port of the collector's agent listener.
    pub collector: String,
    /// PKCS #8, PEM.
    pub private_key: String,
    /// The leaf, PEM.
    pub certificate: String,
    /// The collector's authorities, PEM.
    pub authorities: Vec<String>,
}

/// Where the identity lies.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("identity.toml")
}

/// Reads the identity; `None` when this machine is not enrolled.
pub(crate) fn load(data: &Path) -> Result<Option<Identity>> {
    let path = path(data);
    if !path.try_exists().with_context(|| format!("cannot look at {}", path.display()))? {
        return Ok(None);
    }
    let bytes = private_file::read(&path)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?;
    let identity: Identity = toml::from_str(&text)
        .with_context(|| format!("{} is damaged; enroll again with --replace", path.display()))?;
    if identity.authorities.is_empty() {
        bail!("{} names no authority to trust; enroll again with --replace", path.display());
    }
    Ok(Some(identity))
}

/// Keeps the identity, closed to others, all of it or nothing.
pub(crate) fn save(data: &Path, identity: &Identity) -> Result<()> {
    let text = toml::to_string(identity).context("cannot write the identity as text")?;
    private_file::replace(&path(data), text.as_bytes())?;
    Ok(())
}
