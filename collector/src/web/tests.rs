//! The router as a whole, called without a network.

mod interface;
