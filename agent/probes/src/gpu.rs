//! Graphics processors: how busy they are, and how often their driver had to begin anew.
//!
//! On Linux `/sys/class/drm` lists them; amdgpu says its load and counts memory errors there (the kernel's `gpu/amdgpu`), every
//! driver logs its resets. The load of other drivers is told only by their makers' own libraries, which are not loaded: it is
//! reported as unsupported. Temperatures are among the sensors.

use crate::kernel_log::KernelLog;
use crate::kernel_log::classify::{Message, classify, is_pci_address};
use crate::{Context, Descriptor, Due, Probe, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp, UnavailableReason, Value};
use std::collections::BTreeMap;
use std::time::Duration;

const FOLDER: &str = "/sys/class/drm";
/// More than this are not read.
const MOST: usize = 8;

/// Load and faults of each graphics processor.
#[derive(Debug)]
pub struct Gpu {
    log: KernelLog,
    slow: Due,
    /// Faults by the name of the graphics processor since the agent began.
    faults: BTreeMap<String, u64>,
    last_run: Option<Timestamp>,
}

impl Default for Gpu {
    fn default() -> Self {
        Self {
            log: KernelLog::default(),
            slow: Due::every(Duration::from_secs(3600)),
            faults: BTreeMap::new(),
            last_run: None,
        }
    }
}

/// One graphics processor.
struct Card {
    /// Its PCI address, or the kernel's name of it where it has none.
    name: String,
    /// Where its files are.
    folder: String,
    driver: Option<String>,
}

impl Probe for Gpu {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "gpu",
            interval: Duration::from_secs(60),
            trigger_interval: None,
            time_limit: Duration::from_secs(10),
            cpu_budget: Duration::from_millis(5),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let all = Component::only(ComponentKind::Gpu);
        let slow = self.slow.is_due(context.now);
        if !context.reads_linux() {
            let why = "not read on this operating system yet";
            return sink.unavailable(&all, semconv::GPU_UTILIZATION, UnavailableReason::Unsupported, why);
        }
        let cards = cards(&context.root);
        if cards.is_empty() {
            if slow {
                let error = ProbeError::NotPresent("this machine has no graphics processor".to_owned());
                sink.failed(&all, semconv::GPU_UTILIZATION, &error);
            }
            return;
        }
        let counted = self.count(&context.root, &cards);
        for card in &cards {
            let Ok(component) = Component::new(ComponentKind::Gpu, card.name.as_str()) else { continue };
            load(&context.root, card, &component, slow, sink);
            match &counted {
                Ok(()) => self.report(card, &component, context.now, sink),
                Err(error) if slow => sink.failed(&component, semconv::HW_ERRORS, error),
                Err(_) => {}
            }
            memory_errors(&context.root, card, &component, sink);
            if slow {
                sink.state(&component, "gpu", document(&context.root, card));
            }
        }
        self.last_run = Some(context.now);
    }
}

impl Gpu {
    fn count(&mut self, root: &Root, cards: &[Card]) -> Result<(), ProbeError> {
        let faults = &mut self.faults;
        self.log.read(root, |line| {
            let Some(Message::GraphicsFault { address }) = classify(line) else { return };
            let named = cards.iter().find(|card| Some(&card.name) == address.as_ref());
            // Without an address, the only one there is is meant.
            let card = named.or(if let [only] = cards { Some(only) } else { None });
            if let Some(card) = card {
                *faults.entry(card.name.clone()).or_default() += 1;
            }
        })?;
        Ok(())
    }

    fn report(&mut self, card: &Card, component: &Component, now: Timestamp, sink: &mut Sink) {
        let attributes = typed().with(attribute::ERROR_TYPE, "driver_reset");
        let count = self.faults.get(&card.name).copied().unwrap_or_default();
        // Differences are taken of a counter, so its first count needs the zero before it.
        if self.last_run.is_none() && count > 0 {
            let before = now.minus(Duration::from_millis(1));
            sink.sample_at(before, component, semconv::HW_ERRORS, attributes.clone(), 0.0);
        }
        sink.sample(component, semconv::HW_ERRORS, attributes, count as f64);
    }
}

fn cards(root: &Root) -> Vec<Card> {
    let names = root.list(FOLDER).unwrap_or_default();
    let is_card = |name: &String| {
        name.strip_prefix("card")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let link = |path: &str| {
        let target = std::fs::canonicalize(root.path(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    };
    names
        .into_iter()
        .filter(is_card)
        // A card without a device is made by software.
        .filter(|name| root.exists(&format!("{FOLDER}/{name}/device")))
        .take(MOST)
        .map(|name| {
            let folder = format!("{FOLDER}/{name}/device");
            let address = link(&folder).filter(|address| is_pci_address(address));
            let driver = link(&format!("{folder}/driver"));
            Card { name: address.unwrap_or(name), folder, driver }
        })
        .collect()
}

fn load(root: &Root, card: &Card, component: &Component, slow: bool, sink: &mut Sink) {
    let percent = root.read_number(&format!("{}/gpu_busy_percent", card.folder));
    match percent {
        Some(percent @ 0..=100) => {
            sink.sample(component, semconv::GPU_UTILIZATION, Attributes::none(), percent as f64 / 100.0);
        }
        Some(absurd) if slow => {
            let detail = format!("the driver says that {absurd} % are in use");
            sink.unavailable(component, semconv::GPU_UTILIZATION, UnavailableReason::Malformed, &detail);
        }
        None if slow => {
            let driver = card.driver.as_deref().unwrap_or("this driver");
            let detail = format!("{driver} tells its load only to its maker's own library");
            sink.unavailable(component, semconv::GPU_UTILIZATION, UnavailableReason::Unsupported, &detail);
        }
        Some(_) | None => {}
    }
}

/// Memory errors that amdgpu counts: `ue: 0` and `ce: 3`, uncorrected and corrected.
fn memory_errors(root: &Root, card: &Card, component: &Component, sink: &mut Sink) {
    let Ok(text) = root.read_text(&format!("{}/ras/umc_err_count", card.folder)) else { return };
    for (label, kind) in [("ue:", "uncorrected"), ("ce:", "corrected")] {
        let count = text.lines().find_map(|line| line.trim().strip_prefix(label)?.trim().parse::<u32>().ok());
        if let Some(count) = count {
            let attributes = typed().with(attribute::ERROR_TYPE, kind);
            sink.sample(component, semconv::HW_ERRORS, attributes, f64::from(count));
        }
    }
}

fn document(root: &Root, card: &Card) -> Value {
    // Numbers of the PCI registry: `0x1002`.
    let read = |file: &str| {
        let text = root.read_value(&format!("{}/{file}", card.folder))?;
        let digits = text.strip_prefix("0x")?;
        (digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
    };
    let texts = [("driver", card.driver.clone()), ("vendor", read("vendor")), ("device", read("device"))];
    let mut document: Vec<(&'static str, Value)> =
        texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text?)))).collect();
    let memory = root.read_number(&format!("{}/mem_info_vram_total", card.folder));
    document.extend(memory.map(|bytes| ("memory", Value::from(bytes as f64))));
    Value::map(document)
}

fn typed() -> Attributes {
    Attributes::none().with(attribute::HW_TYPE, "gpu")
}
