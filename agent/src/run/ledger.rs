//! What became durable, what was delivered before it did, and what was acked, a line each, for whoever has to prove that
//! nothing is lost: an administrator who doubts a collector, and the tests that kill agents. Off unless the configuration asks for it
//! (`log = "info,firstline_agent::ledger=debug"`), because a record's hash costs reading it again.

use crate::spool::Spool;
use firstline_model::{ComponentKind, Epoch, SequenceNumber, Timestamp};
use firstline_proto::convert::decode_record;
use ring::digest::{SHA256, digest};
use std::collections::BTreeSet;
use tracing::Level;

/// The name in the configuration.
const TARGET: &str = "firstline_agent::ledger";

/// These records are on disk; the line is written strictly after the commit.
pub(super) fn durable(spool: &mut Spool, records: &[(Epoch, SequenceNumber, usize)], now: Timestamp) {
    each(spool, records, now, |epoch, seq, hash, about| {
        tracing::debug!(target: TARGET, %epoch, %seq, hash = %Hex(hash), about, "durable");
    });
}

/// The collector promised these, and here they are in memory only.
pub(super) fn delivered(spool: &mut Spool, records: &[(Epoch, SequenceNumber, usize)], now: Timestamp) {
    each(spool, records, now, |epoch, seq, hash, about| {
        tracing::debug!(target: TARGET, %epoch, %seq, hash = %Hex(hash), about, "delivered");
    });
}

fn each(
    spool: &mut Spool,
    records: &[(Epoch, SequenceNumber, usize)],
    now: Timestamp,
    say: impl Fn(&Epoch, &SequenceNumber, &[u8], String),
) {
    if !tracing::enabled!(target: TARGET, Level::DEBUG) {
        return;
    }
    for (epoch, seq, _) in records {
        let Ok(payloads) = spool.read(*epoch, *seq, 1, now) else { return };
        for payload in payloads {
            let hash = digest(&SHA256, &payload);
            say(epoch, seq, hash.as_ref(), about(&payload));
        }
    }
}

/// The kinds of component that a record is about, for whoever reads the lines.
fn about(payload: &[u8]) -> String {
    let observations = decode_record(payload).unwrap_or_default();
    let kinds: BTreeSet<ComponentKind> = observations.iter().map(|one| one.component.kind).collect();
    kinds.into_iter().map(ComponentKind::as_str).collect::<Vec<_>>().join(",")
}

/// The collector promised everything of the epoch through this.
pub(super) fn acked(epoch: Epoch, through: SequenceNumber) {
    tracing::debug!(target: TARGET, %epoch, %through, "acked");
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
