//! How long the last start of the system took, as systemd measured it, reported once a start.
//!
//! The kernel's number of the start is remembered in the agent's folder, so that the agent's own restart is not taken for
//! another start of the machine.

use super::parse;
use crate::{Context, Sink};
use firstline_model::{Attributes, Component, semconv};

const REMEMBERED: &str = "boot-reported";
/// What systemd is asked for, of itself.
pub(super) const PROPERTIES: &str =
    "--property=FirmwareTimestampMonotonic,FinishTimestampMonotonic,UserspaceTimestampMonotonic";

/// What is left to do for this start of the system.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// It has not been looked at.
    #[default]
    Unknown,
    /// It was reported, by this process or by one before.
    Reported,
}

/// Reports the duration of this start when it is over and was not reported yet. `ask` runs systemctl.
pub(super) fn collect(
    start: &mut Start,
    context: &Context,
    os: &Component,
    sink: &mut Sink,
    ask: impl FnOnce() -> Option<String>,
) {
    if *start == Start::Reported {
        return;
    }
    let Some(id) = context.root.read_value("/proc/sys/kernel/random/boot_id") else { return };
    let remembered = context.state_dir.as_ref().map(|dir| dir.join(REMEMBERED));
    let known = remembered.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    if known.is_some_and(|known| known.trim() == id) {
        *start = Start::Reported;
        return;
    }
    // A start that is not over has no duration yet: it is asked again at the next look.
    let Some(seconds) = ask().as_deref().and_then(parse::boot_duration) else { return };
    sink.sample(os, semconv::BOOT_DURATION, Attributes::none(), seconds);
    *start = Start::Reported;
    if let Some(path) = remembered
        && let Err(error) = std::fs::write(&path, &id)
    {
        tracing::warn!(path = %path.display(), %error, "that this start was reported cannot be remembered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use firstline_model::{ComponentKind, Timestamp};

    #[test]
    fn a_start_is_reported_once_when_it_is_over() {
        let (machine, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = machine.path().join("proc/sys/kernel/random");
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("boot_id"), "f3a1\n").unwrap();
        let mut context = Context::new(Root::at(machine.path()), Timestamp::from_millis(0));
        context.state_dir = Some(folder.path().to_owned());
        let over = "FirmwareTimestampMonotonic=4000000\nFinishTimestampMonotonic=31000000\n";
        let reports = |start: &mut Start, answer: &str| {
            let mut sink = Sink::new(context.now);
            let os = Component::only(ComponentKind::Os);
            collect(start, &context, &os, &mut sink, || Some(answer.to_owned()));
            sink.into_parts().0.len()
        };
        let mut start = Start::default();
        assert_eq!(reports(&mut start, "FinishTimestampMonotonic=0\n"), 0);
        assert_eq!(reports(&mut start, over), 1);
        assert_eq!(reports(&mut start, over), 0);
        assert_eq!(reports(&mut Start::default(), over), 0);
    }
}
