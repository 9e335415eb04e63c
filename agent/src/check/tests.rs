//! Whole machines, captured as root folders below `testdata/check/<machine>`, give the text of their `expected.txt`; a
//! probe that hangs costs its own lines only. `FIRSTLINE_ACCEPT=1` writes what was said into the files, to be read and
//! judged by a person before it is committed.

use super::*;
use firstline_agent_core::health::Line;
use firstline_agent_probes::{Descriptor, Probe, Root, Sink};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp, semconv};
use std::path::{Path, PathBuf};

/// A Monday morning; ages of files on captured machines are counted from it.
const NOW: Timestamp = Timestamp::from_millis(1_767_603_300_000);
const AMPLE: Duration = Duration::from_secs(60);

fn machines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/check")
}

fn lines_of(machine: &str) -> Vec<Line> {
    let context = Context::new(Root::at(machines().join(machine)), NOW);
    let seen = look(&entries(), &context, AMPLE);
    assess(&Reading { earlier: &seen.earlier, latest: &seen.latest, incomplete: &seen.incomplete })
}

/// The machines are Linux ones, with the programs that probes ask as scripts; elsewhere these tests have nothing to say.
fn can_read_captured() -> bool {
    std::env::consts::OS == "linux"
}

fn expect(machine: &str, level: Level) {
    if !can_read_captured() {
        return;
    }
    let lines = lines_of(machine);
    let folder = machines().join(machine);
    let text = report::text(&lines, false).replace(&folder.display().to_string(), "");
    let file = folder.join("expected.txt");
    if std::env::var_os("FIRSTLINE_ACCEPT").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap_or_default(), "{machine}");
    assert_eq!(worst(&lines), level);
}

#[test]
fn a_healthy_laptop_is_called_healthy() {
    expect("healthy_laptop", Level::Healthy);
}

#[test]
fn a_machine_with_several_faults_gets_each_named_with_what_to_do() {
    expect("many_faults", Level::Problem);
    let lines = lines_of("many_faults");
    assert!(lines.iter().filter(|line| line.level == Level::Problem).all(|line| !line.advice.is_empty()));
}

#[test]
fn a_hostile_machine_deceives_nobody() {
    expect("hostile", Level::Problem);
    for line in lines_of("hostile") {
        let text = format!("{}{}", line.text, line.advice);
        assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
        assert!(text.len() < 2_000, "{} bytes", text.len());
    }
}

#[test]
fn json_says_the_same_as_the_text() {
    let lines = lines_of("many_faults");
    let json = report::json(&lines);
    let text = report::text(&lines, false);
    let said = json["lines"].as_array().unwrap();
    assert_eq!(said.len(), lines.len());
    for line in said {
        for field in ["level", "domain", "check", "component", "text", "advice"] {
            assert!(line.get(field).is_some(), "{field} is missing in {line}");
        }
        assert!(text.contains(line["text"].as_str().unwrap()), "{line}");
    }
}

#[test]
fn colours_are_only_there_when_they_are_asked_for() {
    let lines = assess(&Reading { earlier: &[], latest: &[], incomplete: &[("cpu", "timed_out")] });
    assert!(!report::text(&lines, false).contains('\u{1b}'));
}

/// A reader that takes nothing any more, for this reason.
struct Refusing(ErrorKind);

impl Write for Refusing {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_and_a_full_disk_is_one() {
    assert!(say(&mut Refusing(ErrorKind::BrokenPipe), "a line\n").is_ok());
    let error = say(&mut Refusing(ErrorKind::StorageFull), "a line\n").unwrap_err();
    assert!(format!("{error:#}").starts_with("the answer cannot be written"), "{error:#}");
}

struct Prompt;

impl Probe for Prompt {
    fn descriptor(&self) -> Descriptor {
        descriptor("memory")
    }

    fn collect(&mut self, _: &Context, sink: &mut Sink) {
        let memory = Component::only(ComponentKind::Memory);
        sink.sample(&memory, semconv::MEMORY_UTILIZATION, Attributes::none(), 0.3);
    }
}

/// Waits for what never comes, as a dead network drive does.
struct Hanging;

impl Probe for Hanging {
    fn descriptor(&self) -> Descriptor {
        descriptor("printer")
    }

    fn collect(&mut self, _: &Context, _: &mut Sink) {
        loop {
            std::thread::park();
        }
    }
}

fn descriptor(name: &'static str) -> Descriptor {
    let minute = Duration::from_secs(60);
    Descriptor { name, interval: minute, trigger_interval: None, time_limit: minute, cpu_budget: minute }
}

#[test]
fn a_probe_that_hangs_is_said_to_be_late_and_the_rest_is_judged_in_time() {
    let entries = [
        ProbeEntry { name: "printer", new: || Box::new(Hanging) },
        ProbeEntry { name: "memory", new: || Box::new(Prompt) },
    ];
    let begin = Instant::now();
    let seen = look(&entries, &Context::new(Root::system(), NOW), Duration::from_millis(500));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(seen.incomplete, [("printer", "timed_out")]);
    let lines =
        assess(&Reading { earlier: &seen.earlier, latest: &seen.latest, incomplete: &seen.incomplete });
    let text = report::text(&lines, false);
    assert!(text.contains("Printers: no answer in time (timed_out)"), "{text}");
    assert!(text.contains("In order: free memory"), "{text}");
    assert!(DEADLINE < Duration::from_secs(5));
}
