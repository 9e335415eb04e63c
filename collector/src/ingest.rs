//! Takes the agents' streams in.
//!
//! [`listener`] accepts connections and tells who is there, [`enroll`] makes devices known, [`session`] speaks the
//! delivery protocol on one stream, and [`worker`] judges and stores what all streams bring, one transaction for many
//! devices at a time. What keeps one peer from costing the others: [`peers`] (connections), [`activity`] (idle and
//! stalled ones), [`frames`] (floods of HTTP/2), [`admission`]
//! (everybody at once), [`quota`] (how much a device brings), [`intake`] (in what portions). Wire types do not travel past this folder.
//!
//! Time, randomness and the network come from outside: `worker::start` takes the clock, [`admission`] what it draws with,
//! `listener::connection` any bytes both ways.

mod activity;
pub mod admission;
mod announce;
pub(crate) mod device;
mod ending;
pub(crate) mod enroll;
mod fleet;
mod frames;
pub(crate) mod identity;
mod intake;
pub mod listener;
mod numbers;
mod peers;
pub(crate) mod policy;
mod quota;
mod recovered;
pub mod registry;
pub(crate) mod repeats;
mod reply;
pub mod session;
pub mod worker;
