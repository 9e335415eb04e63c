//! A small disk of the test's own that can be filled for real.

use crate::process;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

/// A mounted memory file system; unmounted with this value. Needs root.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// An empty one of so many mebibytes.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn mounted(mebibytes: u32) -> Self {
        Self::with_options(&format!("size={mebibytes}m"))
    }

    /// One that holds so many files and folders at most.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn with_inodes(mebibytes: u32, inodes: u32) -> Self {
        Self::with_options(&format!("size={mebibytes}m,nr_inodes={inodes}"))
    }

    fn with_options(options: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut mount = process::command("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path());
        process::succeed(mount);
        Self { folder }
    }

    /// Makes empty files until there is no room for another one.
    ///
    /// # Panics
    /// When something else than lack of room stops it.
    pub fn fill_with_files(&self) {
        let folder = self.path().join("holiday-films");
        std::fs::create_dir_all(&folder).expect("a folder");
        for number in 0_u32.. {
            match std::fs::File::create(folder.join(number.to_string())) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes until nothing more fits.
    ///
    /// # Panics
    /// When something else than lack of space stops it.
    pub fn fill(&self) {
        let folder = self.path().join("holiday-films");
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut file = std::fs::File::create(folder.join("beach.mkv")).expect("a file");
        let block = vec![7_u8; 64 << 10];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Deletes what filled it.
    ///
    /// # Panics
    /// When that fails.
    pub fn empty(&self) {
        std::fs::remove_dir_all(self.path().join("holiday-films")).expect("the files can be deleted");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = process::command("umount");
        // Lazily: a program that still looks at it must not keep it mounted.
        unmount.arg("-l").arg(self.path());
        let _ = unmount.status();
    }
}
