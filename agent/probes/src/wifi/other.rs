//! Wi-Fi on systems where it is not read yet.

use super::Look;
use crate::{ProbeError, Root};

pub(super) fn looks(_: &Root) -> Result<Vec<Look>, ProbeError> {
    Err(ProbeError::Unsupported("not read on this operating system yet".to_owned()))
}
