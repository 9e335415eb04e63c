//! Decisions of the agent: which probe is due, what cannot wait, which policy is within bounds, what to tell the
//! person at the machine.
//!
//! Pure. This crate does not know files, sockets, clocks, threads, the spool or the wire: time is an argument, and
//! every decision comes back as data.
#![warn(missing_docs)]

pub mod budget;
pub mod coalesce;
pub mod health;
pub mod policy;
pub mod schedule;
pub mod trigger;
