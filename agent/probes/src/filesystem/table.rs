//! The table of mounts, read at every look and taken apart only when it has changed: looks are seconds apart, and mounts
//! stay for days.

use super::parse::{self, Mount};
use super::select;
use crate::{ProbeError, Root};

/// The mounts to report, with the texts that they were read from.
#[derive(Debug, Default)]
pub(super) struct Table {
    mounts: Vec<Mount>,
    own: Vec<u8>,
    machine: Vec<u8>,
    /// Whether a mount is read-only here, which need not be so for the machine.
    asks_machine: bool,
    buffer: Vec<u8>,
}

impl Table {
    /// What is mounted now.
    pub(super) fn read(&mut self, root: &Root) -> Result<&[Mount], ProbeError> {
        root.read_into("/proc/self/mountinfo", Root::TEXT_LIMIT, &mut self.buffer)?;
        let mut is_same = self.buffer == self.own;
        if !is_same {
            self.own.clone_from(&self.buffer);
            self.asks_machine = parse::mountinfo(&self.own).iter().any(|mount| mount.is_readonly_as_mount);
        }
        if self.asks_machine {
            if root.read_into("/proc/1/mountinfo", Root::TEXT_LIMIT, &mut self.buffer).is_err() {
                self.buffer.clear();
            }
            is_same &= self.buffer == self.machine;
            self.machine.clone_from(&self.buffer);
        }
        if !is_same {
            let mut mounts = parse::mountinfo(&self.own);
            if self.asks_machine {
                parse::as_the_machine_has_them(&mut mounts, &parse::mountinfo(&self.machine));
            }
            self.mounts = select::local(mounts);
        }
        Ok(&self.mounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_either_table_is_noticed_and_so_is_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let write = |process: &str, options: &str| {
            let folder = dir.path().join("proc").join(process);
            std::fs::create_dir_all(&folder).unwrap();
            let line = format!("30 1 254:1 / /home {options},relatime - ext4 /dev/vdb1 rw\n");
            std::fs::write(folder.join("mountinfo"), line).unwrap();
        };
        let mut table = Table::default();
        let mut is_readonly = || {
            let mounts = table.read(&root).unwrap();
            assert_eq!(mounts.len(), 1);
            mounts[0].has_option("ro")
        };
        write("self", "rw");
        assert!(!is_readonly() && !is_readonly());
        write("self", "ro");
        assert!(is_readonly(), "nothing is known of the machine");
        write("1", "rw");
        assert!(!is_readonly(), "it is only here");
        write("1", "ro");
        assert!(is_readonly() && is_readonly());
        write("1", "rw");
        assert!(!is_readonly());
        write("self", "rw");
        assert!(!is_readonly());
        std::fs::write(dir.path().join("proc/self/mountinfo"), "").unwrap();
        assert!(table.read(&root).unwrap().is_empty());
    }
}
