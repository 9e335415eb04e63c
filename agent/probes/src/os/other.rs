//! The operating system where this probe does not read it yet.

use crate::{Context, Sink};
use firstline_model::{Component, UnavailableReason, semconv};

#[derive(Debug, Default)]
pub(super) struct Source;

impl Source {
    pub(super) fn collect(&mut self, _: &Context, os: &Component, sink: &mut Sink) {
        for what in
            [semconv::UPTIME, semconv::REBOOT_REQUIRED, semconv::SERVICE_STATE, semconv::OS_KERNEL_WARNING]
        {
            sink.unavailable(
                os,
                what,
                UnavailableReason::Unsupported,
                "not read on this operating system yet",
            );
        }
    }
}
