//! Evidence that the last system ended in a crash: logs that the firmware kept over the restart.
//!
//! systemd moves them from `/sys/fs/pstore` to `/var/lib/systemd/pstore`, if they are there before it looks. What was reported
//! once is remembered in the agent's folder by name and content, so that the agent's own restart is not taken for another crash
//! and another crash not for the same one.

use super::parse;
use crate::{Context, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component};

const PLACES: [&str; 2] = ["/var/lib/systemd/pstore", "/sys/fs/pstore"];
const REMEMBERED: &str = "crash-evidence";
/// Newer versions of systemd make a folder for the time and one for the count of the crash.
const FOLDERS_DEEP: usize = 2;
/// Firmware keeps a log in dozens of parts.
const MAX_FILES: usize = 200;

/// Reports one event when there is evidence that was not reported before.
pub(super) fn collect(context: &Context, os: &Component, sink: &mut Sink) {
    let remembered = context.state_dir.as_ref().map(|dir| dir.join(REMEMBERED));
    let known = remembered.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let is_known = |mark: &str, name: &str| known.lines().any(|line| line == mark || line == name);
    let (mut marks, mut line) = (Vec::new(), None);
    for file in evidence(&context.root) {
        let Ok(text) = context.root.read_text(&file) else { continue };
        let mark = format!("{} {:016x}", name(&file), digest(&text));
        // Earlier versions remembered the name alone.
        if line.is_none() && !is_known(&mark, name(&file)) {
            line = parse::crash_line(&text).map(str::to_owned);
        }
        marks.push(mark);
    }
    if let Some(line) = line {
        let attributes = Attributes::none().with(attribute::CAUSE, "panic").with(attribute::LINE, line);
        sink.event(os, semconv::OS_UNEXPECTED_RESTART, attributes);
    }
    let marks = marks.join("\n");
    if let Some(path) = remembered.filter(|_| !marks.is_empty() && marks != known)
        && let Err(error) = std::fs::write(&path, marks)
    {
        tracing::warn!(path = %path.display(), %error, "reported crash evidence cannot be remembered");
    }
}

/// Names without their folders: a file keeps its name when it is moved.
fn name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// What tells one log from another of the same name (FNV-1a, 64 bits): memory that is kept over a restart begins with the same
/// record after each one.
fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Files of kernel logs below the places and in folders there, which are named by the time of the crash: the newest first.
fn evidence(root: &Root) -> Vec<String> {
    let mut files = Vec::new();
    for place in PLACES {
        below(root, place, FOLDERS_DEEP, &mut files);
    }
    files
}

fn below(root: &Root, folder: &str, deep: usize, files: &mut Vec<String>) {
    for entry in root.list(folder).unwrap_or_default().into_iter().rev() {
        let path = format!("{folder}/{entry}");
        if files.len() >= MAX_FILES {
            return;
        }
        if root.path(&path).is_dir() {
            if deep > 0 {
                below(root, &path, deep - 1, files);
            }
        } else if entry.starts_with("dmesg-") {
            // `dmesg.txt` beside them is what systemd has put together of them.
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::{ComponentKind, Timestamp};

    /// How many crashes each look at the machine reports; between two looks `happen` changes the machine.
    fn reported<const N: usize>(happen: [fn(&std::path::Path); N]) -> [usize; N] {
        let machine = tempfile::tempdir().unwrap();
        let state = tempfile::tempdir().unwrap();
        let mut context = Context::new(Root::at(machine.path()), Timestamp::from_millis(0));
        context.state_dir = Some(state.path().to_owned());
        happen.map(|happen| {
            happen(machine.path());
            let mut sink = Sink::new(context.now);
            collect(&context, &Component::only(ComponentKind::Os), &mut sink);
            sink.into_parts().0.len()
        })
    }

    fn write(machine: &std::path::Path, file: &str, at: &str) {
        let path = machine.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("Panic#1 Part1\n<0>[  {at}] Kernel panic - not syncing: x\n")).unwrap();
    }

    #[test]
    fn a_crash_is_reported_once_over_restarts_of_the_agent() {
        let crash: fn(&std::path::Path) = |machine| write(machine, "sys/fs/pstore/dmesg-ramoops-0", "1.0");
        assert_eq!(reported([crash, |_| {}]), [1, 0]);
    }

    #[test]
    fn another_crash_under_the_name_of_the_one_before_is_another() {
        let first: fn(&std::path::Path) = |machine| write(machine, "sys/fs/pstore/dmesg-ramoops-0", "176.4");
        let again = |machine: &std::path::Path| write(machine, "sys/fs/pstore/dmesg-ramoops-0", "59.8");
        assert_eq!(reported([first, again, |_| {}]), [1, 1, 0]);
    }

    #[test]
    fn what_systemd_moves_is_the_same_crash_and_what_it_makes_of_it_too() {
        let first: fn(&std::path::Path) =
            |machine| write(machine, "sys/fs/pstore/dmesg-efi-1618840057001001", "9.0");
        let moved = |machine: &std::path::Path| {
            std::fs::remove_dir_all(machine.join("sys/fs/pstore")).unwrap();
            write(machine, "var/lib/systemd/pstore/1618840057/001/dmesg-efi-1618840057001001", "9.0");
            write(machine, "var/lib/systemd/pstore/1618840057/001/dmesg.txt", "9.0, and more");
        };
        let another = |machine: &std::path::Path| {
            write(machine, "var/lib/systemd/pstore/1618999999/001/dmesg-efi-1618999999001001", "7.0")
        };
        assert_eq!(reported([first, moved, another]), [1, 0, 1]);
    }

    #[test]
    fn what_an_earlier_version_remembered_by_name_is_not_reported_again() {
        let machine = tempfile::tempdir().unwrap();
        let state = tempfile::tempdir().unwrap();
        write(machine.path(), "sys/fs/pstore/dmesg-ramoops-0", "1.0");
        std::fs::write(state.path().join(REMEMBERED), "dmesg-ramoops-0").unwrap();
        let mut context = Context::new(Root::at(machine.path()), Timestamp::from_millis(0));
        context.state_dir = Some(state.path().to_owned());
        let look = || {
            let mut sink = Sink::new(context.now);
            collect(&context, &Component::only(ComponentKind::Os), &mut sink);
            sink.into_parts().0.len()
        };
        assert_eq!(look(), 0);
        write(machine.path(), "sys/fs/pstore/dmesg-ramoops-0", "2.0");
        assert_eq!(look(), 1, "from then on it is known by its content");
    }
}
