//! Queues and jobs as the print server describes them, out of IPP attributes.

use crate::printer::message::{Group, Reply};
use crate::printer::reasons::{Reason, ReasonSeverity};
use crate::printer::supplies::{self, Supply};
use std::collections::BTreeMap;

/// More queues than this are not looked at.
pub(crate) const MAX_QUEUES: usize = 48;
/// More jobs than this are not listed; the count of a queue comes from the server as well.
pub(crate) const MAX_JOBS: i32 = 100;
pub(crate) const MAX_NAME_BYTES: usize = 127;
const MAX_REASONS: usize = 16;

/// What is asked of the print server about its queues.
pub(crate) const WANTED: &[&str] = &[
    "printer-name",
    "printer-state",
    "printer-state-reasons",
    "printer-state-message",
    "printer-is-accepting-jobs",
    "printer-is-shared",
    "printer-uuid",
    "printer-make-and-model",
    "printer-location",
    "device-uri",
    "queued-job-count",
    "marker-names",
    "marker-types",
    "marker-levels",
    "marker-low-levels",
    "printer-supply",
    "printer-supply-description",
];

/// What is asked about jobs.
pub(crate) const JOB_WANTED: &[&str] =
    &["job-id", "job-state", "time-at-creation", "time-at-processing", "job-printer-up-time"];

/// A queue, or a printer that describes itself with the same attributes.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub(crate) name: String,
    /// 3 idle, 4 processing, 5 stopped.
    pub(crate) state: Option<i32>,
    pub(crate) reasons: Vec<Reason>,
    /// The reasons as they were said.
    pub(crate) said: Vec<String>,
    pub(crate) message: Option<String>,
    pub(crate) accepting: Option<bool>,
    pub(crate) shared: Option<bool>,
    pub(crate) device_uri: Option<String>,
    pub(crate) uuid: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) queued: Option<i32>,
    pub(crate) supplies: Vec<Supply>,
}

impl Queue {
    /// Reads one group of printer attributes. A queue without a usable name is left out.
    pub(crate) fn read(group: &Group) -> Option<Self> {
        let name = group.text("printer-name").filter(|name| name.len() <= MAX_NAME_BYTES)?;
        Some(Self::read_as(name, group))
    }

    /// Reads a group under a name that is already known.
    pub(crate) fn read_as(name: String, group: &Group) -> Self {
        let mut said = group.texts("printer-state-reasons");
        said.truncate(MAX_REASONS);
        Self {
            name,
            state: group.integer("printer-state").filter(|state| (3..=5).contains(state)),
            reasons: said.iter().filter_map(|text| Reason::parse(text)).collect(),
            said: said.into_iter().filter(|text| Reason::parse(text).is_some()).collect(),
            message: group.text("printer-state-message"),
            accepting: group.boolean("printer-is-accepting-jobs"),
            shared: group.boolean("printer-is-shared"),
            device_uri: group.text("device-uri"),
            uuid: group
                .text("printer-uuid")
                .map(|uuid| uuid.strip_prefix("urn:uuid:").unwrap_or(&uuid).to_ascii_lowercase()),
            model: group.text("printer-make-and-model"),
            location: group.text("printer-location"),
            queued: group.integer("queued-job-count").filter(|count| *count >= 0),
            supplies: supplies::of(group),
        }
    }
}

/// The queues of a reply.
pub(crate) fn queues(reply: &Reply) -> Vec<Queue> {
    let mut found: Vec<Queue> = Vec::new();
    for queue in reply.groups().iter().filter_map(Queue::read) {
        if found.len() < MAX_QUEUES && !found.iter().any(|known| known.name == queue.name) {
            found.push(queue);
        }
    }
    found
}

/// The name of `printer-state`.
pub(crate) fn state_name(state: i32) -> &'static str {
    match state {
        3 => "idle",
        4 => "processing",
        5 => "stopped",
        _ => "unknown",
    }
}

/// A job that is not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) id: i32,
    /// `pending`, `held`, `processing` or `stopped`.
    pub(crate) state: &'static str,
    /// Seconds since it began to print, or since it was created when it waits.
    pub(crate) age_s: u32,
}

/// The jobs of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Jobs {
    /// How many wait or print.
    pub(crate) count: usize,
    /// The oldest that is not held.
    pub(crate) oldest: Option<Job>,
}

/// Reads the jobs of a reply. Ages are differences of the print server's own times, so its clock does not matter.
pub(crate) fn jobs(reply: &Reply) -> Jobs {
    let all: Vec<Job> = reply.groups().iter().filter_map(job).collect();
    Jobs {
        count: all.len(),
        oldest: all
            .into_iter()
            .filter(|job| job.state != "held")
            .max_by_key(|job| (job.age_s, std::cmp::Reverse(job.id))),
    }
}

fn job(group: &Group) -> Option<Job> {
    let id = group.integer("job-id")?;
    let state = match group.integer("job-state")? {
        3 => "pending",
        4 => "held",
        5 => "processing",
        6 => "stopped",
        // Canceled, aborted and completed jobs do not wait.
        _ => return None,
    };
    let now = group.integer("job-printer-up-time");
    let since = group
        .integer("time-at-processing")
        .filter(|&time| time > 0 && state != "pending")
        .or_else(|| group.integer("time-at-creation"));
    let age = now.zip(since).and_then(|(now, since)| now.checked_sub(since));
    Some(Job { id, state, age_s: age.and_then(|age| u32::try_from(age).ok()).unwrap_or(0) })
}

/// The reasons of the queue and of the device together: each keyword once, at its highest severity. The value says
/// whether the device itself reports it.
pub(crate) fn merged(queue: &[Reason], device: &[Reason]) -> BTreeMap<String, (ReasonSeverity, bool)> {
    let mut all: BTreeMap<String, (ReasonSeverity, bool)> = BTreeMap::new();
    for (reasons, from_device) in [(queue, false), (device, true)] {
        for reason in reasons.iter().filter(|reason| reason.keyword != "none") {
            let entry = all.entry(reason.keyword.clone()).or_insert((reason.severity, from_device));
            entry.0 = entry.0.max(reason.severity);
            entry.1 |= from_device;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printer::message::{self, testing::Writer};

    fn job_reply(state: i32, created: i32, processing: Option<i32>) -> Reply {
        let mut writer = Writer::new(0)
            .group(2)
            .integer(0x21, "job-id", 7)
            .integer(0x23, "job-state", state)
            .integer(0x21, "job-printer-up-time", 10_000)
            .integer(0x21, "time-at-creation", created);
        writer = match processing {
            Some(time) => writer.integer(0x21, "time-at-processing", time),
            None => writer.value(0x13, "time-at-processing", b""),
        };
        message::parse(&writer.end()).unwrap()
    }

    #[test]
    fn a_job_ages_from_its_processing_else_from_its_creation() {
        for (state, created, processing, expected) in [
            (3, 9_000, None, Some(("pending", 1_000))),
            (3, 9_000, Some(9_500), Some(("pending", 1_000))),
            (5, 9_000, Some(9_500), Some(("processing", 500))),
            (6, 9_000, None, Some(("stopped", 1_000))),
            (5, 20_000, None, Some(("processing", 0))),
            (5, i32::MIN, None, Some(("processing", 0))),
            (4, 0, None, None),
        ] {
            let found = jobs(&job_reply(state, created, processing));
            assert_eq!(found.count, 1);
            assert_eq!(found.oldest.map(|job| (job.state, job.age_s)), expected, "{state} {created}");
        }
        assert_eq!(jobs(&job_reply(9, 0, None)), Jobs::default(), "a completed job counts");
    }

    #[test]
    fn reasons_of_queue_and_device_merge_at_the_highest_severity() {
        let parse =
            |texts: &[&str]| -> Vec<Reason> { texts.iter().filter_map(|text| Reason::parse(text)).collect() };
        let all = merged(&parse(&["media-jam-warning", "paused"]), &parse(&["media-jam-error", "none"]));
        assert_eq!(all.len(), 2);
        assert_eq!(all["media-jam"], (ReasonSeverity::Error, true));
        assert_eq!(all["paused"], (ReasonSeverity::Warning, false));
    }

    #[test]
    fn queues_without_a_name_or_with_a_known_one_are_left_out() {
        let mut writer = Writer::new(0);
        for name in ["a", "", "a", "b", &"x".repeat(200)] {
            writer = writer.group(4).value(0x42, "printer-name", name.as_bytes()).integer(
                0x23,
                "printer-state",
                9,
            );
        }
        let found = queues(&message::parse(&writer.end()).unwrap());
        assert_eq!(found.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found[0].state, None, "9 is no printer state");
    }

    #[test]
    fn damaged_captures_never_panic() {
        let testdata = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/printer");
        let mut captures = 0;
        for situation in std::fs::read_dir(testdata).unwrap() {
            let Ok(files) = std::fs::read_dir(situation.unwrap().path().join("ipp")) else { continue };
            for file in files {
                let whole = std::fs::read(file.unwrap().path()).unwrap();
                if whole.len() > 4096 {
                    continue;
                }
                captures += 1;
                for at in (0..whole.len()).step_by(11) {
                    for value in [0x00, 0x03, 0x34, 0x37, 0x7f, 0xff] {
                        let mut bytes = whole.clone();
                        bytes[at] = value;
                        if let Ok(reply) = message::parse(&bytes) {
                            let _ = (queues(&reply), jobs(&reply));
                        }
                    }
                }
            }
        }
        assert!(captures > 10, "no captures were found");
    }
}
