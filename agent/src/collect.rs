//! Runs the probes, in two lanes, so that a slow one never delays the look for triggers.
//!
//! The quick lane runs what is cheap enough to be sampled every few seconds; the other lane runs the rest, one after
//! the other. Both report once a minute, at the same second, so that their records travel together; what the other lane
//! looks at twice a minute is reported in between only when something happened, and each time for a while after that. Each lane is a thread that sleeps until something is due or it is told something. Every probe runs
//! isolated on a thread of its own (see `firstline-agent-probes`).

use crate::overhead::{Account, Report};
use crate::recorder::{Look, Recorder};
pub use firstline_agent_core::coalesce::RunOf;
use firstline_agent_core::policy::{LIVE, Policy, Trigger};
use firstline_agent_core::schedule::Schedule;
use firstline_agent_core::trigger::Triggers;
use firstline_agent_platform::clock::{self, SleepDetector};
use firstline_agent_probes::isolate::{Isolated, Outcome, Run, Runner};
use firstline_agent_probes::{Context, Overrides, PROBES, Root};
use firstline_model::{
    Attributes, Body, Component, ComponentKind, Observation, Presence, Timestamp, UnavailableReason,
    resolution, semconv,
};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::UnboundedSender;

/// A probe that looks this often between its reports is of the quick lane.
const QUICK: Duration = Duration::from_secs(10);
/// How long every look of the other lane is reported after something happened in it: rules hold for minutes.
const UNSETTLED: Duration = Duration::from_secs(15 * 60);

/// What one run (or several that were due together) brought.
#[derive(Debug)]
pub struct Collected {
    /// What was seen, already cut down to what has to be sent.
    pub observations: Vec<Observation>,
    /// Whether it has to be sent at once.
    pub urgent: bool,
    /// Which of them are all that one steady run saw.
    pub runs: Vec<RunOf>,
}

impl Collected {
    /// What is not of a steady run.
    pub fn new(observations: Vec<Observation>, urgent: bool) -> Self {
        Self { observations, urgent, runs: Vec::new() }
    }
}

/// What a lane is told.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// The policy changed.
    Policy(Policy),
    /// The configuration file changed.
    Overrides(Overrides),
    /// Somebody watches for so long.
    Live(Duration),
}

/// What a lane was told and has not looked at. Only the newest of each counts: a collector that sends policies faster than
/// probes run must not fill the memory with them.
#[derive(Debug, Default)]
struct Told {
    policy: Option<Policy>,
    overrides: Option<Overrides>,
    live: Option<Duration>,
}

/// The way to one lane.
#[derive(Debug)]
struct Desk {
    told: Arc<Mutex<Told>>,
    bell: mpsc::SyncSender<()>,
}

/// The threads that run probes.
#[derive(Debug)]
pub(crate) struct Lanes {
    desks: Vec<Desk>,
}

/// How lanes begin.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub root: Root,
    pub state_dir: PathBuf,
    pub disabled: Vec<String>,
    pub intervals: Vec<(String, Duration)>,
    pub overrides: Overrides,
    pub recorder: Arc<Mutex<Recorder>>,
}

impl Lanes {
    /// Starts both lanes; they end when the returned value is dropped.
    pub(crate) fn start(
        start: &Start,
        account: &Account,
        collected: &UnboundedSender<Collected>,
    ) -> std::io::Result<Self> {
        let mut desks = Vec::new();
        for (name, quick) in [("lane-quick", true), ("lane-steady", false)] {
            let (bell, rings) = mpsc::sync_channel(1);
            let told = Arc::new(Mutex::new(Told::default()));
            let desk = Desk { told: Arc::clone(&told), bell };
            let mut lane = Lane::new(start.clone(), account.clone(), quick);
            let collected = collected.clone();
            std::thread::Builder::new()
                .name(name.to_owned())
                .stack_size(512 << 10)
                .spawn(move || lane.run(&rings, &told, &collected))?;
            desks.push(desk);
        }
        Ok(Self { desks })
    }

    /// Tells both lanes.
    pub(crate) fn tell(&self, order: &Order) {
        for desk in &self.desks {
            {
                let mut told = desk.told.lock().unwrap_or_else(PoisonError::into_inner);
                match order.clone() {
                    Order::Policy(policy) => told.policy = Some(policy),
                    Order::Overrides(overrides) => told.overrides = Some(overrides),
                    Order::Live(time) => told.live = Some(time),
                }
            }
            // A bell that rings already is enough, and a lane ends only with the process.
            let _ = desk.bell.try_send(());
        }
    }
}

struct Lane {
    start: Start,
    quick: bool,
    schedule: Schedule,
    probes: Vec<Isolated>,
    runner: Runner,
    triggers: Triggers,
    sleep: SleepDetector,
    directory_depth: Option<u8>,
    /// The collector's intervals.
    intervals: Vec<(String, Duration)>,
    /// Somebody watches until this.
    live_until: Option<Duration>,
    /// Probes of which every look is reported, and until when.
    unsettled: BTreeMap<&'static str, Duration>,
    /// Probes that looked since the levels that they are judged by are in force.
    looked_at: BTreeSet<&'static str>,
    /// The documents that were seen last, of a lane whose looks in between make them every time.
    documents: Documents,
    account: Account,
    /// The agent's metrics about itself, in one lane.
    report: Option<Report>,
}

impl Lane {
    fn new(start: Start, account: Account, quick: bool) -> Self {
        let mut schedule = Schedule::default();
        let mut probes = Vec::new();
        for entry in PROBES.iter().filter(|entry| !start.disabled.iter().any(|name| name == entry.name)) {
            let probe = Isolated::new(entry);
            let descriptor = probe.descriptor();
            if descriptor.trigger_interval.is_some_and(|every| every < QUICK) == quick {
                schedule.add(
                    descriptor.name,
                    descriptor.interval,
                    descriptor.trigger_interval,
                    descriptor.cpu_budget,
                );
                probes.push(probe);
            }
        }
        let sleep = SleepDetector::new(clock::read());
        let mut lane = Self {
            start,
            quick,
            schedule,
            probes,
            runner: Runner::default(),
            triggers: Triggers::default(),
            sleep,
            directory_depth: None,
            intervals: Vec::new(),
            live_until: None,
            unsettled: BTreeMap::new(),
            looked_at: BTreeSet::new(),
            documents: Documents::default(),
            report: quick.then(|| Report::of(account.clone())),
            account,
        };
        lane.apply_intervals();
        lane
    }

    fn run(
        &mut self,
        rings: &mpsc::Receiver<()>,
        told: &Mutex<Told>,
        collected: &UnboundedSender<Collected>,
    ) {
        loop {
            let reading = clock::read();
            if self.quick
                && let Some(slept) = self.sleep.slept(reading)
            {
                let now = wall_clock();
                let observations =
                    vec![presence(now.minus(slept), Presence::Asleep), presence(now, Presence::Online)];
                if collected.send(Collected::new(observations, true)).is_err() {
                    return;
                }
            }
            if self.live_until.take_if(|until| *until <= reading.awake).is_some() {
                self.apply_intervals();
            }
            if let Some(found) = self.run_due(reading.awake)
                && collected.send(found).is_err()
            {
                return;
            }
            let now = clock::read().awake;
            self.schedule.set_shed(self.account.shed(now), now);
            let wait = self
                .schedule
                .poll_timeout()
                .map_or(Duration::from_secs(60), |(at, _)| at.saturating_sub(now))
                .min(self.live_until.map_or(Duration::MAX, |until| until.saturating_sub(now)));
            match rings.recv_timeout(wait) {
                Ok(()) => {
                    let told = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
                    if let Some(overrides) = told.overrides {
                        self.start.overrides = overrides;
                    }
                    if let Some(policy) = told.policy {
                        self.apply_policy(policy);
                    }
                    if let Some(time) = told.live {
                        self.live_until = Some(clock::read().awake + time);
                        self.apply_intervals();
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn apply_policy(&mut self, policy: Policy) {
        self.directory_depth = Some(policy.directory_depth);
        self.intervals = policy.intervals;
        self.looked_at.clear();
        self.apply_intervals();
        self.triggers.set_levels(policy.triggers.into_iter().filter(counts_here).collect());
    }

    /// The collector's intervals, then this machine's own, which win; what neither names has the probe's own. While somebody
    /// watches, what moves is looked at more often than any of them says.
    fn apply_intervals(&mut self) {
        let now = clock::read().awake;
        for probe in &self.probes {
            let descriptor = probe.descriptor();
            let own = self.start.intervals.iter().find(|(name, _)| name == descriptor.name);
            let interval = own
                .or_else(|| self.intervals.iter().find(|(name, _)| name == descriptor.name))
                .map_or(descriptor.interval, |(_, interval)| *interval);
            let live = LIVE.iter().find(|(name, _)| *name == descriptor.name && self.live_until.is_some());
            let interval = live.map_or(interval, |(_, often)| interval.min(*often));
            let _ = self.schedule.set_interval(descriptor.name, interval, now);
        }
    }

    fn run_due(&mut self, awake: Duration) -> Option<Collected> {
        let mut round = Round::default();
        for due in self.schedule.poll_due(awake) {
            let Some(probe) = self.probes.iter_mut().find(|p| p.descriptor().name == due.probe) else {
                continue;
            };
            let now = wall_clock();
            let mut context = Context::new(self.start.root.clone(), now);
            context.state_dir = Some(self.start.state_dir.clone());
            context.overrides = self.start.overrides.clone();
            let steady = due.steady || self.unsettled.get(due.probe).is_some_and(|until| awake < *until);
            context.steady = steady;
            if let Some(depth) = self.directory_depth {
                context.policy.directory_depth = depth;
            }
            let mut run = probe.run_on(&mut self.runner, context);
            let completed = matches!(run.outcome, Outcome::Completed);
            self.schedule.handle_finished(due.probe, completed, run.cpu);
            self.account.ran(due.probe, completed, run.cpu, probe.descriptor().cpu_budget);
            if !completed {
                tracing::warn!(probe = due.probe, outcome = run.outcome.as_str(), "a probe did not complete");
            }
            let first = round.seen.len();
            for mut observation in std::mem::take(&mut run.observations) {
                round_value(&mut observation);
                let urgent = self.triggers.is_urgent(&observation);
                let is_new = !self.quick && self.documents.is_new(&observation);
                // What was so before it was looked at first is no news.
                if !self.quick && (urgent || is_new) && self.looked_at.contains(due.probe) {
                    tracing::debug!(probe = due.probe, "every look is reported for a while");
                    self.unsettled.insert(due.probe, awake + UNSETTLED);
                }
                // In between, the quick lane makes documents only when something happened.
                let is_document = matches!(observation.body, Body::State { .. });
                let happened = !steady && is_document && (self.quick || is_new);
                round.add(observation, steady, urgent || happened);
            }
            self.looked_at.insert(due.probe);
            if steady {
                round.add(about_the_run(due.probe, &run, now), true, false);
                round.runs.push(RunOf { probe: due.probe, places: first..round.seen.len() });
            }
            self.record(due.probe, &round.seen[first..], steady, now);
        }
        let own = self.report.as_mut().map(|report| report.due(wall_clock())).unwrap_or_default();
        own.into_iter().for_each(|observation| round.add(observation, true, false));
        round.finish()
    }

    /// Every look is recorded, whatever of it is sent.
    fn record(&self, probe: &'static str, seen: &[(Observation, bool)], is_steady: bool, now: Timestamp) {
        let seen: Vec<Observation> = seen.iter().map(|(observation, _)| observation.clone()).collect();
        let runs = [RunOf { probe, places: 0..seen.len() }];
        let look = Look { seen: &seen, runs: &runs, is_steady };
        let mut recorder = self.start.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        recorder.record(&look, now, clock::read().awake);
    }
}

/// The documents that were seen last, by what they are about.
#[derive(Debug, Default)]
struct Documents {
    seen: BTreeMap<(Component, String), u64>,
}

impl Documents {
    /// Most that are remembered. A device with more is broken or hostile.
    const MOST: usize = 1024;

    /// Whether it is a document that says something else than the last one did. The first one is no news.
    fn is_new(&mut self, observation: &Observation) -> bool {
        let Body::State { name, document } = &observation.body else { return false };
        let mut hasher = DefaultHasher::new();
        format!("{document:?}").hash(&mut hasher);
        let (key, now) = ((observation.component.clone(), name.to_string()), hasher.finish());
        match self.seen.get_mut(&key) {
            Some(before) => std::mem::replace(before, now) != now,
            None => {
                if self.seen.len() < Self::MOST {
                    self.seen.insert(key, now);
                }
                false
            }
        }
    }
}

/// What the probes that were due together saw.
#[derive(Default)]
struct Round {
    seen: Vec<(Observation, bool)>,
    urgent: BTreeSet<Component>,
    /// Steady runs, with the places of what they saw.
    runs: Vec<RunOf>,
}

impl Round {
    /// Takes an observation.
    fn add(&mut self, observation: Observation, steady: bool, urgent: bool) {
        if urgent {
            self.urgent.insert(observation.component.clone());
        }
        self.seen.push((observation, steady || urgent));
    }

    /// What is sent: all of steady looks, and of the others everything about the components that there is news of, so
    /// that a ticket does not hold a new value beside an old one.
    fn finish(self) -> Option<Collected> {
        let Self { seen, urgent, mut runs } = self;
        let mut observations = Vec::new();
        let mut steady = runs.iter_mut().peekable();
        for (place, (observation, wanted)) in seen.into_iter().enumerate() {
            // Steady runs are sent whole, so only where they begin moves.
            if let Some(run) = steady.next_if(|run| run.places.start == place) {
                run.places = observations.len()..observations.len() + run.places.len();
            }
            if wanted || urgent.contains(&observation.component) {
                observations.push(observation);
            }
        }
        (!observations.is_empty()).then_some(Collected { observations, urgent: !urgent.is_empty(), runs })
    }
}

/// Noise below the step of its metric is no change.
fn round_value(observation: &mut Observation) {
    if let Body::Sample { metric, value, .. } = &mut observation.body {
        *value = resolution::rounded(metric, *value);
    }
}

/// A level of something that has none here would only cost memory.
fn counts_here(trigger: &Trigger) -> bool {
    semconv::metric(&trigger.metric).is_some()
}

/// The agent's own metrics: how long the probe ran, or that it could not.
fn about_the_run(probe: &'static str, run: &Run, now: Timestamp) -> Observation {
    let component = Component::only(ComponentKind::Agent);
    let body = match &run.outcome {
        Outcome::Completed => Body::Sample {
            metric: semconv::PROBE_DURATION.into(),
            attributes: Attributes::none().with(semconv::attribute::PROBE, probe),
            value: resolution::rounded(semconv::PROBE_DURATION, run.duration.as_secs_f64()),
        },
        outcome @ (Outcome::Panicked(_) | Outcome::TimedOut | Outcome::NotStarted(_)) => Body::Unavailable {
            what: probe.into(),
            reason: UnavailableReason::TimedOut,
            detail: format!("the probe {}", outcome.as_str()),
        },
    };
    Observation { component, observed_at: now, body }
}

/// A presence at a moment.
pub(crate) fn presence(at: Timestamp, presence: Presence) -> Observation {
    Observation {
        component: Component::only(ComponentKind::Os),
        observed_at: at,
        body: Body::Presence(presence),
    }
}

/// The device's clock.
pub(crate) fn wall_clock() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(component: &str, value: f64) -> Observation {
        Observation {
            component: component.parse().unwrap(),
            observed_at: Timestamp::from_millis(0),
            body: Body::Sample { metric: "m".into(), attributes: Attributes::none(), value },
        }
    }

    #[test]
    fn with_news_of_a_component_everything_about_it_is_sent_and_nothing_about_others() {
        let mut round = Round::default();
        round.add(sample("filesystem//", 0.1), false, false);
        round.add(sample("filesystem//home", 0.2), false, false);
        round.add(sample("filesystem//home", 0.99), false, true);
        let sent = round.finish().unwrap();
        assert!(sent.urgent);
        assert!(sent.observations.iter().all(|o| o.component.id() == "/home"));
        assert_eq!(sent.observations.len(), 2);
    }

    #[test]
    fn a_steady_run_is_known_as_one_wherever_what_is_sent_of_others_moves_it() {
        let mut round = Round::default();
        round.add(sample("memory/0", 0.1), false, false);
        round.add(sample("os/0", 0.1), false, true);
        round.add(sample("cpu/0", 0.1), true, false);
        round.add(sample("cpu/0", 0.2), true, false);
        round.runs.push(RunOf { probe: "cpu", places: 2..4 });
        round.add(sample("memory/0", 0.3), false, false);
        let sent = round.finish().unwrap();
        assert_eq!(sent.observations.len(), 3);
        assert_eq!(sent.runs, [RunOf { probe: "cpu", places: 1..3 }]);
    }

    #[test]
    fn a_look_in_between_without_news_sends_nothing_and_a_steady_one_everything() {
        let mut round = Round::default();
        round.add(sample("cpu/0", 0.1), false, false);
        assert!(round.finish().is_none());
        let mut round = Round::default();
        round.add(sample("cpu/0", 0.1), true, false);
        assert!(!round.finish().unwrap().urgent);
    }
}
