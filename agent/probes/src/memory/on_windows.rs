//! Memory on Windows: one call of the system, and the paging files in steady looks. Windows ends no program for lack of
//! memory and measures no pressure.

use crate::on_windows::{Class, Half, Machine};
use crate::{Context, ProbeError, Sink};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason, semconv};

const PAGING_FILES: Class =
    Class::of_cimv2("Win32_PageFileUsage", &["Name", "AllocatedBaseSize", "CurrentUsage"]);

/// Memory and paging files in use.
#[derive(Debug, Default)]
pub struct Source;

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        let memory = Component::only(ComponentKind::Memory);
        let none = Attributes::none;
        match machine.memory_status() {
            Ok(status) if status.total > 0 && status.available <= status.total => {
                let used = (status.total - status.available) as f64 / status.total as f64;
                sink.sample(&memory, semconv::MEMORY_UTILIZATION, none(), used);
                sink.sample(&memory, semconv::MEMORY_AVAILABLE, none(), status.available as f64);
                sink.sample(&memory, semconv::MEMORY_LIMIT, none(), status.total as f64);
            }
            Ok(status) => {
                let why = format!("{} of {} bytes are available", status.available, status.total);
                sink.failed(&memory, semconv::MEMORY_UTILIZATION, &ProbeError::Malformed(why));
            }
            Err(error) => sink.failed(&memory, semconv::MEMORY_UTILIZATION, &error),
        }
        if !context.steady {
            return;
        }
        match machine.rows(&PAGING_FILES) {
            Ok(rows) => {
                let sum = |name: &str| rows.iter().filter_map(|row| row.number(name)).sum::<f64>();
                let (size, used) = (sum("AllocatedBaseSize"), sum("CurrentUsage"));
                // Without a paging file there is no share of it: neither full nor empty.
                if size > 0.0 && (0.0..=size).contains(&used) {
                    sink.sample(&memory, semconv::PAGING_UTILIZATION, none(), used / size);
                }
            }
            Err(error) => sink.failed(&memory, semconv::PAGING_UTILIZATION, &error),
        }
        for (what, why) in [
            (semconv::PRESSURE_STALL, "Windows does not measure how long programs wait"),
            (semconv::OOM_KILLS, "Windows ends no program for lack of memory"),
        ] {
            sink.unavailable(&memory, what, UnavailableReason::Unsupported, why);
        }
    }
}
