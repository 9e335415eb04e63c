//! One suite for every engine of the registry: what a store promises, tested at its boundary.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its case has failed")]

mod desk;
mod devices;
mod enrollment;
mod fixtures;
mod identities;
mod ingest;
mod people;
mod quiet;
mod recovery;
mod shared;
