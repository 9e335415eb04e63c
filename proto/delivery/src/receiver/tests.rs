//! Each rule of the receiver by itself.

use super::*;
use crate::EpochOffer;

const A: Epoch = Epoch([0xA; 16]);
const B: Epoch = Epoch([0xB; 16]);

fn offer(epoch: Epoch, first: u64, next: u64) -> EpochOffer {
    EpochOffer { epoch, first_unacked: SequenceNumber(first), next: SequenceNumber(next) }
}

fn mark(epoch: Epoch, through: u64) -> EpochMark {
    EpochMark { epoch, through: SequenceNumber(through) }
}

fn batch(epoch: Epoch, first: u64, count: usize) -> Batch {
    Batch { epoch, first: SequenceNumber(first), records: vec![vec![1]; count] }
}

fn apply(epoch: Epoch, skip: usize, first_new: u64, through: u64) -> BatchVerdict {
    let (first_new, through) = (SequenceNumber(first_new), SequenceNumber(through));
    BatchVerdict::Apply { epoch, skip, first_new, through }
}

fn gap(epoch: Epoch, expected: u64) -> BatchVerdict {
    BatchVerdict::Refused(Refusal::SequenceGap { epoch, expected: SequenceNumber(expected) })
}

fn ack(epoch: Epoch, through: u64, credit: u32) -> Option<Ack> {
    Some(Ack { epoch, through: SequenceNumber(through), credit })
}

fn open(marks: &[EpochMark], offers: &[EpochOffer], budget: u32) -> Receiver {
    let mut receiver = Receiver::new(marks.iter().copied(), budget);
    receiver.handle_hello(&Hello { epochs: offers.to_vec() }).unwrap();
    receiver
}

#[test]
fn continues_after_the_mark_and_starts_unknown_epochs_at_the_offer() {
    let mut receiver = Receiver::new([mark(A, 7)], 100);
    let hello = Hello { epochs: vec![offer(A, 3, 20), offer(B, 5, 9)] };
    let accepted = receiver.handle_hello(&hello).unwrap();
    assert_eq!(accepted.welcome, Welcome { marks: vec![mark(A, 7), mark(B, 4)], credit: 100 });
    assert_eq!(accepted.skipped, []);
}

#[test]
fn reports_what_the_agent_can_no_longer_send() {
    let mut receiver = Receiver::new([mark(A, 7)], 100);
    let accepted = receiver.handle_hello(&Hello { epochs: vec![offer(A, 11, 20)] }).unwrap();
    assert_eq!(accepted.welcome.marks, [mark(A, 10)]);
    let skipped = Skipped { epoch: A, first: SequenceNumber(8), through: SequenceNumber(10) };
    assert_eq!(accepted.skipped, [skipped]);
    assert_eq!(receiver.handle_batch(&batch(A, 11, 2)), apply(A, 0, 11, 12));
}

#[test]
fn refuses_hellos_that_cannot_be_true() {
    let many: Vec<EpochOffer> = (0..65).map(|n| offer(Epoch([n; 16]), 1, 1)).collect();
    let cases = [
        (many, Refusal::TooManyEpochs { offered: 65 }),
        (vec![offer(A, 0, 4)], Refusal::InvalidOffer { epoch: A }),
        (vec![offer(A, 5, 4)], Refusal::InvalidOffer { epoch: A }),
        (vec![offer(A, 5, u64::MAX)], Refusal::InvalidOffer { epoch: A }),
        (vec![offer(A, 1, 1), offer(B, 1, 1), offer(A, 1, 1)], Refusal::InvalidOffer { epoch: A }),
    ];
    for (epochs, refusal) in cases {
        let mut receiver = Receiver::new([], 10);
        assert_eq!(receiver.handle_hello(&Hello { epochs }), Err(refusal));
        let verdict = receiver.handle_batch(&batch(A, 1, 1));
        assert_eq!(verdict, BatchVerdict::Refused(Refusal::HelloExpected));
    }
}

#[test]
fn skips_known_records_and_refuses_holes() {
    let mut receiver = open(&[mark(A, 4)], &[offer(A, 1, 30)], 100);
    assert_eq!(
        receiver.handle_batch(&batch(A, 2, 3)),
        BatchVerdict::Duplicate { through: SequenceNumber(4) }
    );
    assert_eq!(receiver.handle_batch(&batch(A, 3, 5)), apply(A, 2, 5, 7));
    assert_eq!(
        receiver.handle_batch(&batch(A, 5, 3)),
        BatchVerdict::Duplicate { through: SequenceNumber(4) }
    );
    assert_eq!(receiver.handle_batch(&batch(A, 8, 1)), apply(A, 0, 8, 8));
    assert_eq!(receiver.handle_batch(&batch(A, 10, 1)), gap(A, 9));
    let after = receiver.handle_batch(&batch(A, 9, 1));
    assert_eq!(after, BatchVerdict::Refused(Refusal::HelloExpected), "a refusal ends the stream");
}

#[test]
fn refuses_batches_out_of_shape() {
    let huge =
        Batch { epoch: A, first: SequenceNumber(1), records: vec![vec![0; MAX_BATCH_BYTES as usize + 1]] };
    let cases = [
        (batch(A, 1, 0), Refusal::InvalidBatch { epoch: A }),
        (batch(A, 0, 1), Refusal::InvalidBatch { epoch: A }),
        (batch(A, u64::MAX, 5), Refusal::InvalidBatch { epoch: A }),
        (batch(A, MAX_SEQUENCE.0, 2), Refusal::InvalidBatch { epoch: A }),
        (batch(B, 1, 1), Refusal::UnknownEpoch { epoch: B }),
        (batch(A, 1, 1001), Refusal::BatchTooLarge { records: 1001, bytes: 1001 }),
        (huge, Refusal::BatchTooLarge { records: 1, bytes: MAX_BATCH_BYTES as usize + 1 }),
    ];
    for (bad, refusal) in cases {
        let mut receiver = open(&[mark(B, 3)], &[offer(A, 1, 9)], 5000);
        assert_eq!(receiver.handle_batch(&bad), BatchVerdict::Refused(refusal));
    }
}

#[test]
fn acks_only_what_was_committed_and_never_less_than_before() {
    let mut receiver = open(&[], &[offer(A, 1, 30)], 10);
    assert_eq!(receiver.handle_batch(&batch(A, 1, 6)), apply(A, 0, 1, 6));
    assert_eq!(receiver.mark(A), Some(SequenceNumber(0)));
    assert_eq!(receiver.committed(A, SequenceNumber(4)), ack(A, 4, 10));
    assert_eq!(receiver.committed(A, SequenceNumber(2)), ack(A, 4, 10));
    assert_eq!(receiver.in_flight(), 2);
}

#[test]
fn expects_uncommitted_records_again_after_a_reconnect() {
    let mut receiver = open(&[], &[offer(A, 1, 30)], 10);
    receiver.handle_batch(&batch(A, 1, 6));
    receiver.committed(A, SequenceNumber(2));
    let accepted = receiver.handle_hello(&Hello { epochs: vec![offer(A, 1, 30)] }).unwrap();
    assert_eq!(accepted.welcome.marks, [mark(A, 2)]);
    assert_eq!(receiver.handle_batch(&batch(A, 3, 2)), apply(A, 0, 3, 4));
    // The transaction of the lost stream returns late: it covers more than this stream brought.
    assert_eq!(receiver.committed(A, SequenceNumber(6)), ack(A, 6, 10));
    assert_eq!(receiver.in_flight(), 0);
    assert_eq!(receiver.handle_batch(&batch(A, 5, 3)), apply(A, 2, 7, 7));
}

#[test]
fn a_commit_of_an_epoch_that_this_stream_lacks_is_noted_without_an_ack() {
    let mut receiver = open(&[], &[offer(A, 1, 30)], 10);
    assert_eq!(receiver.committed(B, SequenceNumber(3)), None);
    assert_eq!(receiver.mark(B), Some(SequenceNumber(3)));
}

#[test]
fn refuses_more_than_it_granted() {
    let mut receiver = open(&[], &[offer(A, 1, 30), offer(B, 1, 30)], 10);
    assert_eq!(receiver.handle_batch(&batch(A, 1, 6)), apply(A, 0, 1, 6));
    assert_eq!(receiver.handle_batch(&batch(B, 1, 4)), apply(B, 0, 1, 4));
    let refusal = BatchVerdict::Refused(Refusal::CreditExceeded { credit: 10 });
    assert_eq!(receiver.handle_batch(&batch(B, 5, 1)), refusal);
}

#[test]
fn a_smaller_budget_takes_effect_as_records_are_committed() {
    let mut receiver = open(&[], &[offer(A, 1, 30)], 10);
    receiver.handle_batch(&batch(A, 1, 4));
    assert_eq!(receiver.set_budget(3), None);
    // Six more may be on their way under the old credit.
    assert_eq!(receiver.handle_batch(&batch(A, 5, 6)), apply(A, 0, 5, 10));
    assert_eq!(receiver.committed(A, SequenceNumber(4)), ack(A, 4, 6));
    assert_eq!(receiver.committed(A, SequenceNumber(10)), ack(A, 10, 3));
    assert_eq!(receiver.set_budget(0), None);
    receiver.handle_batch(&batch(A, 11, 3));
    assert_eq!(receiver.committed(A, SequenceNumber(13)), ack(A, 13, 0));
    assert_eq!(receiver.set_budget(5), ack(A, 13, 5), "an agent without credit waits for this");
}

#[test]
fn a_late_commit_of_a_lost_stream_uses_no_credit_of_this_one() {
    let mut receiver = open(&[], &[offer(A, 1, 30), offer(B, 1, 30)], 4);
    receiver.set_budget(0);
    assert_eq!(receiver.committed(A, SequenceNumber(4)), ack(A, 4, 4));
    // The agent had already spent its credit on the other epoch.
    assert_eq!(receiver.handle_batch(&batch(B, 1, 4)), apply(B, 0, 1, 4));
    assert_eq!(receiver.committed(B, SequenceNumber(4)), ack(B, 4, 0));
}

#[test]
fn forgets_unoffered_epochs_when_an_agent_makes_up_too_many() {
    let mut receiver = Receiver::new([], 10);
    for n in 0..100_u32 {
        let epochs = (0..64_u8).map(|m| {
            let mut name = [m; 16];
            name[..4].copy_from_slice(&n.to_be_bytes());
            offer(Epoch(name), 1, 1)
        });
        receiver.handle_hello(&Hello { epochs: epochs.collect() }).unwrap();
    }
    assert!(receiver.epochs.len() <= MAX_KNOWN_EPOCHS);
}
