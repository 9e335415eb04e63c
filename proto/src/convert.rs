//! Wire to model, which can fail, and model to wire, which cannot. One submodule per schema file.

mod depth;
mod directive;
mod error;
mod observation;
mod value;

pub use directive::{diagnostic_from_wire, diagnostic_to_wire};
pub use error::DecodeError;
pub use observation::{decode_record, encode_record};
