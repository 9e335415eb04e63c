//! Packages on systems that this probe does not read yet.

use crate::{Context, Sink};
use firstline_model::{Component, UnavailableReason};

pub(super) fn collect(_: &Context, os: &Component, sink: &mut Sink) {
    sink.unavailable(os, "software", UnavailableReason::Unsupported, "not read on this operating system yet");
}
