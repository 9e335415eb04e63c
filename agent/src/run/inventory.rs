//! What the collector was told of the inventories, kept in a file of the data folder: an unchanged machine says a digest of
//! them, also after a restart, and a changed one what changed.
//!
//! The file is written when the record is durable. When it is missing, damaged or older than what was said (the machine
//! stopped in between, the disk refused), the worst is that the collector does not hold what a change is of, and asks for
//! the whole.

use crate::collect::{Collected, RunOf};
use firstline_agent_platform::private_file;
use firstline_model::{Body, Component, Observation, Timestamp, Value, semconv};
use firstline_proto::convert::{InventoryChange, decode_record, encode_record};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Documents = BTreeMap<(Component, String), Value>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Without a data folder inventories are said in full.
    file: Option<PathBuf>,
}

/// What was collected, with the inventories as changes.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) rest: Collected,
    pub(super) changes: Vec<InventoryChange>,
    /// What the collector knows when this is durable; `None`: nothing new.
    pub(super) documents: Option<Documents>,
}

impl Inventory {
    pub(super) fn at_home(data: &Path) -> Self {
        Self { file: Some(data.join("inventory.bin")) }
    }

    /// Takes the inventories out of what was collected. One that was never told stays in, in full.
    pub(super) fn tell(&self, found: &Collected) -> Told {
        let is_inventory = |observation: &Observation| match &observation.body {
            Body::State { name, .. } => semconv::INVENTORIES.contains(&name.as_ref()),
            Body::Sample { .. }
            | Body::Event { .. }
            | Body::Unavailable { .. }
            | Body::Presence(_)
            | Body::Diagnostic(_)
            | Body::Facts(_)
            | Body::Gap { .. } => false,
        };
        let rest = Collected::new(Vec::new(), found.urgent);
        let mut told = Told { rest, changes: Vec::new(), documents: None };
        if self.file.is_none() || !found.observations.iter().any(is_inventory) {
            told.rest.observations.clone_from(&found.observations);
            told.rest.runs.clone_from(&found.runs);
            return told;
        }
        let mut documents = self.read();
        let mut left_out = Vec::new();
        for (place, observation) in found.observations.iter().enumerate() {
            if let Body::State { name, document } = &observation.body
                && is_inventory(observation)
            {
                let (component, at) = (&observation.component, observation.observed_at);
                let before = documents.insert((component.clone(), name.to_string()), document.clone());
                if before.as_ref() != Some(document) {
                    told.documents = Some(Documents::new());
                }
                let change = before
                    .and_then(|before| InventoryChange::between(component, name, at, &before, document));
                if let Some(change) = change {
                    told.changes.push(change);
                    left_out.push(place);
                    continue;
                }
            }
            told.rest.observations.push(observation.clone());
        }
        told.rest.runs = found.runs.iter().map(|run| without(run, &left_out)).collect();
        told.documents = told.documents.map(|_| documents);
        told
    }

    /// What was told is durable. A file that cannot be written costs a question of the collector.
    pub(super) fn written(&self, documents: Option<Documents>) {
        let (Some(file), Some(documents)) = (&self.file, documents) else { return };
        let observations: Vec<Observation> =
            documents.into_iter().map(|one| state(one, Timestamp::from_millis(0))).collect();
        if let Err(error) = private_file::replace(file, &encode_record(&observations)) {
            tracing::warn!(error = %error, "what was told of the inventory cannot be kept");
        }
    }

    /// Everything that was told, to be told again in full, as seen at `now`.
    pub(super) fn take_all(&self, now: Timestamp) -> Vec<Observation> {
        let documents = self.read();
        if let Some(file) = self.file.as_ref().filter(|_| !documents.is_empty())
            && let Err(error) = std::fs::remove_file(file)
        {
            tracing::warn!(error = %error, "what was told of the inventory cannot be forgotten");
            return Vec::new();
        }
        documents.into_iter().map(|one| state(one, now)).collect()
    }

    /// A file that is missing or damaged says nothing.
    fn read(&self) -> Documents {
        let Some(file) = self.file.as_ref().filter(|file| file.exists()) else { return Documents::new() };
        let kept = private_file::read(file).ok().and_then(|bytes| decode_record(&bytes).ok());
        let states = kept.unwrap_or_default().into_iter().filter_map(|observation| match observation.body {
            Body::State { name, document } => Some(((observation.component, name.into_owned()), document)),
            Body::Sample { .. }
            | Body::Event { .. }
            | Body::Unavailable { .. }
            | Body::Presence(_)
            | Body::Diagnostic(_)
            | Body::Facts(_)
            | Body::Gap { .. } => None,
        });
        states.collect()
    }
}

fn state(((component, name), document): ((Component, String), Value), observed_at: Timestamp) -> Observation {
    Observation { component, observed_at, body: Body::State { name: name.into(), document } }
}

/// Where a run lies when what stood at these places is gone.
fn without(run: &RunOf, gone: &[usize]) -> RunOf {
    let moved = |place: usize| place - gone.iter().filter(|gone| **gone < place).count();
    RunOf { probe: run.probe, places: moved(run.places.start)..moved(run.places.end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::{Attributes, ComponentKind};

    fn software(version: &str) -> Observation {
        let document = Value::map([("cups", Value::from("2.4")), ("vim", Value::from(version))]);
        Observation {
            component: Component::only(ComponentKind::Os),
            observed_at: Timestamp::from_millis(7),
            body: Body::State { name: "software".into(), document },
        }
    }

    fn sample() -> Observation {
        let body = Body::Sample { metric: "m".into(), attributes: Attributes::none(), value: 1.0 };
        Observation {
            component: Component::only(ComponentKind::Agent),
            observed_at: Timestamp::from_millis(7),
            body,
        }
    }

    fn look(version: &str) -> Collected {
        let runs = vec![RunOf { probe: "os", places: 0..1 }, RunOf { probe: "software", places: 1..3 }];
        Collected { observations: vec![sample(), software(version), sample()], urgent: false, runs }
    }

    #[test]
    fn an_unchanged_inventory_is_not_said_again_by_the_next_process_either() {
        let folder = tempfile::tempdir().unwrap();
        let first = Inventory::at_home(folder.path());
        let told = first.tell(&look("9.0"));
        assert_eq!((told.rest.observations.len(), told.changes.len()), (3, 0));
        assert_eq!(told.rest.runs, look("9.0").runs);
        first.written(told.documents);

        let next = Inventory::at_home(folder.path());
        let told = next.tell(&look("9.0"));
        assert_eq!(told.rest.observations, [sample(), sample()]);
        let runs = [RunOf { probe: "os", places: 0..1 }, RunOf { probe: "software", places: 1..2 }];
        assert_eq!(told.rest.runs, runs);
        assert_eq!(told.changes[0].base, told.changes[0].digest);
        assert!(told.documents.is_none(), "nothing is written for it");

        let told = next.tell(&look("9.1"));
        assert_eq!(told.changes[0].changed, Value::map([("vim", Value::from("9.1"))]));
        assert!(told.documents.is_some());
    }

    #[test]
    fn what_was_not_durable_or_is_damaged_or_asked_for_is_said_in_full() {
        let folder = tempfile::tempdir().unwrap();
        let inventory = Inventory::at_home(folder.path());
        let in_full = |inventory: &Inventory| inventory.tell(&look("9.0")).changes.is_empty();
        let _ = inventory.tell(&look("9.0"));
        assert!(in_full(&inventory), "it did not become durable");
        inventory.written(inventory.tell(&look("9.0")).documents);
        assert!(!in_full(&inventory));
        let again = inventory.take_all(Timestamp::from_millis(9));
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].body, software("9.0").body);
        assert!(in_full(&inventory));
        inventory.written(inventory.tell(&look("9.0")).documents);
        std::fs::write(folder.path().join("inventory.bin"), "damaged").unwrap();
        assert!(in_full(&inventory));
        assert!(in_full(&Inventory::default()));
    }
}
