//! The hold and clear times against a naive model that looks at every ten seconds of the whole history again.

use crate::evaluate::TransitionKind;
use crate::fixture::*;
use crate::knowledge::Compare;
use firstline_model::{ComponentKind, Observation, Presence, Severity};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// After so many seconds, a sample.
    Sample(i64, f64),
    /// After so many seconds, sleep for so many.
    Sleep(i64, i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![4 => Just(0.95), 1 => Just(0.85), 3 => Just(0.5)];
    let gap = prop_oneof![8 => 1..=6i64, 1 => 7..=200i64];
    let sample = (gap, value).prop_map(|(gap, value)| Step::Sample(gap * 10, value));
    let sleep = (1..=10i64, 1..=500i64).prop_map(|(after, long)| Step::Sleep(after * 10, long * 10));
    prop::collection::vec(prop_oneof![12 => sample, 1 => sleep], 1..60)
}

fn observations(steps: &[Step]) -> (Vec<Observation>, i64) {
    let mut now = 0;
    let mut all = Vec::new();
    for step in steps {
        match step {
            Step::Sample(after, value) => {
                now += after;
                all.push(used(now, *value));
            }
            Step::Sleep(after, long) => {
                now += after;
                all.push(presence(now, Presence::Asleep));
                now += long;
                all.push(presence(now, Presence::Online));
            }
        }
    }
    (all, now + 3000)
}

struct Naive {
    /// Time and value of each sample.
    samples: Vec<(i64, f64)>,
    sleeps: Vec<(i64, i64)>,
}

impl Naive {
    fn new(steps: &[Step]) -> Self {
        let mut naive = Self { samples: Vec::new(), sleeps: Vec::new() };
        let mut now = 0;
        for step in steps {
            match step {
                Step::Sample(after, value) => {
                    now += after;
                    naive.samples.push((now, *value));
                }
                Step::Sleep(after, long) => {
                    naive.sleeps.push((now + after, now + after + long));
                    now += after + long;
                }
            }
        }
        naive
    }

    /// Powered-on milliseconds until `t`.
    fn powered(&self, t: i64) -> i64 {
        let asleep: i64 = self.sleeps.iter().map(|(from, until)| (t.min(*until) - from).max(0)).sum();
        (t - asleep) * 1000
    }

    /// How old the newest of the first `count` samples may be.
    fn tolerance(&self, count: usize) -> i64 {
        let mut spacing = 0;
        for pair in self.samples[..count].windows(2) {
            let gap = self.powered(pair[1].0) - self.powered(pair[0].0);
            let broken = spacing > 0 && gap > (spacing * 3).max(180_000);
            let slower = if broken { gap.min((spacing * 2).max(60_000)) } else { gap };
            let usual = if broken { slower } else { slower.max((spacing * 3 + gap) / 4) };
            spacing = usual.min(43_200_000);
        }
        (spacing * 3).max(180_000)
    }

    /// Whether at `t` all samples of an unbroken run that began `hold` ago satisfy `holds`.
    fn held(&self, t: i64, hold: i64, holds: impl Fn(f64) -> bool) -> bool {
        let count = self.samples.iter().filter(|(at, _)| *at <= t).count();
        let mut first = None;
        for n in (1..=count).rev() {
            let (at, value) = self.samples[n - 1];
            if !holds(value) {
                break;
            }
            first = Some(at);
            let broken =
                n > 2 && self.powered(at) - self.powered(self.samples[n - 2].0) > self.tolerance(n - 1);
            if broken {
                break;
            }
        }
        let Some(first) = first else { return false };
        let fresh = self.powered(t) - self.powered(self.samples[count - 1].0) <= self.tolerance(count);
        fresh && self.powered(t) - self.powered(first) >= hold * 1000
    }

    fn story(&self, hold: i64, clear_hold: i64, end: i64) -> Vec<(i64, bool)> {
        let mut story = Vec::new();
        let mut firing = false;
        for t in (0..=end).step_by(10) {
            let changed = if firing {
                self.held(t, clear_hold, |value| value < 0.8)
            } else {
                self.held(t, hold, |value| value > 0.9)
            };
            if changed {
                firing = !firing;
                story.push((t, firing));
            }
        }
        story
    }
}

fn bench(hold: i64, clear_hold: i64) -> Bench {
    let when = compare(USED, Compare::Above, 0.9);
    let clear = Some(compare(USED, Compare::Below, 0.8));
    let one = level(Severity::Warning, when, hold as u64, clear, clear_hold as u64);
    Bench::new([entry("fs.space", ComponentKind::Filesystem, vec![one])])
}

fn fired_and_cleared(bench: &Bench) -> Vec<(i64, bool)> {
    let told = bench.seen.iter().filter_map(|t| match t.kind {
        TransitionKind::Fired => Some((seconds(t.at), true)),
        TransitionKind::Cleared => Some((seconds(t.at), false)),
        TransitionKind::Pending
        | TransitionKind::Lapsed
        | TransitionKind::Escalated
        | TransitionKind::Recovering
        | TransitionKind::Relapsed
        | TransitionKind::Suppressed { .. }
        | TransitionKind::Unsuppressed => None,
    });
    told.collect()
}

fn holds() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 60, 300, 900])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hold_and_clear_times_agree_with_the_naive_model(steps in steps(), hold in holds(), clear_hold in holds()) {
        let (all, end) = observations(&steps);
        let mut bench = bench(hold, clear_hold);
        bench.play(&all).wait(end);
        prop_assert_eq!(fired_and_cleared(&bench), Naive::new(&steps).story(hold, clear_hold, end));
    }

    #[test]
    fn the_outcome_does_not_depend_on_when_timers_run(
        steps in steps(), hold in holds(), clear_hold in holds(), eager in any::<bool>(),
    ) {
        let (all, end) = observations(&steps);
        let mut lazy = bench(hold, clear_hold);
        lazy.play(&all).wait(end);
        let mut timed = bench(hold, clear_hold);
        for (n, one) in all.iter().enumerate() {
            let now = seconds(one.observed_at);
            if eager {
                // As a replay does it: every deadline in turn.
                while let Some(next) = timed.deadline().filter(|next| *next < now) {
                    timed.wait(next);
                    prop_assert!(timed.deadline() > Some(next) || timed.deadline().is_none(), "no progress at {}", next);
                }
            } else if n % 3 == 0 {
                timed.wait(now - 1);
            }
            timed.play(std::slice::from_ref(one));
        }
        timed.wait(end);
        prop_assert_eq!(&timed.seen, &lazy.seen);
        prop_assert_eq!(&timed.state, &lazy.state);
    }

    #[test]
    fn what_is_delivered_twice_counts_once(steps in steps(), hold in holds(), clear_hold in holds()) {
        let (all, end) = observations(&steps);
        let mut once = bench(hold, clear_hold);
        once.play(&all).wait(end);
        let mut twice = bench(hold, clear_hold);
        for one in &all {
            twice.play(&[one.clone(), one.clone()]);
        }
        twice.wait(end);
        prop_assert_eq!(&twice.seen, &once.seen);
    }
}
