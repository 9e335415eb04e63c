//! This machine's health in plain words, for the person who sits at it and has no collector at hand.
//!
//! These are fixed levels over one reading (or two, a moment apart, where only a difference says something), with no
//! memory: what the collector judges over time with its knowledge entries is judged here at a glance. The levels are
//! those of the catalogue. The texts name what is wrong and what to do; what could not be seen is said, never guessed.

mod aspect;
mod disk;
mod drive;
mod filesystem;
mod memory;
mod network;
mod peripheral;
mod power;
mod printer;
mod processor;
mod program;
mod security;
mod system;
mod unseen;
mod view;
mod wording;

pub use drive::Verdict;

use firstline_model::{Component, Observation, order};
use std::fmt;
use view::View;

/// How a line of the report is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Could not be seen; neither good nor bad.
    Unknown,
    /// In order.
    Healthy,
    /// Worth knowing; nothing is wrong.
    Note,
    /// Should be looked at.
    Warning,
    /// Is broken, or will be soon.
    Problem,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

macro_rules! domains {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $title:literal;)+) => {
        /// The part of a machine that a line belongs to, in the order of a report in which all are equally well.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Domain { $($(#[$doc])* $variant,)+ }

        impl Domain {
            /// Every domain, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The heading for a person.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

domains! {
    /// Drives, arrays of drives and how fast they answer.
    Disk = "disk", "Drives";
    /// File systems.
    Filesystem = "filesystem", "Space and file systems";
    /// Main memory.
    Memory = "memory", "Memory";
    /// Processor, heat and fans.
    Processor = "processor", "Processor and cooling";
    /// Battery and charger.
    Power = "power", "Battery and power";
    /// The network, layer by layer.
    Network = "network", "Network";
    /// The operating system and its services.
    System = "system", "Operating system";
    /// Security posture.
    Security = "security", "Security";
    /// Printers.
    Printer = "printer", "Printers";
    /// What is plugged in.
    Peripheral = "peripheral", "Connected devices";
    /// Programs.
    Program = "program", "Programs";
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it is meant.
    pub level: Level,
    /// Where it belongs.
    pub domain: Domain,
    /// The catalogue's check that it comes from, if it is one's.
    pub check: Option<&'static str>,
    /// The part of the machine that it is about; none when it is about a whole domain.
    pub component: Option<Component>,
    /// What is the case.
    pub text: String,
    /// What to do about it; empty when nothing is.
    pub advice: String,
}

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// An earlier look of the probes whose counters say something by their difference only; may be empty.
    pub earlier: &'a [Observation],
    /// The look that is judged.
    pub latest: &'a [Observation],
    /// Probes without a result: their name, and `timed_out` or `panicked`.
    pub incomplete: &'a [(&'static str, &'static str)],
}

/// Judges a reading: by domain, the domain with the worst line first, in it the worst line first. What could not be
/// seen stands at the end.
pub fn assess(reading: &Reading<'_>) -> Vec<Line> {
    let view = View::new(reading);
    let mut lines: Vec<Line> = [
        disk::judge,
        filesystem::judge,
        memory::judge,
        processor::judge,
        power::judge,
        network::judge,
        system::judge,
        security::judge,
        printer::judge,
        peripheral::judge,
        program::judge,
    ]
    .iter()
    .flat_map(|judge| judge(&view))
    .collect();
    let fine: Vec<Line> =
        Domain::ALL.iter().filter_map(|domain| aspect::in_order(*domain, &view, &lines)).collect();
    lines.extend(fine);
    lines.extend(unseen::list(reading));
    let worst_of: Vec<(Domain, Level)> = Domain::ALL
        .iter()
        .map(|domain| (*domain, worst_where(&lines, |line| line.domain == *domain)))
        .collect();
    let rank = |domain: Domain| worst_of.iter().find(|(known, _)| *known == domain).map(|(_, level)| *level);
    order::sort_by(&mut lines, |a, b| {
        // The group of the unseen is the last one, whatever its domains.
        let unseen = |line: &Line| line.level == Level::Unknown;
        unseen(a)
            .cmp(&unseen(b))
            .then_with(|| rank(b.domain).cmp(&rank(a.domain)))
            .then_with(|| a.domain.cmp(&b.domain))
            .then_with(|| b.level.cmp(&a.level))
            .then_with(|| a.text.cmp(&b.text))
    });
    lines.dedup();
    lines
}

/// The worst level of a report; unknown only when nothing at all could be seen.
pub fn worst(lines: &[Line]) -> Level {
    worst_where(lines, |_| true)
}

fn worst_where(lines: &[Line], of: impl Fn(&Line) -> bool) -> Level {
    lines.iter().filter(|line| of(line)).map(|line| line.level).max().unwrap_or(Level::Unknown)
}

#[cfg(test)]
mod tests;
