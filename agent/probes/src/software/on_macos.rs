//! Installed programs on macOS, as the inventory lists them. What belongs to the system has the system's version.

use crate::on_macos::{Half, Machine, Question, section};
use crate::{Context, ProbeError, Sink};
use firstline_model::{Component, ComponentKind, Value};
use std::collections::BTreeMap;

/// The state document `software`: program name to version.
#[derive(Debug, Default)]
pub struct Source;

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, _: &Context, sink: &mut Sink) {
        let os = Component::only(ComponentKind::Os);
        let programs = section(machine, Question::Applications).and_then(|rows| {
            let program = |row: &crate::row::Row| {
                let is_of_people = row.text("obtained_from") != Some("apple");
                let version = row.text("version").unwrap_or_default().to_owned();
                is_of_people.then_some((row.text("_name")?.to_owned(), version))
            };
            let found: BTreeMap<String, String> = rows.iter().filter_map(program).collect();
            if rows.is_empty() {
                return Err(ProbeError::Malformed("the inventory lists no program".to_owned()));
            }
            Ok(found)
        });
        match programs {
            Ok(programs) => {
                let pairs = programs.into_iter().map(|(name, version)| (name, Value::from(version)));
                sink.state(&os, "software", Value::map(pairs));
            }
            Err(error) => sink.failed(&os, "software", &error),
        }
    }
}
