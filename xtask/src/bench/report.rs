//! A table of figures with their goals; a missed goal makes the command fail.

use anyhow::{Result, bail};

/// A figure with its goal.
pub(super) struct Row {
    what: &'static str,
    figure: f64,
    unit: &'static str,
    goal: f64,
}

impl Row {
    /// A figure that is good when it is not above its goal.
    pub(super) fn at_most(what: &'static str, figure: f64, unit: &'static str, goal: f64) -> Self {
        Self { what, figure, unit, goal }
    }

    fn is_missed(&self) -> bool {
        // What could not be measured is not good either.
        self.figure.is_nan() || self.figure > self.goal
    }
}

/// Prints the table; fails when a goal was missed.
pub(super) fn print(rows: &[Row]) -> Result<()> {
    println!("\n{:<62} {:>12} {:>12}", "figure", "measured", "goal");
    for row in rows {
        let verdict = if row.is_missed() { "  MISSED" } else { "" };
        println!(
            "{:<62} {:>12} {:>12}{verdict}",
            row.what,
            format!("{:.2} {}", row.figure, row.unit),
            format!("{} {}", row.goal, row.unit)
        );
    }
    let missed = rows.iter().filter(|row| row.is_missed()).count();
    if missed > 0 {
        bail!("{missed} of {} goals were missed on this machine", rows.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_and_a_figure_that_is_none_are_failures() {
        let row = |figure| Row::at_most("x", figure, "s", 1.0);
        assert!(print(&[row(1.0), row(0.5)]).is_ok());
        assert!(print(&[row(1.0), row(1.01)]).is_err());
        assert!(print(&[row(f64::NAN)]).is_err());
    }
}
