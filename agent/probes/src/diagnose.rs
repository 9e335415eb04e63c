//! The bounded, read-only tests that an agent runs when a finding needs evidence or a technician asks.
//!
//! The list of tests is the model's closed list. Every test has a hard time limit, changes nothing on the machine,
//! starts no program but the one that [`crate::exec`] allows, and its result is bounded in size.

mod directories;
mod network;
mod printer;
mod processes;
mod system;

use crate::Context;
use firstline_model::{DiagnosticOutcome, DiagnosticReport, DiagnosticRequest, Value, order};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// After this long a test is given up; its thread is left behind.
pub const TIME_LIMIT: Duration = Duration::from_secs(20);
/// The most bytes of text and numbers that the facts of one report hold.
pub const FACTS_LIMIT: usize = 16 << 10;
const SUMMARY_LIMIT: usize = 500;
const FACT_TEXT_LIMIT: usize = 512;
/// Tests that hang hold a thread each; beyond this many no further one starts.
const MAX_RUNNING: usize = 8;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// What a test found.
#[derive(Debug)]
struct Examined {
    outcome: DiagnosticOutcome,
    summary: String,
    facts: Value,
}

impl Examined {
    fn new(outcome: DiagnosticOutcome, summary: impl Into<String>, facts: Value) -> Self {
        Self { outcome, summary: summary.into(), facts }
    }

    fn could_not_tell(summary: impl Into<String>) -> Self {
        Self::new(DiagnosticOutcome::CouldNotTell, summary, no_facts())
    }
}

fn no_facts() -> Value {
    Value::Map(std::collections::BTreeMap::new())
}

/// Runs one test to its end or to its time limit. Blocks; `request_id` of the report is empty, the caller knows it.
pub fn run(request: &DiagnosticRequest, context: &Context) -> DiagnosticReport {
    run_within(request, context, TIME_LIMIT, examine)
}

type Examine = fn(&DiagnosticRequest, &Context) -> Examined;

fn run_within(
    request: &DiagnosticRequest,
    context: &Context,
    limit: Duration,
    examine: Examine,
) -> DiagnosticReport {
    let started = Instant::now();
    let mut examined = isolated(request.clone(), context.clone(), limit, examine);
    let took = started.elapsed();
    examined.summary.truncate(examined.summary.floor_char_boundary(SUMMARY_LIMIT));
    let mut left = FACTS_LIMIT;
    DiagnosticReport {
        request_id: String::new(),
        name: request.name().to_owned(),
        subject: request.subject().to_owned(),
        outcome: examined.outcome,
        summary: examined.summary,
        facts: bounded(examined.facts, &mut left).unwrap_or_else(no_facts),
        finished_at: context.now.plus(took),
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Gives its place back when a test ends, be it long after its time limit.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let more = |running: usize| (running < MAX_RUNNING).then_some(running + 1);
        RUNNING.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok().then_some(Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

fn isolated(request: DiagnosticRequest, context: Context, limit: Duration, examine: Examine) -> Examined {
    let Some(place) = Place::take() else {
        return Examined::could_not_tell(
            "Too many earlier tests have not ended yet; this one was not started.",
        );
    };
    let (sender, ended) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("diagnostic".to_owned()).spawn(move || {
        let _place = place;
        let examined = catch_unwind(AssertUnwindSafe(|| examine(&request, &context)));
        // Nobody waits any more when the limit has passed.
        drop(sender.send(examined));
    });
    if let Err(error) = thread {
        return Examined::could_not_tell(format!("The test could not be started: {error}."));
    }
    match ended.recv_timeout(limit) {
        Ok(Ok(examined)) => examined,
        Ok(Err(_)) => Examined::could_not_tell("The test broke down; this is a fault of the agent."),
        Err(_) => {
            Examined::could_not_tell(format!("The test did not end within {} seconds.", limit.as_secs()))
        }
    }
}

fn examine(request: &DiagnosticRequest, context: &Context) -> Examined {
    match request {
        DiagnosticRequest::Link => network::link(context),
        DiagnosticRequest::Gateway => network::gateway(context),
        DiagnosticRequest::DnsServers => network::dns_servers(context),
        DiagnosticRequest::Printer { queue } => printer::printer(context, queue),
        DiagnosticRequest::LargestDirectories { mount_point } => {
            directories::largest_directories(context, mount_point)
        }
        DiagnosticRequest::TopProcesses => processes::top_processes(context),
        DiagnosticRequest::Service { name } => system::service(context, name),
        DiagnosticRequest::PhysicalDisk { id } => system::physical_disk(context, id),
        DiagnosticRequest::KernelLog => system::kernel_log(context),
        // Probes know nothing of recordings; the service answers this one itself.
        DiagnosticRequest::Recorder { .. } => Examined::could_not_tell(
            "Only the running agent reads its recorder; ask from the ticket or the device's page.",
        ),
    }
}

/// The part of `value` that fits into `left` bytes: texts are cut, and what comes later in lists and maps is left out.
fn bounded(value: Value, left: &mut usize) -> Option<Value> {
    // What a number, a separator or an empty container takes when it is written out.
    const SMALL: usize = 16;
    *left = left.checked_sub(SMALL)?;
    Some(match value {
        Value::Bool(_) | Value::Number(_) => value,
        Value::Text(mut text) => {
            text.truncate(text.floor_char_boundary(FACT_TEXT_LIMIT));
            *left = left.checked_sub(text.len())?;
            Value::Text(text)
        }
        Value::List(items) => Value::List(items.into_iter().map_while(|item| bounded(item, left)).collect()),
        Value::Map(entries) => {
            let fits = |(name, item): (Cow<'static, str>, Value)| {
                *left = left.checked_sub(name.len())?;
                Some((name, bounded(item, left)?))
            };
            Value::Map(order::map(entries.into_iter().map_while(fits)))
        }
    })
}

/// Values by name, leaving out what is not known.
fn facts(pairs: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    Value::map(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

/// `1 printer`, `2 printers`.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use firstline_model::Timestamp;

    fn context() -> Context {
        Context::new(Root::at("/nonexistent"), Timestamp::from_millis(1_000))
    }

    #[test]
    fn a_test_that_panics_or_hangs_tells_nothing() {
        let panics: Examine = |_, _| panic!("broken");
        let report = run_within(&DiagnosticRequest::Link, &context(), Duration::from_secs(10), panics);
        assert_eq!(report.outcome, DiagnosticOutcome::CouldNotTell);
        let hangs: Examine = |_, _| loop {
            std::thread::park();
        };
        let report = run_within(&DiagnosticRequest::Link, &context(), Duration::from_millis(20), hangs);
        assert_eq!(report.outcome, DiagnosticOutcome::CouldNotTell);
        assert!(report.took_ms >= 20 && report.finished_at > Timestamp::from_millis(1_000));
    }

    #[test]
    fn every_test_of_the_model_gives_a_report_even_where_there_is_nothing_to_read() {
        for (name, _) in DiagnosticRequest::NAMES {
            let request = DiagnosticRequest::from_name(name, "nothing-like-that").unwrap();
            let report = run(&request, &context());
            assert_eq!(report.name, *name);
            assert!(report.summary.ends_with('.'), "{name}: {}", report.summary);
            assert_ne!(report.outcome, DiagnosticOutcome::Ok, "{name} is fine without having seen anything");
        }
    }

    #[test]
    fn facts_stay_within_their_bound() {
        let many: Vec<String> = (0..10_000).map(|n| format!("{n}-{}", "x".repeat(2_000))).collect();
        let mut left = FACTS_LIMIT;
        let kept =
            bounded(Value::map([("a", Value::texts(many)), ("b", Value::from(1.0))]), &mut left).unwrap();
        let Some(Value::List(items)) = kept.get("a") else { panic!("the list is gone") };
        assert!((10..40).contains(&items.len()), "{}", items.len());
        assert!(items.iter().all(|item| item.as_text().unwrap().len() <= FACT_TEXT_LIMIT));
    }
}
