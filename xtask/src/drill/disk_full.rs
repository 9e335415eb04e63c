//! A small file system of its own that a real file fills to the last byte. Nothing else on the machine is touched.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cleanup::Cleanup;
use super::fault::{Fault, Plan, Stage, Surroundings};
use crate::process::Process;

const SIZE_MIB: usize = 16;

#[derive(Default)]
pub(super) struct DiskFull {
    mount: PathBuf,
}

impl DiskFull {
    fn file(&self) -> PathBuf {
        self.mount.join("downloads").join("holiday-video.mkv")
    }
}

impl Fault for DiskFull {
    fn plan(&self) -> Plan {
        Plan {
            rule: "fs.space",
            overrides: "for = \"5s\"\nclear = { for = \"5s\" }\n",
            hold_s: 5,
            clear_s: 5,
            packages: &[],
            needs_root: Some("mounting a file system"),
        }
    }

    fn prepare(&mut self, around: &Surroundings<'_>, cleanup: &mut Cleanup) -> Result<Stage> {
        self.mount = around.folder.join("mnt");
        std::fs::create_dir(&self.mount)
            .with_context(|| format!("cannot create {}", self.mount.display()))?;
        let mount = self.mount.clone();
        cleanup.push("the small file system", move || unmount(&mount));
        Process::new("mount")
            .apart()
            .args(["-t", "tmpfs", "-o", &format!("size={SIZE_MIB}m,mode=0700"), "firstline-drill"])
            .arg(&self.mount)
            .read()?;
        let id = self.mount.display().to_string();
        Ok(Stage {
            component: ("filesystem", Some(id.clone())),
            baseline: ("filesystem", Some(id)),
            notes: vec![format!("a file system of {SIZE_MIB} MiB is mounted on {}", self.mount.display())],
            ..Stage::default()
        })
    }

    fn inject(&mut self) -> Result<String> {
        let path = self.file();
        let folder = self.mount.join("downloads");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let written = fill(&path)?;
        Ok(format!("{} was written until nothing more fitted: {written} bytes", path.display()))
    }

    fn undo(&mut self) -> Result<String> {
        let path = self.file();
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(format!("{} was deleted", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok("there is no file to delete".to_owned()),
            Err(error) => Err(error).with_context(|| format!("cannot delete {}", path.display())),
        }
    }
}

/// Writes until the file system is full; returns how much fitted.
fn fill(path: &Path) -> Result<usize> {
    const CHUNK: usize = 64 << 10;
    let mut file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let chunk = vec![0x5a; CHUNK];
    let mut written = 0;
    // Twice the size is a bound for the case that the mount is not what it should be.
    while written < (SIZE_MIB << 20) * 2 {
        match file.write(&chunk) {
            Ok(0) => return Ok(written),
            Ok(some) => written += some,
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(written),
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
        }
    }
    bail!("{} took more than {SIZE_MIB} MiB; this is not the small file system", path.display())
}

fn unmount(mount: &Path) -> Result<()> {
    if !is_mounted_below(mount)? {
        return Ok(());
    }
    if Process::new("umount").quiet().apart().arg(mount).succeeds() {
        return Ok(());
    }
    // Somebody looks into it: it vanishes from the tree now and for good when they leave.
    Process::new("umount").quiet().apart().arg("-l").arg(mount).read().map(drop)
}

/// Whether something is mounted on this folder or below it.
pub(super) fn is_mounted_below(folder: &Path) -> Result<bool> {
    let mounts = match std::fs::read_to_string("/proc/self/mountinfo") {
        Ok(mounts) => mounts,
        // Drills that mount are for Linux; elsewhere nothing was mounted.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).context("cannot read /proc/self/mountinfo"),
    };
    Ok(mount_points(&mounts).any(|point| Path::new(&point).starts_with(folder)))
}

/// The mount points of mountinfo, whose blanks and backslashes the kernel writes as octal numbers (proc(5)).
fn mount_points(mountinfo: &str) -> impl Iterator<Item = String> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| {
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
            .iter()
            .fold(point.to_owned(), |text, (octal, plain)| text.replace(octal, plain))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_blanks_are_found() {
        let text = "1 0 0:50 / /a\\040b/mnt rw - tmpfs x rw\n2 0 0:51 / / rw - overlay overlay rw\n";
        assert_eq!(mount_points(text).collect::<Vec<_>>(), ["/a b/mnt", "/"]);
    }

    #[test]
    fn a_folder_without_a_mount_is_not_mounted() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_mounted_below(dir.path()).unwrap());
        unmount(dir.path()).unwrap();
    }
}
