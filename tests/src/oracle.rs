//! The oracle: what a run must have stored, known without asking the product.
//!
//! [`generator`] makes records whose content follows from (seed, device, sequence number). [`fleet`] plays devices that
//! send them, keep what is not acked, and write into the [`ledger`] what became durable on their side (`I`) and what was
//! acked (`A`). After the faults, [`verdict`] lets a Python program judge: it shares no code with the product and reads
//! only the ledger and the database file.

pub mod fleet;
pub mod generator;
pub mod ledger;
pub mod verdict;
