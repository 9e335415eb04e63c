//! What a line of the kernel's log means. Pure; the wording is that of Linux 4.x to 6.x.
//!
//! Any program may write to the log, and devices put their names into it: a line is evidence, never a command, and
//! what is taken from it is bounded.

/// The longest part of a line that is passed on.
const LINE_BYTES: usize = 300;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A process was killed for lack of memory.
    OutOfMemory {
        /// Its number.
        pid: u32,
        /// Its name.
        process: String,
        /// Whether the limit of a control group was the cause, not the memory of the machine.
        in_group: bool,
    },
    /// A drive could not read or write.
    DiskError {
        /// The kernel's name of the drive, partition or port: `sda`, `nvme0n1`, `nvme0`, `ata1`.
        device: String,
        /// What was tried.
        operation: Operation,
    },
    /// A file system stopped accepting writes because of errors.
    FilesystemStopped {
        /// The kernel's name of its device.
        device: String,
    },
    /// A file system was mounted anew for writing.
    FilesystemWritable {
        /// The kernel's name of its device.
        device: String,
    },
    /// A program crashed.
    ApplicationCrash {
        /// The program's name.
        application: String,
    },
    /// A USB device was unplugged, or lost its connection.
    UsbDisconnected {
        /// The port it was plugged into: `1-2`, `3-1.4`.
        port: String,
    },
    /// A USB device was recognised.
    UsbConnected {
        /// The port.
        port: String,
    },
    /// A USB device that the system cannot use.
    UsbFault {
        /// The port.
        port: String,
        /// What is wrong with it.
        fault: UsbFault,
    },
    /// A graphics driver gave up and began anew, or reports a fault of its hardware.
    GraphicsFault {
        /// The PCI address of the graphics processor, where the line tells it: `0000:01:00.0`.
        address: Option<String>,
    },
    /// The kernel found a fault in itself.
    KernelFault {
        /// Which kind.
        kind: FaultKind,
        /// The line, bounded.
        line: String,
    },
}

/// What is wrong at a USB port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsbFault {
    /// The device does not say what it is.
    NoDescriptor,
    /// It draws more current than the port gives.
    OverCurrent,
}

impl UsbFault {
    /// The fault as an attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoDescriptor => "no_descriptor",
            Self::OverCurrent => "over_current",
        }
    }
}

/// What a drive was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Something else, or the line does not say.
    Other,
}

impl Operation {
    /// Every operation.
    pub const ALL: &'static [Self] = &[Self::Read, Self::Write, Self::Other];

    /// The operation as an attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Other => "other",
        }
    }
}

/// A kind of fault of the kernel itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A task did not get on for minutes.
    HungTask,
    /// A failed assertion of the kernel.
    Bug,
    /// An invalid access of the kernel.
    Oops,
    /// A processor did not come back from the kernel.
    Lockup,
}

impl FaultKind {
    /// The kind as an attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HungTask => "hung_task",
            Self::Bug => "bug",
            Self::Oops => "oops",
            Self::Lockup => "lockup",
        }
    }
}

/// The text of a record `priority,sequence,time,flags;text`; `None` for a continuation line and for what is no record.
pub fn message(record: &str) -> Option<&str> {
    if record.starts_with(' ') {
        return None;
    }
    let (prefix, text) = record.split_once(';')?;
    prefix.starts_with(|c: char| c.is_ascii_digit()).then_some(text)
}

/// What the line means, if it is one of those above.
pub fn classify(line: &str) -> Option<Message> {
    out_of_memory(line)
        .or_else(|| disk_error(line))
        .or_else(|| filesystem_stopped(line))
        .or_else(|| application_crash(line))
        .or_else(|| usb(line))
        .or_else(|| graphics_fault(line))
        .or_else(|| kernel_fault(line))
}

/// `NVRM: Xid (PCI:0000:01:00): 79, ...`, `amdgpu 0000:03:00.0: amdgpu: GPU reset begin!`, `i915 0000:00:02.0: [drm] GPU HANG:
/// ecode ...`, `xe 0000:00:02.0: [drm] GT0: reset started`. A reset is logged with its begin and its end: the begin is counted.
fn graphics_fault(line: &str) -> Option<Message> {
    if let Some(rest) = line.strip_prefix("NVRM: Xid (PCI:") {
        let (slot, _) = rest.split_once(')')?;
        // This driver leaves the function out.
        let address = is_pci_address(&format!("{slot}.0")).then(|| format!("{slot}.0"));
        return Some(Message::GraphicsFault { address });
    }
    let (driver, rest) = line.split_once(' ')?;
    let begins = match driver {
        "amdgpu" | "radeon" => ["GPU reset begin", "GPU lockup"].as_slice(),
        "i915" => ["GPU HANG"].as_slice(),
        "xe" => ["reset started"].as_slice(),
        "nouveau" => ["fifo: SCHED_ERROR", "gr: TRAP"].as_slice(),
        _ => return None,
    };
    let (address, text) = rest.split_once(": ")?;
    begins
        .iter()
        .any(|begin| text.contains(begin))
        .then(|| Message::GraphicsFault { address: is_pci_address(address).then(|| address.to_owned()) })
}

/// `0000:03:00.0`.
pub fn is_pci_address(text: &str) -> bool {
    text.len() == 12
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b':',
            10 => byte == b'.',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `Out of memory: Killed process 123 (name) total-vm:...`, `Memory cgroup out of memory: Killed process ...`.
fn out_of_memory(line: &str) -> Option<Message> {
    let (before, rest) = line.split_once("Killed process ").or_else(|| line.split_once("Kill process "))?;
    if !before.to_ascii_lowercase().contains("out of memory") {
        return None;
    }
    let (pid, rest) = rest.split_once(' ')?;
    let name = rest.strip_prefix('(')?;
    // Names may hold parentheses; what follows the name does not.
    let name = name.split_once(") total-vm").or_else(|| name.rsplit_once(')'))?.0;
    let in_group = before.to_ascii_lowercase().contains("cgroup");
    Some(Message::OutOfMemory {
        pid: pid.trim_end_matches(',').parse().ok()?,
        process: bounded(name),
        in_group,
    })
}

/// `I/O error, dev sda, sector 2048 op 0x0:(READ)`, `critical medium error, dev sdb, ...`, `Buffer I/O error on dev
/// sda1, logical block ...`, `nvme nvme0: I/O 12 QID 3 timeout`, `ata1.00: exception Emask ...`.
fn disk_error(line: &str) -> Option<Message> {
    let found = |device: &str, operation| {
        is_device(device).then(|| Message::DiskError { device: device.to_owned(), operation })
    };
    for words in ["I/O error, dev ", "critical medium error, dev ", "critical target error, dev "] {
        if let Some((_, rest)) = line.split_once(words) {
            return found(rest.split([',', ' ']).next()?, operation(rest));
        }
    }
    for words in ["Buffer I/O error on dev ", "Buffer I/O error on device ", "lost async page write on dev "]
    {
        if let Some((_, rest)) = line.split_once(words) {
            return found(rest.split([',', ' ']).next()?, operation(rest));
        }
    }
    if let Some(rest) = line.strip_prefix("nvme ") {
        let (device, rest) = rest.split_once(": ")?;
        let failed = rest.starts_with("I/O ") && rest.contains("timeout");
        return if failed { found(device, Operation::Other) } else { None };
    }
    if line.starts_with("ata") {
        let (port, rest) = line.split_once(": ")?;
        let failed = rest.starts_with("exception Emask") || rest.starts_with("failed command:");
        // One failure is logged as an exception and as the command that failed: the exception is counted.
        let counted = failed && rest.starts_with("exception");
        return if counted { found(port.split('.').next()?, Operation::Other) } else { None };
    }
    None
}

fn operation(rest: &str) -> Operation {
    let upper = rest.to_ascii_uppercase();
    if upper.contains("(READ") || upper.contains("ASYNC PAGE READ") {
        Operation::Read
    } else if upper.contains("(WRITE") || upper.contains("PAGE WRITE") {
        Operation::Write
    } else {
        Operation::Other
    }
}

/// `EXT4-fs (sda1): Remounting filesystem read-only`, `XFS (sda1): ... Shutting down filesystem`, `BTRFS error (device
/// sda1): ... forced readonly`.
fn filesystem_stopped(line: &str) -> Option<Message> {
    let stopped = line.contains("Remounting filesystem read-only")
        || (line.starts_with("XFS (") && line.to_ascii_lowercase().contains("shutting down filesystem"))
        || (line.starts_with("BTRFS") && line.contains("forced readonly"));
    // `EXT4-fs (sda1): re-mounted 3a1c... r/w.`; a file system that is mounted anew has left its errors behind, too.
    let remounted = line.contains("re-mounted") && line.contains("r/w");
    let writable = (line.starts_with("EXT4-fs (") && (remounted || line.contains("mounted filesystem")))
        || (line.starts_with("XFS (")
            && (line.contains("Ending clean mount") || line.contains("Ending recovery")));
    if !stopped && !writable {
        return None;
    }
    let inside = line.split_once('(')?.1.split_once(')')?.0;
    let device = inside.strip_prefix("device ").unwrap_or(inside);
    let device = device.split([':', ' ']).next().filter(|device| is_device(device))?.to_owned();
    Some(if stopped { Message::FilesystemStopped { device } } else { Message::FilesystemWritable { device } })
}

/// `name[123]: segfault at 0 ip ... error 6 in ...`, `traps: name[123] general protection fault ...`.
fn application_crash(line: &str) -> Option<Message> {
    let (who, rest) = match line.strip_prefix("traps: ") {
        Some(trap) => {
            let at = trap.find("] ")?;
            (&trap[..=at], &trap[at + 2..])
        }
        None => line.split_once("]: ").map(|(who, rest)| (&line[..=who.len()], rest))?,
    };
    let crashed = rest.starts_with("segfault at ")
        || ["general protection", "trap invalid opcode", "trap divide error", "trap stack segment"]
            .iter()
            .any(|words| rest.starts_with(words));
    let (name, pid) = who.strip_suffix(']')?.rsplit_once('[')?;
    let application = crashed && !name.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    application.then(|| Message::ApplicationCrash { application: bounded(name) })
}

/// `usb 1-2: USB disconnect, device number 5`, `usb 1-2: device descriptor read/64, error -71`, `usb usb1-port2:
/// over-current condition`.
fn usb(line: &str) -> Option<Message> {
    let (port, rest) = line.strip_prefix("usb ")?.split_once(": ")?;
    if rest.starts_with("over-current ") {
        // The hub speaks here: `usb1-port2` is the second port of the first bus, `1-4-port2` of the hub at 1-4.
        let (hub, number) = port.strip_prefix("usb").unwrap_or(port).split_once("-port")?;
        let separator = if hub.contains('-') { '.' } else { '-' };
        let port = format!("{hub}{separator}{number}");
        return is_port(&port).then_some(Message::UsbFault { port, fault: UsbFault::OverCurrent });
    }
    if !is_port(port) {
        return None;
    }
    let port = port.to_owned();
    if rest.starts_with("USB disconnect, device number ") {
        Some(Message::UsbDisconnected { port })
    } else if rest.starts_with("New USB device found, ") {
        Some(Message::UsbConnected { port })
    } else if rest.starts_with("device descriptor read/") && rest.contains("error") {
        Some(Message::UsbFault { port, fault: UsbFault::NoDescriptor })
    } else {
        None
    }
}

/// `1-2`, `3-1.4`: a bus, and the ports on the way.
fn is_port(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 32
        && text.split_once('-').is_some_and(|(bus, ports)| digits(bus) && ports.split('.').all(digits))
}

fn kernel_fault(line: &str) -> Option<Message> {
    let kind = if line.starts_with("INFO: task ") && line.contains("blocked for more than") {
        FaultKind::HungTask
    } else if line.contains("BUG: soft lockup") || line.contains("hard LOCKUP") {
        FaultKind::Lockup
    } else if line.starts_with("Oops: ") || line.starts_with("general protection fault") {
        FaultKind::Oops
    } else if line.starts_with("BUG: ") || line.starts_with("kernel BUG at ") {
        FaultKind::Bug
    } else {
        return None;
    };
    Some(Message::KernelFault { kind, line: bounded(line) })
}

/// Names that the kernel gives to block devices and ports.
fn is_device(name: &str) -> bool {
    (2..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(LINE_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_graphics_drivers_are_counted_once_with_their_address() {
        let fault = |line: &str| match classify(line) {
            Some(Message::GraphicsFault { address }) => Some(address.unwrap_or_default()),
            Some(_) | None => None,
        };
        let at = |address: &str| Some(address.to_owned());
        assert_eq!(
            fault("NVRM: Xid (PCI:0000:01:00): 79, pid=1234, GPU has fallen off the bus."),
            at("0000:01:00.0")
        );
        assert_eq!(fault("amdgpu 0000:03:00.0: amdgpu: GPU reset begin!"), at("0000:03:00.0"));
        assert_eq!(
            fault("i915 0000:00:02.0: [drm] GPU HANG: ecode 12:1:85dffffb, in firefox [4242]"),
            at("0000:00:02.0")
        );
        assert_eq!(fault("amdgpu ../../etc: amdgpu: GPU reset begin!"), at(""), "what is no address is none");
        for harmless in [
            "amdgpu 0000:03:00.0: amdgpu: GPU reset(2) succeeded!",
            "i915 0000:00:02.0: [drm] VT-d active for gfx access",
            "NVRM: loading NVIDIA UNIX x86_64 Kernel Module",
        ] {
            assert_eq!(fault(harmless), None, "{harmless}");
        }
    }

    #[test]
    fn usb_devices_that_go_or_cannot_be_used_name_their_port() {
        let disconnected = |port: &str| Some(Message::UsbDisconnected { port: port.to_owned() });
        let fault = |port: &str, fault| Some(Message::UsbFault { port: port.to_owned(), fault });
        assert_eq!(classify("usb 3-1.4: USB disconnect, device number 7"), disconnected("3-1.4"));
        assert_eq!(
            classify("usb 1-2: device descriptor read/64, error -71"),
            fault("1-2", UsbFault::NoDescriptor)
        );
        assert_eq!(classify("usb usb1-port2: over-current condition"), fault("1-2", UsbFault::OverCurrent));
        assert_eq!(classify("usb 1-4-port2: over-current condition"), fault("1-4.2", UsbFault::OverCurrent));
        for other in [
            "usb 1-2: new full-speed USB device number 5 using xhci_hcd",
            "usb ../../x: USB disconnect, device number 5",
            "usb 1-: USB disconnect, device number 5",
            "usb usb1: USB disconnect, device number 1",
        ] {
            assert_eq!(classify(other), None, "{other}");
        }
    }

    fn disk(device: &str, operation: Operation) -> Option<Message> {
        Some(Message::DiskError { device: device.to_owned(), operation })
    }

    #[test]
    fn errors_of_drives_name_the_device_and_the_operation() {
        for (line, expected) in [
            (
                "I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
                disk("sda", Operation::Read),
            ),
            (
                "blk_update_request: I/O error, dev nvme0n1, sector 8 op 0x1:(WRITE) flags 0x800",
                disk("nvme0n1", Operation::Write),
            ),
            (
                "critical medium error, dev sdb, sector 123 op 0x0:(READ) flags 0x80700",
                disk("sdb", Operation::Read),
            ),
            ("Buffer I/O error on dev sda1, logical block 0, async page read", disk("sda1", Operation::Read)),
            (
                "Buffer I/O error on dev dm-0, logical block 7, lost async page write",
                disk("dm-0", Operation::Write),
            ),
            ("nvme nvme0: I/O 12 QID 3 timeout", disk("nvme0", Operation::Other)),
            (
                "nvme nvme0: I/O tag 12 (100c) opcode 0x2 (I/O Cmd) QID 3 timeout, aborting req_op:READ(0) size:4096",
                disk("nvme0", Operation::Other),
            ),
            (
                "ata1.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen",
                disk("ata1", Operation::Other),
            ),
            ("ata1.00: failed command: READ DMA", None),
            ("nvme nvme0: 8/0/0 default/read/poll queues", None),
            ("I/O error, dev ../../etc, sector 1", None),
        ] {
            assert_eq!(classify(line), expected, "{line}");
        }
    }

    #[test]
    fn file_systems_that_stopped_are_named_by_device() {
        for (line, device) in [
            ("EXT4-fs (loop2): Remounting filesystem read-only", "loop2"),
            ("XFS (sda2): User initiated shutdown received. Shutting down filesystem", "sda2"),
            ("XFS (dm-1): Log I/O Error (0x2) detected at xlog. Shutting down filesystem.", "dm-1"),
            ("BTRFS info (device sdb1: state E): forced readonly", "sdb1"),
        ] {
            assert_eq!(
                classify(line),
                Some(Message::FilesystemStopped { device: device.to_owned() }),
                "{line}"
            );
        }
    }

    #[test]
    fn kills_for_memory_name_the_process_even_when_it_has_parentheses() {
        let line = "Out of memory: Killed process 17216 (a) (b) total-vm:10kB, anon-rss:1kB";
        let expected = Message::OutOfMemory { pid: 17216, process: "a) (b".to_owned(), in_group: false };
        assert_eq!(classify(line), Some(expected));
        let line = "Memory cgroup out of memory: Killed process 9 (tail) total-vm:1kB";
        let expected = Message::OutOfMemory { pid: 9, process: "tail".to_owned(), in_group: true };
        assert_eq!(classify(line), Some(expected));
    }

    #[test]
    fn crashes_and_kernel_faults_are_told_apart() {
        let crash = |name: &str| Some(Message::ApplicationCrash { application: name.to_owned() });
        assert_eq!(
            classify("segfaulter[17216]: segfault at 0 ip 0000 sp 0000 error 6 in x[5+1]"),
            crash("segfaulter")
        );
        assert_eq!(
            classify("traps: we[ird[5] general protection fault ip:1 sp:2 error:0 in x"),
            crash("we[ird")
        );
        assert_eq!(classify("audit[5]: something else"), None);
        let kind = |line: &str| match classify(line) {
            Some(Message::KernelFault { kind, .. }) => Some(kind),
            Some(_) | None => None,
        };
        assert_eq!(
            kind("INFO: task kworker/0:1:7 blocked for more than 120 seconds."),
            Some(FaultKind::HungTask)
        );
        assert_eq!(kind("BUG: kernel NULL pointer dereference, address: 0"), Some(FaultKind::Bug));
        assert_eq!(kind("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [x:1]"), Some(FaultKind::Lockup));
        assert_eq!(kind("Oops: 0002 [#1] SMP"), Some(FaultKind::Oops));
        assert_eq!(kind("a program prints BUG: here"), None);
    }

    #[test]
    fn hostile_lines_are_bounded_and_never_panic() {
        let long = format!("BUG: {}", "é".repeat(5000));
        let Some(Message::KernelFault { line, .. }) = classify(&long) else { panic!("not classified") };
        assert!(line.len() <= LINE_BYTES);
        for odd in [
            "",
            "]",
            "traps: ]",
            "]: ",
            "[]: segfault at ",
            "Killed process ",
            "out of memory: Killed process 1 ()",
            "XFS (: shutting down filesystem",
            "ata: exception Emask",
            "nvme : I/O  timeout",
        ] {
            let _ = classify(odd);
        }
    }

    #[test]
    fn records_have_a_prefix_and_continuations_are_skipped() {
        assert_eq!(message("3,4711,12345,-;text; with semicolon"), Some("text; with semicolon"));
        assert_eq!(message(" SUBSYSTEM=block"), None);
        assert_eq!(message("no record"), None);
    }

    #[test]
    fn a_file_system_that_is_mounted_anew_is_no_longer_stopped() {
        for (line, device) in [
            (
                "EXT4-fs (loop1): mounted filesystem 4afa2dcf-f96d r/w with ordered data mode. Quota mode: none.",
                "loop1",
            ),
            ("EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: (null)", "sda1"),
            ("EXT4-fs (sda1): re-mounted 4afa2dcf-f96d r/w.", "sda1"),
            ("XFS (sdb1): Ending clean mount", "sdb1"),
        ] {
            let expected = Message::FilesystemWritable { device: device.to_owned() };
            assert_eq!(classify(line), Some(expected), "{line}");
        }
        assert_eq!(classify("EXT4-fs (loop1): unmounting filesystem 4afa2dcf-f96d."), None);
    }
}
