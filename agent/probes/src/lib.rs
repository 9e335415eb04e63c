//! Reads the machine and decides nothing.
