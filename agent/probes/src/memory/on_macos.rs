//! Memory on macOS: `vm_stat` and two values of the kernel. Used is what Activity Monitor calls so: memory of programs that
//! cannot be thrown away, memory of the system, and what was compressed; files that are kept in memory are available.

use crate::on_macos::{Half, Machine, Question};
use crate::{Context, ProbeError, Sink};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason, semconv};

/// Memory and swap in use.
#[derive(Debug, Default)]
pub struct Source;

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, _: &Context, sink: &mut Sink) {
        let memory = Component::only(ComponentKind::Memory);
        let none = Attributes::none;
        let sysctl = machine.answer(Question::Sysctl);
        let usage = sysctl.as_ref().map_err(Clone::clone).and_then(|sysctl| {
            let pages = machine.answer(Question::VmStat)?;
            usage(sysctl, &pages)
                .ok_or_else(|| ProbeError::Malformed("vm_stat and sysctl contradict each other".to_owned()))
        });
        match usage {
            Ok((total, used)) => {
                sink.sample(&memory, semconv::MEMORY_UTILIZATION, none(), used / total);
                sink.sample(&memory, semconv::MEMORY_AVAILABLE, none(), total - used);
                sink.sample(&memory, semconv::MEMORY_LIMIT, none(), total);
            }
            Err(error) => sink.failed(&memory, semconv::MEMORY_UTILIZATION, &error),
        }
        // macOS makes swap when it needs some: without any there is no share of it.
        if let Some((total, used)) = sysctl.ok().as_deref().and_then(swap)
            && total > 0.0
            && used <= total
        {
            sink.sample(&memory, semconv::PAGING_UTILIZATION, none(), used / total);
        }
        for (what, why) in [
            (semconv::PRESSURE_STALL, "macOS does not measure how long programs wait"),
            (semconv::OOM_KILLS, "macOS does not count the programs that it ends"),
        ] {
            sink.unavailable(&memory, what, UnavailableReason::Unsupported, why);
        }
    }
}

/// The value of `name: value`.
fn value<'a>(sysctl: &'a str, name: &str) -> Option<&'a str> {
    sysctl.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// All memory and what is used of it.
pub fn usage(sysctl: &str, vm_stat: &str) -> Option<(f64, f64)> {
    let total: f64 = value(sysctl, "hw.memsize")?.parse().ok()?;
    let page: f64 = vm_stat.split("page size of ").nth(1)?.split(' ').next()?.parse().ok()?;
    let pages = |name: &str| value(vm_stat, name)?.trim_end_matches('.').parse::<f64>().ok();
    let of_programs = (pages("Anonymous pages")? - pages("Pages purgeable")?).max(0.0);
    let used = (of_programs + pages("Pages wired down")? + pages("Pages occupied by compressor")?) * page;
    (total.is_finite() && total > 0.0 && (0.0..=total).contains(&used)).then_some((total, used))
}

/// All swap and what is used of it: `total = 2048.00M  used = 1024.00M  free = 1024.00M  (encrypted)`.
pub fn swap(sysctl: &str) -> Option<(f64, f64)> {
    let line = value(sysctl, "vm.swapusage")?;
    let megabytes = |name: &str| -> Option<f64> {
        let number = line.split(name).nth(1)?.trim_start().strip_prefix('=')?.trim_start();
        let number = number.split('M').next()?.parse::<f64>().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number)
    };
    Some((megabytes("total")?, megabytes("used")?))
}
