//! Memory on Linux: `/proc/meminfo`, `/proc/pressure/memory`, `/proc/vmstat`.

use super::parse;
use crate::{Context, ProbeError, Root, Sink, pressure};
use firstline_model::{Attributes, Component, semconv};

#[derive(Debug, Default)]
pub(super) struct Source {
    buffer: Vec<u8>,
}

impl Source {
    pub(super) fn collect(&mut self, context: &Context, memory: &Component, sink: &mut Sink) {
        if let Err(error) = self.usage(&context.root, memory, sink) {
            sink.failed(memory, semconv::MEMORY_UTILIZATION, &error);
        }
        let wanted = [("full", "avg10"), ("full", "avg60")];
        pressure::collect(&context.root, &mut self.buffer, memory, "memory", &wanted, sink);
        if let Err(error) = self.kills(&context.root, memory, sink) {
            sink.failed(memory, semconv::OOM_KILLS, &error);
        }
    }

    fn usage(&mut self, root: &Root, memory: &Component, sink: &mut Sink) -> Result<(), ProbeError> {
        root.read_into("/proc/meminfo", 64 << 10, &mut self.buffer)?;
        let usage = parse::meminfo(&self.buffer).map_err(ProbeError::Malformed)?;
        let mut sample = |metric, value| sink.sample(memory, metric, Attributes::none(), value);
        sample(semconv::MEMORY_UTILIZATION, (usage.total - usage.available) as f64 / usage.total as f64);
        sample(semconv::MEMORY_AVAILABLE, usage.available as f64);
        sample(semconv::MEMORY_LIMIT, usage.total as f64);
        // Without swap there is no share of it: neither full nor empty.
        if usage.swap_total > 0 {
            let used = usage.swap_total.saturating_sub(usage.swap_free);
            sample(semconv::PAGING_UTILIZATION, used as f64 / usage.swap_total as f64);
        }
        if let Some(corrupted) = usage.hardware_corrupted {
            sample(semconv::MEMORY_HARDWARE_CORRUPTED, corrupted as f64);
        }
        Ok(())
    }

    fn kills(&mut self, root: &Root, memory: &Component, sink: &mut Sink) -> Result<(), ProbeError> {
        root.read_into("/proc/vmstat", 256 << 10, &mut self.buffer)?;
        let kills = parse::oom_kills(&self.buffer).map_err(ProbeError::Malformed)?;
        let kills =
            kills.ok_or_else(|| ProbeError::Unsupported("this kernel does not count oom_kill".to_owned()))?;
        sink.sample(memory, semconv::OOM_KILLS, Attributes::none(), kills as f64);
        Ok(())
    }
}
