//! Both halves against a naive reference network that loses, delays, duplicates and replays, with crashes of both
//! sides: every durable record is stored exactly once, whatever happens.

mod disk;
mod ledger;
mod step;
mod store;
mod world;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRng, TestRunner};
use step::Step;
use world::{Sabotage, run};

/// The same histories on every machine; the environment variable `DELIVERY_CASES` asks for more of them.
fn judge(
    cases: u32,
    histories: &impl Strategy<Value = Vec<Step>>,
    sabotage: Sabotage,
    keeps_everything: bool,
) -> Result<(), (String, Vec<Step>)> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(histories, |steps| {
        run(&steps, sabotage, keeps_everything).map(|_| ()).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, steps)) => Err((reason.message().to_owned(), steps)),
        Err(TestError::Abort(reason)) => panic!("the runner gave up: {reason}"),
    }
}

fn cases() -> u32 {
    std::env::var("DELIVERY_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

#[test]
fn every_record_is_stored_exactly_once() {
    judge(cases(), &step::histories_without_loss(), Sabotage::None, false).unwrap();
}

#[test]
fn every_record_is_stored_exactly_once_or_given_up() {
    judge(cases(), &step::histories(), Sabotage::None, false).unwrap();
}

#[test]
fn a_kept_tail_survives_a_restored_collector() {
    judge(cases(), &step::histories_with_restores(), Sabotage::None, true).unwrap();
}

#[test]
fn the_same_history_is_told_in_the_same_words() {
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    runner
        .run(&step::histories(), |steps| {
            let told = run(&steps, Sabotage::None, false).map_err(TestCaseError::fail)?;
            let again = run(&steps, Sabotage::None, false).map_err(TestCaseError::fail)?;
            (told == again).then_some(()).ok_or_else(|| TestCaseError::fail("the second run differs"))
        })
        .unwrap();
}

#[test]
fn the_judge_notices_every_deliberate_mistake() {
    for (sabotage, expected) in [
        (Sabotage::AckBeforeCommit, "acked but not committed"),
        (Sabotage::TrimOnSend, "trimmed but not stored"),
        (Sabotage::TrimBeforeWatermark, "number reused"),
        (Sabotage::SendBeforeDurable, "content differs"),
        (Sabotage::ApplyWithoutMarkCheck, "stored twice"),
        (Sabotage::MarkBeforeRows, "acked but not committed"),
        (Sabotage::ApplyWithoutSkip, "content differs"),
        (Sabotage::IgnoreCredit, "credit exceeded"),
        (Sabotage::ResendOnLiveStream, "sent out of order"),
        (Sabotage::ReorderStream, "an honest stream was refused: epoch"),
        (Sabotage::ForgetOlderEpochs, "lost"),
    ] {
        let (reason, steps) = judge(1_500, &step::histories_without_loss(), sabotage, false)
            .expect_err(&format!("{sabotage:?} went unnoticed"));
        assert!(reason.contains(expected), "{sabotage:?} was noticed as {reason:?} after {steps:?}");
    }
}

/// A property that never meets the hard cases proves nothing.
#[test]
fn the_histories_reach_every_corner() {
    let corners = [
        "skip: 1",
        "Duplicate {",
        "SequenceGap",
        "CreditExceeded",
        "Disconnect(AckTimeout)",
        "Disconnect(ConnectTimeout)",
        "Disconnect(EpochWaiting",
        "skipped: [Skipped",
        "credit: 0",
        "woken by AckTimeout",
        "woken by Linger",
        "woken by Reconnect",
    ];
    let met = std::cell::RefCell::new([0_u32; 12]);
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
        .run(&step::histories(), |steps| {
            let told = run(&steps, Sabotage::None, false).map_err(TestCaseError::fail)?;
            for (count, corner) in met.borrow_mut().iter_mut().zip(corners) {
                *count += u32::from(told.iter().any(|line| line.contains(corner)));
            }
            Ok(())
        })
        .unwrap();
    let missed: Vec<_> = corners.into_iter().zip(met.into_inner()).filter(|(_, count)| *count < 3).collect();
    assert_eq!(missed, [], "each corner is met in a few of 400 histories");
}
