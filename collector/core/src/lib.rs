//! Decisions of the collector.
