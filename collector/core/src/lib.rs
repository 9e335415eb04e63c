//! Decisions of the collector: which observations are findings, which findings are tickets, what a ticket becomes.
//!
//! Pure. This crate does not know the wire, storage, JSON, TOML, HTTP, clocks, randomness or threads. Time and ids
//! are arguments; what has to happen in the world comes back as data (see [`ticket::Effect`]) and is saved in the
//! same transaction as the state that asked for it.
#![warn(missing_docs)]

pub mod desk;
pub mod device;
pub mod device_clock;
pub mod diagnosis;
pub mod evaluate;
pub mod expiry;
pub mod finding;
pub mod fleet;
pub mod knowledge;
pub mod lineage;
pub mod peers;
pub mod present;
pub mod quiet;
pub mod server_time;
pub mod sla;
pub mod ticket;

#[cfg(test)]
mod fixture;
