//! `/dev/kmsg` (the kernel's `ABI/testing/dev-kmsg`): one record a read, never waiting for the next.

use crate::ProbeError;
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::Path;

const PATH: &str = "/dev/kmsg";
/// The kernel's records are at most this long; a shorter buffer would make a read fail.
const RECORD_BYTES: usize = 8192;

#[derive(Debug)]
pub(super) struct Follower {
    log: OwnedFd,
}

impl Follower {
    /// A place after the newest record.
    pub(super) fn at_end() -> Result<Self, ProbeError> {
        let follower = Self::at_oldest()?;
        rustix::fs::seek(&follower.log, SeekFrom::End(0)).map_err(failed)?;
        Ok(follower)
    }

    /// A place before the oldest record that is left.
    pub(super) fn at_oldest() -> Result<Self, ProbeError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let log = rustix::fs::open(PATH, flags, Mode::empty()).map_err(failed)?;
        Ok(Self { log })
    }

    /// Gives up to `limit` records to `each`; says how often records were overwritten before they could be read.
    pub(super) fn read(&mut self, limit: usize, mut each: impl FnMut(&[u8])) -> Result<u64, ProbeError> {
        let mut buffer = [0_u8; RECORD_BYTES];
        let (mut taken, mut overwritten) = (0, 0);
        while taken < limit {
            match rustix::io::read(&self.log, &mut buffer) {
                Ok(0) => break,
                Ok(length) => each(&buffer[..length]),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                // The oldest unread records are gone; the place is now at the oldest that is left.
                Err(Errno::PIPE) => overwritten += 1,
                Err(error) => return Err(failed(error)),
            }
            taken += 1;
        }
        Ok(overwritten)
    }
}

fn failed(error: Errno) -> ProbeError {
    ProbeError::from_io(Path::new(PATH), &error.into())
}
