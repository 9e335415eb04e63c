//! A disk that can lose power: a file system in a file, mounted through a loop device, that is shut down under the
//! programs that write to it. What they had synced is there after the next mount; what they had not is gone, as after a
//! real power cut.
//!
//! The order matters: the writer is frozen first ([`crate::process::Process::freeze`]), because a sync that is under way
//! while the file system goes down may return success for data that are lost. Only then may it be shut down, and only
//! then is the writer killed.

use crate::process;
use crate::wait::{seconds, until_ok};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What the disk is formatted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// mkfs.ext4
    Ext4,
    /// mkfs.xfs
    Xfs,
}

/// A mounted disk; unmounted with this value. Needs root, `xfs_io`, `mkfs.xfs` and `mkfs.ext4`.
#[derive(Debug)]
pub struct Volume {
    folder: TempDir,
    is_mounted: bool,
}

impl Volume {
    /// An empty one, mounted.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn formatted(kind: FileSystem) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut volume = Self { folder, is_mounted: false };
        let image = std::fs::File::create(volume.image()).expect("an image file");
        // XFS wants at least 300 MB; the file has holes where nothing was written.
        image.set_len(320 << 20).expect("an image of this size");
        let mut format = match kind {
            FileSystem::Ext4 => process::command("mkfs.ext4"),
            FileSystem::Xfs => process::command("mkfs.xfs"),
        };
        format.arg("-q").arg(volume.image());
        process::succeed(format);
        std::fs::create_dir(volume.path()).expect("a folder to mount at");
        volume.mount();
        volume
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// A place beside it, on the machine's own disk.
    pub fn beside(&self) -> &Path {
        self.folder.path()
    }

    /// The power goes: nothing that was not synced reaches the disk any more.
    ///
    /// # Panics
    /// When the file system cannot be shut down.
    pub fn cut_power(&self) {
        let mut shutdown = process::command("xfs_io");
        shutdown.args(["-x", "-c", "shutdown"]).arg(self.path());
        process::succeed(shutdown);
    }

    /// The kernel finds an error in the file system, which is ext4, and does what its mount says for that case.
    ///
    /// # Panics
    /// When the kernel offers no way to say so.
    pub fn damage(&self) {
        let mounts = std::fs::read_to_string("/proc/mounts").expect("the mounts");
        let place = self.path();
        let is_ours = |line: &&str| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == place);
        let line = mounts.lines().find(is_ours).expect("it is mounted");
        let device =
            line.split(' ').next().and_then(|device| device.strip_prefix("/dev/")).expect("a device");
        let file = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(file, "injected by a test").expect("the error can be injected");
    }

    /// The power comes back. Whoever used the disk must be gone.
    ///
    /// # Panics
    /// When the disk is still in use or does not mount.
    pub fn restore_power(&mut self) {
        self.unmount();
        self.mount();
    }

    /// Mounts it anew with these options while it stays mounted: `ro` or `rw`.
    ///
    /// # Panics
    /// When that is refused, as `ro` is while somebody has a file open for writing.
    pub fn remount(&self, options: &str) {
        let mut mount = process::command("mount");
        mount.args(["-o", &format!("remount,{options}")]).arg(self.path());
        process::succeed(mount);
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&mut self) {
        let mut mount = process::command("mount");
        mount.args(["-o", "loop"]).arg(self.image()).arg(self.path());
        process::succeed(mount);
        self.is_mounted = true;
    }

    fn unmount(&mut self) {
        // A process that was just killed may hold its files for a moment longer.
        until_ok("the disk is free", seconds(10), || {
            let mut unmount = process::command("umount");
            unmount.arg(self.path());
            let output = process::run_with_input(unmount, "");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() { Ok(()) } else { Err(said) }
        });
        self.is_mounted = false;
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.is_mounted {
            let mut unmount = process::command("umount");
            // Lazily: a program that still uses it must not keep it mounted.
            unmount.arg("-l").arg(self.path());
            let _ = unmount.status();
        }
    }
}
