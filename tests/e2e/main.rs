//! End-to-end tests: both programs as a company runs them, with real faults.

mod backup;
mod clocks;
mod clones;
mod delivery;
mod enrollment;
mod enrollment_race;
mod expiry;
mod faults;
mod frames;
mod hostile_collector;
mod hostile_strings;
mod identity;
mod maintenance;
mod operation;
mod outages;
mod overload;
mod peers;
mod renewal;
mod revocation;
mod root_service;
mod rotation;
mod secrets;
mod shared_causes;
mod signing;
mod spool_damage;
mod units;
