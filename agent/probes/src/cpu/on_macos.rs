//! The processor on macOS: four counters of the kernel. macOS measures no pressure.

use super::parse::{self, Ticks};
use crate::on_macos::{Half, Machine};
use crate::{Context, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason};

/// Shares of time since the last look.
#[derive(Debug, Default)]
pub struct Source {
    last: Option<[u32; 4]>,
}

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        let cpu = Component::only(ComponentKind::Cpu);
        match machine.processor_ticks() {
            Ok(ticks) => {
                if let Some(shares) =
                    self.last.and_then(|last| parse::shares(&Ticks::ZERO, &since(last, ticks)))
                {
                    sink.sample(&cpu, semconv::CPU_UTILIZATION, Attributes::none(), shares.busy);
                    let known = ["user", "nice", "system", "idle"];
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
            let why = "macOS does not measure how long programs wait";
            sink.unavailable(&cpu, semconv::PRESSURE_STALL, UnavailableReason::Unsupported, why);
        }
    }
}

/// What was counted between two looks. Counters of 32 bits begin anew after weeks, so the difference is the one modulo 2^32.
fn since(earlier: [u32; 4], later: [u32; 4]) -> Ticks {
    let [user, system, idle, nice] = std::array::from_fn(|at| u64::from(later[at].wrapping_sub(earlier[at])));
    Ticks::of_four(user, nice, system, idle)
}
