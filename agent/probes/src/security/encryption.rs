//! Whether the system's drive is encrypted: the layers below the file system at `/`, as `/sys/block` shows them.

use crate::filesystem::parse::{self, Mount};
use crate::{ProbeError, Root};

/// More layers than this are a circle.
const MAX_LAYERS: usize = 8;

pub(super) fn system_drive(root: &Root) -> Result<bool, ProbeError> {
    let mut text = Vec::new();
    root.read_into("/proc/self/mountinfo", Root::TEXT_LIMIT, &mut text)?;
    let mounts = parse::mountinfo(&text);
    // What was mounted last lies on top.
    let mount = mounts.iter().rev().find(|mount| mount.mount_point == b"/");
    let mount = mount.ok_or_else(|| ProbeError::Malformed("no file system is mounted at /".to_owned()))?;
    if mount.kind == "zfs" || !mount.source.starts_with("/dev/") {
        let detail = format!("the encryption of a file system of type {} is not read", mount.kind);
        return Err(ProbeError::Unsupported(detail));
    }
    let devices = root.list("/sys/block")?;
    match devices.iter().find(|name| is_device_of(root, name, mount)) {
        Some(device) => is_encrypted(root, device, MAX_LAYERS),
        // A partition of a drive, with no layer between.
        None => Ok(false),
    }
}

/// Some file systems have a device number of their own, so the name counts too.
fn is_device_of(root: &Root, name: &str, mount: &Mount) -> bool {
    let read = |file: &str| root.read_value(&format!("/sys/block/{name}/{file}"));
    read("dev").as_deref() == Some(mount.device.as_str())
        || mount.source.strip_prefix("/dev/") == Some(name)
        || mount
            .source
            .strip_prefix("/dev/mapper/")
            .is_some_and(|mapped| read("dm/name").as_deref() == Some(mapped))
}

/// Encrypted when this layer is, or when every layer below it is.
fn is_encrypted(root: &Root, name: &str, layers: usize) -> Result<bool, ProbeError> {
    let uuid = root.read_value(&format!("/sys/block/{name}/dm/uuid"));
    if uuid.is_some_and(|uuid| uuid.starts_with("CRYPT-")) {
        return Ok(true);
    }
    if layers == 0 {
        return Err(ProbeError::Malformed("the layers below the file system at / have no end".to_owned()));
    }
    // Drives and partitions have nothing below them.
    let below = root.list(&format!("/sys/block/{name}/slaves")).unwrap_or_default();
    for layer in &below {
        if !is_encrypted(root, layer, layers - 1)? {
            return Ok(false);
        }
    }
    Ok(!below.is_empty())
}
