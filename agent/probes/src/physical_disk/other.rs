//! Drives on systems that this probe does not read yet.

use crate::{Context, Sink};
use firstline_model::{Component, ComponentKind, UnavailableReason, semconv};

#[derive(Debug, Default)]
pub(super) struct Source;

impl Source {
    pub(super) fn collect(&mut self, _: &Context, sink: &mut Sink) {
        let os = Component::only(ComponentKind::Os);
        for what in [semconv::HW_STATUS, semconv::DISK_IO_ERRORS] {
            sink.unavailable(
                &os,
                what,
                UnavailableReason::Unsupported,
                "not read on this operating system yet",
            );
        }
    }
}
