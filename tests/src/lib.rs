//! The harness of the end-to-end tests: real collectors and agents as processes of their own, real faults, and
//! readers that share no code with what they check.
//!
//! A test reads as a sentence: start a [`Collector`], enroll an [`Agent`], cause a fault ([`disk`], [`dns`],
//! [`printer`], [`link`]), wait for the ticket. Nothing waits for a fixed time: everything waits for a condition with
//! a time limit. Everything that a test starts or mounts ends with the value that stands for it.

pub mod agent;
pub mod attack;
pub mod backlog;
pub mod battery;
pub mod branch;
pub mod browser;
pub mod collector;
pub mod database;
pub mod disk;
pub mod dns;
pub mod effort;
pub mod enrollee;
pub mod fake_clock;
pub mod figure;
pub mod fuzz;
pub mod healthy;
pub mod hostile;
pub mod keeper;
pub mod link;
pub mod needs;
pub mod office;
pub mod oracle;
pub mod portal;
pub mod printer;
pub mod process;
pub mod rest;
pub mod simulated;
pub mod snmp;
pub mod stranger;
pub mod system_bus;
pub mod tracer;
pub mod volume;
pub mod wait;

pub use agent::Agent;
pub use collector::Collector;
