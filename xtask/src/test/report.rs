//! What a run says at its end: a table of steps with their times, then how many tests passed and failed.

use std::fmt;
use std::time::Duration;

pub(super) enum Verdict {
    Passed,
    /// Not done on this machine, and why. Never in CI.
    Skipped(String),
    /// A step that it builds on has failed.
    NotRun(String),
    Failed(String),
}

pub(super) struct Row {
    pub name: &'static str,
    pub took: Duration,
    pub verdict: Verdict,
}

impl Row {
    pub(super) fn has_failed(&self, name: &str) -> bool {
        self.name == name && matches!(self.verdict, Verdict::Failed(_) | Verdict::NotRun(_))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {:>7.1} s  ", self.name, self.took.as_secs_f64())?;
        match &self.verdict {
            Verdict::Passed => f.write_str("ok"),
            Verdict::Skipped(why) => write!(f, "SKIPPED: {why}"),
            Verdict::NotRun(why) => write!(f, "NOT RUN: {why}"),
            Verdict::Failed(why) => write!(f, "FAILED: {why}"),
        }
    }
}

/// How many tests ran, over all runs of the test runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// From nextest's line `Summary [ 1.0s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 3 skipped`.
    pub(super) fn of_nextest(lines: &[String]) -> Self {
        let summary = lines.iter().rev().find(|line| line.trim_start().starts_with("Summary ["));
        let Some((_, parts)) = summary.and_then(|line| line.split_once(" run: ")) else {
            return Self::default();
        };
        Self::of_parts(parts, ',')
    }

    /// From libtest's lines `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    pub(super) fn of_libtest(lines: &[String]) -> Self {
        let mut counts = Self::default();
        for line in lines {
            if let Some((_, parts)) =
                line.strip_prefix("test result: ").and_then(|line| line.split_once(". "))
            {
                counts.add(Self::of_parts(parts, ';'));
            }
        }
        counts
    }

    fn of_parts(parts: &str, separator: char) -> Self {
        let mut counts = Self::default();
        let mut depth = 0_usize;
        let is_separator = |c: char| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == separator && depth == 0
        };
        for part in parts.split(is_separator) {
            let mut words = part.split_whitespace();
            let Some(n) = words.next().and_then(|n| n.parse::<u64>().ok()) else { continue };
            match words.next() {
                Some("passed") => counts.passed += n,
                // "timed out", "exec failed": not passed either.
                Some("failed" | "timed" | "exec") => counts.failed += n,
                Some("skipped" | "ignored") => counts.skipped += n,
                _ => {}
            }
        }
        counts
    }
}

/// Prints the table and the counts; returns whether everything is good.
pub(super) fn print(rows: &[Row], took: Duration, counts: &Counts) -> bool {
    println!("\nstep          time  result");
    for row in rows {
        println!("{row}");
    }
    println!("{:<8} {:>7.1} s", "all", took.as_secs_f64());
    let failed: Vec<&str> = rows.iter().filter(|row| row.has_failed(row.name)).map(|row| row.name).collect();
    if !failed.is_empty() {
        println!("failed: {}; run one again with cargo xtask test --only STEP", failed.join(", "));
    }
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    failed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn nextest_summaries_are_read() {
        for (line, expected) in [
            ("     Summary [   0.005s] 12 tests run: 12 passed, 3 skipped", counts(12, 0, 3)),
            ("     Summary [   0.005s] 1 test run: 1 passed, 0 skipped", counts(1, 0, 0)),
            (
                "     Summary [  61.0s] 14 tests run: 10 passed (1 slow, 2 leaky), 2 failed, 1 timed out, 1 exec failed, 0 skipped",
                counts(10, 4, 0),
            ),
            (
                "     Summary [   1.0s] 3/40 tests run: 2 passed, 1 failed (due to a bug), 0 skipped",
                counts(2, 1, 0),
            ),
            ("error: could not compile", counts(0, 0, 0)),
        ] {
            let lines = [
                "PASS [ 0.1s] a run: 9 passed".to_owned(),
                line.to_owned(),
                "error: test run failed".to_owned(),
            ];
            assert_eq!(Counts::of_nextest(&lines), expected, "{line}");
        }
    }

    #[test]
    fn libtest_results_of_several_crates_are_summed() {
        let lines = [
            "running 3 tests".to_owned(),
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out".to_owned(),
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out".to_owned(),
        ];
        assert_eq!(Counts::of_libtest(&lines), counts(4, 2, 1));
    }

    #[test]
    fn run_is_good_only_when_no_step_failed() {
        let row = |verdict| Row { name: "unit", took: Duration::ZERO, verdict };
        for (verdict, is_good) in [
            (Verdict::Passed, true),
            (Verdict::Skipped("no apt".to_owned()), true),
            (Verdict::NotRun("build failed".to_owned()), false),
            (Verdict::Failed("1 test".to_owned()), false),
        ] {
            assert_eq!(print(&[row(verdict)], Duration::ZERO, &Counts::default()), is_good);
        }
    }
}
