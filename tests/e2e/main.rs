//! End-to-end tests: both programs as a company runs them, with real faults.

mod delivery;
mod enrollment;
mod enrollment_race;
mod faults;
mod identity;
mod operation;
mod revocation;
mod signing;
mod spool_damage;
