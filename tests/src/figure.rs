//! Figures that a test measured, one line each on standard error: `FIGURE <name> <value> <unit>`. `cargo xtask soak`
//! reads them from the output of the tests and puts them into its table, so a figure is always one that a test has
//! just measured and judged.
//!
//! Names are `<part>.<what>` in lower case with underscores, such as `collector_kill.restart_to_first_ack_p99`; units are
//! words such as `ms`, `s`, `count` or `MiB`.

use crate::process;
use std::fmt::Display;
use std::time::Duration;

/// Prints a figure.
///
/// # Panics
/// When the name or the unit would break the line apart.
pub fn figure(name: &str, value: impl Display, unit: &str) {
    let is_word = |word: &str| !word.is_empty() && !word.contains(char::is_whitespace);
    assert!(
        is_word(name) && is_word(unit),
        "a figure has a name and a unit without spaces: {name:?} {unit:?}"
    );
    process::say(&format!("FIGURE {name} {value} {unit}"));
}

/// The value below which this share of the durations lies (nearest rank); prints it in milliseconds as
/// `<name>_p<percent>`.
///
/// # Panics
/// When there is nothing to take it from.
pub fn percentile(name: &str, percent: u32, durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    assert!(!sorted.is_empty(), "{name}: nothing was measured");
    let rank = (sorted.len() * percent as usize).div_ceil(100).max(1);
    let found = sorted[rank - 1];
    figure(&format!("{name}_p{percent}"), found.as_millis(), "ms");
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let hundred: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile("test.rank", 99, &hundred), Duration::from_millis(99));
        assert_eq!(percentile("test.rank", 50, &hundred[..1]), Duration::from_millis(100));
    }
}
