//! What every record carries in front of its payload, so that it proves itself: whether it is whole, and which record of
//! which epoch it is, even when nothing is left of the database around it.
//!
//! The mark is the column before the payload, so the two lie side by side in the file, and a record can be found by its
//! first bytes in a damaged one ([`super::carve`]). Forty bytes: `FLr1`, the epoch's name, the sequence number, the
//! payload's length and CRC-32, and the CRC-32 of the mark itself; numbers are little-endian.

use firstline_model::{Epoch, SequenceNumber};

/// How a mark begins.
pub(super) const MAGIC: [u8; 4] = *b"FLr1";
/// How long a mark is.
pub(super) const BYTES: usize = 40;

/// A mark that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: Epoch,
    pub(super) seq: SequenceNumber,
    pub(super) len: u32,
    sum: u32,
}

impl Mark {
    /// The mark of this record.
    pub(super) fn of(epoch: Epoch, seq: SequenceNumber, payload: &[u8]) -> Self {
        // A payload is at most a mebibyte; the record limit of the wire says so.
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Self { epoch, seq, len, sum: crc32fast::hash(payload) }
    }

    /// As it lies in the file.
    pub(super) fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..20].copy_from_slice(&self.epoch.0);
        bytes[20..28].copy_from_slice(&self.seq.0.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.len.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.sum.to_le_bytes());
        let own = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// The mark at the beginning of `bytes`, if it is one and is whole.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.first_chunk()?;
        let (_, rest) = bytes.split_first_chunk::<4>().filter(|(magic, _)| **magic == MAGIC)?;
        let (epoch, rest) = rest.split_first_chunk::<16>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (sum, own) = rest.split_first_chunk::<4>()?;
        (own == crc32fast::hash(&bytes[..36]).to_le_bytes()).then(|| Self {
            epoch: Epoch(*epoch),
            seq: SequenceNumber(u64::from_le_bytes(*seq)),
            len: u32::from_le_bytes(*len),
            sum: u32::from_le_bytes(*sum),
        })
    }

    /// Whether this is the payload that was spooled.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        u32::try_from(payload.len()) == Ok(self.len) && crc32fast::hash(payload) == self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_of_a_mark_or_its_payload_goes_unnoticed() {
        let payload = b"what a probe saw".to_vec();
        let whole = Mark::of(Epoch([7; 16]), SequenceNumber(42), &payload).to_bytes();
        assert!(Mark::from_bytes(&whole).is_some_and(|mark| mark.fits(&payload)));
        for bit in 0..BYTES * 8 {
            let mut flipped = whole;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::from_bytes(&flipped), None, "bit {bit}");
        }
        for bit in 0..payload.len() * 8 {
            let mut flipped = payload.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!Mark::from_bytes(&whole).unwrap().fits(&flipped), "bit {bit}");
        }
    }
}
