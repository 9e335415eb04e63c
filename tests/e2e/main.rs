//! End-to-end tests: both programs as a company runs them, with real faults.

mod delivery;
mod enrollment;
mod faults;
mod identity;
mod operation;
mod spool_damage;
