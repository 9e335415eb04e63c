//! How finely each metric is told, once for both sides.
//!
//! A value is rounded at its source, so that noise below what anybody would act on is no change. Every level of the built-in
//! rules is a multiple of the metric's step (the collector's tests hold that), so rounding moves no value across a level
//! that it was not at already.

use crate::semconv;

/// How many decimals a value of this metric has; negative: tens, hundreds ... are its smallest step. `None`: it is
/// nobody's metric here and stays as it is.
pub fn decimals(metric: &str) -> Option<i32> {
    let known = semconv::metric(metric)?;
    Some(match known.name {
        // A page more or less is no change; a megabyte is.
        semconv::MEMORY_AVAILABLE => -6,
        // The agent's own: what a probe takes matters from hundredths of a second on.
        semconv::PROBE_DURATION | semconv::AGENT_CPU_TIME => 2,
        // What passes by itself, second after second.
        semconv::UPTIME
        | semconv::OS_LAST_PATCHED_AGE
        | semconv::SECURITY_ANTIVIRUS_DEFINITIONS_AGE
        | semconv::PRINTER_JOB_AGE
        | semconv::AGENT_HEARTBEAT_AGE
        | semconv::TLS_CERTIFICATE_TIME_TO_EXPIRY
        | semconv::COLLECTOR_CERTIFICATE_TIME_TO_EXPIRY => 0,
        semconv::FAN_SPEED => -1,
        _ => match known.unit {
            // Shares, and states that are 0 or 1.
            "1" => 3,
            "s" => 3,
            "Cel" => 1,
            "Hz" => -6,
            // Bytes, decibels and everything that is counted.
            _ => 0,
        },
    })
}

/// `value` in units of its last decimal, when it is small enough to be told so.
pub fn units(value: f64, decimals: i32) -> Option<i64> {
    /// Whole numbers are exact up to here.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let scale = scale(decimals)?;
    let units = if decimals >= 0 { value * scale } else { value / scale }.round();
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number below 2^53")]
    (units.abs() < EXACT).then_some(units as i64)
}

/// The value of so many units: the nearest number to it, the same on every machine.
pub fn value(units: i64, decimals: i32) -> Option<f64> {
    let scale = scale(decimals)?;
    #[expect(clippy::cast_precision_loss, reason = "what is beyond 2^53 is not told in units")]
    let units = units as f64;
    Some(if decimals >= 0 { units / scale } else { units * scale })
}

/// A value as it is told. What is too large to be rounded, or of an unknown metric, stays as it is.
pub fn rounded(metric: &str, number: f64) -> f64 {
    decimals(metric).and_then(|decimals| value(units(number, decimals)?, decimals)).unwrap_or(number)
}

fn scale(decimals: i32) -> Option<f64> {
    // Powers of ten up to here are exact.
    (decimals.abs() <= 15).then(|| 10_f64.powi(decimals.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_rounded_to_its_metrics_step_and_rounding_again_changes_nothing() {
        for (metric, number, expected) in [
            (semconv::FILESYSTEM_UTILIZATION, 0.899_500_1, 0.9),
            (semconv::FILESYSTEM_UTILIZATION, 0.899_499_9, 0.899),
            (semconv::MEMORY_AVAILABLE, 8_123_499_999.0, 8_123_000_000.0),
            (semconv::HW_TEMPERATURE, 84.849, 84.8),
            (semconv::FILESYSTEM_ERRORS, 3.0, 3.0),
            (semconv::NETWORK_IO, 1e300, 1e300),
            ("somebody.elses", 0.123_456_789, 0.123_456_789),
        ] {
            let once = rounded(metric, number);
            assert_eq!(once, expected, "{metric}");
            assert_eq!(rounded(metric, once), once, "{metric}");
        }
    }

    #[test]
    fn units_and_values_are_inverse_and_what_cannot_be_told_is_not() {
        for decimals in [-6, 0, 1, 3] {
            for number in [-1_000_000, -1, 0, 1, 999, 123_456_789] {
                assert_eq!(units(value(number, decimals).unwrap(), decimals), Some(number));
            }
        }
        assert_eq!(units(f64::INFINITY, 0), None);
        assert_eq!(value(1, 400), None);
    }
}
