//! Memory on systems that this probe does not read yet.

use crate::{Context, Sink};
use firstline_model::{Component, UnavailableReason, semconv};

#[derive(Debug, Default)]
pub(super) struct Source;

impl Source {
    pub(super) fn collect(&mut self, _: &Context, component: &Component, sink: &mut Sink) {
        for what in [semconv::MEMORY_UTILIZATION, semconv::PAGING_UTILIZATION, semconv::OOM_KILLS] {
            sink.unavailable(
                component,
                what,
                UnavailableReason::Unsupported,
                "not read on this operating system yet",
            );
        }
    }
}
