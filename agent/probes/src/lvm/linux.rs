//! Asks the Linux kernel's device mapper for the state of a device through `/dev/mapper/control`, which needs
//! CAP_SYS_ADMIN. Only asked for devices that exist, so that opening it never loads the driver.
#![expect(unsafe_code, reason = "the device mapper answers through an ioctl only")]

use super::pool::{self, HEADER_BYTES, Target};
use crate::ProbeError;
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use std::ffi::c_void;
use std::path::Path;

const CONTROL: &str = "/dev/mapper/control";
/// The header and what follows it; a pool's line has some hundred bytes.
const ANSWER_BYTES: usize = 16 << 10;
const TABLE_STATUS: Opcode = opcode::read_write::<[u8; HEADER_BYTES]>(0xfd, 12);
/// Without this one, the kernel would write the pool's metadata to its drive before it answers.
const NO_FLUSH: u32 = 1 << 11;
const BUFFER_FULL: u32 = 1 << 8;
const FLAGS_AT: usize = 28;
const NAME_AT: usize = 48;
const NAME_BYTES: usize = 128;

struct TableStatus<'a>(&'a mut [u8; ANSWER_BYTES]);

// SAFETY: the opcode takes a `struct dm_ioctl` that says in its `data_size` how many bytes may be written from its begin on;
// `as_ptr` points to a buffer that is borrowed exclusively during the call, in which `status` wrote the buffer's own length.
unsafe impl Ioctl for TableStatus<'_> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        TABLE_STATUS
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }

    // SAFETY: nothing is read from the pointer.
    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

pub(super) fn status(name: &str) -> Result<Vec<Target>, ProbeError> {
    let failed = |error: rustix::io::Errno| match error {
        rustix::io::Errno::NXIO => ProbeError::NotPresent(format!("{name} is gone")),
        other => ProbeError::from_io(Path::new(CONTROL), &other.into()),
    };
    if name.len() >= NAME_BYTES {
        return Err(ProbeError::Malformed("a device of the device mapper has too long a name".to_owned()));
    }
    let control =
        rustix::fs::open(CONTROL, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let mut buffer = Box::new([0; ANSWER_BYTES]);
    // Version 4, the length, where the answer begins, the flags.
    let words = [(0, 4), (12, ANSWER_BYTES as u32), (16, HEADER_BYTES as u32), (FLAGS_AT, NO_FLUSH)];
    for (at, word) in words {
        buffer[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    buffer[NAME_AT..NAME_AT + name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the opcode belongs to this device, and the buffer says its own length (see the implementation above).
    unsafe { ioctl(&control, TableStatus(&mut buffer)) }.map_err(failed)?;
    let flags = u32::from_ne_bytes([
        buffer[FLAGS_AT],
        buffer[FLAGS_AT + 1],
        buffer[FLAGS_AT + 2],
        buffer[FLAGS_AT + 3],
    ]);
    if flags & BUFFER_FULL != 0 {
        return Err(ProbeError::Malformed(format!("the state of {name} is too long")));
    }
    Ok(pool::targets(&buffer[..]))
}
