//! Both halves of the at-least-once stream between agent and collector, and its specification.
//!
//! Sans-IO: nothing here reads a clock, draws randomness, touches a socket, a disk or a payload. Drivers report what
//! happened and do what is polled. This crate does not know the wire, the spool's files, or the store.
//!
//! # Terms
//!
//! - **Record**: one opaque payload in the agent's spool. Its key is (device, [`Epoch`], [`SequenceNumber`]). The
//!   device comes from the certificate of the stream and never from a message.
//! - **Epoch**: one life of a spool's numbering, named at random. A spool may hold several. Numbers begin at 1, rise by
//!   one, and are given out in the newest epoch only. An agent begins a new epoch at each start of its
//!   process: then a spool restored from an old copy cannot give a number out twice.
//! - **Watermark**: the agent's durable note of how far an epoch is acked. It may lag behind, never run ahead.
//! - **Mark**: the collector's durable note of how far an epoch is committed, written in the transaction that
//!   stores the records.
//! - **Credit**: how many records may be in flight (sent on this stream, not acked), over all epochs. A welcome and
//!   every ack carry it; it counts from the moment in which that message is processed. A right once granted is not
//!   taken back, so sender and receiver agree on the limit to the record.
//! - **Given up**: a record that the spool numbered and then lost: quota, retention, damage. The spool writes a gap
//!   record, itself an ordinary record of the newest epoch, that says which numbers and why.
//!
//! # A stream
//!
//! ```text
//! agent                                     collector
//!   Hello  { epochs: [first_unacked, next] } ->
//!                                         <- Welcome { marks: [through], credit }   or Refusal
//!   Batch  { epoch, first, records } ->        apply in order, one transaction each or grouped
//!   Batch  ... ->                              commit
//!                                         <- Ack { epoch, through, credit }         cumulative
//! ```
//!
//! 1. The hello offers at most [`MAX_EPOCHS`] epochs. Batches carry offered epochs only; a newer epoch needs a new stream.
//! 2. Each epoch continues after its mark. An epoch that the collector does not know starts at the offered
//!    `first_unacked`; what lies before it was acked to an earlier incarnation of the collector, or given up.
//! 3. Within an epoch, batches follow on each other without a hole. A number that was given up while a collector waits
//!    for it travels as an empty record. A batch that leaves a hole is refused and ends the stream.
//! 4. A sender never sends a number twice on one stream. Whatever is unacked when a stream ends is sent again, from
//!    the new mark on.
//! 5. The newest epoch goes first, has every second turn, and an eighth of the credit is its alone: live data does not wait
//!    for another epoch's backlog. Its own backlog it does wait for, because order within an epoch is strict; so after a
//!    long outage the agent begins a new epoch before its hello, and the old one drains behind it.
//! 6. Records in flight without any ack for the ack timeout mean that the connection is dead. While nothing is in
//!    flight, noticing a dead connection is left to the transport's keepalive.
//! 7. A refusal is the last message of a stream. The agent returns after a full-jitter backoff ([`Backoff`]).
//!
//! # Invariants
//!
//! - An ack, and a mark in a welcome, never exceeds what is committed, except below the agent's own offer, where nothing
//!   can arrive any more.
//! - An ack is never taken back. A lost one only causes a resend.
//! - Every record that became durable in the spool is stored exactly once, or is covered by a gap record. Exactly once needs
//!   the store to compare with the mark that its own transaction finds: a stream that broke with batches under
//!   way brings them again while the first ones may yet commit.
//! - Records in flight never exceed the credit.
//! - When the network heals, everything is delivered.
//!
//! # Who trims what, when
//!
//! The agent's watermark advances with acks ([`Sender::poll_commit`]). The spool makes it durable, and only then may it delete
//! records at or below it, and reports that with [`Sender::handle_trimmed`]. It may keep a tail of acked records: a collector
//! that is restored from a backup continues at its restored mark, and the tail is sent again
//! ([`Event::CollectorBehind`]). An epoch is forgotten when it is not the newest and the spool has nothing left of it. The
//! collector keeps an epoch's mark at least as long as any agent may keep that epoch's tail.
//!
//! # What a crash may lose
//!
//! | Crash | Lost | Not lost |
//! |---|---|---|
//! | agent | what is not yet durable in the spool; the sender's state; a watermark not yet persisted | every spooled record |
//! | collector | batches received and not committed; the receiver's state | everything acked |
//! | either disk | what was on it, less the tail that the agent keeps | |
#![warn(missing_docs)]

mod backoff;
mod message;
mod receiver;
mod sender;
mod tick;

pub use backoff::{Backoff, InvalidBackoff};
pub use firstline_model::{Epoch, SequenceNumber};
pub use message::{
    Ack, Batch, EpochMark, EpochOffer, Hello, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_EPOCHS, MAX_SEQUENCE,
    Refusal, Welcome,
};
pub use receiver::{Accepted, BatchVerdict, Receiver, Skipped};
pub use sender::{
    DisconnectReason, Event, InvalidConfig, Sender, SenderConfig, SpoolFault, Spooled, Transmit, WakeReason,
};
pub use tick::Tick;
