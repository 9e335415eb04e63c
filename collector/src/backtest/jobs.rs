//! Back-tests that people ask for over pages and REST: one at a time, on a thread of its own, kept for a while.

use super::candidate::{Judge, Rules};
use super::play::{self, Plan, Progress};
use super::report::Report;
use super::{LONGEST, MOST_DAYS};
use crate::clock::Clock;
use firstline_collector_store::Store;
use firstline_model::Timestamp;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// Back-tests whose answers are kept, in memory. The oldest gives way.
const KEPT: usize = 20;
/// The longest text of an entry.
const MOST_TEXT: usize = 64 * 1024;

/// What somebody wants to know.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The entry that they look at.
    pub(crate) code: String,
    /// An entry or an override, as it would stand in a file.
    pub(crate) text: String,
    /// How many days back.
    pub(crate) days: u32,
    /// Only devices of this site.
    pub(crate) site: Option<String>,
    /// Who asks.
    pub(crate) actor: String,
}

/// Why a back-test does not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Something is wrong with the question, one sentence each.
    Wrong(Vec<String>),
    /// Another one runs.
    Busy,
    /// This collector cannot begin any now.
    Unable(String),
}

/// How a back-test stands.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Running,
    Done(Arc<Report>),
    Cancelled,
    Failed(String),
}

/// One back-test.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) ask: Ask,
    pub(crate) asked_at: Timestamp,
    pub(crate) progress: Progress,
    ending: Mutex<(State, Option<Timestamp>)>,
}

impl Job {
    /// How it stands, and when it ended.
    pub(crate) fn state(&self) -> (State, Option<Timestamp>) {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_running(&self) -> bool {
        matches!(self.state().0, State::Running)
    }

    fn end(&self, state: State, at: Timestamp) {
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner) = (state, Some(at));
    }
}

/// Ends a job whose thread broke off, so that it does not stand in the way of all others for ever.
struct Ending<'j> {
    job: &'j Job,
    clock: &'j Clock,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.job.is_running() {
            let why = "it broke off; the collector's log says where (this is a defect)";
            self.job.end(State::Failed(why.to_owned()), (self.clock)());
        }
    }
}

/// All back-tests of this process.
pub(crate) struct Backtests {
    store: Arc<dyn Store>,
    clock: Clock,
    judge: Box<Judge>,
    kept_for: Duration,
    jobs: Mutex<VecDeque<Arc<Job>>>,
}

impl Backtests {
    /// None yet. `judge` knows the rules in force; records are kept for `kept_for`.
    pub(crate) fn new(store: Arc<dyn Store>, clock: Clock, judge: Box<Judge>, kept_for: Duration) -> Self {
        Self { store, clock, judge, kept_for, jobs: Mutex::new(VecDeque::new()) }
    }

    /// Begins one. To be called where blocking is allowed: the rules are read anew.
    pub(crate) fn begin(&self, ask: Ask, runtime: &Handle) -> Result<Arc<Job>, Refused> {
        let rules = self.check(&ask).map_err(Refused::Wrong)?;
        let job = self.enter(ask)?;
        let plan = Plan {
            rules,
            days: job.ask.days,
            site: job.ask.site.clone(),
            now: job.asked_at,
            longest: LONGEST,
            kept_for: Some(self.kept_for),
        };
        let (working, store, clock) = (Arc::clone(&job), Arc::clone(&self.store), Arc::clone(&self.clock));
        let runtime = runtime.clone();
        let began = std::thread::Builder::new().name("backtest".to_owned()).spawn(move || {
            let broken = Ending { job: &working, clock: &clock };
            let state = match runtime.block_on(play::play(&*store, &plan, &working.progress)) {
                Ok(Some(report)) => State::Done(Arc::new(report)),
                Ok(None) => State::Cancelled,
                Err(error) => {
                    tracing::warn!(
                        rule = working.ask.code,
                        error = format!("{error:#}"),
                        "a back-test failed"
                    );
                    State::Failed(format!("{error:#}; ask again"))
                }
            };
            working.end(state, clock());
            drop(broken);
        });
        match began {
            Ok(_) => Ok(job),
            Err(error) => {
                let why = format!("no thread can be started: {error}");
                job.end(State::Failed(why.clone()), (self.clock)());
                Err(Refused::Unable(why))
            }
        }
    }

    /// One of them.
    pub(crate) fn job(&self, id: &str) -> Option<Arc<Job>> {
        self.kept().iter().find(|job| job.id == id).cloned()
    }

    /// All of them, the newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Job>> {
        self.kept().iter().rev().cloned().collect()
    }

    /// Calls all off: the process ends.
    pub(crate) fn stop(&self) {
        self.kept().iter().for_each(|job| job.progress.cancel());
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, ask: &Ask) -> Result<Rules, Vec<String>> {
        if !(1..=MOST_DAYS).contains(&ask.days) {
            return Err(vec![format!("days must be between 1 and {MOST_DAYS}")]);
        }
        if ask.text.len() > MOST_TEXT {
            return Err(vec![format!("the entry is longer than {} KiB", MOST_TEXT / 1024)]);
        }
        let rules = (self.judge)(&ask.text)?;
        if rules.code.as_str() != ask.code {
            return Err(vec![format!("the text is about {}, and not about {}", rules.code, ask.code)]);
        }
        Ok(rules)
    }

    /// Takes a place, if none runs.
    fn enter(&self, ask: Ask) -> Result<Arc<Job>, Refused> {
        let asked_at = (self.clock)();
        let mut kept = self.kept();
        if kept.iter().any(|job| job.is_running()) {
            return Err(Refused::Busy);
        }
        // Unique also after a restart, so that an old address does not show somebody else's answer.
        let last = kept.back().and_then(|job| job.id.parse::<i64>().ok()).unwrap_or(0);
        let job = Arc::new(Job {
            id: asked_at.as_millis().max(last + 1).to_string(),
            ask,
            asked_at,
            progress: Progress::default(),
            ending: Mutex::new((State::Running, None)),
        });
        kept.push_back(Arc::clone(&job));
        while kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(job)
    }
}
