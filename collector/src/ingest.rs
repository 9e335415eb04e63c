//! Takes the agents' streams in.
//!
//! [`listener`] accepts connections and tells who is there, [`enroll`] makes devices known, [`session`] speaks the
//! delivery protocol on one stream, and [`worker`] judges and stores what all streams bring, one transaction for many
//! devices at a time. Wire types do not travel past this folder.

pub(crate) mod device;
pub(crate) mod enroll;
pub(crate) mod listener;
pub(crate) mod policy;
pub(crate) mod registry;
pub(crate) mod session;
pub(crate) mod worker;
