//! The processor on Windows: three counters of the system. Windows measures no pressure.

use super::parse::{self, Ticks};
use crate::on_windows::{Half, Machine};
use crate::{Context, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason};

/// Shares of time since the last look.
#[derive(Debug, Default)]
pub struct Source {
    last: Option<Ticks>,
}

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        let cpu = Component::only(ComponentKind::Cpu);
        match machine.processor_times() {
            Ok(times) => {
                // The kernel's time holds the idle one.
                let ticks = Ticks::of(times.user, times.kernel.saturating_sub(times.idle), times.idle);
                if let Some(shares) = self.last.and_then(|last| parse::shares(&last, &ticks)) {
                    sink.sample(&cpu, semconv::CPU_UTILIZATION, Attributes::none(), shares.busy);
                    let known = ["user", "system", "idle"];
                    for (mode, share) in shares.by_mode.into_iter().filter(|(mode, _)| known.contains(mode)) {
                        let attributes = Attributes::none().with(attribute::CPU_MODE, mode);
                        sink.sample(&cpu, semconv::CPU_UTILIZATION, attributes, share);
                    }
                }
                self.last = Some(ticks);
            }
            Err(error) => {
                self.last = None;
                sink.failed(&cpu, semconv::CPU_UTILIZATION, &error);
            }
        }
        if context.steady {
            let why = "Windows does not measure how long programs wait";
            sink.unavailable(&cpu, semconv::PRESSURE_STALL, UnavailableReason::Unsupported, why);
        }
    }
}
