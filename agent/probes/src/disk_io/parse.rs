//! `/proc/diskstats` (the kernel's `admin-guide/iostats`): a line a device, with counters since boot.

use crate::physical_disk::names;

/// More drives than this are not read.
const MAX_DRIVES: usize = 64;

/// The counters of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Direction {
    /// Finished operations.
    pub operations: u64,
    /// Time that they took, waiting included.
    pub milliseconds: u64,
}

/// The counters of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Reading.
    pub read: Direction,
    /// Writing.
    pub write: Direction,
    /// Time in which it had something to do.
    pub busy_milliseconds: u64,
}

/// Name and counters of each drive; partitions, layers and lines that are no such lines are left out.
pub fn diskstats(text: &[u8]) -> Vec<(String, Counters)> {
    let mut drives: Vec<(String, Counters)> = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        let Some((name, counters)) = std::str::from_utf8(line).ok().and_then(line_of_drive) else { continue };
        // Partitions follow their drive.
        let is_part = drives.iter().any(|(drive, _)| drive != name && names::belongs(name, drive, None));
        if !is_part && drives.len() < MAX_DRIVES {
            drives.push((name.to_owned(), counters));
        }
    }
    drives
}

fn line_of_drive(line: &str) -> Option<(&str, Counters)> {
    let mut fields = line.split_ascii_whitespace();
    let name = fields.nth(2).filter(|name| names::is_drive(name))?;
    let mut numbers = [0_u64; 10];
    for number in &mut numbers {
        *number = fields.next()?.parse().ok()?;
    }
    let [reads, _, _, read_time, writes, _, _, write_time, _, busy] = numbers;
    let read = Direction { operations: reads, milliseconds: read_time };
    let write = Direction { operations: writes, milliseconds: write_time };
    Some((name, Counters { read, write, busy_milliseconds: busy }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_are_counted_and_partitions_layers_and_broken_lines_are_not() {
        let text = b"   8       0 sda 100 5 800 50 200 7 1600 90 0 120 140 0 0 0 0 0 0\n   8       1 sda1 90 5 700 40 200 7 1600 90 0 100 130\n 253 0 dm-0 1 1 1 1 1 1 1 1 1 1 1\n 259 0 nvme0n1 7 0 8 9 1 2 3 4 0 6 1\n 259 1 nvme0n1p1 7 0 8 9 1 2 3 4 0 6 1\n 8 16 sdb 1 2\n 8 32 sdc -1 2 3 4 5 6 7 8 9 10 11\n\xff\xfe\n";
        let drives = diskstats(text);
        let names: Vec<&str> = drives.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["sda", "nvme0n1"]);
        let sda = drives[0].1;
        assert_eq!((sda.read.operations, sda.read.milliseconds), (100, 50));
        assert_eq!((sda.write.operations, sda.write.milliseconds, sda.busy_milliseconds), (200, 90, 120));
    }
}
