//! Runs a probe so that its panic or hang costs that probe only.
//!
//! A run is on another thread than its caller. A panic ends the run and the probe is replaced by a fresh one. A hang cannot be ended:
//! the thread is left behind, the caller gets its answer at the time limit, and no further run of this probe starts
//! while that thread lives, so a dead network drive costs one thread and not one each minute.

use crate::{Context, Descriptor, Probe, ProbeEntry, Sink, exec};
use firstline_model::Observation;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ran to its end.
    Completed,
    /// It panicked, with the panic's text.
    Panicked(String),
    /// It did not end within its time limit.
    TimedOut,
    /// It was not started: an earlier run hangs still, or there was no thread for it.
    NotStarted(&'static str),
}

impl Outcome {
    /// The outcome as an attribute's value.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Panicked(_) => "panicked",
            Self::TimedOut => "timed_out",
            Self::NotStarted(_) => "not_started",
        }
    }
}

/// The result of one run.
#[derive(Debug)]
pub struct Run {
    /// What the probe saw; nothing unless it completed.
    pub observations: Vec<Observation>,
    /// How many observations or parts of documents a bound took away.
    pub dropped: u64,
    /// How long the caller waited.
    pub duration: Duration,
    /// Processor time of the run and of the programs that it started, where the system says it and the run ended.
    pub cpu: Option<Duration>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A probe behind its isolation.
pub struct Isolated {
    entry: ProbeEntry,
    descriptor: Descriptor,
    probe: Option<Box<dyn Probe>>,
    left_behind: Option<JoinHandle<()>>,
}

struct Ended {
    probe: Option<Box<dyn Probe>>,
    observations: Vec<Observation>,
    dropped: u64,
    cpu: Option<Duration>,
    outcome: Outcome,
}

/// A thread that runs probes, one after the other. It is used again and again, because making a thread for each run
/// costs more than a cheap probe itself. A run that hangs keeps its thread, and the next run gets another.
#[derive(Debug, Default)]
pub struct Runner {
    thread: Option<(mpsc::SyncSender<Job>, JoinHandle<()>)>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Runner {
    /// Gives the job to the thread, starting one if there is none. `false` when the system gives no thread.
    fn start(&mut self, job: Job) -> bool {
        let job = match self.thread.take() {
            None => job,
            Some((jobs, thread)) => match jobs.send(job) {
                Ok(()) => {
                    self.thread = Some((jobs, thread));
                    return true;
                }
                // The thread is gone, which a panic outside of a probe would explain; the job is still ours.
                Err(mpsc::SendError(job)) => job,
            },
        };
        let (jobs, waiting) = mpsc::sync_channel::<Job>(1);
        let spawned =
            std::thread::Builder::new().name("probes".to_owned()).stack_size(1 << 20).spawn(move || {
                while let Ok(job) = waiting.recv() {
                    job();
                }
            });
        let Ok(thread) = spawned else { return false };
        if jobs.send(job).is_err() {
            return false;
        }
        self.thread = Some((jobs, thread));
        true
    }

    /// Leaves the thread to the run that hangs in it; it ends when that run does.
    fn abandon(&mut self) -> Option<JoinHandle<()>> {
        self.thread.take().map(|(_, thread)| thread)
    }
}

impl Isolated {
    /// A fresh probe of this entry.
    pub fn new(entry: &ProbeEntry) -> Self {
        let probe = entry.make();
        Self { entry: *entry, descriptor: probe.descriptor(), probe: Some(probe), left_behind: None }
    }

    /// Name, rhythm and limits of the probe.
    pub const fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// Whether a hung run is still there, so that the next run would not be started.
    pub fn is_hung(&self) -> bool {
        self.left_behind.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Runs the probe once on a thread of its own and waits for it, at most for its time limit.
    pub fn run(&mut self, context: Context) -> Run {
        self.run_on(&mut Runner::default(), context)
    }

    /// Runs the probe once on the runner's thread and waits for it, at most for its time limit.
    pub fn run_on(&mut self, runner: &mut Runner, context: Context) -> Run {
        let begin = Instant::now();
        if self.is_hung() {
            return not_started(begin, "an earlier run hangs still");
        }
        self.left_behind = None;
        let probe = self.probe.take().unwrap_or_else(|| self.entry.make());
        let (sender, ended) = mpsc::sync_channel(1);
        let job = Box::new(move || {
            // Nobody listens any more when the run came too late.
            let _ = sender.send(collect(probe, &context));
        });
        if !runner.start(job) {
            return not_started(begin, "the system gives no thread");
        }
        match ended.recv_timeout(self.descriptor.time_limit) {
            Ok(ended) => {
                self.probe = ended.probe;
                Run {
                    observations: ended.observations,
                    dropped: ended.dropped,
                    duration: begin.elapsed(),
                    cpu: ended.cpu,
                    outcome: ended.outcome,
                }
            }
            Err(_) => {
                self.left_behind = runner.abandon();
                Run {
                    observations: Vec::new(),
                    dropped: 0,
                    duration: begin.elapsed(),
                    cpu: None,
                    outcome: Outcome::TimedOut,
                }
            }
        }
    }
}

fn collect(mut probe: Box<dyn Probe>, context: &Context) -> Ended {
    let before = thread_cpu_time();
    exec::take_spent_here();
    let mut sink = Sink::new(context.now);
    let caught = catch_unwind(AssertUnwindSafe(|| probe.collect(context, &mut sink)));
    let programs = exec::take_spent_here();
    let cpu = thread_cpu_time().zip(before).map(|(after, before)| after.saturating_sub(before) + programs);
    match caught {
        Ok(()) => {
            let (observations, dropped) = sink.into_parts();
            Ended { probe: Some(probe), observations, dropped, cpu, outcome: Outcome::Completed }
        }
        Err(payload) => {
            let text = panic_text(payload.as_ref());
            // What a panic left of the probe may panic again when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(move || drop(probe)));
            Ended { probe: None, observations: Vec::new(), dropped: 0, cpu, outcome: Outcome::Panicked(text) }
        }
    }
}

fn not_started(begin: Instant, why: &'static str) -> Run {
    let outcome = Outcome::NotStarted(why);
    Run { observations: Vec::new(), dropped: 0, duration: begin.elapsed(), cpu: None, outcome }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text");
    text.chars().take(Sink::MAX_TEXT_BYTES / 4).collect()
}

#[cfg(unix)]
fn thread_cpu_time() -> Option<Duration> {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).ok()
}

#[cfg(not(unix))]
fn thread_cpu_time() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use firstline_model::{Attributes, Component, ComponentKind, Timestamp};
    use std::sync::{Condvar, Mutex};

    fn descriptor(name: &'static str, time_limit: Duration) -> Descriptor {
        let cpu_budget = Duration::from_millis(1);
        Descriptor { name, interval: Duration::from_secs(60), trigger_interval: None, time_limit, cpu_budget }
    }

    fn context() -> Context {
        Context::new(Root::at("/nonexistent"), Timestamp::from_millis(0))
    }

    /// Counts its runs, and panics in the second one.
    struct Panics(u32);
    impl Probe for Panics {
        fn descriptor(&self) -> Descriptor {
            descriptor("panics", Duration::from_secs(30))
        }
        fn collect(&mut self, _: &Context, sink: &mut Sink) {
            self.0 += 1;
            assert!(self.0 < 2, "run {} fails", self.0);
            sink.sample(&Component::only(ComponentKind::Os), "runs", Attributes::none(), f64::from(self.0));
        }
    }

    #[test]
    fn a_panic_ends_the_run_and_the_next_run_has_a_fresh_probe() {
        let mut isolated = Isolated::new(&ProbeEntry { name: "panics", new: || Box::new(Panics(0)) });
        let first = isolated.run(context());
        assert_eq!((first.outcome, first.observations.len()), (Outcome::Completed, 1));
        let second = isolated.run(context());
        assert_eq!(
            (second.outcome, second.observations.len()),
            (Outcome::Panicked("run 2 fails".to_owned()), 0)
        );
        assert_eq!(isolated.run(context()).outcome, Outcome::Completed);
    }

    static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    /// Hangs until the gate opens.
    struct Hangs;
    impl Probe for Hangs {
        fn descriptor(&self) -> Descriptor {
            descriptor("hangs", Duration::from_millis(50))
        }
        fn collect(&mut self, _: &Context, _: &mut Sink) {
            let open = GATE.0.lock().unwrap();
            drop(GATE.1.wait_while(open, |open| !*open).unwrap());
        }
    }

    #[test]
    fn a_hang_is_left_behind_and_blocks_further_runs_only_while_it_lasts() {
        let mut isolated = Isolated::new(&ProbeEntry { name: "hangs", new: || Box::new(Hangs) });
        assert_eq!(isolated.run(context()).outcome, Outcome::TimedOut);
        assert!(isolated.is_hung());
        assert_eq!(isolated.run(context()).outcome, Outcome::NotStarted("an earlier run hangs still"));
        *GATE.0.lock().unwrap() = true;
        GATE.1.notify_all();
        isolated.left_behind.take().unwrap().join().unwrap();
        assert_eq!(isolated.run(context()).outcome, Outcome::Completed);
    }

    #[test]
    fn a_runner_is_used_again_and_a_hang_costs_it_its_thread_only() {
        let mut runner = Runner::default();
        let mut healthy = Isolated::new(&ProbeEntry { name: "panics", new: || Box::new(Panics(0)) });
        let mut hanging = Isolated::new(&ProbeEntry { name: "hangs", new: || Box::new(HangsForEver) });
        assert_eq!(healthy.run_on(&mut runner, context()).outcome, Outcome::Completed);
        let thread = |runner: &Runner| runner.thread.as_ref().map(|(_, thread)| thread.thread().id());
        let first = thread(&runner);
        assert!(matches!(healthy.run_on(&mut runner, context()).outcome, Outcome::Panicked(_)));
        assert_eq!(thread(&runner), first, "a panic does not cost the thread");
        assert_eq!(hanging.run_on(&mut runner, context()).outcome, Outcome::TimedOut);
        assert_eq!(healthy.run_on(&mut runner, context()).outcome, Outcome::Completed);
        assert_ne!(thread(&runner), first, "a hang does");
        assert!(matches!(hanging.run_on(&mut runner, context()).outcome, Outcome::NotStarted(_)));
    }

    /// Waits for what nobody will ever send.
    struct HangsForEver;
    impl Probe for HangsForEver {
        fn descriptor(&self) -> Descriptor {
            descriptor("hangs", Duration::from_millis(50))
        }
        fn collect(&mut self, _: &Context, _: &mut Sink) {
            let (_sender, receiver) = mpsc::channel::<()>();
            let _ = receiver.recv();
        }
    }

    #[cfg(unix)]
    #[test]
    fn processor_time_of_a_run_is_reported() {
        let mut isolated = Isolated::new(&ProbeEntry { name: "panics", new: || Box::new(Panics(0)) });
        let run = isolated.run(context());
        assert!(run.cpu.is_some_and(|cpu| cpu <= run.duration), "{:?} of {:?}", run.cpu, run.duration);
    }
}
