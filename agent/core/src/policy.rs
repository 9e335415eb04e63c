//! What the collector may set, within bounds that are compiled in. A hostile collector can make the agent look more
//! often or less often within these bounds, and nothing else.

use firstline_model::ComponentKind;
use std::time::Duration;

/// Shortest interval of a probe that the collector may set.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);
/// Longest interval of a probe that the collector may set.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// Deepest directory names that diagnostics may show.
pub const DEEPEST_DIRECTORIES: u8 = 4;
/// Most triggers that are kept; further ones are dropped.
pub const MOST_TRIGGERS: usize = 256;

/// Longest time for which one order has the machine watched live.
pub const LONGEST_LIVE: Duration = Duration::from_secs(300);
/// What moves, and how often it is looked at while somebody watches live. The list is closed: an order names none of it.
pub const LIVE: &[(&str, Duration)] = &[
    ("cpu", Duration::from_secs(1)),
    ("memory", Duration::from_secs(1)),
    ("disk_io", Duration::from_secs(1)),
    ("network", Duration::from_secs(1)),
    ("process", Duration::from_secs(5)),
];

/// What is in force.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// The collector's count of changes; 0: the built-in policy.
    pub revision: u64,
    /// Intervals that differ from the probes' own.
    pub intervals: Vec<(String, Duration)>,
    /// Levels whose crossing is sent at once.
    pub triggers: Vec<Trigger>,
    /// How deep directory names may be shown.
    pub directory_depth: u8,
}

/// A level of an active rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// The metric.
    pub metric: String,
    /// The kind of component.
    pub component: ComponentKind,
    /// The level; what is above and what is not are the two sides. Without meaning for counters.
    pub level: f64,
    /// Attributes that must match.
    pub attributes: Vec<(String, String)>,
}

/// An interval moved into the bounds.
pub fn clamp_interval(wanted: Duration) -> Duration {
    wanted.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_interval_leaves_the_bounds() {
        for (wanted, expected) in [(0, 5), (4, 5), (60, 60), (1_000_000, 86_400)] {
            assert_eq!(clamp_interval(Duration::from_secs(wanted)), Duration::from_secs(expected));
        }
    }
}
