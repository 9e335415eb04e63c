//! The answers of one target over the last minutes. Pure: what a share of loss is and when there is none.

use firstline_model::order;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// Requests that a share of loss is taken over: five minutes of bursts.
const WINDOW: usize = 40;
/// Fewer than this are no share.
const FEWEST: usize = 20;
/// Differences of neighbouring round trip times that jitter is the mean of, and the fewest that make one.
const STEPS: usize = 10;
const FEWEST_STEPS: usize = 4;

/// What one target answered.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) address: IpAddr,
    window: VecDeque<bool>,
    steps: VecDeque<Duration>,
    has_answered: bool,
}

/// The share of requests that were lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Loss {
    Share(f64),
    /// Not asked often enough yet.
    TooFew,
    /// It answers nothing, and nothing says that it would.
    Silent,
}

impl Track {
    pub(super) const fn new(address: IpAddr) -> Self {
        Self { address, window: VecDeque::new(), steps: VecDeque::new(), has_answered: false }
    }

    pub(super) fn add(&mut self, burst: &[Option<Duration>]) {
        for answer in burst {
            self.window.push_back(answer.is_some());
            self.has_answered |= answer.is_some();
        }
        for pair in settled(burst).windows(2) {
            if let [Some(one), Some(two)] = pair {
                self.steps.push_back(one.abs_diff(*two));
            }
        }
        self.window.drain(..self.window.len().saturating_sub(WINDOW));
        self.steps.drain(..self.steps.len().saturating_sub(STEPS));
    }

    /// Whether the last requests were all in vain.
    pub(super) fn is_silent(&self) -> bool {
        self.window.len() >= FEWEST && self.window.iter().rev().take(FEWEST).all(|answered| !answered)
    }

    /// The share of the last requests that got no answer. `forgets`: silence says nothing even after answers.
    pub(super) fn loss(&self, forgets: bool) -> Loss {
        if self.is_silent() && (forgets || !self.has_answered) {
            return Loss::Silent;
        }
        if self.window.len() < FEWEST {
            return Loss::TooFew;
        }
        let lost = self.window.iter().filter(|answered| !**answered).count();
        // To a tenth of a percent: the last digits are chance.
        Loss::Share((1000.0 * lost as f64 / self.window.len() as f64).round() / 1000.0)
    }

    /// The mean difference of neighbouring round trip times (RFC 3550, without its smoothing).
    pub(super) fn jitter(&self) -> Option<Duration> {
        let count = u32::try_from(self.steps.len()).ok()?;
        (self.steps.len() >= FEWEST_STEPS).then(|| self.steps.iter().sum::<Duration>() / count)
    }
}

/// All of a burst but the first, which wakes radios and looks for the neighbour.
fn settled(burst: &[Option<Duration>]) -> &[Option<Duration>] {
    burst.get(1..).unwrap_or_default()
}

/// The median of a burst.
pub(super) fn round_trip(burst: &[Option<Duration>]) -> Option<Duration> {
    let mut answers: Vec<Duration> = settled(burst).iter().copied().flatten().collect();
    order::sort_by(&mut answers, Ord::cmp);
    answers.get(answers.len() / 2).copied().or_else(|| burst.first().copied().flatten())
}

/// Seconds to a tenth of a millisecond: the last digits are chance, and would make each value another one.
pub(super) fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn ms(time: u64) -> Option<Duration> {
        Some(Duration::from_millis(time))
    }

    fn after(bursts: &[[Option<Duration>; 4]]) -> Track {
        let mut track = Track::new(ADDRESS);
        bursts.iter().for_each(|burst| track.add(burst));
        track
    }

    const GOOD: [Option<Duration>; 4] = [Some(Duration::from_millis(2)); 4];
    const LOST: [Option<Duration>; 4] = [None; 4];

    #[test]
    fn the_nineteenth_request_is_too_few_for_a_share_and_the_twentieth_is_enough() {
        assert_eq!(after(&[GOOD; 4]).loss(true), Loss::TooFew);
        assert_eq!(after(&[GOOD; 5]).loss(true), Loss::Share(0.0));
        let one_in_four = [ms(2), None, ms(2), ms(2)];
        assert_eq!(after(&[one_in_four; 10]).loss(true), Loss::Share(0.25));
    }

    #[test]
    fn an_outage_leaves_the_window_after_five_minutes() {
        let mut bursts = vec![GOOD; 10];
        bursts.push(LOST);
        assert_eq!(after(&bursts).loss(true), Loss::Share(0.1));
        bursts.extend([GOOD; 10]);
        assert_eq!(after(&bursts).loss(true), Loss::Share(0.0));
    }

    #[test]
    fn silence_is_loss_only_of_a_target_that_has_answered_and_never_of_a_gateway() {
        for (bursts, forgets, expected) in [
            (vec![LOST; 4], false, Loss::TooFew),
            (vec![LOST; 5], false, Loss::Silent),
            (vec![LOST; 5], true, Loss::Silent),
            ([vec![GOOD; 5], vec![LOST; 5]].concat(), true, Loss::Silent),
            ([vec![GOOD; 5], vec![LOST; 5]].concat(), false, Loss::Share(0.5)),
            ([vec![GOOD; 5], vec![LOST; 20]].concat(), false, Loss::Share(1.0)),
        ] {
            assert_eq!(after(&bursts).loss(forgets), expected, "{} bursts, {forgets}", bursts.len());
        }
    }

    #[test]
    fn the_first_answer_of_a_burst_counts_neither_for_time_nor_for_jitter() {
        let woken = [ms(300), ms(2), ms(4), ms(2)];
        assert_eq!(round_trip(&woken), ms(2));
        assert_eq!(after(&[woken; 2]).jitter(), ms(2));
        assert_eq!(after(&[woken]).jitter(), None, "two differences are too few");
        assert_eq!(round_trip(&[ms(3), None, None, None]), ms(3), "unless it is the only one");
        assert_eq!(round_trip(&LOST), None);
    }
}
