//! Asks an NVMe drive for its health log through the kernel's `NVME_IOCTL_ADMIN_CMD` (`linux/nvme_ioctl.h`).
#![expect(unsafe_code, reason = "the kernel offers the health log through an ioctl only")]

use super::nvme::LOG_BYTES;
use crate::ProbeError;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use std::ffi::c_void;
use std::fs::File;
use std::path::Path;

const GET_LOG_PAGE: u8 = 0x02;
const SMART_HEALTH_LOG: u32 = 0x02;
const ALL_NAMESPACES: u32 = 0xffff_ffff;
const TIMEOUT_MS: u32 = 5000;

/// `struct nvme_admin_cmd`.
#[repr(C)]
#[derive(Default)]
struct AdminCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    dwords_2_and_3: [u32; 2],
    metadata: u64,
    address: u64,
    metadata_length: u32,
    data_length: u32,
    dwords_10_to_15: [u32; 6],
    timeout_ms: u32,
    result: u32,
}

const _: () = assert!(size_of::<AdminCommand>() == 72, "the kernel's structure has 72 bytes");

/// The call with its command; the borrow of the page keeps the memory alive that the kernel writes to.
struct GetHealthLog<'page> {
    command: AdminCommand,
    _page: &'page mut [u8; LOG_BYTES],
}

impl<'page> GetHealthLog<'page> {
    fn into_page(page: &'page mut [u8; LOG_BYTES]) -> Self {
        let dwords = (LOG_BYTES / 4 - 1) as u32;
        let command = AdminCommand {
            opcode: GET_LOG_PAGE,
            namespace: ALL_NAMESPACES,
            address: page.as_mut_ptr() as u64,
            data_length: LOG_BYTES as u32,
            dwords_10_to_15: [SMART_HEALTH_LOG | (dwords << 16), 0, 0, 0, 0, 0],
            timeout_ms: TIMEOUT_MS,
            ..AdminCommand::default()
        };
        Self { command, _page: page }
    }
}

// SAFETY: the opcode is that of `struct nvme_admin_cmd`, `as_ptr` points to such a structure, and the kernel writes to
// the structure and to `data_length` bytes at its `address`, both of which are borrowed exclusively by `self`.
unsafe impl Ioctl for GetHealthLog<'_> {
    type Output = i32;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        const { opcode::read_write::<AdminCommand>(b'N', 0x41) }
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.command).cast()
    }

    // SAFETY: only the returned number is used; the pointer is not read.
    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<i32> {
        Ok(out)
    }
}

/// Reads log page 02h of the controller at `device` (`/dev/nvme0`).
pub(super) fn health_log(device: &Path) -> Result<[u8; LOG_BYTES], ProbeError> {
    let file = File::open(device).map_err(|error| ProbeError::from_io(device, &error))?;
    let mut page = [0_u8; LOG_BYTES];
    // SAFETY: the file is an open NVMe controller or the call fails with an error; see the implementation above for
    // what the kernel writes.
    let status = unsafe { ioctl(&file, GetHealthLog::into_page(&mut page)) }
        .map_err(|error| ProbeError::from_io(device, &error.into()))?;
    if status != 0 {
        let detail = format!("{} refused its health log with status {status:#x}", device.display());
        return Err(ProbeError::Unsupported(detail));
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_nvme_controller_is_an_error() {
        assert!(health_log(Path::new("/dev/null")).is_err());
        assert!(health_log(Path::new("/nonexistent")).is_err());
    }
}
