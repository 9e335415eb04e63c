//! What a machine check says (Intel's Software Developer's Manual, volume 3B, chapters 16 and 17). Pure.
//!
//! The kernel logs one on three lines, of which only the first has the bank and its status, and only while no driver that
//! knows the memory's modules (EDAC) and no other program takes it: `mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4:
//! 9c00000000010090`.

const VALID: u64 = 1 << 63;
const UNCORRECTED: u64 = 1 << 61;
/// More banks than this no processor has.
const MAX_BANK: u8 = 63;

/// An error that a processor found in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryError {
    /// The bank of registers that told it: the same controller keeps the same one.
    pub bank: u8,
    /// The memory channel, where the controller tells it.
    pub channel: Option<u8>,
    /// Whether data was lost.
    pub uncorrected: bool,
}

/// The error of memory that the line tells; `None` for other lines and for errors of other parts.
pub fn memory_error(line: &str) -> Option<MemoryError> {
    let rest = line.strip_prefix("mce: [Hardware Error]: CPU ")?;
    let (_, rest) = rest.split_once(": Machine Check")?;
    let (_, rest) = rest.split_once(" Bank ")?;
    let (bank, status) = rest.split_once(':')?;
    let bank = bank.trim().parse().ok().filter(|bank| *bank <= MAX_BANK)?;
    let status = u64::from_str_radix(status.split_whitespace().next()?, 16).ok()?;
    if status & VALID == 0 {
        return None;
    }
    // 000F 0000 1MMM CCCC: an error of a memory controller; F filters reports, M is what was done, C is the channel.
    let code = status & 0xffff;
    if code & 0xef80 != 0x0080 {
        return None;
    }
    let channel = (code & 0xf) as u8;
    Some(MemoryError {
        bank,
        channel: (channel != 0xf).then_some(channel),
        uncorrected: status & UNCORRECTED != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: &str) -> Option<MemoryError> {
        memory_error(&format!("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: {status}"))
    }

    #[test]
    fn errors_of_memory_say_channel_and_whether_data_was_lost() {
        let error = |channel, uncorrected| Some(MemoryError { bank: 4, channel, uncorrected });
        assert_eq!(of("9c00000000010090"), error(Some(0), false));
        assert_eq!(of("be000000000100a3"), error(Some(3), true));
        assert_eq!(
            of("9c0000000000109f"),
            error(None, false),
            "reports that are filtered are errors all the same"
        );
        let exception = "mce: [Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 7: be00000000800091";
        assert_eq!(
            memory_error(exception),
            Some(MemoryError { bank: 7, channel: Some(1), uncorrected: true })
        );
    }

    #[test]
    fn errors_of_other_parts_and_other_lines_are_none() {
        for status in
            ["9c00000000000151", "9c0000000000010a", "b200000000000402", "1c00000000010090", "", "xyz", "-1"]
        {
            assert_eq!(of(status), None, "{status}");
        }
        for line in [
            "mce: [Hardware Error]: TSC 0 ADDR 12345000 MISC 8c ",
            "mce: [Hardware Error]: Machine check events logged",
            "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 999: 9c00000000010090",
            "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: 99c00000000010090",
            "x mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: 9c00000000010090",
        ] {
            assert_eq!(memory_error(line), None, "{line}");
        }
    }
}
