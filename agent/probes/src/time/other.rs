//! The state of the clock on systems where it is not read yet.

use super::State;
use crate::ProbeError;

pub(super) fn state() -> Result<State, ProbeError> {
    Err(ProbeError::Unsupported("not read on this operating system yet".to_owned()))
}
