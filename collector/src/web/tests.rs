//! The router as a whole, called without a network.

mod access;
mod backtests;
mod desk;
mod hostile;
mod interface;
mod lists;
mod maintenance;
mod sign_in;
mod support;
