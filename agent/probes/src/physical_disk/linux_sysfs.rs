//! The drives that `/sys/block` lists.

use super::names;
use crate::{ProbeError, Root};
use firstline_model::{Component, ComponentKind, Value};

/// More drives than this are not reported.
const MAX_DRIVES: usize = 64;

/// A drive as the kernel knows it.
#[derive(Debug, Clone)]
pub(crate) struct Drive {
    /// The kernel's name: `sda`.
    pub name: String,
    pub component: Component,
    pub transport: Option<&'static str>,
    /// The port of the controller, when it is an ATA one.
    pub port: Option<String>,
    pub rotational: bool,
    pub size: Option<f64>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub firmware: Option<String>,
    pub removable: bool,
}

impl Drive {
    /// What is known of the drive without asking it.
    pub(crate) fn document(&self) -> Vec<(&'static str, Value)> {
        let mut document = vec![
            ("device", Value::from(self.name.as_str())),
            ("rotational", Value::from(self.rotational)),
            ("removable", Value::from(self.removable)),
        ];
        let texts = [
            ("transport", self.transport.map(str::to_owned)),
            ("model", self.model.clone()),
            ("serial", self.serial.clone()),
            ("firmware", self.firmware.clone()),
        ];
        document.extend(texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text?)))));
        document.extend(self.size.map(|size| ("size", Value::from(size))));
        document
    }
}

/// The drives, by name. A serial number that two drives share names the first only.
pub(crate) fn drives(root: &Root) -> Result<Vec<Drive>, ProbeError> {
    let mut drives: Vec<Drive> = Vec::new();
    for name in root.list("/sys/block")?.into_iter().filter(|name| names::is_drive(name)).take(MAX_DRIVES) {
        let size = root.read_number(&format!("/sys/block/{name}/size"));
        // A card reader without a card and a controller without a namespace have no size.
        if size == Some(0) {
            continue;
        }
        let serial = serial(root, &name);
        let id = serial.as_deref().unwrap_or(&name);
        let Ok(component) = Component::new(ComponentKind::PhysicalDisk, id) else { continue };
        let component = if drives.iter().any(|other| other.component == component) {
            let Ok(component) = Component::new(ComponentKind::PhysicalDisk, name.as_str()) else { continue };
            component
        } else {
            component
        };
        let path = std::fs::canonicalize(root.path(&format!("/sys/block/{name}"))).unwrap_or_default();
        let path = path.to_string_lossy();
        let read = |file: &str| root.read_value(&format!("/sys/block/{name}/{file}"));
        drives.push(Drive {
            transport: names::transport(&name, &path),
            port: names::ata_port(&path).map(str::to_owned),
            rotational: read("queue/rotational").as_deref() == Some("1"),
            removable: read("removable").as_deref() == Some("1"),
            size: size.map(|sectors| sectors as f64 * 512.0),
            model: read("device/model").or_else(|| read("device/name")),
            firmware: read("device/firmware_rev").or_else(|| read("device/rev")),
            component,
            serial,
            name,
        });
    }
    Ok(drives)
}

fn serial(root: &Root, name: &str) -> Option<String> {
    let read = |file: &str| root.read_value(&format!("/sys/block/{name}/{file}"));
    read("device/serial").or_else(|| read("serial")).and_then(|text| names::serial(&text)).or_else(|| {
        // SCSI's page of the unit serial number: four bytes of header, then the text.
        let mut page = Vec::new();
        root.read_into(&format!("/sys/block/{name}/device/vpd_pg80"), 4096, &mut page).ok()?;
        names::serial(&String::from_utf8_lossy(page.get(4..)?))
    })
}
