//! What the agent itself costs this machine: the account that both lanes keep of it, what that makes them give up, and how it is
//! reported, to the collector as metrics of `agent/0` and to whoever asks on the local socket.

use firstline_agent_core::budget::{Budget, Shed};
use firstline_agent_platform::usage;
use firstline_agent_probes::{Due, exec};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Body, Component, ComponentKind, Observation, Timestamp};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often processor time and memory of the whole are reported.
const WHOLE: Duration = Duration::from_secs(300);
/// How often the probes' processor time is reported.
const PROBES: Duration = Duration::from_secs(3600);

/// The account, shared by the lanes and the loop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    budget: Arc<Mutex<Budget>>,
}

impl Account {
    /// With so much processor time an hour.
    pub(crate) fn allowing(hourly: Duration) -> Self {
        Self { budget: Arc::new(Mutex::new(Budget::allowing(hourly))) }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run of a probe ended.
    pub(crate) fn ran(&self, probe: &'static str, completed: bool, cpu: Option<Duration>, bound: Duration) {
        self.budget().handle_run(probe, completed, cpu, bound);
    }

    /// What is given up now, after a look at what the agent has used.
    pub(crate) fn shed(&self, now: Duration) -> &'static [Shed] {
        let mut budget = self.budget();
        if budget.handle_use(used(), now) {
            let shed: Vec<&str> = budget.shed().iter().map(|shed| shed.probe()).collect();
            let hourly = budget.hourly().unwrap_or_default();
            tracing::warn!(cpu_s_per_hour = hourly, slowed_down = ?shed, "what the agent gives up has changed");
        }
        budget.shed()
    }

    /// For the answer of the local socket.
    pub(crate) fn told(&self) -> Value {
        let budget = self.budget();
        let mut probes = serde_json::Map::new();
        for (name, spent) in budget.probes() {
            let value = json!({
                "runs": spent.runs,
                "cpu_ms": millis(spent.total),
                "longest_ms": millis(spent.longest),
                "over_budget": spent.over,
                "failed": spent.failed,
            });
            probes.insert(name.to_owned(), value);
        }
        json!({
            "cpu_s": used().as_secs_f64(),
            "cpu_s_per_hour": budget.hourly(),
            "cpu_s_per_hour_allowed": budget.allowed().as_secs_f64(),
            "resident_bytes": usage::resident(),
            "slowed_down": budget.shed().iter().map(|shed| shed.probe()).collect::<Vec<_>>(),
            "probes": probes,
        })
    }
}

/// Processor time of this process and of the programs that it started.
fn used() -> Duration {
    usage::processor_time() + exec::spent()
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

/// When which of the agent's own metrics is due.
#[derive(Debug)]
pub(crate) struct Report {
    account: Account,
    whole: Due,
    probes: Due,
    slowed_down: usize,
}

impl Report {
    pub(crate) fn of(account: Account) -> Self {
        Self { account, whole: Due::every(WHOLE), probes: Due::every(PROBES), slowed_down: 0 }
    }

    /// The metrics that are due.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<Observation> {
        let mut seen = Vec::new();
        let mut sample = |metric: &'static str, attributes: Attributes, value: f64| {
            let body = Body::Sample { metric: metric.into(), attributes, value };
            let component = Component::only(ComponentKind::Agent);
            seen.push(Observation { component, observed_at: now, body });
        };
        if self.whole.is_due(now) {
            sample(semconv::AGENT_CPU_TIME, Attributes::none(), hundredths(used()));
            if let Some(bytes) = usage::resident() {
                // A page more or less is no news.
                sample(semconv::PROCESS_MEMORY_USAGE, Attributes::none(), (bytes >> 18 << 18) as f64);
            }
        }
        let budget = self.account.budget();
        let (due, slowed_down) = (self.probes.is_due(now), budget.shed().len());
        if due || slowed_down != self.slowed_down {
            self.slowed_down = slowed_down;
            sample(semconv::AGENT_SLOWED_DOWN, Attributes::none(), slowed_down as f64);
        }
        for (name, spent) in budget.probes().filter(|_| due) {
            let attributes = Attributes::none().with(attribute::PROBE, name);
            sample(semconv::PROBE_CPU_TIME, attributes, hundredths(spent.total));
        }
        drop(budget);
        seen
    }
}

/// In seconds, as exact as it has to be.
fn hundredths(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seen: &[Observation], wanted: &str) -> Vec<f64> {
        let value = |seen: &Observation| {
            if let Body::Sample { metric, value, .. } = &seen.body {
                (metric == wanted).then_some(*value)
            } else {
                None
            }
        };
        seen.iter().filter_map(value).collect()
    }

    #[test]
    fn what_the_agent_uses_is_reported_as_metrics_of_its_own() {
        let account = Account::default();
        account.ran("memory", true, Some(Duration::from_millis(20)), Duration::from_millis(5));
        let mut report = Report::of(account);
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let first = report.due(at(0));
        assert_eq!(values(&first, semconv::PROBE_CPU_TIME), [0.02]);
        assert_eq!(values(&first, semconv::AGENT_SLOWED_DOWN), [0.0]);
        assert_eq!(values(&first, semconv::AGENT_CPU_TIME).len(), 1);
        assert_eq!(report.due(at(299)), []);
        let second = report.due(at(300));
        assert_eq!(values(&second, semconv::AGENT_CPU_TIME).len(), 1);
        assert_eq!(values(&second, semconv::PROBE_CPU_TIME), Vec::<f64>::new(), "once an hour is enough");
        assert!(values(&second, semconv::PROCESS_MEMORY_USAGE).iter().all(|bytes| *bytes > 1e5));
    }

    #[test]
    fn what_is_given_up_is_told_at_once_and_named_to_whoever_asks() {
        let account = Account::default();
        let mut report = Report::of(account.clone());
        report.due(Timestamp::from_millis(0));
        {
            let mut budget = account.budget();
            for minute in 0..10 {
                budget.handle_use(Duration::from_secs(60 * minute), Duration::from_secs(60 * minute));
            }
        }
        let seen = report.due(Timestamp::from_millis(1000));
        assert_eq!(values(&seen, semconv::AGENT_SLOWED_DOWN), [9.0]);
        assert_eq!(account.told()["slowed_down"][0], "software");
    }
}
