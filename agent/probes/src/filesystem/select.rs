//! Which mounts are file systems that a person stores things on.

use super::parse::Mount;
use firstline_model::order;
use std::collections::BTreeMap;

/// Types that hold data on a local drive. Network, pseudo and image types (`squashfs`, `iso9660`, `erofs`) are absent
/// on purpose: the first belong to another machine, the others cannot fill up or are always full.
const LOCAL: &[&str] = &[
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfsplus", "jfs", "msdos",
    "nilfs2", "ntfs", "ntfs3", "reiserfs", "ufs", "vfat", "xfs", "zfs",
];

/// Folders below which systems keep memory file systems of their own, or mount images and layers.
const OF_THE_SYSTEM: &[&str] = &[
    "/dev",
    "/proc",
    "/run",
    "/sys",
    "/snap",
    "/var/lib/snapd",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/run",
];

/// Mount points that are memory file systems by default on some distributions.
const MEMORY_BY_DEFAULT: &[&str] = &["/tmp", "/var/tmp", "/var/lock"];

/// Files that container engines bind from the host.
const BOUND_FILES: &[&str] = &["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// The mounts to report, by mount point: local, reachable (not covered by a later mount), and each device once.
pub fn local(mounts: Vec<Mount>) -> Vec<Mount> {
    let mut at_point: BTreeMap<Vec<u8>, Mount> = BTreeMap::new();
    for mount in mounts {
        at_point.insert(mount.mount_point.clone(), mount);
    }
    let mut by_device: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in at_point.into_values().filter(is_local) {
        match by_device.get(&mount.device) {
            Some(known) if rank(known) <= rank(&mount) => {}
            Some(_) | None => drop(by_device.insert(mount.device.clone(), mount)),
        }
    }
    let mut chosen: Vec<Mount> = by_device.into_values().collect();
    order::sort_by(&mut chosen, |one, other| one.mount_point.cmp(&other.mount_point));
    chosen
}

fn is_local(mount: &Mount) -> bool {
    let point = mount.name();
    let of_the_system = OF_THE_SYSTEM.iter().any(|folder| is_below(&point, folder));
    if LOCAL.contains(&mount.kind.as_str()) {
        // Removable drives are mounted below /run/media.
        return (!of_the_system || is_below(&point, "/run/media")) && !BOUND_FILES.contains(&point.as_str());
    }
    match mount.kind.as_str() {
        "overlay" => point == "/",
        "tmpfs" | "ramfs" => !of_the_system && !MEMORY_BY_DEFAULT.contains(&point.as_str()),
        _ => false,
    }
}

/// The lowest is the mount that a person knows the device by.
fn rank(mount: &Mount) -> (bool, bool, usize) {
    (mount.mount_point != b"/", mount.root != b"/", mount.mount_point.len())
}

fn is_below(point: &str, folder: &str) -> bool {
    point.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::parse::mountinfo;

    fn chosen(lines: &[&str]) -> Vec<String> {
        local(mountinfo(lines.join("\n").as_bytes())).iter().map(Mount::name).collect()
    }

    #[test]
    fn pseudo_image_network_and_system_memory_file_systems_are_left_out() {
        let lines = [
            "1 0 0:21 / /proc rw - proc proc rw",
            "2 0 0:23 / /dev/shm rw - tmpfs tmpfs rw",
            "3 0 0:24 / /run rw - tmpfs tmpfs rw",
            "4 0 0:25 / /tmp rw - tmpfs tmpfs rw",
            "5 0 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro",
            "6 0 0:26 / /home/a rw - nfs4 server:/a rw",
            "7 0 0:27 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw",
            "8 0 8:1 / / rw - ext4 /dev/sda1 rw",
        ];
        assert_eq!(chosen(&lines), ["/"]);
    }

    #[test]
    fn a_memory_file_system_elsewhere_and_a_container_root_are_kept() {
        let lines = [
            "1 0 0:50 / /tmp/drill rw - tmpfs tmpfs rw,size=8192k",
            "2 0 0:51 / / rw - overlay overlay rw",
            "4 0 8:9 / /run/media/ada/stick rw - vfat /dev/sdi1 rw",
        ];
        assert_eq!(chosen(&lines), ["/", "/run/media/ada/stick", "/tmp/drill"]);
    }

    #[test]
    fn each_device_is_reported_once_by_the_name_a_person_knows() {
        let lines = [
            "1 0 8:1 /srv /bind rw - ext4 /dev/sda1 rw",
            "2 0 8:1 / /data rw - ext4 /dev/sda1 rw",
            "3 0 0:40 /@home /home rw - btrfs /dev/sdb1 rw",
            "4 0 0:40 /@ / rw - btrfs /dev/sdb1 rw",
        ];
        assert_eq!(chosen(&lines), ["/", "/data"]);
    }

    #[test]
    fn a_covered_mount_is_not_reported() {
        let lines = ["1 0 8:1 / /mnt rw - ext4 /dev/sda1 rw", "2 0 0:9 / /mnt rw - nfs server:/ rw"];
        assert_eq!(chosen(&lines), Vec::<String>::new());
    }
}
