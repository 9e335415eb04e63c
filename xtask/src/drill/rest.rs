//! The collector's REST interface, asked through curl: TLS is verified against the collector's own authority, and the
//! token stands in a file, because arguments are visible to everybody on the machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::Process;

pub(super) struct Rest {
    base: String,
    authority: PathBuf,
    header: PathBuf,
}

impl Rest {
    /// For the collector at `web`; the token is kept in `folder`, which is closed to others.
    pub(super) fn new(web: &str, authority: PathBuf, token: &str, folder: &Path) -> Result<Self> {
        let header = folder.join("authorization");
        std::fs::write(&header, format!("Authorization: Bearer {token}\n"))
            .with_context(|| format!("cannot write {}", header.display()))?;
        Ok(Self { base: format!("{web}/api/v1"), authority, header })
    }

    /// The answer to a GET below `/api/v1`.
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}/{path}", self.base);
        // `--disable` comes first: no .curlrc of the person may change what is asked.
        let text = Process::new("curl")
            .quiet()
            .apart()
            .args(["--disable", "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "10"])
            .arg("--cacert")
            .arg(&self.authority)
            .arg("--header")
            .arg(format!("@{}", self.header.display()))
            .arg(&url)
            .read()?;
        serde_json::from_str(&text).with_context(|| format!("{url} answered something that is not JSON"))
    }

    /// The rows of a list.
    pub(super) fn items(&self, path: &str) -> Result<Vec<Value>> {
        let mut answer = self.get(path)?;
        let items = answer["items"].as_array_mut().map(std::mem::take);
        items.with_context(|| format!("{}/{path} answered without `items`", self.base))
    }
}
