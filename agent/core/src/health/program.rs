//! Programs that keep processors busy or have crashed.

use super::view::{View, line};
use super::wording::{count, id};
use super::{Domain, Level, Line};
use firstline_model::semconv;
use std::collections::BTreeMap;

const DOMAIN: Domain = Domain::Program;
/// Crashes of one program from which they are more than bad luck.
const REPEATED: f64 = 3.0;

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for program in view.samples(semconv::PROCESS_CPU_UTILIZATION) {
        if program.value >= 1.0 {
            let text =
                format!("{} keeps {:.1} processors busy right now.", id(program.component), program.value);
            let advice = "If it should not, close it and start it again.";
            lines.push(program.line(Level::Note, DOMAIN, "app.resource_hog", text, advice));
        }
    }
    let mut crashed = BTreeMap::new();
    for (component, _) in view.events(semconv::APP_CRASHES) {
        *crashed.entry(component).or_insert(0.0) += 1.0;
    }
    for (component, times) in crashed {
        let (level, advice) = if times >= REPEATED {
            (Level::Warning, "Update it; if it goes on, call the helpdesk.")
        } else {
            (Level::Note, "")
        };
        let often = if times == 1.0 { "once".to_owned() } else { format!("{} times", count(times)) };
        let text = format!("{} crashed {often} since this machine started.", id(component));
        lines.push(line(level, DOMAIN, "app.crash", component, text, advice));
    }
    lines
}
