//! How likely it is that the failing devices have something in common by accident (the upper tail of the
//! hypergeometric distribution, which is the one-sided test of Fisher).

use std::time::Duration;

/// Chances below this, over all comparisons, are no accident.
pub(super) const LEVEL: f64 = 1e-3;
/// Findings within this time begin together.
pub(super) const AT_ONCE: Duration = Duration::from_secs(300);

/// The logarithm of the chance that of `failing` devices drawn from `all`, of which `having` have an attribute, at
/// least `both` have it.
pub(super) fn ln_chance(all: usize, having: usize, failing: usize, both: usize) -> f64 {
    let most = having.min(failing);
    let least = both.max((having + failing).saturating_sub(all));
    if both <= (having + failing).saturating_sub(all) {
        return 0.0;
    }
    let total = ln_choose(all, failing);
    let terms =
        (least..=most).map(|both| ln_choose(having, both) + ln_choose(all - having, failing - both) - total);
    let terms: Vec<f64> = terms.collect();
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    (largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()).min(0.0)
}

fn ln_choose(n: usize, k: usize) -> f64 {
    if k > n { f64::NEG_INFINITY } else { ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k) }
}

/// Exact sums for small numbers, Stirling's series beyond, where its error is below 1e-12.
fn ln_factorial(n: usize) -> f64 {
    if n < 64 {
        return (2..=n).map(|i| (i as f64).ln()).sum();
    }
    let n = n as f64;
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + 1.0 / (12.0 * n) - 1.0 / (360.0 * n * n * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts every way to draw, one by one.
    fn by_counting(all: u32, having: u32, failing: u32, both: u32) -> f64 {
        let (mut hits, mut draws) = (0_u32, 0_u32);
        for drawn in 0_u32..(1 << all) {
            if drawn.count_ones() == failing {
                draws += 1;
                hits += u32::from((drawn & ((1 << having) - 1)).count_ones() >= both);
            }
        }
        f64::from(hits) / f64::from(draws)
    }

    #[test]
    fn chances_are_those_of_counting_every_draw() {
        for all in 1..=9 {
            for having in 0..=all {
                for failing in 0..=all {
                    for both in 0..=having.min(failing) {
                        let expected = by_counting(all, having, failing, both);
                        let size = |n: u32| usize::try_from(n).unwrap();
                        let found = ln_chance(size(all), size(having), size(failing), size(both)).exp();
                        assert!(
                            (found - expected).abs() < 1e-9,
                            "{all} {having} {failing} {both}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn large_fleets_neither_overflow_nor_vanish() {
        let chance = ln_chance(100_000, 500, 500, 500);
        assert!(chance.is_finite() && chance < -2000.0, "{chance}");
        assert_eq!(ln_chance(500, 500, 300, 300), 0.0);
    }
}
