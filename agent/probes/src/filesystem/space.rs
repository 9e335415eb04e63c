//! The space of a file system of which only size and free room are known, as on Windows and macOS.

use crate::{ProbeError, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component};

/// Reports used, free and all, or that the two numbers make no sense.
pub(super) fn report(
    component: &Component,
    kind: &str,
    size: Option<f64>,
    free: Option<f64>,
    sink: &mut Sink,
) {
    let typed = || Attributes::none().with(attribute::FILESYSTEM_TYPE, kind);
    match (size, free) {
        (Some(size), Some(free)) if size > 0.0 && (0.0..=size).contains(&free) => {
            let used = size - free;
            sink.sample(component, semconv::FILESYSTEM_UTILIZATION, typed(), used / size);
            for (state, bytes) in [("used", used), ("free", free)] {
                let attributes = typed().with(attribute::FILESYSTEM_STATE, state);
                sink.sample(component, semconv::FILESYSTEM_USAGE, attributes, bytes);
            }
            sink.sample(component, semconv::FILESYSTEM_LIMIT, typed(), size);
        }
        (size, free) => {
            let why = format!("the sizes contradict each other: {free:?} of {size:?} bytes are free");
            sink.failed(component, semconv::FILESYSTEM_UTILIZATION, &ProbeError::Malformed(why));
        }
    }
}
