//! The independent ledger: an append-only file of lines, kept on another file system than what is put at risk.
//!
//! ```text
//! S seed                    of the generator
//! D device index            the generator's number of a device
//! I device epoch seq hash   durable on the device's side: a later loss would be a loss
//! A device epoch seq        the collector promised everything through this
//! V device value            a record with this number in it was among those that became durable
//! F what t0-ms t1-ms        a fault began and was over
//! ```

use ring::digest::{SHA256, digest};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A ledger, for any number of writers.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: Mutex<BufWriter<File>>,
}

impl Ledger {
    /// An empty one.
    ///
    /// # Panics
    /// When the file cannot be made.
    pub fn begin(path: &Path, seed: u64) -> Self {
        let file = File::create(path).expect("the ledger can be made");
        let ledger = Self { path: path.to_owned(), file: Mutex::new(BufWriter::new(file)) };
        ledger.line(&format!("S {seed}"));
        ledger
    }

    /// A device and its number.
    pub fn device(&self, device: &str, index: u64) {
        self.line(&format!("D {device} {index}"));
    }

    /// A record is durable on the device's side.
    pub fn durable(&self, device: &str, epoch: &[u8], seq: u64, payload: &[u8]) {
        self.durable_hash(device, &hex(epoch), seq, &hex(digest(&SHA256, payload).as_ref()));
    }

    /// The same, of a record that somebody else hashed.
    pub fn durable_hash(&self, device: &str, epoch: &str, seq: u64, hash: &str) {
        self.line(&format!("I {device} {epoch} {seq} {hash}"));
    }

    /// Everything through this was acked.
    pub fn acked(&self, device: &str, epoch: &str, seq: u64) {
        self.line(&format!("A {device} {epoch} {seq}"));
    }

    /// The device made a record durable that says this.
    pub fn said(&self, device: &str, value: f64) {
        self.line(&format!("V {device} {value:?}"));
    }

    /// A fault, in milliseconds since 1970.
    pub fn fault(&self, what: &str, begin: i64, end: i64) {
        self.line(&format!("F {what} {begin} {end}"));
    }

    fn line(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").expect("the ledger can be written");
    }

    /// Where it lies, complete.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn finished(&self) -> &Path {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).flush().expect("the ledger can be written");
        &self.path
    }
}

/// In lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
