//! Processors on Linux: `/proc/stat` and `/proc/pressure/cpu`.

use super::parse::{self, Ticks};
use crate::pressure;
use crate::{Context, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component};

#[derive(Debug, Default)]
pub(super) struct Source {
    last: Option<Ticks>,
    buffer: Vec<u8>,
}

impl Source {
    pub(super) fn collect(&mut self, context: &Context, cpu: &Component, sink: &mut Sink) {
        match self.ticks(&context.root) {
            Ok(ticks) => {
                // A captured machine may be read once only; then the share since its boot is all there is.
                let earlier = self.last.or_else(|| (!context.root.is_system()).then_some(Ticks::ZERO));
                if let Some(shares) = earlier.and_then(|earlier| parse::shares(&earlier, &ticks)) {
                    sink.sample(cpu, semconv::CPU_UTILIZATION, Attributes::none(), shares.busy);
                    for (mode, share) in shares.by_mode {
                        let attributes = Attributes::none().with(attribute::CPU_MODE, mode);
                        sink.sample(cpu, semconv::CPU_UTILIZATION, attributes, share);
                    }
                }
                self.last = Some(ticks);
            }
            Err(error) => {
                self.last = None;
                sink.failed(cpu, semconv::CPU_UTILIZATION, &error);
            }
        }
        pressure::collect(
            &context.root,
            &mut self.buffer,
            cpu,
            "cpu",
            &[("some", "avg60"), ("some", "avg300")],
            sink,
        );
    }

    fn ticks(&mut self, root: &Root) -> Result<Ticks, ProbeError> {
        root.read_into("/proc/stat", Root::TEXT_LIMIT, &mut self.buffer)?;
        parse::ticks(&self.buffer).ok_or_else(|| {
            ProbeError::Malformed("/proc/stat has no line of all processors with its counters".to_owned())
        })
    }
}
