//! File systems on macOS: the volumes of internal drives that can be written to. The volume of the system itself is sealed
//! and read-only, and the helper volumes beside it share the room of the container.

use crate::on_macos::{Half, Machine, Question, section};
use crate::row::Row;
use crate::{Context, Due, Sink};
use firstline_model::{Component, ComponentKind, Value, semconv};
use std::time::Duration;

const MAX_VOLUMES: usize = 50;

/// Space of each volume, every five minutes: the inventory that knows it takes a second.
#[derive(Debug)]
pub struct Source {
    due: Due,
}

impl Default for Source {
    fn default() -> Self {
        Self { due: Due::every(Duration::from_secs(300)) }
    }
}

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        if !self.due.is_due(context.now) {
            return;
        }
        match section(machine, Question::Storage) {
            Ok(rows) => rows.iter().take(MAX_VOLUMES).for_each(|row| volume(row, sink)),
            Err(error) => {
                let os = Component::only(ComponentKind::Os);
                sink.failed(&os, semconv::FILESYSTEM_UTILIZATION, &error);
            }
        }
    }
}

fn volume(row: &Row, sink: &mut Sink) {
    let Some(mount_point) = row.text("mount_point").filter(|point| is_of_people(point)) else { return };
    let is_internal = row
        .inner("physical_drive")
        .and_then(|drive| drive.text("is_internal_disk").map(|text| text == "yes"));
    if row.text("writable") != Some("yes") || is_internal != Some(true) {
        return;
    }
    let Ok(component) = Component::new(ComponentKind::Filesystem, mount_point) else { return };
    let kind = row.text("file_system").unwrap_or("unknown").to_ascii_lowercase();
    super::space::report(
        &component,
        &kind,
        row.number("size_in_bytes"),
        row.number("free_space_in_bytes"),
        sink,
    );
    let mut document = vec![("type", Value::from(kind.as_str()))];
    document.extend(row.text("bsd_name").map(|device| ("device", Value::from(device))));
    document.extend(row.text("_name").map(|label| ("label", Value::from(label))));
    sink.state(&component, "filesystem", Value::map(document));
}

/// The volume of data, and what people mounted.
fn is_of_people(mount_point: &str) -> bool {
    mount_point == "/System/Volumes/Data"
        || (mount_point.starts_with('/')
            && !mount_point.starts_with("/System/")
            && !mount_point.starts_with("/private/"))
}
