//! Asks an ATA drive through the kernel's `SG_IO` (`scsi/sg.h`) with SCSI's ATA PASS-THROUGH (16), as SAT-4 has it. All commands
//! read; none moves the heads of a drive that rests, because its power mode is asked for first.
#![expect(unsafe_code, reason = "the kernel takes commands for a drive through an ioctl only")]

use super::ata::{self, PAGE_BYTES, Pages};
use crate::ProbeError;
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};
use std::ffi::c_void;
use std::os::fd::OwnedFd;
use std::path::Path;

const SG_IO: Opcode = 0x2285;
const TIMEOUT_MS: u32 = 5000;
const SENSE_BYTES: usize = 32;
const DIRECTION_NONE: i32 = -1;
const DIRECTION_FROM_DEVICE: i32 = -3;

const IDENTIFY: u8 = 0xec;
const CHECK_POWER_MODE: u8 = 0xe5;
const READ_LOG_EXT: u8 = 0x2f;
const SMART: u8 = 0xb0;
const SMART_READ_DATA: u8 = 0xd0;
const SMART_READ_THRESHOLDS: u8 = 0xd1;
const SMART_RETURN_STATUS: u8 = 0xda;
/// What every SMART command has in its address, and what stands there when a threshold is exceeded.
const SMART_MARK: [u8; 2] = [0x4f, 0xc2];
const SMART_EXCEEDED: [u8; 2] = [0xf4, 0x2c];
const DEVICE_STATISTICS: u8 = 4;
const PAGE_OF_FLASH: u8 = 7;

/// What came of asking.
pub(super) enum Answer {
    Pages(Box<Pages>),
    Asleep,
}

/// `struct sg_io_hdr`.
#[repr(C)]
struct Header {
    interface: i32,
    direction: i32,
    command_length: u8,
    sense_length: u8,
    segments: u16,
    data_length: u32,
    data: *mut c_void,
    command: *const u8,
    sense: *mut u8,
    timeout_ms: u32,
    flags: u32,
    pack_id: i32,
    user: *mut c_void,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_written: u8,
    host_status: u16,
    driver_status: u16,
    residual: i32,
    duration_ms: u32,
    info: u32,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Header>() == 88, "the kernel's structure has 88 bytes");

/// A command with all that the kernel reads and writes.
struct PassThrough {
    header: Header,
    command: [u8; 16],
    page: [u8; PAGE_BYTES],
    sense: [u8; SENSE_BYTES],
}

// SAFETY: the opcode takes a `struct sg_io_hdr`, to which `as_ptr` points; before it returns, it sets the pointers in there to
// the other fields of the same value, which is borrowed exclusively during the call, and their lengths to those of the fields.
unsafe impl Ioctl for &mut PassThrough {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        SG_IO
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.header.command = self.command.as_ptr();
        self.header.sense = self.sense.as_mut_ptr();
        if self.header.data_length > 0 {
            self.header.data = self.page.as_mut_ptr().cast();
        }
        (&raw mut self.header).cast()
    }

    // SAFETY: nothing is read from the pointer.
    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// The registers of a command: feature, count, and the lower three bytes of the address.
#[derive(Clone, Copy)]
struct Registers {
    feature: u8,
    count: u8,
    address: [u8; 3],
    command: u8,
}

impl Registers {
    const fn smart(feature: u8) -> Self {
        let [middle, high] = SMART_MARK;
        Self { feature, count: 1, address: [0, middle, high], command: SMART }
    }

    const fn plain(command: u8) -> Self {
        Self { feature: 0, count: 1, address: [0; 3], command }
    }

    /// The command's bytes; `reads` when a page comes back, else the registers are asked back.
    fn pass_through(self, reads: bool) -> [u8; 16] {
        const PIO_IN: u8 = 4 << 1;
        const NO_DATA: u8 = 3 << 1;
        const EXTENDED: u8 = 1;
        /// A page from the drive, its length in blocks in the count.
        const TRANSFER: u8 = 0b0000_1110;
        const REGISTERS_BACK: u8 = 1 << 5;
        let mut bytes = [0; 16];
        bytes[0] = 0x85;
        bytes[1] = if reads { PIO_IN } else { NO_DATA };
        if self.command == READ_LOG_EXT {
            bytes[1] |= EXTENDED;
        }
        bytes[2] = if reads { TRANSFER } else { REGISTERS_BACK };
        bytes[4] = self.feature;
        bytes[6] = self.count;
        [bytes[8], bytes[10], bytes[12]] = self.address;
        bytes[14] = self.command;
        bytes
    }
}

/// Reads what a drive says of itself. Nothing is asked of one that rests.
pub(super) fn read(device: &Path) -> Result<Answer, ProbeError> {
    let file = rustix::fs::open(device, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| ProbeError::from_io(device, &error.into()))?;
    let rests = command(&file, device, Registers { count: 0, ..Registers::plain(CHECK_POWER_MODE) }, false)
        .map(|back| back.registers.is_some_and(|registers| is_resting(registers.count)))?;
    if rests {
        return Ok(Answer::Asleep);
    }
    let page = |registers| command(&file, device, registers, true).map(|back| back.page.to_vec());
    let identify = page(Registers::plain(IDENTIFY))?;
    let identity = ata::identity(&identify)?;
    if !identity.has_smart {
        return Err(ProbeError::Unsupported("the drive has no SMART, or it is switched off".to_owned()));
    }
    let statistics =
        Registers { address: [DEVICE_STATISTICS, PAGE_OF_FLASH, 0], ..Registers::plain(READ_LOG_EXT) };
    let has_flash = identity.has_logs && identity.rotational == Some(false);
    let status =
        command(&file, device, Registers { count: 0, ..Registers::smart(SMART_RETURN_STATUS) }, false);
    Ok(Answer::Pages(Box::new(Pages {
        data: page(Registers::smart(SMART_READ_DATA))?,
        thresholds: page(Registers::smart(SMART_READ_THRESHOLDS)).ok(),
        statistics: if has_flash { page(statistics).ok() } else { None },
        is_exceeded: status.ok().and_then(|back| is_exceeded(back.registers?.address)),
        identify,
    })))
}

/// What came back of a command.
struct Back {
    page: [u8; PAGE_BYTES],
    registers: Option<Returned>,
}

fn command(file: &OwnedFd, device: &Path, registers: Registers, reads: bool) -> Result<Back, ProbeError> {
    let header = Header {
        interface: i32::from(b'S'),
        direction: if reads { DIRECTION_FROM_DEVICE } else { DIRECTION_NONE },
        command_length: 16,
        sense_length: SENSE_BYTES as u8,
        segments: 0,
        data_length: if reads { PAGE_BYTES as u32 } else { 0 },
        data: std::ptr::null_mut(),
        command: std::ptr::null(),
        sense: std::ptr::null_mut(),
        timeout_ms: TIMEOUT_MS,
        flags: 0,
        pack_id: 0,
        user: std::ptr::null_mut(),
        status: 0,
        masked_status: 0,
        message_status: 0,
        sense_written: 0,
        host_status: 0,
        driver_status: 0,
        residual: 0,
        duration_ms: 0,
        info: 0,
    };
    let command = registers.pass_through(reads);
    let mut pass = PassThrough { header, command, page: [0; PAGE_BYTES], sense: [0; SENSE_BYTES] };
    // SAFETY: see the implementation above for what the kernel reads and writes; a file that is no such device makes the call
    // fail with an error.
    unsafe { ioctl(file, &mut pass) }.map_err(|error| ProbeError::from_io(device, &error.into()))?;
    let written = usize::from(pass.header.sense_written).min(SENSE_BYTES);
    let back = returned(pass.sense.get(..written).unwrap_or_default());
    let is_refused = pass.header.host_status != 0
        || back.is_some_and(|back| back.is_error())
        // Without the registers, the only status that is good is none.
        || (back.is_none() && pass.header.status != 0)
        || (reads && pass.header.residual > 0);
    if is_refused {
        let detail = format!("{} refuses the command {:#04x}", device.display(), registers.command);
        return Err(ProbeError::Unsupported(detail));
    }
    Ok(Back { page: pass.page, registers: back })
}

/// The registers as a command left them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Returned {
    count: u8,
    /// The middle and the high byte.
    address: [u8; 2],
    status: u8,
}

impl Returned {
    /// The drive reports an error or a fault of itself.
    const fn is_error(self) -> bool {
        self.status & 0b0010_0001 != 0
    }
}

/// Finds the registers in the sense data, in either of its forms.
fn returned(sense: &[u8]) -> Option<Returned> {
    let at = |at: usize| sense.get(at).copied();
    match at(0)? & 0x7f {
        // Descriptors, of which one holds them.
        0x72 | 0x73 => {
            let mut begin = 8;
            while let (Some(kind), Some(length)) = (at(begin), at(begin + 1)) {
                if kind == 0x09 && length == 0x0c {
                    let address = [at(begin + 9)?, at(begin + 11)?];
                    return Some(Returned { count: at(begin + 5)?, address, status: at(begin + 13)? });
                }
                begin += 2 + usize::from(length);
            }
            None
        }
        // Fixed places, with the additional code that says that they hold registers.
        0x70 | 0x71 if at(12)? == 0 && at(13)? == 0x1d => {
            Some(Returned { count: at(6)?, address: [at(10)?, at(11)?], status: at(4)? })
        }
        _ => None,
    }
}

/// Standby, whether the drive or its timer chose it. What a drive does not tell is taken for awake, as smartctl does.
const fn is_resting(count: u8) -> bool {
    matches!(count, 0x00 | 0x01)
}

fn is_exceeded(address: [u8; 2]) -> Option<bool> {
    match address {
        SMART_MARK => Some(false),
        SMART_EXCEEDED => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_bytes_that_the_standard_demands() {
        let data = Registers::smart(SMART_READ_DATA).pass_through(true);
        assert_eq!(data, [0x85, 0x08, 0x0e, 0, 0xd0, 0, 1, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0]);
        let power = Registers { count: 0, ..Registers::plain(CHECK_POWER_MODE) }.pass_through(false);
        assert_eq!(power, [0x85, 0x06, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe5, 0]);
        let log = Registers { address: [4, 7, 0], ..Registers::plain(READ_LOG_EXT) }.pass_through(true);
        assert_eq!((log[1], log[8], log[10], log[14]), (0x09, 4, 7, 0x2f));
    }

    #[test]
    fn registers_are_found_in_both_forms_of_sense_data() {
        let mut described = vec![0x72, 0x01, 0x00, 0x1d, 0, 0, 0, 0x0e, 0x09, 0x0c, 0, 0, 0, 0xff];
        described.extend([0, 0, 0, 0xf4, 0, 0x2c, 0x40, 0x50]);
        let back = returned(&described).unwrap();
        assert_eq!((back.count, is_exceeded(back.address), back.is_error()), (0xff, Some(true), false));
        let fixed = [0x70, 0, 0x01, 0, 0x50, 0x40, 0x00, 0x0a, 0, 0, 0x4f, 0xc2, 0x00, 0x1d];
        let back = returned(&fixed).unwrap();
        assert_eq!((is_resting(back.count), is_exceeded(back.address)), (true, Some(false)));
        for cut in 0..described.len() - 1 {
            assert_eq!(returned(&described[..cut]), None, "{cut}");
        }
        assert_eq!(returned(&[0x70; 32]), None);
    }

    #[test]
    fn only_standby_is_rest() {
        for (count, expected) in [(0x00, true), (0x01, true), (0x80, false), (0xff, false), (0x41, false)] {
            assert_eq!(is_resting(count), expected, "{count:#x}");
        }
    }

    #[test]
    fn what_is_no_drive_is_an_error() {
        assert!(read(Path::new("/dev/null")).is_err());
        assert!(read(Path::new("/nonexistent")).is_err());
    }
}
