//! Being a good citizen of the operating system: where files lie, who may read them, when the machine slept, when
//! to stop.
//!
//! One facade file per concern with the implementation of each system beside it. This crate does not know probes,
//! the wire, the spool or any other crate of the workspace.
#![warn(missing_docs)]

pub mod boot;
pub mod clock;
pub mod core_files;
pub mod dirs;
pub mod disk;
pub mod host;
pub mod local_socket;
pub mod private_file;
pub mod resident;
pub mod signal;
pub mod trust;
pub mod usage;
