//! Collects the exit status of a program that was started, together with the processor time that it and what it waited for
//! have used. That time is the probe's, and no clock of the agent's own threads shows it.
#![expect(unsafe_code, reason = "the time of one child is told by wait4 only")]

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// Waits for the program's end.
pub(super) fn wait(child: Child) -> io::Result<(ExitStatus, Duration)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status: libc::c_int = 0;
    // SAFETY: `rusage` consists of integers, for which all zeros is a value.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live variables of the types that wait4 writes. `child` was not waited for and is not
        // after this, as it is consumed, so the process id is still that of our child.
        let ended = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut used) };
        if ended == pid {
            return Ok((ExitStatus::from_raw(status), time(used.ru_utime) + time(used.ru_stime)));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn time(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let micros = u64::try_from(time.tv_usec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}
