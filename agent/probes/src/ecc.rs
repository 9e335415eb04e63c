//! Memory modules that correct or miss errors, as the kernel's EDAC drivers count them, or as the processor tells them.
//!
//! Read from `/sys/devices/system/edac/mc` (the kernel's `admin-guide/ras`), which needs no privilege. Where no such driver
//! knows the modules, the kernel logs the processor's machine checks: those of memory are counted here, by the bank that told
//! them. Most workstations have memory without error correction and so no counters: that is said once an hour and is no fault.

use crate::kernel_log::KernelLog;
use crate::kernel_log::machine_check::memory_error;
use crate::{Context, Descriptor, Due, Probe, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp, UnavailableReason};
use std::collections::BTreeMap;
use std::time::Duration;

const FOLDER: &str = "/sys/devices/system/edac/mc";
/// Boards with more controllers and modules are not workstations.
const MAX_CONTROLLERS: usize = 16;
const MAX_MODULES: usize = 64;

/// Errors of each memory module.
#[derive(Debug)]
pub struct Ecc {
    slow: Due,
    log: KernelLog,
    /// Errors that the processor told, by bank and by whether data was lost.
    told: BTreeMap<(u8, bool), Count>,
    last_run: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Count {
    errors: u64,
    reported: bool,
}

impl Default for Ecc {
    fn default() -> Self {
        Self {
            slow: Due::every(Duration::from_secs(3600)),
            log: KernelLog::default(),
            told: BTreeMap::new(),
            last_run: None,
        }
    }
}

impl Probe for Ecc {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "ecc",
            interval: Duration::from_secs(60),
            trigger_interval: None,
            time_limit: Duration::from_secs(5),
            cpu_budget: Duration::from_millis(2),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let slow = self.slow.is_due(context.now);
        let memory = Component::only(ComponentKind::Memory);
        if !context.reads_linux() {
            let why = "not read on this operating system yet";
            return sink.unavailable(&memory, semconv::HW_ERRORS, UnavailableReason::Unsupported, why);
        }
        let mut found = false;
        for controller in numbered(&context.root, FOLDER, "mc").take(MAX_CONTROLLERS) {
            found = true;
            self::controller(&context.root, &controller, sink);
        }
        // Who has counters counts the same errors there.
        match self.count(&context.root) {
            Ok(()) if !found => self.report_told(context.now, sink),
            Err(error @ ProbeError::NotPermitted(_)) if !found && slow => {
                return sink.failed(&memory, semconv::HW_ERRORS, &error);
            }
            Ok(()) | Err(_) => {}
        }
        if !found && slow && self.told.is_empty() {
            let why = "this memory has no error correction that the kernel can read";
            sink.failed(&memory, semconv::HW_ERRORS, &ProbeError::NotPresent(why.to_owned()));
        }
        self.last_run = Some(context.now);
    }
}

impl Ecc {
    fn count(&mut self, root: &Root) -> Result<(), ProbeError> {
        let told = &mut self.told;
        self.log.read(root, |line| {
            if let Some(error) = memory_error(line) {
                told.entry((error.bank, error.uncorrected)).or_default().errors += 1;
            }
        })?;
        Ok(())
    }

    fn report_told(&mut self, now: Timestamp, sink: &mut Sink) {
        let before = self.last_run.unwrap_or_else(|| now.minus(Duration::from_millis(1)));
        for ((bank, uncorrected), count) in &mut self.told {
            let Ok(component) = Component::new(ComponentKind::Memory, format!("bank {bank}")) else {
                continue;
            };
            let attributes = typed(if *uncorrected { "uncorrected" } else { "corrected" });
            // Differences are taken of a counter, so its first count needs the zero before it.
            if !std::mem::replace(&mut count.reported, true) {
                sink.sample_at(before, &component, semconv::HW_ERRORS, attributes.clone(), 0.0);
            }
            sink.sample(&component, semconv::HW_ERRORS, attributes, count.errors as f64);
        }
    }
}

fn typed(kind: &'static str) -> Attributes {
    Attributes::none().with(attribute::HW_TYPE, "memory").with(attribute::ERROR_TYPE, kind)
}

/// Entries such as `mc0`, `mc1`: the folder also holds files of the driver.
fn numbered(root: &Root, folder: &str, prefix: &'static str) -> impl Iterator<Item = String> {
    let names = root.list(folder).unwrap_or_default();
    names.into_iter().filter(move |name| {
        let number = name.strip_prefix(prefix).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn controller(root: &Root, name: &str, sink: &mut Sink) {
    let folder = format!("{FOLDER}/{name}");
    let mut modules = 0;
    for module in ["dimm", "rank"].iter().flat_map(|prefix| numbered(root, &folder, prefix)).take(MAX_MODULES)
    {
        let at = |file: &str| format!("{folder}/{module}/{file}");
        // The label is what is printed on the board, if the firmware or the administrator has told it.
        let label = root.read_value(&at("dimm_label")).unwrap_or_else(|| format!("{name} {module}"));
        modules += usize::from(report(root, &label, &at("dimm_ce_count"), &at("dimm_ue_count"), sink));
    }
    if modules == 0 {
        report(root, name, &format!("{folder}/ce_count"), &format!("{folder}/ue_count"), sink);
    }
}

/// Whether the module has counters.
fn report(root: &Root, label: &str, corrected: &str, uncorrected: &str, sink: &mut Sink) -> bool {
    let Ok(component) = Component::new(ComponentKind::Memory, label) else { return false };
    let mut counted = false;
    for (kind, file) in [("corrected", corrected), ("uncorrected", uncorrected)] {
        let Some(text) = root.read_value(file) else { continue };
        counted = true;
        match text.parse::<u32>() {
            Ok(count) => {
                sink.sample(&component, semconv::HW_ERRORS, typed(kind), f64::from(count));
            }
            Err(_) => {
                let detail = format!("{file} holds no number of errors");
                sink.unavailable(&component, semconv::HW_ERRORS, UnavailableReason::Malformed, detail);
            }
        }
    }
    counted
}
