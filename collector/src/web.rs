//! The web side of the collector: the helpdesk's pages and the REST interface, on one router.
//!
//! A leaf. It reads and writes through the store's traits and knows nothing of gRPC, ingest, engines or where
//! knowledge comes from; what it needs besides the store is handed to it in a [`WebContext`]. Serving the router over
//! TLS is the caller's work; inserting `axum::extract::ConnectInfo<std::net::SocketAddr>` makes the sign-in limit
//! count per address.

mod api;
mod assets;
mod caller;
mod context;
mod desk;
mod failure;
mod guard;
mod input;
mod operations;
mod pages;
mod password;
mod routes;
mod session;
mod shown;
#[cfg(test)]
mod tests;
mod throttle;
mod units;

pub(crate) use context::{
    Change, Health, KnowledgeList, KnowledgeText, NoRandomness, RefusedFile, WebContext,
};
pub(crate) use password::hash as hash_password;
pub(crate) use routes::router;
pub(crate) use session::secret_hash;
