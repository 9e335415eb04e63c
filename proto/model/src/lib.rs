//! The words that agent and collector share: devices, components, observations, presence, diagnostics.
//!
//! Values only. This crate does not know the wire, storage, JSON, clocks or any operating system; converting to
//! and from those belongs to the crate at that edge. Constructors refuse what cannot be true, so a value that
//! exists is well formed.
#![warn(missing_docs)]

mod attributes;
mod component;
pub mod deceptive;
mod diagnostic;
mod document;
mod id;
mod observation;
pub mod order;
mod presence;
mod repeat;
pub mod resolution;
pub mod semconv;
mod severity;
mod time;

pub use attributes::Attributes;
pub use component::{Component, ComponentKind};
pub use diagnostic::{DiagnosticOutcome, DiagnosticReport, DiagnosticRequest};
pub use document::Value;
pub use id::{DeviceId, Epoch, Invalid, RuleCode, SequenceNumber, TicketId};
pub use observation::{Body, Observation, UnavailableReason};
pub use presence::Presence;
pub use repeat::{Repeat, Told};
pub use severity::Severity;
pub use time::Timestamp;
