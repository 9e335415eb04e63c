//! Between the stored shape and the model: JSON bodies of rows.
//!
//! Model and core know no serde, on purpose: what is stored must be able to stay the same when they change, and
//! the reverse. So every stored type has a shape here, with a conversion in each direction that the compiler checks
//! for completeness. New optional fields of a shape get `#[serde(default)]`, so that old rows stay readable.

mod cause;
mod finding;
mod latest;
mod state;
mod ticket;
mod value;

pub(crate) use cause::StoredCause;
pub(crate) use finding::StoredFinding;
pub(crate) use latest::StoredContent;
pub(crate) use state::StoredDeviceState;
pub(crate) use ticket::{StoredTicket, timeline_kind};
pub(crate) use value::{StoredAttributes, StoredValue};

use crate::StoreError;
use firstline_model::{Invalid, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;

/// The stored form of one model type.
pub(crate) trait Shape: Serialize + DeserializeOwned {
    /// The model type.
    type Model;
    /// The stored form of `model`.
    fn of(model: &Self::Model) -> Self;
    /// The model value, if the stored form is one.
    fn into_model(self) -> Result<Self::Model, Invalid>;
}

/// The JSON text of a value.
pub(crate) fn encode<S: Shape>(model: &S::Model) -> Result<String, StoreError> {
    serde_json::to_string(&S::of(model))
        .map_err(|error| StoreError::Invalid { detail: format!("it cannot be written as JSON: {error}") })
}

/// The value of a JSON text that stands in `table` under `key`.
pub(crate) fn decode<S: Shape>(table: &str, key: impl Display, text: &str) -> Result<S::Model, StoreError> {
    let shape: S = serde_json::from_str(text).map_err(|error| corrupt(table, &key, &error))?;
    shape.into_model().map_err(|error| corrupt(table, &key, &error))
}

/// What is said of a row that cannot be understood.
pub(crate) fn corrupt(table: &str, key: &impl Display, why: &impl Display) -> StoreError {
    StoreError::Corrupt { detail: format!("table {table}, row {key}: {why}") }
}

/// A text of a closed list, or why it is not on the list.
pub(crate) fn known<T>(what: &'static str, text: &str, found: Option<T>) -> Result<T, Invalid> {
    found.ok_or_else(|| Invalid::new(what, format!("{text:?} is not known to this version")))
}

/// Milliseconds as they are stored.
fn millis(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millis)
}

/// The reverse of [`millis`].
fn time(millis: Option<i64>) -> Option<Timestamp> {
    millis.map(Timestamp::from_millis)
}
