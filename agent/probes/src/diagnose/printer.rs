//! Test of one printer: the queue, its oldest job, and the device behind it asked directly.

use crate::diagnose::{Examined, count, facts};
use crate::printer::queue::state_name;
use crate::printer::reasons::Reason;
use crate::printer::{self, all_said, queued};
use crate::{Context, ProbeError};
use firstline_model::{DiagnosticOutcome, Value};

/// A job that has not moved for this long is stuck, unless it is a very long one.
const STUCK_S: u32 = 600;

pub(super) fn printer(context: &Context, queue: &str) -> Examined {
    let found = match printer::examine_one(context, queue) {
        Ok(found) => found,
        Err(ProbeError::NotPresent(detail)) => {
            return Examined::could_not_tell(format!("The printer could not be tested: {detail}."));
        }
        Err(error) => {
            let detail = error.detail();
            return Examined::could_not_tell(format!("The print server could not be asked: {detail}."));
        }
    };
    let said = all_said(&found);
    let reachable = found.contact.as_ref().ok().map(|contact| contact.reachable);
    let oldest = found.jobs.as_ref().ok().and_then(|jobs| jobs.oldest.clone());
    let jobs = queued(&found);
    let device = found.device();
    let message = device
        .as_ref()
        .and_then(|device| device.message.clone())
        .or_else(|| found.queue.message.clone())
        .filter(|message| !message.is_empty());
    let device_detail = match &found.contact {
        Ok(contact) => contact.detail.clone().or_else(|| found.device_error()),
        Err(error) => Some(error.to_string()),
    };
    let verdict = Verdict {
        name: queue,
        state: found.queue.state,
        accepting: found.queue.accepting,
        reachable,
        reasons: said.iter().filter_map(|text| Reason::parse(text)).collect(),
        oldest_age_s: oldest.as_ref().map(|job| job.age_s),
        jobs: jobs.unwrap_or(0.0),
    };
    let (outcome, summary) = verdict.judge();
    let facts = facts([
        ("reachable", reachable.map(Value::from)),
        ("queue_state", found.queue.state.map(|state| Value::from(state_name(state)))),
        ("accepting", found.queue.accepting.map(Value::from)),
        ("reasons", Some(Value::texts(said))),
        ("message", message.map(Value::from)),
        ("queue_message", found.queue.message.clone().map(Value::from)),
        ("oldest_job_age_s", oldest.as_ref().map(|job| Value::from(f64::from(job.age_s)))),
        ("oldest_job_state", oldest.as_ref().map(|job| Value::from(job.state))),
        ("oldest_job_id", oldest.as_ref().map(|job| Value::from(f64::from(job.id)))),
        ("jobs", jobs.map(Value::from)),
        ("device_detail", device_detail.map(Value::from)),
    ]);
    Examined::new(outcome, summary, facts)
}

struct Verdict<'a> {
    name: &'a str,
    state: Option<i32>,
    accepting: Option<bool>,
    reachable: Option<bool>,
    reasons: Vec<Reason>,
    oldest_age_s: Option<u32>,
    jobs: f64,
}

impl Verdict<'_> {
    fn judge(&self) -> (DiagnosticOutcome, String) {
        let name = self.name;
        let blocking: Vec<String> =
            self.reasons.iter().filter(|reason| reason.stops_printing()).map(Reason::meaning).collect();
        let stuck = self.oldest_age_s.filter(|age| *age >= STUCK_S);
        let waiting = if self.jobs > 0.0 {
            // Counts of jobs are small whole numbers; the server's own count is an integer.
            format!(" {} waiting.", count(self.jobs as usize, "job is", "jobs are"))
        } else {
            String::new()
        };
        if self.reachable == Some(false) {
            let text = format!("The printer behind {name} does not answer on the network.{waiting}");
            return (DiagnosticOutcome::Problem, text);
        }
        if !blocking.is_empty() {
            let text = format!("Printer {name} needs help: {}.{waiting}", blocking.join(", "));
            return (DiagnosticOutcome::Problem, text);
        }
        if self.state == Some(5) {
            return (DiagnosticOutcome::Problem, format!("The queue {name} is stopped.{waiting}"));
        }
        if self.accepting == Some(false) {
            return (DiagnosticOutcome::Problem, format!("The queue {name} takes no jobs.{waiting}"));
        }
        if let Some(age) = stuck {
            let text =
                format!("A job has been in {name} for {} minutes although the printer answers.", age / 60);
            return (DiagnosticOutcome::Problem, text);
        }
        match self.reachable {
            Some(_) => {
                (DiagnosticOutcome::Ok, format!("Printer {name} answers and reports no fault.{waiting}"))
            }
            None => (
                DiagnosticOutcome::Ok,
                format!("The queue {name} is in order; the printer behind it cannot be asked.{waiting}"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use firstline_model::Timestamp;
    use std::path::Path;

    fn captured(situation: &str, queue: &str) -> Examined {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/printer").join(situation);
        printer(&Context::new(Root::at(folder), Timestamp::from_millis(0)), queue)
    }

    #[test]
    fn captured_printers_are_judged_in_plain_words() {
        for (situation, queue, outcome, words) in [
            ("idle", "finance", DiagnosticOutcome::Ok, "answers and reports no fault"),
            ("jam_and_dead_printer", "finance", DiagnosticOutcome::Problem, "paper is jammed"),
            ("jam_and_dead_printer", "dead", DiagnosticOutcome::Problem, "does not answer"),
            ("toner_empty_while_idle", "finance", DiagnosticOutcome::Problem, "toner is used up"),
            ("paused_with_jobs", "finance", DiagnosticOutcome::Problem, "paused by a person"),
            ("idle", "nowhere", DiagnosticOutcome::CouldNotTell, "no queue is called nowhere"),
        ] {
            let examined = captured(situation, queue);
            assert_eq!(examined.outcome, outcome, "{situation} {queue}: {}", examined.summary);
            assert!(examined.summary.contains(words), "{situation} {queue}: {}", examined.summary);
        }
    }

    #[test]
    fn the_facts_that_causes_refer_to_are_there() {
        let facts = captured("jam_and_dead_printer", "finance").facts;
        assert_eq!(facts.get("reachable"), Some(&Value::Bool(true)));
        assert_eq!(facts.get("queue_state").and_then(Value::as_text), Some("processing"));
        assert_eq!(facts.get("jobs").and_then(Value::as_number), Some(2.0));
        assert!(facts.get("oldest_job_age_s").and_then(Value::as_number).is_some());
    }
}
