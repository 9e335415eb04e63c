//! Wire to model, which can fail, and model to wire, which cannot. One submodule per schema file.

mod depth;
mod directive;
mod error;
mod inventory;
mod observation;
mod repeat;
mod value;

pub use directive::{diagnostic_from_wire, diagnostic_to_wire};
pub use error::DecodeError;
pub use inventory::{Digest, InventoryChange, inventory_digest};
pub use observation::{DecodedRecord, decode_record, decode_record_with, encode_record, encode_record_with};
pub use repeat::{Leads, leads_of};
