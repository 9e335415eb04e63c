//! Texts about file systems: `/proc/self/mountinfo` (proc_pid_mountinfo(5)), `/etc/fstab` (fstab(5)), and the sizes
//! that statvfs(3) gives.

use firstline_model::order;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Names the mount as long as it lasts.
    pub id: u64,
    /// The device number, `major:minor`.
    pub device: String,
    /// The folder of the file system that is mounted; `/` unless this is a bind mount or a subvolume.
    pub root: Vec<u8>,
    /// Where it is mounted, as bytes, because it may be anything.
    pub mount_point: Vec<u8>,
    /// The type: `ext4`, `vfat`.
    pub kind: String,
    /// The device's path, or whatever the type uses as source.
    pub source: String,
    /// Options of the mount and of the file system, in this order.
    pub options: Vec<String>,
    /// Whether it is read-only as a mount and not as a file system.
    pub is_readonly_as_mount: bool,
}

impl Mount {
    /// The mount point as text.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.mount_point).into_owned()
    }

    /// Whether the option is set.
    pub fn has_option(&self, option: &str) -> bool {
        self.options.iter().any(|set| set == option)
    }
}

/// The mounts in the order of the text; lines that are no mounts are left out.
pub fn mountinfo(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(mount).collect()
}

/// Takes read-only back from mounts that have it only here: a service manager may show the whole machine read-only to a
/// service (systemd's `ProtectSystem=`), and that is no fault of the machine. `machine` are the mounts as the first process
/// has them.
pub fn as_the_machine_has_them(mounts: &mut [Mount], machine: &[Mount]) {
    for mount in mounts.iter_mut().filter(|mount| mount.is_readonly_as_mount) {
        // The last one is on top.
        let there = machine.iter().rfind(|there| there.mount_point == mount.mount_point);
        // A file or folder that is only here a mount of its own has the state of what it was taken from.
        let there = there.or_else(|| machine.iter().rfind(|there| there.device == mount.device));
        if there.is_some_and(|there| there.device == mount.device && !there.has_option("ro")) {
            mount.options.retain(|option| option != "ro");
        }
    }
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = lossy(fields.next()?).parse().ok()?;
    let _parent = fields.next()?;
    let device = lossy(fields.next()?);
    device
        .split_once(':')
        .filter(|(major, minor)| major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok())?;
    let root = unescape(fields.next()?);
    let mount_point = unescape(fields.next()?);
    let mount_options = lossy(fields.next()?);
    // Optional fields end with a single dash.
    fields.by_ref().find(|field| *field == b"-")?;
    let kind = lossy(&unescape(fields.next()?));
    let source = lossy(&unescape(fields.next()?));
    let super_options = lossy(fields.next().unwrap_or_default());
    if !mount_point.starts_with(b"/") || kind.is_empty() {
        return None;
    }
    let is_ro = |options: &str| options.split(',').any(|option| option == "ro");
    let is_readonly_as_mount = is_ro(&mount_options) && !is_ro(&super_options);
    let options = [mount_options.as_str(), super_options.as_str()]
        .iter()
        .flat_map(|options| options.split(','))
        .filter(|option| !option.is_empty())
        .map(str::to_owned)
        .collect();
    Some(Mount { id, device, root, mount_point, kind, source, options, is_readonly_as_mount })
}

/// Mount points of `/etc/fstab` with whether they are meant to be writable. Swap and what is not mounted by itself
/// (`noauto`) is left out.
pub fn fstab(text: &str) -> BTreeMap<Vec<u8>, bool> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (_source, mount_point) = (fields.next()?, fields.next()?);
        let (kind, options) = (fields.next()?, fields.next().unwrap_or("defaults"));
        let listed =
            mount_point.starts_with('/') && kind != "swap" && !options.split(',').any(|o| o == "noauto");
        listed.then(|| (unescape(mount_point.as_bytes()), !options.split(',').any(|option| option == "ro")))
    });
    order::map(lines)
}

/// The name of the device `major:minor` in `/proc/partitions`.
pub fn partition<'a>(partitions: &'a str, device: &str) -> Option<&'a str> {
    let (major, minor) = device.split_once(':')?;
    partitions.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        (fields.next() == Some(major) && fields.next() == Some(minor)).then(|| fields.nth(1)).flatten()
    })
}

/// Sizes of a file system, with the names of statvfs(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Sizes {
    /// Bytes of a block.
    pub f_frsize: u64,
    /// All blocks.
    pub f_blocks: u64,
    /// Free blocks.
    pub f_bfree: u64,
    /// Free blocks that a person without administrator rights may use.
    pub f_bavail: u64,
    /// All inodes; zero when the file system makes them as needed.
    pub f_files: u64,
    /// Free inodes.
    pub f_ffree: u64,
    /// Free inodes that a person without administrator rights may use.
    pub f_favail: u64,
}

/// Space of a file system, in bytes and as a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Space {
    /// Share in use of what is in use or can be used; what is reserved for the administrator counts as neither.
    pub utilization: f64,
    /// Bytes in use.
    pub used: f64,
    /// Bytes that can be used.
    pub free: f64,
    /// Bytes of the file system.
    pub limit: f64,
}

impl Sizes {
    /// The space; `None` when the numbers contradict each other or the file system has no size.
    pub fn space(&self) -> Option<Space> {
        if self.f_frsize == 0 || self.f_bfree > self.f_blocks || self.f_bavail > self.f_blocks {
            return None;
        }
        let utilization = used_share(self.f_blocks - self.f_bfree, self.f_bavail)?;
        let bytes = |blocks: u64| blocks as f64 * self.f_frsize as f64;
        let used = bytes(self.f_blocks - self.f_bfree);
        Some(Space { utilization, used, free: bytes(self.f_bavail), limit: bytes(self.f_blocks) })
    }

    /// Share of inodes in use; `None` when the file system makes them as needed or the numbers contradict each other.
    pub fn inodes_utilization(&self) -> Option<f64> {
        if self.f_ffree > self.f_files || self.f_favail > self.f_files {
            return None;
        }
        used_share(self.f_files - self.f_ffree, self.f_favail)
    }
}

fn used_share(used: u64, usable: u64) -> Option<f64> {
    let all = used.checked_add(usable).filter(|&all| all > 0)?;
    Some(used as f64 / all as f64)
}

/// Sizes by mount point of a captured machine (`DIR/statvfs.json`).
pub fn captured_sizes(json: &str) -> Result<BTreeMap<String, Sizes>, String> {
    serde_json::from_str(json).map_err(|error| format!("statvfs.json: {error}"))
}

/// Undoes the octal escapes of white space, `#` and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        rest = after;
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', beyond @ ..]) = (first, after) {
            plain.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
            rest = beyond;
        } else {
            plain.push(*first);
        }
    }
    plain
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_only_for_a_service_alone_is_not_read_only() {
        let line = |options: &str, at: &str| {
            format!("36 35 8:1 / {at} {options},relatime shared:2 - ext4 /dev/sda1 rw\n")
        };
        let table = |lines: &[String]| mountinfo(lines.concat().as_bytes());
        let mut here = table(&[line("ro", "/"), line("ro", "/srv"), line("rw", "/var/lib/firstline-agent")]);
        as_the_machine_has_them(&mut here, &table(&[line("rw", "/"), line("ro", "/srv")]));
        assert_eq!(here.iter().map(|mount| mount.has_option("ro")).collect::<Vec<_>>(), [false, true, false]);
        // Nothing is known of the machine, or the file system itself is read-only.
        let mut here = table(&[line("ro", "/")]);
        as_the_machine_has_them(&mut here, &[]);
        assert!(here[0].has_option("ro"));
        let mut here = mountinfo(b"36 35 8:1 / / ro - ext4 /dev/sda1 ro\n");
        as_the_machine_has_them(&mut here, &table(&[line("rw", "/")]));
        assert!(here[0].has_option("ro"));
    }

    #[test]
    fn a_mount_has_its_options_and_an_unescaped_mount_point() {
        let text = b"36 35 98:0 /m\\040x /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n";
        let mount = &mountinfo(text)[0];
        assert_eq!((mount.id, mount.device.as_str(), mount.name().as_str()), (36, "98:0", "/mnt 2"));
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("ext3", "/dev/root"));
        assert!(
            mount.has_option("noatime") && mount.has_option("errors=continue") && !mount.has_option("ro")
        );
    }

    #[test]
    fn lines_that_are_cut_or_hostile_are_left_out() {
        let text = b"36 35 98:0 / /mnt rw\n36 35 98 / / rw - ext4 a rw\nx\n\xff\xfe\n1 2 3:4 / relative rw - ext4 a rw\n";
        assert_eq!(mountinfo(text), []);
        let long = [b"1 2 3:4 / /".as_slice(), &vec![b'a'; 100_000], b" rw - ext4 s rw"].concat();
        assert_eq!(mountinfo(&long).len(), 1);
    }

    #[test]
    fn fstab_says_what_is_meant_to_be_writable() {
        let text = "# c\nUUID=1 / ext4 errors=remount-ro 0 1\n/dev/sdb /iso ext4 ro,nofail\nUUID=2 none swap sw\n/dev/c /c\\0401 vfat noauto\n";
        let expected: BTreeMap<Vec<u8>, bool> = [(b"/".to_vec(), true), (b"/iso".to_vec(), false)].into();
        assert_eq!(fstab(text), expected);
    }

    #[test]
    fn devices_are_named_by_their_numbers() {
        let text = "major minor  #blocks  name\n\n 259        0  500107608 nvme0n1\n 259        2  499000000 nvme0n1p2\n 8 1\n";
        assert_eq!(partition(text, "259:2"), Some("nvme0n1p2"));
        assert_eq!((partition(text, "8:1"), partition(text, "9:9")), (None, None));
    }

    #[test]
    fn reserved_blocks_count_as_neither_used_nor_free() {
        let sizes = Sizes {
            f_frsize: 1000,
            f_blocks: 100,
            f_bfree: 10,
            f_bavail: 5,
            f_files: 0,
            f_ffree: 0,
            f_favail: 0,
        };
        let space = sizes.space().unwrap();
        assert!((space.utilization - 90.0 / 95.0).abs() < 1e-9);
        assert_eq!((space.used, space.free, space.limit), (90_000.0, 5000.0, 100_000.0));
        assert_eq!(sizes.inodes_utilization(), None);
    }

    #[test]
    fn contradicting_sizes_have_no_space() {
        let sizes = Sizes {
            f_frsize: 1,
            f_blocks: 10,
            f_bfree: 11,
            f_bavail: 0,
            f_files: 5,
            f_ffree: 9,
            f_favail: 0,
        };
        assert_eq!((sizes.space(), sizes.inodes_utilization()), (None, None));
        let absurd =
            Sizes { f_frsize: u64::MAX, f_blocks: u64::MAX, f_bfree: 0, f_bavail: u64::MAX, ..sizes };
        assert_eq!(absurd.space(), None);
    }
}
