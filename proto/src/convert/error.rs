//! Why bytes from the other side are not a message.

use firstline_model::Invalid;
use thiserror::Error;

/// What is wrong with a message. None of these is worth a retry: the same bytes will always be refused.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// It is not protobuf of this schema.
    #[error("not a message of this schema")]
    Protobuf(#[from] prost::DecodeError),
    /// Parts of it do not fit into each other, or it holds what this schema has none of.
    #[error("cut off, or with lengths that cannot be")]
    Malformed,
    /// A part is larger than the limits allow.
    #[error("{what}: {found}, at most {limit} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A field that must be there is not, or holds a value that this version does not know.
    #[error("{what} is missing or unknown")]
    Missing {
        /// Which field.
        what: &'static str,
    },
    /// A field holds something that cannot be.
    #[error("a field is not valid")]
    Invalid(#[from] Invalid),
}
