//! The kernel's names of drives: which are drives, and which drive a name in a log belongs to.

/// Names that are no drives: images, memory, optical drives, and layers above drives.
const NOT_DRIVES: &[&str] = &["dm-", "drbd", "fd", "loop", "md", "nbd", "ram", "rbd", "sr", "zram"];

/// Whether a name below `/sys/block` is a drive.
pub fn is_drive(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let hidden_part = name.starts_with("mmcblk") && (name.contains("boot") || name.ends_with("rpmb"));
    plain && !name.is_empty() && name.len() <= 32 && !hidden_part && !is_layer(name)
}

/// Whether the name is one of images, memory, optical drives and layers, as a whole or as a partition of one.
pub fn is_layer(name: &str) -> bool {
    NOT_DRIVES.iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '_'))
    })
}

/// Whether `name` in a log (`sda1`, `nvme0n1p2`, `nvme0`, `ata1`) belongs to the drive `drive`, whose port is `port`.
pub fn belongs(name: &str, drive: &str, port: Option<&str>) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if Some(name) == port || name == drive {
        return true;
    }
    if let Some(part) = name.strip_prefix(drive) {
        return is_number(part.strip_prefix('p').unwrap_or(part));
    }
    // A controller of NVMe drives is named without the namespace.
    name.starts_with("nvme")
        && drive.strip_prefix(name).and_then(|rest| rest.strip_prefix('n')).is_some_and(is_number)
}

/// The port (`ata3`) in the path of a device, if it has one.
pub fn ata_port(device_path: &str) -> Option<&str> {
    device_path.split('/').find(|part| {
        part.strip_prefix("ata").is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// How the drive is connected, from its name and the path of its device.
pub fn transport(name: &str, device_path: &str) -> Option<&'static str> {
    if name.starts_with("nvme") {
        Some("nvme")
    } else if name.starts_with("mmcblk") {
        Some("mmc")
    } else if name.starts_with("vd") || device_path.contains("/virtio") {
        Some("virtio")
    } else if name.starts_with("xvd") {
        Some("xen")
    } else if device_path.contains("/usb") {
        Some("usb")
    } else if ata_port(device_path).is_some() {
        Some("sata")
    } else {
        None
    }
}

/// A serial number fit to be an id: printable, without white space at its ends, not a placeholder.
pub fn serial(raw: &str) -> Option<String> {
    let text: String =
        raw.chars().filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER).take(64).collect();
    let text = text.trim();
    let says_something = text.chars().any(|c| c.is_alphanumeric() && c != '0');
    says_something.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_are_told_from_layers_and_images() {
        for drive in ["sda", "nvme0n1", "vda", "mmcblk0", "xvda", "hda"] {
            assert!(is_drive(drive), "{drive}");
        }
        for other in [
            "loop0",
            "ram1",
            "zram0",
            "dm-0",
            "md127",
            "md_d0",
            "sr0",
            "fd0",
            "nbd3",
            "mmcblk0boot0",
            "",
            "a/b",
            "..",
        ] {
            assert!(!is_drive(other), "{other}");
        }
    }

    #[test]
    fn names_in_logs_lead_to_their_drive() {
        assert!(
            belongs("sda", "sda", None)
                && belongs("sda1", "sda", None)
                && belongs("nvme0n1p2", "nvme0n1", None)
        );
        assert!(belongs("nvme0", "nvme0n1", None) && belongs("ata3", "sda", Some("ata3")));
        assert!(
            !belongs("sdaa", "sda", None)
                && !belongs("sd", "sda", None)
                && !belongs("nvme1", "nvme10n1", None)
        );
    }

    #[test]
    fn transport_and_port_come_from_the_path() {
        let path = "/sys/devices/pci0000:00/0000:00:17.0/ata3/host2/target2:0:0/2:0:0:0/block/sda";
        assert_eq!((transport("sda", path), ata_port(path)), (Some("sata"), Some("ata3")));
        assert_eq!(transport("sdb", "/sys/devices/pci0/usb1/1-1/block/sdb"), Some("usb"));
        assert_eq!(transport("sdc", ""), None);
    }

    #[test]
    fn placeholder_serials_are_none() {
        assert_eq!(serial("  S4EVNF0M \0"), Some("S4EVNF0M".to_owned()));
        for bad in ["", "0000 0000", "\u{1}\u{2}", "---"] {
            assert_eq!(serial(bad), None, "{bad:?}");
        }
    }
}
