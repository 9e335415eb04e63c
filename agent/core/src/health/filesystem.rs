//! File systems: space, file entries, and those that no longer accept writes.

use super::view::View;
use super::wording::{counted, gibibytes, id, percent, shown};
use super::{Domain, Level, Line};
use firstline_model::Component;
use firstline_model::semconv::{self, attribute};

const DOMAIN: Domain = Domain::Filesystem;
/// A large drive that is nine tenths full has plenty of room.
const PLENTY: f64 = 20.0 * GIB;
const SCARCE: f64 = 5.0 * GIB;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines = space(view);
    lines.extend(entries(view));
    lines.extend(errors(view));
    lines
}

fn free(view: &View<'_>, component: &Component) -> Option<f64> {
    let usage = view.samples(semconv::FILESYSTEM_USAGE);
    let free = usage.iter().find(|s| s.component == component && s.is(attribute::FILESYSTEM_STATE, "free"));
    free.map(|sample| sample.value)
}

fn space(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for used in view.samples(semconv::FILESYSTEM_UTILIZATION) {
        let free = free(view, used.component);
        let has_less = |level: f64| free.is_none_or(|bytes| bytes < level);
        let (level, word) = match used.value {
            share if share > 0.98 && has_less(SCARCE) => (Level::Problem, "full"),
            share if share > 0.90 && has_less(PLENTY) => (Level::Warning, "nearly full"),
            _ => continue,
        };
        let left = free.map(|bytes| format!(", {} are free", gibibytes(bytes))).unwrap_or_default();
        let text =
            format!("The drive {} is {word}: {} is used{left}.", id(used.component), percent(used.value));
        let advice = "Empty the trash and downloads, or move large files elsewhere.";
        lines.push(used.line(level, DOMAIN, "fs.space", text, advice));
    }
    lines
}

fn entries(view: &View<'_>) -> Vec<Line> {
    let used = view.samples(semconv::FILESYSTEM_INODES_UTILIZATION);
    used.iter()
        .filter(|used| used.value > 0.90)
        .map(|used| {
            let level = if used.value > 0.98 { Level::Problem } else { Level::Warning };
            let text = format!(
                "The drive {} can hold few more files: {} of its file entries are used.",
                id(used.component),
                percent(used.value)
            );
            let advice = "Look for a folder with very many small files and empty it.";
            used.line(level, DOMAIN, "fs.inodes", text, advice)
        })
        .collect()
}

fn errors(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    let readonly = view.samples(semconv::FILESYSTEM_READONLY_UNEXPECTED);
    for stopped in readonly.iter().filter(|sample| sample.value > 0.0) {
        let document = view.document(stopped.component, "filesystem");
        let evidence = document.and_then(|d| d.get("readonly_evidence")).and_then(|e| e.as_text());
        let evidence = evidence.map(|evidence| format!(" ({})", shown(evidence))).unwrap_or_default();
        let text = format!(
            "The drive {} has switched to read-only because of errors: nothing can be saved there{evidence}.",
            id(stopped.component)
        );
        let advice =
            "Save open work elsewhere and call the helpdesk; do not restart before the data are safe.";
        lines.push(stopped.line(Level::Problem, DOMAIN, "fs.readonly", text, advice));
    }
    for errors in view.samples(semconv::FILESYSTEM_ERRORS) {
        let is_said = readonly.iter().any(|s| s.component == errors.component && s.value > 0.0);
        if errors.value > 0.0 && !is_said {
            let text = format!(
                "The file system {} has recorded {} in its own structure; one look cannot tell when.",
                id(errors.component),
                counted(errors.value, "error")
            );
            let advice = "Have it checked at the next restart, and see that there is a backup.";
            lines.push(errors.line(Level::Note, DOMAIN, "fs.errors", text, advice));
        }
    }
    lines
}
