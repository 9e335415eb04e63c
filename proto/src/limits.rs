//! How large things on the wire may be. Both sides refuse what is larger, before they allocate for it.

/// Largest gRPC message, after decompression: a batch of [`BATCH_BYTES`] with room for its frame.
pub const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Largest sum of record sizes in a batch.
pub const BATCH_BYTES: usize = 1024 * 1024;
/// Most records in a batch.
pub const BATCH_RECORDS: usize = 1000;
/// Largest record. A probe run of a full machine is a few KiB; a software inventory some 100 KiB.
pub const RECORD_BYTES: usize = 1024 * 1024;
/// Most observations in a record.
pub const RECORD_OBSERVATIONS: usize = 1000;
/// Largest record that a later one may repeat, so that a few bytes cannot make a reader decode a megabyte.
pub const REPEATABLE_BYTES: usize = 64 * 1024;
/// Most repeats in a record.
pub const RECORD_REPEATS: usize = 64;
/// Most inventories in a record.
pub const RECORD_INVENTORIES: usize = 16;
/// Most texts in a record's table.
pub const RECORD_TEXTS: usize = 4096;
/// Longest text in a record's table, in bytes.
pub const TEXT_BYTES: usize = 1024;
/// Longest text inside a document, in bytes.
pub const DOCUMENT_TEXT_BYTES: usize = 4096;
/// Most values in one document.
pub const DOCUMENT_VALUES: usize = 20_000;
/// Most messages inside each other: a record leads to a document in four, and a document of the model's greatest depth has
/// eighteen. Anything above costs a decoder that calls itself one more call a level.
pub const MESSAGE_LEVELS: usize = 32;
/// Most epochs that an agent may offer.
pub const EPOCHS: usize = 64;
/// Largest certificate signing request.
pub const SIGNING_REQUEST_BYTES: usize = 4096;
/// Where the answer to an enrollment that came among too many says when to come again, in milliseconds: gRPC's own name.
pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";
/// Version of the session protocol that this code speaks.
pub const PROTOCOL: u32 = 1;
