//! Asks the Linux kernel for the state of its clock, which needs no privilege as long as nothing is changed.
#![expect(unsafe_code, reason = "the kernel offers the state of its clock through a call only")]

use super::State;
use crate::ProbeError;
use std::time::Duration;

pub(super) fn state() -> Result<State, ProbeError> {
    // SAFETY: `timex` is a structure of integers, for which all zeros is a value.
    let mut answer: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to the structure that is borrowed here; `modes` is zero, so that nothing is changed.
    if unsafe { libc::adjtimex(&raw mut answer) } < 0 {
        let error = std::io::Error::last_os_error();
        return Err(ProbeError::Unsupported(format!(
            "the kernel does not tell the state of its clock: {error}"
        )));
    }
    let error = u64::try_from(answer.maxerror).unwrap_or(u64::MAX);
    Ok(State { status: answer.status.into(), largest_error: Duration::from_micros(error) })
}
