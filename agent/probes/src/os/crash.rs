//! Evidence that the last system ended in a crash: logs that the firmware kept over the restart.
//!
//! systemd moves them from `/sys/fs/pstore` to `/var/lib/systemd/pstore`. What was reported once is remembered by name in
//! the agent's folder, so that the agent's own restart is not taken for another crash.

use super::parse;
use crate::{Context, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component};
use std::path::PathBuf;

const PLACES: [&str; 2] = ["/var/lib/systemd/pstore", "/sys/fs/pstore"];
const REMEMBERED: &str = "crash-evidence";

/// Reports one event when there is evidence that was not reported before.
pub(super) fn collect(context: &Context, os: &Component, sink: &mut Sink) {
    let files = evidence(&context.root);
    let remembered = context.state_dir.as_ref().map(|dir| dir.join(REMEMBERED));
    let known = remembered.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let fresh: Vec<&String> =
        files.iter().filter(|file| !known.lines().any(|line| line == name(file))).collect();
    let line = fresh.iter().find_map(|file| {
        let text = context.root.read_text(file).ok()?;
        parse::crash_line(&text).map(str::to_owned)
    });
    if let Some(line) = line {
        let attributes = Attributes::none().with(attribute::CAUSE, "panic").with(attribute::LINE, line);
        sink.event(os, semconv::OS_UNEXPECTED_RESTART, attributes);
    }
    if let Some(path) = remembered.filter(|_| !fresh.is_empty()) {
        remember(path, &files);
    }
}

/// Names without their folders: a file keeps its name, or the folder named after it, when it is moved.
fn name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

fn remember(path: PathBuf, files: &[String]) {
    let names: Vec<&str> = files.iter().map(|file| name(file)).collect();
    if let Err(error) = std::fs::write(&path, names.join("\n")) {
        tracing::warn!(path = %path.display(), %error, "reported crash evidence cannot be remembered");
    }
}

/// Files of kernel logs below the places, also one folder deep.
fn evidence(root: &Root) -> Vec<String> {
    let mut files = Vec::new();
    for place in PLACES {
        for entry in root.list(place).unwrap_or_default() {
            let path = format!("{place}/{entry}");
            let inside = root.list(&path).unwrap_or_default();
            files.extend(
                inside.iter().filter(|file| file.starts_with("dmesg")).map(|file| format!("{path}/{file}")),
            );
            if entry.starts_with("dmesg") && inside.is_empty() {
                files.push(path);
            }
        }
    }
    files.truncate(50);
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::{ComponentKind, Timestamp};

    #[test]
    fn a_crash_is_reported_once_over_restarts_of_the_agent() {
        let machine = tempfile::tempdir().unwrap();
        let state = tempfile::tempdir().unwrap();
        let pstore = machine.path().join("sys/fs/pstore");
        std::fs::create_dir_all(&pstore).unwrap();
        std::fs::write(pstore.join("dmesg-ramoops-0"), "Panic#1\n<0>[1.0] Kernel panic - not syncing: x\n")
            .unwrap();
        let mut context = Context::new(Root::at(machine.path()), Timestamp::from_millis(0));
        context.state_dir = Some(state.path().to_owned());
        let mut reported = Vec::new();
        for _ in 0..2 {
            let mut sink = Sink::new(context.now);
            collect(&context, &Component::only(ComponentKind::Os), &mut sink);
            reported.push(sink.into_parts().0.len());
        }
        assert_eq!(reported, [1, 0]);
    }
}
