//! A table of figures with their goals; a missed goal makes the command fail.

use anyhow::{Result, bail};

/// A figure with its goal.
pub(super) struct Row {
    what: &'static str,
    figure: f64,
    unit: &'static str,
    goal: Goal,
}

#[derive(Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    /// A figure that is good when it is not above its goal.
    pub(super) fn at_most(what: &'static str, figure: f64, unit: &'static str, goal: f64) -> Self {
        Self { what, figure, unit, goal: Goal::AtMost(goal) }
    }

    /// A figure that is good when it is not below its goal.
    pub(super) fn at_least(what: &'static str, figure: f64, unit: &'static str, goal: f64) -> Self {
        Self { what, figure, unit, goal: Goal::AtLeast(goal) }
    }

    fn is_missed(&self) -> bool {
        // What could not be measured is not good either.
        self.figure.is_nan()
            || match self.goal {
                Goal::AtLeast(goal) => self.figure < goal,
                Goal::AtMost(goal) => self.figure > goal,
            }
    }
}

/// Prints the table; fails when a goal was missed.
pub(super) fn print(rows: &[Row]) -> Result<()> {
    println!("\n{:<62} {:>16} {:>16}  verdict", "figure", "measured", "goal");
    for row in rows {
        let verdict = if row.is_missed() { "MISSED" } else { "met" };
        let goal = match row.goal {
            Goal::AtLeast(goal) => format!(">= {goal} {}", row.unit),
            Goal::AtMost(goal) => format!("<= {goal} {}", row.unit),
        };
        let figure = format!("{:.2} {}", row.figure, row.unit);
        println!("{:<62} {figure:>16} {goal:>16}  {verdict}", row.what);
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
        assert!(print(&[Row::at_least("x", 1.0, "s", 1.0)]).is_ok());
        assert!(print(&[Row::at_least("x", 0.99, "s", 1.0)]).is_err());
    }
}
