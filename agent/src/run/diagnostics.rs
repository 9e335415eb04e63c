//! The tests that the collector asks for: one thread that runs them one after the other and hands their reports to the
//! loop like any observation.

use super::recording::{self, Question};
use crate::collect::{Collected, Start, wall_clock};
use anyhow::{Context, Result};
use firstline_agent_probes::{Overrides, diagnose};
use firstline_model::{Body, Component, ComponentKind, DiagnosticRequest, Observation};
use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Most tests that wait for their turn.
const MOST_WAITING: usize = 64;
/// A collector asks again on each new stream; so many requests are remembered to be answered once.
const REMEMBERED: usize = 256;

/// A test that waits for its turn, with what was in force when it was asked for.
pub struct Asked {
    /// The collector's name for it.
    pub request_id: String,
    /// What is asked.
    pub request: DiagnosticRequest,
    pub(super) asked_ago: Duration,
    pub(super) directory_depth: u8,
    pub(super) overrides: Overrides,
}

/// The way to the thread that runs tests.
pub struct Diagnostics {
    waiting: mpsc::SyncSender<Asked>,
    taken: VecDeque<String>,
}

impl Diagnostics {
    /// Starts the thread; it ends when the returned value is dropped.
    pub(super) fn start(start: &Start, collected: UnboundedSender<Collected>) -> Result<Self> {
        let (waiting, requests) = mpsc::sync_channel::<Asked>(MOST_WAITING);
        let start = start.clone();
        std::thread::Builder::new()
            .name("diagnostics".to_owned())
            .stack_size(512 << 10)
            .spawn(move || {
                while let Ok(asked) = requests.recv() {
                    let found = Collected::new(vec![run(&start, asked)], true);
                    if collected.send(found).is_err() {
                        return;
                    }
                }
            })
            .context("cannot start the thread for tests")?;
        Ok(Self::through(waiting))
    }

    /// Hands tests to whoever receives `waiting`.
    pub fn through(waiting: mpsc::SyncSender<Asked>) -> Self {
        Self { waiting, taken: VecDeque::new() }
    }

    /// Lets a test run, unless it was asked for before.
    pub(super) fn ask(&mut self, asked: Asked) {
        if self.taken.contains(&asked.request_id) {
            return;
        }
        let (request_id, name) = (asked.request_id.clone(), asked.request.name());
        match self.waiting.try_send(asked) {
            Ok(()) => {
                tracing::info!(request = request_id, test = name, "running a test");
                self.taken.push_back(request_id);
                if self.taken.len() > REMEMBERED {
                    self.taken.pop_front();
                }
            }
            // The collector asks again on the next stream.
            Err(_) => {
                tracing::warn!(
                    request = request_id,
                    test = name,
                    "too many tests wait; this one is left out"
                );
            }
        }
    }
}

fn run(start: &Start, asked: Asked) -> Observation {
    let mut context = firstline_agent_probes::Context::new(start.root.clone(), wall_clock());
    context.state_dir = Some(start.state_dir.clone());
    context.policy.directory_depth = asked.directory_depth;
    context.overrides = asked.overrides;
    let mut report = if let DiagnosticRequest::Recorder { component } = &asked.request {
        let question = Question { component, asked_ago: asked.asked_ago };
        recording::answer(&start.recorder, &question, context.now)
    } else {
        diagnose::run(&asked.request, &context)
    };
    report.request_id = asked.request_id;
    Observation {
        component: Component::only(ComponentKind::Agent),
        observed_at: report.finished_at,
        body: Body::Diagnostic(report),
    }
}
