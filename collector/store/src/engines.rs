//! The registry of engines: one line each. The conformance suite runs over exactly this list.

pub mod memory;
pub mod sqlite;

use crate::{Store, StoreError};
use std::path::Path;
use std::sync::Arc;

/// An engine that can be chosen by name.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// What `--store` calls it.
    pub name: &'static str,
    /// Opens what is kept in a folder, creating it where it is not there yet.
    pub open: fn(&Path) -> Result<Arc<dyn Store>, StoreError>,
}

/// Every engine, the default first.
pub const ENGINES: &[Engine] = &[
    Engine {
        name: "sqlite",
        open: |folder| Ok(Arc::new(sqlite::Sqlite::open(&folder.join(sqlite::FILE_NAME))?)),
    },
    Engine { name: "memory", open: |_| Ok(Arc::new(memory::Memory::new())) },
];

/// The engine with this name.
pub fn engine(name: &str) -> Option<&'static Engine> {
    ENGINES.iter().find(|engine| engine.name == name)
}
