//! Each rule of the sender by itself.

use super::*;
use crate::{EpochMark, EpochOffer};

const A: Epoch = Epoch([0xA; 16]);
const B: Epoch = Epoch([0xB; 16]);
const C: Epoch = Epoch([0xC; 16]);

fn config() -> SenderConfig {
    SenderConfig {
        max_batch_records: 10,
        max_batch_bytes: 1000,
        linger: Duration::from_secs(5),
        ..Default::default()
    }
}

fn sender() -> Sender {
    Sender::try_new(config(), Tick(0)).unwrap()
}

fn spool(sender: &mut Sender, epoch: Epoch, numbers: std::ops::RangeInclusive<u64>, now: u64) {
    for seq in numbers {
        let record = Spooled { epoch, seq: SequenceNumber(seq), len: 10, urgent: false };
        sender.handle_spooled(record, Tick(now)).unwrap();
    }
}

fn urgent(sender: &mut Sender, epoch: Epoch, seq: u64, now: u64) {
    let record = Spooled { epoch, seq: SequenceNumber(seq), len: 10, urgent: true };
    sender.handle_spooled(record, Tick(now)).unwrap();
}

fn connect(sender: &mut Sender, marks: &[(Epoch, u64)], credit: u32, now: u64) -> Hello {
    sender.handle_timeout(Tick(now));
    assert_eq!(sender.poll_event(), Some(Event::Connect));
    let hello = sender.hello();
    let marks =
        marks.iter().map(|&(epoch, through)| EpochMark { epoch, through: SequenceNumber(through) }).collect();
    sender.handle_connected(&Welcome { marks, credit }, Tick(now));
    hello
}

fn ack(sender: &mut Sender, epoch: Epoch, through: u64, credit: u32, now: u64) {
    sender.handle_ack(&Ack { epoch, through: SequenceNumber(through), credit }, Tick(now));
}

fn sent(sender: &mut Sender, now: u64) -> Vec<(Epoch, u64, u32)> {
    std::iter::from_fn(|| sender.poll_transmit(Tick(now))).map(|t| (t.epoch, t.first.0, t.count)).collect()
}

fn disconnected(sender: &mut Sender) -> Option<DisconnectReason> {
    match sender.poll_event() {
        Some(Event::Disconnect(reason)) => Some(reason),
        Some(Event::Connect | Event::CollectorBehind { .. } | Event::RolledBack { .. }) | None => None,
    }
}

fn offered(hello: &Hello) -> Vec<(Epoch, u64, u64)> {
    hello
        .epochs
        .iter()
        .map(|EpochOffer { epoch, first_unacked, next }| (*epoch, first_unacked.0, next.0))
        .collect()
}

#[test]
fn refuses_a_config_out_of_range() {
    for (bad, field) in [
        (SenderConfig { max_batch_records: 0, ..config() }, "max_batch_records"),
        (SenderConfig { max_batch_records: 1001, ..config() }, "max_batch_records"),
        (SenderConfig { max_batch_bytes: 0, ..config() }, "max_batch_bytes"),
        (SenderConfig { ack_timeout: Duration::ZERO, ..config() }, "ack_timeout"),
        (SenderConfig { connect_timeout: Duration::ZERO, ..config() }, "connect_timeout"),
    ] {
        assert_eq!(Sender::try_new(bad, Tick(0)).unwrap_err(), InvalidConfig { field });
    }
}

#[test]
fn sends_what_waited_at_once_when_connected_and_only_once() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=12, 0);
    assert_eq!(sent(&mut sender, 0), []);
    let hello = connect(&mut sender, &[(A, 0)], 100, 0);
    assert_eq!(offered(&hello), [(A, 1, 13)]);
    assert_eq!(sent(&mut sender, 0), [(A, 1, 10), (A, 11, 2)]);
    assert_eq!(sent(&mut sender, 9_000), []);
    assert_eq!(sender.in_flight(), 12);
}

#[test]
fn small_records_wait_for_company_unless_urgent() {
    let mut sender = sender();
    sender.handle_epoch(A, SequenceNumber(0), SequenceNumber(1));
    connect(&mut sender, &[(A, 0)], 100, 0);
    spool(&mut sender, A, 1..=2, 1_000);
    spool(&mut sender, A, 3..=3, 2_000);
    assert_eq!(sent(&mut sender, 5_999), []);
    assert_eq!(sender.poll_timeout(), Some((Tick(6_000), WakeReason::Linger)));
    assert_eq!(sent(&mut sender, 6_000), [(A, 1, 3)]);
    spool(&mut sender, A, 4..=4, 7_000);
    assert_eq!(sent(&mut sender, 7_000), []);
    urgent(&mut sender, A, 5, 7_001);
    assert_eq!(sent(&mut sender, 7_001), [(A, 4, 2)]);
    spool(&mut sender, A, 6..=15, 8_000);
    assert_eq!(sent(&mut sender, 8_000), [(A, 6, 10)], "a full batch has company");
}

#[test]
fn batches_are_bounded_by_bytes_but_one_large_record_leaves_alone() {
    let mut sender = sender();
    for (seq, len) in [(1, 400), (2, 600), (3, 1), (4, 5_000), (5, 1)] {
        let record = Spooled { epoch: A, seq: SequenceNumber(seq), len, urgent: false };
        sender.handle_spooled(record, Tick(0)).unwrap();
    }
    connect(&mut sender, &[(A, 0)], 100, 0);
    assert_eq!(sent(&mut sender, 0), [(A, 1, 2), (A, 3, 1), (A, 4, 1), (A, 5, 1)]);
}

#[test]
fn never_has_more_in_flight_than_the_credit() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=9, 0);
    spool(&mut sender, B, 1..=9, 0);
    connect(&mut sender, &[(A, 0), (B, 0)], 5, 0);
    assert_eq!(sent(&mut sender, 0), [(B, 1, 5)]);
    ack(&mut sender, B, 3, 4, 0);
    assert_eq!(sent(&mut sender, 0), [(A, 1, 2)]);
    ack(&mut sender, B, 5, 0, 0);
    assert_eq!(sent(&mut sender, 0), []);
    ack(&mut sender, A, 2, 0, 0);
    assert_eq!(
        sender.poll_timeout(),
        None,
        "without credit and without records in flight there is nothing to wait for"
    );
    ack(&mut sender, A, 2, 3, 0);
    assert_eq!(sent(&mut sender, 0).iter().map(|(_, _, count)| count).sum::<u32>(), 3);
}

#[test]
fn newest_epoch_goes_first_and_older_ones_share_every_other_turn() {
    let mut sender = sender();
    for epoch in [A, B, C] {
        spool(&mut sender, epoch, 1..=30, 0);
    }
    let hello = connect(&mut sender, &[(A, 0), (B, 0), (C, 0)], 1000, 0);
    assert_eq!(offered(&hello), [(C, 1, 31), (A, 1, 31), (B, 1, 31)]);
    let order: Vec<Epoch> = sent(&mut sender, 0).into_iter().map(|(epoch, _, _)| epoch).collect();
    assert_eq!(order, [C, A, C, B, C, A, B, A, B]);
}

#[test]
fn resends_everything_unacked_after_a_reconnect() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=9, 0);
    connect(&mut sender, &[(A, 0)], 100, 0);
    sent(&mut sender, 0);
    ack(&mut sender, A, 4, 100, 0);
    sender.handle_disconnected(Tick(10), 0.0);
    assert_eq!(sender.in_flight(), 0);
    connect(&mut sender, &[(A, 6)], 100, 10);
    assert_eq!(sent(&mut sender, 10), [(A, 7, 3)], "the mark counts, not the last ack that arrived");
}

#[test]
fn watermarks_are_handed_out_once_and_only_upwards() {
    let mut sender = sender();
    sender.handle_epoch(A, SequenceNumber(2), SequenceNumber(3));
    spool(&mut sender, A, 1..=9, 0);
    connect(&mut sender, &[(A, 2)], 100, 0);
    sent(&mut sender, 0);
    assert_eq!(sender.poll_commit(), None);
    ack(&mut sender, A, 4, 100, 0);
    ack(&mut sender, A, 7, 100, 0);
    ack(&mut sender, A, 5, 1, 0);
    assert_eq!(sender.poll_commit(), Some((A, SequenceNumber(7))));
    assert_eq!(sender.poll_commit(), None);
    assert_eq!(sender.backlog(), (2, 20));
}

#[test]
fn silence_while_records_are_in_flight_ends_the_connection() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=2, 0);
    connect(&mut sender, &[(A, 0)], 1, 0);
    sent(&mut sender, 40_000);
    assert_eq!(sender.poll_timeout(), Some((Tick(70_000), WakeReason::AckTimeout)));
    ack(&mut sender, A, 1, 1, 50_000);
    sent(&mut sender, 50_000);
    sender.handle_timeout(Tick(79_999));
    assert_eq!(sender.poll_event(), None);
    sender.handle_timeout(Tick(80_000));
    assert_eq!(disconnected(&mut sender), Some(DisconnectReason::AckTimeout));
    assert_eq!(sent(&mut sender, 80_000), [], "a dead stream gets nothing more");
    assert_eq!(sender.poll_timeout(), None);
    sender.handle_disconnected(Tick(80_001), 0.5);
    assert_eq!(sender.poll_timeout(), Some((Tick(80_501), WakeReason::Reconnect)));
}

#[test]
fn an_idle_connection_never_times_out() {
    let mut sender = sender();
    sender.handle_epoch(A, SequenceNumber(0), SequenceNumber(1));
    connect(&mut sender, &[(A, 0)], 10, 0);
    assert_eq!(sender.poll_timeout(), None);
    sender.handle_timeout(Tick(1_000_000));
    assert!(sender.is_connected());
}

#[test]
fn a_collector_that_never_answers_is_given_up() {
    let mut sender = sender();
    sender.handle_timeout(Tick(0));
    assert_eq!(sender.poll_timeout(), Some((Tick(30_000), WakeReason::ConnectTimeout)));
    assert_eq!(sender.poll_event(), Some(Event::Connect));
    sender.handle_timeout(Tick(30_000));
    assert_eq!(disconnected(&mut sender), Some(DisconnectReason::ConnectTimeout));
}

#[test]
fn a_busy_collector_is_left_alone_for_as_long_as_it_asked() {
    let mut sender = sender();
    sender.handle_timeout(Tick(0));
    sender.poll_event();
    let refusal = Refusal::Busy { retry_after: Duration::from_secs(90) };
    sender.handle_refusal(refusal.clone(), Tick(0));
    assert_eq!(disconnected(&mut sender), Some(DisconnectReason::Refused(refusal)));
    sender.handle_disconnected(Tick(5), 0.5);
    sender.handle_network_change(Tick(6));
    assert_eq!(sender.poll_timeout(), Some((Tick(90_000), WakeReason::Reconnect)));
}

#[test]
fn f12_agents_that_were_told_the_same_second_come_spread_and_never_before_it() {
    let asked = Duration::from_secs(20);
    let comes = |random: f64| {
        let mut sender = sender();
        sender.handle_timeout(Tick(0));
        sender.handle_refusal(Refusal::Busy { retry_after: asked }, Tick(0));
        sender.handle_disconnected(Tick(5), random);
        let (at, why) = sender.poll_timeout().unwrap();
        assert_eq!(why, WakeReason::Reconnect);
        at.0
    };
    assert_eq!([0.0, 0.25, 0.5, 1.0].map(comes), [20_000, 20_250, 20_500, 21_000]);
}

#[test]
fn a_network_change_cuts_the_backoff_short() {
    let mut sender = sender();
    for _ in 0..8 {
        sender.handle_timeout(Tick(1_000_000));
        sender.handle_disconnected(Tick(1_000_000), 1.0);
        sender.handle_network_change(Tick(1_000_000));
    }
    assert_eq!(sender.poll_timeout(), Some((Tick(1_000_000), WakeReason::Reconnect)));
}

#[test]
fn impossible_claims_end_the_connection() {
    let mut sender = sender();
    spool(&mut sender, A, 5..=9, 0);
    connect(&mut sender, &[(A, 3)], 10, 0);
    let through = SequenceNumber(3);
    assert_eq!(disconnected(&mut sender), Some(DisconnectReason::Violation { epoch: A, through }));
    sender.handle_disconnected(Tick(0), 0.0);
    connect(&mut sender, &[], 10, 0);
    assert_eq!(disconnected(&mut sender), Some(DisconnectReason::MarkMissing { epoch: A }));
    sender.handle_disconnected(Tick(0), 0.0);
    connect(&mut sender, &[(A, 4)], 10, 0);
    ack(&mut sender, A, u64::MAX, 10, 0);
    let through = SequenceNumber(u64::MAX);
    assert_eq!(disconnected(&mut sender), Some(DisconnectReason::Violation { epoch: A, through }));
}

#[test]
fn a_rolled_back_spool_stops_instead_of_losing_records_as_duplicates() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=5, 0);
    spool(&mut sender, B, 1..=5, 0);
    connect(&mut sender, &[(A, 8), (B, 5)], 10, 0);
    assert_eq!(sender.poll_event(), None, "an older epoch gives no numbers out");
    sender.handle_disconnected(Tick(0), 0.0);
    connect(&mut sender, &[(A, 5), (B, 6)], 10, 0);
    let event = Event::RolledBack { epoch: B, next: SequenceNumber(6), through: SequenceNumber(6) };
    assert_eq!(sender.poll_event(), Some(event));
    spool(&mut sender, B, 6..=8, 0);
    assert_eq!(sent(&mut sender, 100_000), []);
    assert_eq!(sender.poll_commit(), Some((A, SequenceNumber(5))));
    assert_eq!(sender.poll_commit(), None, "no watermark of numbers that cannot be trusted");
    sender.handle_epoch_removed(B);
    spool(&mut sender, C, 1..=3, 0);
    assert_eq!(disconnected(&mut sender), Some(DisconnectReason::EpochWaiting { epoch: C }));
}

#[test]
fn a_restored_collector_gets_the_kept_tail_again() {
    let mut sender = sender();
    sender.handle_epoch(A, SequenceNumber(9), SequenceNumber(10));
    spool(&mut sender, A, 4..=12, 0);
    let hello = connect(&mut sender, &[(A, 6)], 100, 0);
    assert_eq!(offered(&hello), [(A, 4, 13)]);
    let event = Event::CollectorBehind { epoch: A, acked: SequenceNumber(9), through: SequenceNumber(6) };
    assert_eq!(sender.poll_event(), Some(event));
    assert_eq!(sent(&mut sender, 0), [(A, 7, 6)]);
    ack(&mut sender, A, 8, 100, 0);
    assert_eq!(sender.poll_commit(), None, "the watermark is not taken back");
    ack(&mut sender, A, 12, 100, 0);
    assert_eq!(sender.poll_commit(), Some((A, SequenceNumber(12))));
}

#[test]
fn records_given_up_before_the_hello_are_not_offered() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=9, 0);
    sender.handle_trimmed(A, SequenceNumber(4));
    assert_eq!(offered(&connect(&mut sender, &[(A, 4)], 100, 0)), [(A, 5, 10)]);
    assert_eq!(sent(&mut sender, 0), [(A, 5, 5)]);
    assert_eq!(sender.poll_commit(), None);
}

#[test]
fn records_given_up_after_the_hello_keep_their_numbers() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=9, 0);
    sender.handle_timeout(Tick(0));
    sender.poll_event();
    assert_eq!(offered(&sender.hello()), [(A, 1, 10)]);
    sender.handle_trimmed(A, SequenceNumber(3));
    let marks = vec![EpochMark { epoch: A, through: SequenceNumber(0) }];
    sender.handle_connected(&Welcome { marks, credit: 6 }, Tick(0));
    sender.handle_trimmed(A, SequenceNumber(4));
    assert_eq!(sent(&mut sender, 0), [(A, 1, 6)]);
    assert_eq!(sender.backlog(), (9, 50));
    sender.handle_disconnected(Tick(0), 0.0);
    assert_eq!(offered(&connect(&mut sender, &[(A, 4)], 100, 0)), [(A, 5, 10)]);
}

#[test]
fn a_damaged_record_leaves_an_empty_number() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=2, 0);
    spool(&mut sender, A, 4..=5, 0);
    connect(&mut sender, &[(A, 0)], 100, 0);
    assert_eq!(sent(&mut sender, 0), [(A, 1, 5)]);
    assert_eq!(sender.backlog(), (5, 40));
}

#[test]
fn records_that_cannot_travel_under_their_number_are_refused() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=3, 0);
    let (two, four, far) = (SequenceNumber(2), SequenceNumber(4), SequenceNumber(2_000_000));
    let (zero, last) = (SequenceNumber(0), SequenceNumber(u64::MAX));
    for (number, len, fault) in [
        (two, 1, SpoolFault::NotAscending { number: two, expected: four }),
        (four, 0, SpoolFault::Empty { number: four }),
        (four, 2 << 20, SpoolFault::TooLarge { number: four, len: 2 << 20 }),
        (far, 1, SpoolFault::Hole { number: far, expected: four }),
        (zero, 1, SpoolFault::OutOfRange { number: zero }),
        (last, 1, SpoolFault::OutOfRange { number: last }),
    ] {
        let record = Spooled { epoch: A, seq: number, len, urgent: false };
        assert_eq!(sender.handle_spooled(record, Tick(0)), Err(fault));
    }
    spool(&mut sender, A, 4..=4, 0);
}

#[test]
fn numbers_of_acked_records_that_the_spool_lost_are_not_given_out_again() {
    let mut sender = sender();
    sender.handle_epoch(A, SequenceNumber(9), SequenceNumber(10));
    spool(&mut sender, A, 4..=6, 0);
    assert_eq!(offered(&connect(&mut sender, &[(A, 9)], 100, 0)), [(A, 4, 10)]);
    let record = Spooled { epoch: A, seq: SequenceNumber(7), len: 1, urgent: false };
    assert!(sender.handle_spooled(record, Tick(0)).is_err());
    spool(&mut sender, A, 10..=10, 0);
    assert_eq!(sent(&mut sender, 60_000), [(A, 10, 1)]);
}

#[test]
fn an_epoch_begun_on_a_live_stream_asks_for_a_new_stream() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=3, 0);
    connect(&mut sender, &[(A, 0)], 100, 0);
    spool(&mut sender, B, 1..=1, 0);
    assert_eq!(disconnected(&mut sender), Some(DisconnectReason::EpochWaiting { epoch: B }));
}

#[test]
fn more_epochs_than_a_hello_takes_are_drained_in_turns() {
    let mut sender = sender();
    let epochs: Vec<Epoch> = (0..100).map(|n| Epoch([n; 16])).collect();
    for &epoch in &epochs {
        spool(&mut sender, epoch, 1..=2, 0);
    }
    let (mut delivered, mut streams) = (0, 0);
    while sender.backlog().0 > 0 {
        streams += 1;
        sender.handle_timeout(Tick(streams * 1_000));
        assert_eq!(sender.poll_event(), Some(Event::Connect));
        let hello = sender.hello();
        assert!(hello.epochs.len() <= MAX_EPOCHS);
        let marks = hello
            .epochs
            .iter()
            .map(|o| EpochMark { epoch: o.epoch, through: SequenceNumber(o.first_unacked.0 - 1) });
        sender.handle_connected(&Welcome { marks: marks.collect(), credit: 50 }, Tick(streams * 1_000));
        while let Some(transmit) = sender.poll_transmit(Tick(streams * 1_000)) {
            delivered += transmit.count;
            let through = transmit.first.0 + u64::from(transmit.count) - 1;
            ack(&mut sender, transmit.epoch, through, 50, streams * 1_000);
        }
        while let Some((epoch, through)) = sender.poll_commit() {
            sender.handle_trimmed(epoch, through);
        }
        if sender.backlog().0 > 0 {
            assert!(matches!(disconnected(&mut sender), Some(DisconnectReason::EpochWaiting { .. })));
        }
        sender.handle_disconnected(Tick(streams * 1_000), 0.0);
    }
    assert_eq!((delivered, streams), (200, 2));
    assert_eq!(sender.queues.len(), 1, "finished epochs are forgotten, the newest stays");
}

#[test]
fn records_given_up_while_the_agent_was_down_are_no_backlog() {
    let mut sender = sender();
    sender.handle_epoch(A, SequenceNumber(4), SequenceNumber(5));
    spool(&mut sender, A, 11..=12, 0);
    assert_eq!(sender.backlog(), (2, 20));
    connect(&mut sender, &[(A, 10)], 100, 0);
    assert_eq!(sender.poll_commit(), None);
}

#[test]
fn an_ack_of_records_that_an_earlier_stream_brought_spares_sending_them() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=9, 0);
    connect(&mut sender, &[(A, 0)], 2, 0);
    assert_eq!(sent(&mut sender, 0), [(A, 1, 2)]);
    ack(&mut sender, A, 6, 2, 0);
    assert_eq!(sender.in_flight(), 0);
    assert_eq!(sent(&mut sender, 0), [(A, 7, 2)]);
}

#[test]
fn numbering_goes_on_when_everything_numbered_was_given_up() {
    let mut sender = Sender::try_new(SenderConfig::default(), Tick(0)).unwrap();
    sender.handle_epoch(A, SequenceNumber(0), SequenceNumber(6));
    let offer = sender.hello().epochs[0];
    assert_eq!((offer.first_unacked, offer.next), (SequenceNumber(6), SequenceNumber(6)));
    let record = Spooled { epoch: A, seq: SequenceNumber(6), len: 1, urgent: false };
    assert_eq!(sender.handle_spooled(record, Tick(0)), Ok(()));
}

#[test]
fn a_backlog_in_flight_leaves_credit_for_live_data() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=500, 0);
    sender.handle_epoch(B, SequenceNumber(0), SequenceNumber(1));
    assert_eq!(sender.newest_backlog(), 0);
    connect(&mut sender, &[(A, 0), (B, 0)], 80, 0);
    let backlog: u32 = sent(&mut sender, 0).iter().map(|(_, _, count)| count).sum();
    assert_eq!(backlog, 70, "an eighth of the credit is not the backlog's");
    urgent(&mut sender, B, 1, 1_000);
    assert_eq!(sent(&mut sender, 1_000), [(B, 1, 1)], "before anything is acked");
    assert_eq!(sender.newest_backlog(), 1);
    // A credit too small to be divided is nobody's alone.
    ack(&mut sender, A, 70, 3, 2_000);
    ack(&mut sender, B, 1, 3, 2_000);
    assert_eq!(sent(&mut sender, 2_000), [(A, 71, 3)]);
}

#[test]
fn a_backlog_that_has_used_its_share_of_the_credit_wakes_nobody_until_an_ack_comes() {
    let mut sender = sender();
    spool(&mut sender, A, 1..=500, 0);
    sender.handle_epoch(B, SequenceNumber(0), SequenceNumber(1));
    connect(&mut sender, &[(A, 0), (B, 0)], 80, 0);
    sent(&mut sender, 0);
    assert!(matches!(sender.poll_timeout(), Some((at, WakeReason::AckTimeout)) if at > Tick(0)));
}
