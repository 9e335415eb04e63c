//! How much of a long test is run. `cargo xtask test` runs counts that separate right from wrong; `cargo xtask soak`
//! sets `FIRSTLINE_SOAK=1` and runs the counts that the product's promises name. This is the only place that reads it.

/// Whether the long forms were asked for.
pub fn is_soak() -> bool {
    std::env::var("FIRSTLINE_SOAK").is_ok_and(|value| value == "1")
}

/// The number of rounds: `quick` in `cargo xtask test`, `full` in `cargo xtask soak`.
pub fn effort<T>(quick: T, full: T) -> T {
    if is_soak() { full } else { quick }
}
