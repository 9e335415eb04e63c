//! File systems on Windows: the local drives that have a letter.

use crate::on_windows::{Class, Half, Machine, Row};
use crate::{Context, Sink};
use firstline_model::{Component, ComponentKind, UnavailableReason, Value, semconv};

/// Drive type 3 is a fixed local drive; removable, network and optical ones belong to somebody else or are always full.
const DRIVES: Class = Class {
    namespace: "cimv2",
    name: "Win32_LogicalDisk",
    properties: &["DeviceID", "DriveType", "FileSystem", "Size", "FreeSpace", "VolumeName"],
    condition: Some("DriveType = 3"),
};
/// Asked apart, because Wine answers nothing at all to a question for a property that it does not know.
const DIRTY: Class = Class { properties: &["DeviceID", "VolumeDirty"], ..DRIVES };
const FIXED: u64 = 3;
const MAX_DRIVES: usize = 26;

/// Space of each drive.
#[derive(Debug, Default)]
pub struct Source;

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        // A query is not worth it between two steady looks.
        if !context.steady {
            return;
        }
        match machine.rows(&DRIVES) {
            Ok(rows) => {
                let fixed: Vec<&Row> = rows
                    .iter()
                    .filter(|row| row.whole("DriveType") == Some(FIXED))
                    .take(MAX_DRIVES)
                    .collect();
                if fixed.is_empty() {
                    let (os, why) = (Component::only(ComponentKind::Os), "Windows lists no fixed drive");
                    let what = semconv::FILESYSTEM_UTILIZATION;
                    sink.unavailable(&os, what, UnavailableReason::NotPresent, why);
                }
                let dirty = machine.rows(&DIRTY).unwrap_or_default();
                fixed.into_iter().for_each(|row| drive(row, &dirty, sink));
            }
            Err(error) => {
                let os = Component::only(ComponentKind::Os);
                sink.failed(&os, semconv::FILESYSTEM_UTILIZATION, &error);
            }
        }
    }
}

fn drive(row: &Row, dirty: &[Row], sink: &mut Sink) {
    let is_letter = |name: &&str| matches!(name.as_bytes(), [b'A'..=b'Z' | b'a'..=b'z', b':']);
    let Some(letter) = row.text("DeviceID").filter(is_letter).map(str::to_ascii_uppercase) else { return };
    let Ok(component) = Component::new(ComponentKind::Filesystem, letter.as_str()) else { return };
    let Some(kind) = row.text("FileSystem").map(str::to_ascii_lowercase) else {
        // Locked by BitLocker, not formatted, or an empty reader: there is nothing that could be full.
        let why = "the drive shows no file system (locked, or not formatted)";
        let what = semconv::FILESYSTEM_UTILIZATION;
        return sink.unavailable(&component, what, UnavailableReason::NotPresent, why);
    };
    super::space::report(&component, &kind, row.number("Size"), row.number("FreeSpace"), sink);
    let mut document = vec![("type", Value::from(kind.as_str()))];
    document.extend(row.text("VolumeName").map(|label| ("label", Value::from(label))));
    // Only an administrator is told; Windows checks such a drive at its next start.
    let of_drive = dirty.iter().find(|other| other.text("DeviceID") == row.text("DeviceID"));
    let is_dirty = of_drive.and_then(|row| row.truth("VolumeDirty"));
    document.extend(is_dirty.map(|dirty| ("dirty", Value::from(dirty))));
    sink.state(&component, "filesystem", Value::map(document));
}
