//! Keeps what the collector knows.
//!
//! One trait per aggregate ([`store`]), engines behind them, and one conformance suite that every engine passes.
//! This crate does not decide anything: a [`plan::CommitPlan`] says what becomes true, all of it or nothing. It does
//! not know HTTP, gRPC, certificates' contents or TOML.

mod cursor;
pub mod engines;
mod error;
pub mod history;
pub mod identity;
pub mod plan;
pub mod quiet;
pub mod record;
mod row;
pub mod sabotage;
pub mod store;

pub use error::StoreError;
pub use store::Store;
