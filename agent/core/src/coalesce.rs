//! What of a run is said again in full and what only as a repeat of an earlier record.
//!
//! A steady run of a probe mostly sees what it saw before. When it sees the very same series, in the same order, the record
//! only names the record that tells them and what has changed since. So every single look is on the wire (the collector gets
//! every observation back), an unchanged value costs nothing, and a series that is not seen any more makes its run say all
//! anew. A repeat only ever leads to a record that is durable in the same epoch: it was delivered before.

use firstline_model::{
    Attributes, Body, Component, Epoch, Observation, Repeat, SequenceNumber, Timestamp, resolution,
};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

/// A run that is led back to an earlier record for so long is said in full again: the collector keeps records for days, and
/// this is well below it.
const SAID_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// Most runs that are remembered; there are no more probes than that.
const MOST_RUNS: usize = 48;

/// Consecutive observations that one steady run made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOf {
    /// The probe.
    pub probe: &'static str,
    /// Their places.
    pub places: Range<usize>,
}

/// What to write instead of all observations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Coalesced {
    /// What is said in full.
    pub own: Vec<Observation>,
    /// What is repeated, each with the number of own observations before it.
    pub repeats: Vec<(usize, Repeat)>,
    /// The runs that stand in full in `own`.
    said: Vec<Said>,
}

/// A run that stands in full in a record.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    probe: &'static str,
    first: usize,
    seen: Vec<Seen>,
}

/// One observation of it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    /// Names the series, or the whole of what has no number.
    identity: u64,
    /// The number, in units of its last decimal; `None` when it cannot be told so.
    units: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    said: Said,
    record: SequenceNumber,
    since: Duration,
}

/// What is durable of this epoch and may be led back to.
#[derive(Debug, Default)]
pub struct Coalescer {
    epoch: Option<Epoch>,
    known: Vec<Known>,
}

impl Coalescer {
    /// What to write of these observations into a record of `epoch`. The time is powered-on time.
    pub fn coalesce(
        &self,
        observations: &[Observation],
        runs: &[RunOf],
        epoch: Epoch,
        now: Duration,
    ) -> Coalesced {
        let mut written = Coalesced::default();
        let mut next = 0;
        for run in runs {
            if run.places.start < next || run.places.end > observations.len() {
                continue;
            }
            written.own.extend_from_slice(&observations[next..run.places.start]);
            next = run.places.end;
            // What happened, happened once.
            let (lasting, happened): (Vec<_>, Vec<_>) =
                observations[run.places.clone()].iter().partition(|observation| is_lasting(observation));
            if let Some(begin) = lasting.first().map(|first| first.observed_at) {
                let seen: Vec<Seen> =
                    lasting.iter().map(|observation| Seen::of(observation, begin)).collect();
                match self.repeat(run.probe, &seen, begin, epoch, now) {
                    Some(repeat) => written.repeats.push((written.own.len(), repeat)),
                    None => {
                        written.said.push(Said { probe: run.probe, first: written.own.len(), seen });
                        written.own.extend(lasting.into_iter().cloned());
                    }
                }
            }
            written.own.extend(happened.into_iter().cloned());
        }
        written.own.extend_from_slice(observations.get(next..).unwrap_or_default());
        written
    }

    fn repeat(
        &self,
        probe: &str,
        seen: &[Seen],
        at: Timestamp,
        epoch: Epoch,
        now: Duration,
    ) -> Option<Repeat> {
        if self.epoch != Some(epoch) {
            return None;
        }
        let known = self.known.iter().find(|known| known.said.probe == probe)?;
        let is_recent = now.saturating_sub(known.since) < SAID_AGAIN;
        if !is_recent || known.said.seen.len() != seen.len() {
            return None;
        }
        let mut changed = Vec::new();
        for (place, (before, now)) in known.said.seen.iter().zip(seen).enumerate() {
            if before.identity != now.identity {
                return None;
            }
            match now.units?.checked_sub(before.units?)? {
                0 => {}
                by => changed.push((place, by)),
            }
        }
        let (first, count) = (known.said.first, seen.len());
        Some(Repeat { record: known.record, first, count, at, changed })
    }

    /// What was written is durable as this record; `repeatable` when it is small enough to be led back to.
    pub fn written(
        &mut self,
        written: Coalesced,
        epoch: Epoch,
        record: SequenceNumber,
        repeatable: bool,
        now: Duration,
    ) {
        if self.epoch != Some(epoch) {
            self.forget();
            self.epoch = Some(epoch);
        }
        for said in written.said {
            self.known.retain(|known| known.said.probe != said.probe);
            if repeatable && self.known.len() < MOST_RUNS {
                self.known.push(Known { said, record, since: now });
            }
        }
    }

    /// Everything is said in full the next time: what could be led back to is gone, or is asked for.
    pub fn forget(&mut self) {
        self.known.clear();
    }
}

/// Whether it is still so a minute later, as opposed to having happened.
fn is_lasting(observation: &Observation) -> bool {
    match &observation.body {
        Body::Sample { .. } | Body::State { .. } | Body::Unavailable { .. } | Body::Facts(_) => true,
        Body::Event { .. } | Body::Presence(_) | Body::Diagnostic(_) | Body::Gap { .. } => false,
    }
}

impl Seen {
    /// `begin` is when the first of its run was observed.
    fn of(observation: &Observation, begin: Timestamp) -> Self {
        let Observation { component, observed_at, body } = observation;
        let distance = observed_at.as_millis().saturating_sub(begin.as_millis());
        match body {
            Body::Sample { metric, attributes, value } => Self {
                identity: identity(component, distance, metric, Some(attributes)),
                units: exact_units(metric, *value),
            },
            Body::State { .. }
            | Body::Event { .. }
            | Body::Unavailable { .. }
            | Body::Presence(_)
            | Body::Diagnostic(_)
            | Body::Facts(_)
            | Body::Gap { .. } => Self {
                // All of it: a document that differs anywhere is another one.
                identity: identity(component, distance, &format!("{body:?}"), None),
                units: Some(0),
            },
        }
    }
}

fn identity(component: &Component, distance: i64, what: &str, attributes: Option<&Attributes>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (component, distance, what, attributes).hash(&mut hasher);
    hasher.finish()
}

/// The value in units of its last decimal, when that says it exactly.
fn exact_units(metric: &str, value: f64) -> Option<i64> {
    let decimals = resolution::decimals(metric).unwrap_or(0);
    let units = resolution::units(value, decimals)?;
    (resolution::value(units, decimals)? == value).then_some(units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::{Presence, Told, Value, semconv};

    const HERE: Epoch = Epoch([1; 16]);
    const S: fn(u64) -> Duration = Duration::from_secs;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn sample(second: i64, component: &str, metric: &'static str, value: f64) -> Observation {
        let body = Body::Sample { metric: metric.into(), attributes: Attributes::none(), value };
        Observation { component: component.parse().unwrap(), observed_at: at(second), body }
    }

    fn document(second: i64, health: &str) -> Observation {
        let document = Value::map([("health", Value::from(health))]);
        let body = Body::State { name: "battery".into(), document };
        Observation { component: "battery/a".parse().unwrap(), observed_at: at(second), body }
    }

    fn look(second: i64, used: f64, health: &str) -> Vec<Observation> {
        vec![
            sample(second, "filesystem//", semconv::FILESYSTEM_UTILIZATION, used),
            sample(second, "memory/0", semconv::MEMORY_AVAILABLE, 4e9),
            document(second, health),
        ]
    }

    fn run(probe: &'static str, places: Range<usize>) -> RunOf {
        RunOf { probe, places }
    }

    /// Says it as the agent does: what is written is durable under the next number.
    struct Agent {
        coalescer: Coalescer,
        records: Vec<Vec<Told>>,
    }

    impl Agent {
        fn new() -> Self {
            Self { coalescer: Coalescer::default(), records: Vec::new() }
        }

        /// Returns how many observations were said in full, and what a reader makes of the record.
        fn say(&mut self, seen: &[Observation], runs: &[RunOf], now: Duration) -> (usize, Vec<Observation>) {
            let written = self.coalescer.coalesce(seen, runs, HERE, now);
            let decimals = |o: &Observation| {
                if let Body::Sample { metric, .. } = &o.body {
                    resolution::decimals(metric).unwrap_or(0)
                } else {
                    0
                }
            };
            let own: Vec<Told> =
                written.own.iter().map(|o| Told { observation: o.clone(), decimals: decimals(o) }).collect();
            let mut read = Vec::new();
            let mut next = 0;
            for (place, repeat) in &written.repeats {
                read.extend(own[next..*place].iter().map(|told| told.observation.clone()));
                next = *place;
                read.extend(repeat.expand(&self.records[repeat.record.0 as usize]).unwrap());
            }
            read.extend(own[next..].iter().map(|told| told.observation.clone()));
            let said = own.len();
            let number = SequenceNumber(self.records.len() as u64);
            self.records.push(own);
            self.coalescer.written(written, HERE, number, true, now);
            (said, read)
        }
    }

    #[test]
    fn an_unchanged_run_says_nothing_again_and_is_read_in_full() {
        let mut agent = Agent::new();
        for minute in 0..5 {
            let seen = look(minute * 60, 0.5, "good");
            let (said, read) = agent.say(&seen, &[run("p", 0..3)], S(minute as u64 * 60));
            assert_eq!(said, if minute == 0 { 3 } else { 0 });
            assert_eq!(read, seen);
        }
    }

    #[test]
    fn a_change_of_a_number_costs_only_itself_and_one_of_a_document_the_run() {
        let mut agent = Agent::new();
        agent.say(&look(0, 0.5, "good"), &[run("p", 0..3)], S(0));
        for (minute, used, health, full) in
            [(1, 0.501, "good", 0), (2, 0.5, "good", 0), (3, 0.5, "worn", 3), (4, 0.777, "worn", 0)]
        {
            let seen = look(minute * 60, used, health);
            let (said, read) = agent.say(&seen, &[run("p", 0..3)], S(minute as u64 * 60));
            assert_eq!((said, read), (full, seen), "minute {minute}");
        }
    }

    #[test]
    fn what_is_not_seen_any_more_is_not_repeated() {
        let mut agent = Agent::new();
        agent.say(&look(0, 0.5, "good"), &[run("p", 0..3)], S(0));
        let mut seen = look(60, 0.5, "good");
        seen.remove(1);
        assert_eq!(agent.say(&seen, &[run("p", 0..2)], S(60)), (2, seen.clone()));
        assert_eq!(agent.say(&[], &[], S(120)), (0, Vec::new()), "a run that did not take place");
    }

    #[test]
    fn what_happened_and_what_is_of_no_run_is_said_in_its_place() {
        let mut agent = Agent::new();
        let mut seen = look(0, 0.5, "good");
        let presence = |second| Observation {
            component: "os/0".parse().unwrap(),
            observed_at: at(second),
            body: Body::Presence(Presence::Online),
        };
        seen.insert(0, presence(0));
        seen.push(presence(1));
        seen.push(presence(2));
        // The first and the last are of no run.
        let runs = [run("p", 1..5)];
        assert_eq!(agent.say(&seen, &runs, S(0)), (6, seen.clone()));
        assert_eq!(agent.say(&seen, &runs, S(60)), (3, seen.clone()));
    }

    #[test]
    fn two_runs_in_one_record_are_led_back_to_different_ones() {
        let mut agent = Agent::new();
        agent.say(&look(0, 0.5, "good"), &[run("p", 0..1), run("q", 1..3)], S(0));
        let (said, read) = agent.say(&look(60, 0.5, "worn"), &[run("p", 0..1), run("q", 1..3)], S(60));
        assert_eq!((said, read), (2, look(60, 0.5, "worn")));
        let (said, read) = agent.say(&look(120, 0.6, "worn"), &[run("p", 0..1), run("q", 1..3)], S(120));
        assert_eq!((said, read), (0, look(120, 0.6, "worn")));
    }

    #[test]
    fn another_epoch_a_request_and_six_hours_say_everything_again() {
        let coalescer = |ago: u64| {
            let mut coalescer = Coalescer::default();
            let seen = look(0, 0.5, "good");
            let written = coalescer.coalesce(&seen, &[run("p", 0..3)], HERE, S(0));
            coalescer.written(written, HERE, SequenceNumber(1), true, S(0));
            let again = coalescer.coalesce(&seen, &[run("p", 0..3)], HERE, S(ago));
            let elsewhere = coalescer.coalesce(&seen, &[run("p", 0..3)], Epoch([2; 16]), S(ago));
            assert_eq!(elsewhere.own.len(), 3);
            coalescer.forget();
            assert_eq!(coalescer.coalesce(&seen, &[run("p", 0..3)], HERE, S(ago)).own.len(), 3);
            again.own.len()
        };
        assert_eq!(coalescer(SAID_AGAIN.as_secs() - 1), 0);
        assert_eq!(coalescer(SAID_AGAIN.as_secs()), 3);
    }

    #[test]
    fn a_record_that_is_too_large_or_a_number_without_decimals_is_never_led_back_to() {
        let mut coalescer = Coalescer::default();
        let seen = look(0, 0.5, "good");
        let written = coalescer.coalesce(&seen, &[run("p", 0..3)], HERE, S(0));
        coalescer.written(written, HERE, SequenceNumber(1), false, S(0));
        assert_eq!(coalescer.coalesce(&seen, &[run("p", 0..3)], HERE, S(1)).own.len(), 3);

        let mut agent = Agent::new();
        let odd = [sample(0, "cpu/0", semconv::CPU_UTILIZATION, 0.123_456)];
        agent.say(&odd, &[run("p", 0..1)], S(0));
        assert_eq!(agent.say(&odd, &[run("p", 0..1)], S(1)).0, 1);
    }
}
