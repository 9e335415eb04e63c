//! What can go wrong with one machine: each kind says what really happens, what of it shows, and what a technician who
//! knew everything would expect to read. Severities are drawn from ranges that such faults have in life.
//!
//! Hold times, intervals and rules are those of the domain catalogue, not those of the product's knowledge entries.

mod compute;
mod connection;
mod storage;
mod system;

use super::day::Link;
use super::office::Device;
use super::random::Random;
use super::series::{Shape, Values};

/// Faults of one domain on one machine do not overlap: they would hide each other, in life as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    Storage,
    Compute,
    System,
    Network,
    Printing,
    Security,
}

/// A change of one series, from so many seconds after the beginning of the fault to its end.
#[derive(Debug, Clone)]
pub(super) struct Effect {
    pub slot: &'static str,
    pub after: u32,
    pub shape: Shape,
}

/// A thing that happens so many seconds after the beginning.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    pub after: u32,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// An event with its component and attributes.
    Event { name: &'static str, component: String, attributes: String },
    /// One measurement of a part that is not measured otherwise.
    Sample { metric: &'static str, component: String, attributes: String, value: f64 },
    /// Somebody restarts the machine.
    Restart,
    /// The machine restarts by itself.
    Crash { cause: &'static str },
    /// Facts that changed; the inside of a JSON object.
    Facts(String),
    /// Nothing is heard from here until so many seconds later.
    Dark(u32),
}

/// A fault as it will happen.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub kind: &'static str,
    pub domain: Domain,
    /// Rules of which one should open a ticket.
    pub rules: &'static [&'static str],
    /// Further rules that may rightly speak of the same fault.
    pub also: &'static [&'static str],
    pub component: String,
    /// What else a ticket may name.
    pub others: Vec<String>,
    /// The catalogue's hold time, counted from when the condition shows first.
    pub hold: u32,
    /// Seconds from the beginning until the condition shows.
    pub onset: u32,
    /// How often the probe that sees it runs.
    pub every: u32,
    /// It is not noticed before this second: others have to be known first.
    pub earliest: u32,
    /// Shortest and longest duration; it ends with the trace when that is earlier.
    pub lasts: (u32, u32),
    /// Of these words one should be in the likely cause.
    pub cause: &'static [&'static str],
    pub effects: Vec<Effect>,
    pub happenings: Vec<Happening>,
    /// The connection that it needs; any without.
    pub link: Option<Link>,
}

pub(super) const FOREVER: (u32, u32) = (u32::MAX / 4, u32::MAX / 4);

impl Fault {
    /// A fault that shows in one series at least. `None` when the machine has no such part.
    fn of(kind: &'static str, domain: Domain, device: &Device, slot: &str) -> Option<Self> {
        let component = device.component(slot)?;
        let every = device.series[device.slot(slot)?].every;
        Some(Self {
            kind,
            domain,
            rules: &[],
            also: &[],
            component,
            others: Vec::new(),
            hold: 0,
            onset: 0,
            every,
            earliest: 0,
            lasts: FOREVER,
            cause: &[],
            effects: Vec::new(),
            happenings: Vec::new(),
            link: None,
        })
    }

    fn rules(mut self, rules: &'static [&'static str], also: &'static [&'static str]) -> Self {
        (self.rules, self.also) = (rules, also);
        self
    }

    fn timing(mut self, hold: u32, lasts: (u32, u32)) -> Self {
        (self.hold, self.lasts) = (hold, lasts);
        self
    }

    fn onset(mut self, seconds: u32) -> Self {
        self.onset = seconds;
        self
    }

    fn cause(mut self, words: &'static [&'static str]) -> Self {
        self.cause = words;
        self
    }

    fn needs(mut self, link: Link) -> Self {
        self.link = Some(link);
        self
    }

    fn shows(mut self, slot: &'static str, values: Values) -> Self {
        self.effects.push(Effect { slot, after: 0, shape: Shape { word: None, severity: "", values } });
        self
    }

    fn says(mut self, slot: &'static str, word: &'static str, values: Values) -> Self {
        self.effects.push(Effect { slot, after: 0, shape: Shape { word: Some(word), severity: "", values } });
        self
    }

    fn happens(mut self, after: u32, what: What) -> Self {
        self.happenings.push(Happening { after, what });
        self
    }
}

pub(super) fn event(name: &'static str, component: &str, attributes: &[(&str, &str)]) -> What {
    let pairs: Vec<String> =
        attributes.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    What::Event { name, component: component.to_owned(), attributes: pairs.join(",") }
}

/// Makes a fault of one kind for a machine; `None` when this machine cannot have it.
type Make = fn(&Device, &mut Random) -> Option<Fault>;

/// How common a kind is beside the others, and how it is made.
pub(super) type Kind = (u32, Make);

/// Every kind that concerns one machine.
pub(super) fn kinds() -> Vec<Kind> {
    [storage::KINDS, compute::KINDS, system::KINDS, connection::KINDS].concat()
}

/// Whole seconds of a time that is not negative; a trace is shorter than 100 days.
pub(super) fn seconds(time: f64) -> u32 {
    std::time::Duration::try_from_secs_f64(time.clamp(0.0, 8_640_000.0).ceil())
        .ok()
        .and_then(|time| u32::try_from(time.as_secs()).ok())
        .unwrap_or(0)
}
