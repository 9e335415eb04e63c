//! Installed programs on Windows: what the list of programs in the control panel shows, out of the registry. The class
//! `Win32_Product` is not asked: it repairs every package that it names.

use crate::ProbeError;
use crate::on_windows::{Half, Machine};
use crate::{Context, Sink};
use firstline_model::{Component, ComponentKind, Value};
use std::collections::BTreeMap;

const PLACES: [&str; 2] = [
    r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall",
    r"SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
];
const MAX_PROGRAMS: usize = 5000;

/// The state document `software`: program name to version.
#[derive(Debug, Default)]
pub struct Source;

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, _: &Context, sink: &mut Sink) {
        let os = Component::only(ComponentKind::Os);
        match programs(machine) {
            Ok(programs) => {
                let pairs = programs.into_iter().map(|(name, version)| (name, Value::from(version)));
                sink.state(&os, "software", Value::map(pairs));
            }
            Err(error) => sink.failed(&os, "software", &error),
        }
    }
}

fn programs(machine: &dyn Machine) -> Result<BTreeMap<String, String>, ProbeError> {
    let mut found = BTreeMap::new();
    for place in PLACES {
        let names = match machine.subkeys(place) {
            Ok(names) => names,
            // Machines of 32 bits have one place only.
            Err(ProbeError::NotPresent(_)) => continue,
            Err(error) => return Err(error),
        };
        for name in names {
            let key = format!(r"{place}\{name}");
            let text = |value: &str| machine.registry(&key, value).ok()?.into_text();
            let is_hidden = machine.registry(&key, "SystemComponent").is_ok_and(|value| value.number() == Some(1))
                    // Updates of a program stand below it.
                    || machine.registry(&key, "ParentKeyName").is_ok();
            if let Some(shown) = text("DisplayName").filter(|shown| !shown.trim().is_empty() && !is_hidden)
                && found.len() < MAX_PROGRAMS
            {
                found.insert(shown.trim().to_owned(), text("DisplayVersion").unwrap_or_default());
            }
        }
    }
    if found.is_empty() {
        return Err(ProbeError::Malformed("the registry lists no installed program".to_owned()));
    }
    Ok(found)
}
