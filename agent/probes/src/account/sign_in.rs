//! How long a sign-in took: from the begin of the session until its desktop was there, which systemd's manager of the
//! person's own services says by starting `graphical-session.target`. That stands in the journal only, for which the
//! rights of the administrator or of the group systemd-journal are needed. What happened before the session began (the
//! password's check) is not in it. Told once for each session.

use super::journal::{Journal, boot_id};
use super::session::{Kind, Session};
use crate::{Context, ProbeError, Root, Sink};
use firstline_model::{Attributes, Component, ComponentKind, semconv};
use std::io::BufReader;
use std::time::Duration;

const READY: &str = "graphical-session.target";
/// Where a journal lies that survives a restart, and one that does not.
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// A sign-in that takes longer has failed, or its desktop never tells.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// The file in the agent's folder that names the session that was told last.
const REMEMBERED: &str = "sign-in-reported";

/// The session that was told last, by its boot and begin.
#[derive(Debug, Default)]
pub(super) struct SignIn {
    told: Option<String>,
}

impl SignIn {
    /// Tells how long the sign-in of the person at the machine took, if that is known now and was not told.
    pub(super) fn tell(
        &mut self,
        session: &Session,
        context: &Context,
        sink: &mut Sink,
    ) -> Result<(), ProbeError> {
        let (Kind::Desktop, Some(begun), Some(user)) = (session.kind, session.begun, session.number) else {
            return Ok(());
        };
        let root = &context.root;
        let boot = root.read_value("/proc/sys/kernel/random/boot_id").and_then(|text| boot_id(&text));
        let Some(boot) = boot else { return Ok(()) };
        let name = format!("{boot:032x} {begun}");
        let remembered = context.state_dir.as_ref().map(|dir| dir.join(REMEMBERED));
        if self.told.is_none() {
            self.told = remembered.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        }
        if self.told.as_deref() == Some(name.as_str()) {
            return Ok(());
        }
        let Some(ready) = ready(root, user, boot, begun)? else {
            // It is looked for again until it can no more come.
            let age = session.since.filter(|since| *since < context.now).map(|at| context.now.since(at));
            return match age {
                Some(age) if age > LONGEST => Err(ProbeError::Unsupported(
                    "the desktop did not say when it was there, or the journal forgot".to_owned(),
                )),
                Some(_) | None => Ok(()),
            };
        };
        let took = Duration::from_micros(ready.saturating_sub(begun));
        if took <= LONGEST
            && let Ok(component) = Component::new(ComponentKind::User, session.user.as_str())
        {
            sink.sample(&component, semconv::LOGIN_DURATION, Attributes::none(), took.as_secs_f64());
        }
        if let Some(path) = remembered
            && let Err(error) = std::fs::write(&path, &name)
        {
            tracing::warn!(path = %path.display(), %error, "that this sign-in was told cannot be remembered");
        }
        self.told = Some(name);
        Ok(())
    }
}

fn ready(root: &Root, user: u32, boot: u128, begun: u64) -> Result<Option<u64>, ProbeError> {
    let Some(machine) = root.read_value("/etc/machine-id").filter(|id| boot_id(id).is_some()) else {
        return Ok(None);
    };
    let mut missing = None;
    for folder in JOURNALS {
        for name in [format!("user-{user}"), "system".to_owned()] {
            match root.open(&format!("{folder}/{machine}/{name}.journal")) {
                Ok(file) => {
                    let found = Journal::open(BufReader::with_capacity(512, file))
                        .and_then(|mut journal| journal.started(READY, user, boot, begun));
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                Err(ProbeError::NotPresent(_)) => {}
                Err(error) => missing = Some(error),
            }
        }
    }
    missing.map_or(Ok(None), Err)
}
