//! Packages on Linux: the status file of dpkg.

use super::parse;
use crate::{Context, ProbeError, Root, Sink};
use firstline_model::{Component, Value};
use std::io::{BufReader, Read};

const STATUS: &str = "/var/lib/dpkg/status";
/// Status files are a few megabytes; a larger one is cut here and its last packages are missed.
const LIMIT: u64 = 64 << 20;

pub(super) fn collect(context: &Context, os: &Component, sink: &mut Sink) {
    match packages(&context.root) {
        Ok(packages) => sink.state(os, "software", packages),
        Err(error) => sink.failed(os, "software", &error),
    }
}

fn packages(root: &Root) -> Result<Value, ProbeError> {
    let status = root.open(STATUS).map_err(|error| match error {
        ProbeError::NotPresent(_) => {
            ProbeError::Unsupported("only dpkg's list of packages is read yet".to_owned())
        }
        ProbeError::Unsupported(_)
        | ProbeError::NotPermitted(_)
        | ProbeError::TimedOut(_)
        | ProbeError::Malformed(_) => error,
    })?;
    let packages = parse::dpkg_status(BufReader::new(status.take(LIMIT)))
        .map_err(|error| ProbeError::from_io(&root.path(STATUS), &error))?;
    if packages.is_empty() {
        return Err(ProbeError::Malformed(format!("{STATUS} lists no installed package")));
    }
    Ok(Value::map(packages.into_iter().map(|(name, version)| (name, Value::from(version)))))
}
