//! The built-in pack is right as a whole, overrides do what they say, and what is wrong with a file is said with its
//! line and what to do.

mod conditions;
mod reference;

use super::command::{Exit, KnowledgeCommand, run};
use super::describe;
use super::pack;
use super::problem::Problem;
use super::set::{self, Judged, Loaded, Source};
use super::watch::{Knowledge, Reload, watch};
use firstline_collector_core::knowledge::{DeviceTraits, KnowledgeEntry};
use firstline_model::{DeviceId, RuleCode, Severity};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A small entry whose lines the tests below refer to.
const ENTRY: &str = r#"id = "test.entry"
title = "Something is {value}"
category = "test"
severity = "warning"
[detect]
component = "memory"
metric = "system.memory.utilization"
above = 0.9
for = "5m"
[explain]
person = "Something is wrong."
technician = "{value} above {threshold}."
[[example]]
name = "raises"
component = "memory/0"
observations = [{ t = "0s", every = "1m", to = "6m", metric = "system.memory.utilization", value = 0.95 }]
expect = [{ transition = "fired", severity = "warning" }]
"#;

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

fn source(file: &str, text: &str) -> Source {
    Source { file: file.to_owned(), text: Ok(text.to_owned()) }
}

fn loaded(sources: &[Source]) -> Loaded {
    let Judged { loaded, problems, .. } = set::judge(sources);
    loaded.unwrap_or_else(|| panic!("refused:\n{}", listed(&problems)))
}

fn problems(sources: &[Source]) -> String {
    let Judged { loaded, problems, .. } = set::judge(sources);
    assert!(loaded.is_none(), "was accepted");
    listed(&problems)
}

fn entry(loaded: &Loaded, code: &str) -> KnowledgeEntry {
    loaded.set.entries.get(&RuleCode::new(code).unwrap()).unwrap().clone()
}

/// When each level of an entry fires, in words.
fn levels(entry: &KnowledgeEntry) -> Vec<String> {
    entry
        .detection
        .levels
        .iter()
        .map(|level| {
            format!(
                "{}: {}; over: {}",
                level.severity,
                describe::raises(level),
                describe::clears(level, false)
            )
        })
        .collect()
}

#[test]
fn every_entry_of_the_pack_is_right_and_its_examples_hold() {
    let Judged { problems, examples, .. } = set::judge(&[]);
    assert!(problems.is_empty(), "{}", listed(&problems));
    assert!(examples.len() >= pack::FILES.len() * 5, "{} examples", examples.len());
}

#[test]
fn every_entry_of_the_pack_can_be_acted_upon() {
    for entry in loaded(&[]).set.entries.values() {
        let code = &entry.code;
        if !entry.opens_ticket {
            // Context for other tickets: nobody works on it by itself.
            assert!(!entry.steps.is_empty() && !entry.examples.is_empty(), "{code} says nothing");
            continue;
        }
        assert!(entry.steps.len() >= 3, "{code} has {} steps", entry.steps.len());
        assert!(entry.causes.len() >= 2, "{code} has {} causes", entry.causes.len());
        // What the collector itself finds out about an identity no device can test.
        let testable = !entry.code.as_str().starts_with("agent.");
        assert!(
            (!testable || !entry.tests.is_empty()) && entry.article.is_some(),
            "{code} has no test or article"
        );
        let says = |what: &str| entry.examples.iter().any(|example| example.name.contains(what));
        assert!(says("stays"), "{code} has no example that shows that silence is not recovery");
        let quiet = entry.examples.iter().filter(|example| example.expect.is_empty()).count();
        assert!(quiet >= 2, "{code} has {quiet} examples that must not raise");
        let clears =
            |one: &firstline_collector_core::knowledge::ExpectedTransition| one.transition == "cleared";
        let cleared = entry.examples.iter().any(|example| example.expect.iter().any(clears));
        assert!(cleared || entry.detection.latched, "{code} has no example of recovery");
        let jargon = ["inode", "SMART", "DNS", "gateway", "kernel", "IPP", "queue", "daemon", "systemd"];
        let person = &entry.explanation.person;
        assert!(
            jargon.iter().all(|word| !person.contains(word)),
            "{code} speaks jargon to a person: {person}"
        );
    }
}

#[test]
fn files_of_the_pack_are_named_after_their_entries() {
    for (file, text) in pack::FILES {
        let id = format!("id = \"{}\"\n", file.trim_end_matches(".toml"));
        assert!(text.contains(&id), "{file} does not hold {id}");
    }
}

#[test]
fn a_new_code_adds_an_entry_and_a_known_one_replaces_it() {
    let added = loaded(&[source("mine.toml", ENTRY)]);
    assert_eq!(added.set.entries.len(), pack::FILES.len() + 1);
    let replaced = loaded(&[source("mine.toml", &ENTRY.replace("test.entry", "mem.available"))]);
    assert_eq!(replaced.set.entries.len(), pack::FILES.len());
    assert_eq!(entry(&replaced, "mem.available").title, "Something is {value}");
    assert!(!replaced.origins[&RuleCode::new("mem.available").unwrap()].built_in);
}

#[test]
fn a_key_under_detect_of_an_override_holds_for_every_level_that_has_it() {
    let text = "override = \"fs.space\"\n[detect]\nabove = 0.5\nfor = \"5s\"\nclear = { below = 0.4, for = \"5s\" }\n";
    let set = loaded(&[source("drill.toml", text)]);
    let levels = levels(&entry(&set, "fs.space"));
    assert!(levels[0].starts_with("warning: system.filesystem.utilization"), "{}", levels[0]);
    for level in &levels {
        assert!(level.contains("is above 0.5") && level.contains(", for 5s; over:"), "{level}");
        let clear = level.rsplit_once("; over: ").unwrap().1;
        assert!(clear.contains("is below 0.4") && clear.ends_with(", for 5s"), "{level}");
    }
    assert!(levels[1].contains("is below 5368709120"), "{}", levels[1]);
}

#[test]
fn keys_at_the_top_of_an_override_are_keys_of_detect() {
    let nested = loaded(&[source("a.toml", "override = \"net.gateway\"\n[detect]\nfor = \"5s\"\n")]);
    let top = loaded(&[source("a.toml", "override = \"net.gateway\"\nfor = \"5s\"\n")]);
    assert_eq!(entry(&nested, "net.gateway"), entry(&top, "net.gateway"));
    assert!(levels(&entry(&top, "net.gateway"))[0].contains(", for 5s; over:"));
}

#[test]
fn a_key_in_one_level_of_an_override_holds_only_there() {
    let text = "override = \"fs.space\"\n[detect.critical]\nabove = 0.95\nfor = \"1m\"\n";
    let levels = levels(&entry(&loaded(&[source("a.toml", text)]), "fs.space"));
    assert!(levels[0].contains("above 0.9 ") && levels[0].contains(", for 15m; over:"), "{}", levels[0]);
    assert!(levels[1].contains("above 0.95") && levels[1].contains(", for 1m; over:"), "{}", levels[1]);
}

#[test]
fn a_new_clear_time_keeps_the_clear_level() {
    let text = "override = \"fs.space\"\nclear = { for = \"1m\" }\n";
    let levels = levels(&entry(&loaded(&[source("a.toml", text)]), "fs.space"));
    for (level, below) in levels.iter().zip(["is below 0.8", "is below 0.9"]) {
        let clear = level.rsplit_once("; over: ").unwrap().1;
        assert!(clear.contains(below) && clear.ends_with(", for 1m"), "{level}");
    }
}

#[test]
fn overrides_change_severity_impact_and_whether_an_entry_is_enabled() {
    let text = "override = \"fs.readonly\"\nseverity = \"warning\"\nimpact = 3\nenabled = false\n";
    let changed = entry(&loaded(&[source("a.toml", text)]), "fs.readonly");
    assert_eq!(changed.detection.levels[0].severity, Severity::Warning);
    assert_eq!((changed.impact, changed.enabled), (3, false));
}

#[test]
fn overrides_apply_in_the_order_of_their_file_names() {
    let sources = [
        source("10-first.toml", "override = \"net.gateway\"\nfor = \"10s\"\n"),
        source("20-second.toml", "override = \"net.gateway\"\nfor = \"20s\"\n"),
    ];
    assert!(levels(&entry(&loaded(&sources), "net.gateway"))[0].contains(", for 20s; over:"));
}

#[test]
fn scopes_hold_for_their_devices_and_add_up_where_they_overlap() {
    let sources = [
        source("a.toml", "override = \"net.gateway\"\nfor = \"10s\"\n[scope]\nsite = \"oslo\"\n"),
        source("b.toml", "override = \"net.gateway\"\nimpact = 2\n[scope]\ntag = \"vip\"\n"),
    ];
    let set = loaded(&sources).set;
    let code = RuleCode::new("net.gateway").unwrap();
    let seen = |site: &str, tags: &[&str]| {
        let device = DeviceTraits {
            device: DeviceId::new("pc-017").unwrap(),
            site: Some(site.to_owned()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            device_class: None,
        };
        let entry = set.entry_for(&code, &device).unwrap();
        (entry.detection.levels[0].hold.as_secs(), entry.impact)
    };
    assert_eq!(seen("bergen", &[]), (45, 3));
    assert_eq!(seen("oslo", &[]), (10, 3));
    assert_eq!(seen("bergen", &["vip"]), (45, 2));
    assert_eq!(seen("oslo", &["vip"]), (10, 2));
}

#[test]
fn a_worked_example_of_an_override_runs_with_the_changed_entry() {
    let text = r#"override = "net.gateway"
for = "5s"
[[example]]
name = "raises after five seconds"
component = "gateway/192.0.2.1"
observations = [{ t = "0s", every = "1s", to = "6s", metric = "endpoint.network.gateway.reachable", value = 0 }]
expect = [{ transition = "fired" }]
"#;
    loaded(&[source("a.toml", text)]);
    let slow = text.replace("for = \"5s\"", "for = \"60s\"");
    assert!(problems(&[source("a.toml", &slow)]).contains("a.toml:3: the worked example"));
}

/// A change to the small entry, and what is said of it.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("above = 0.9", "abov = 0.9", "x.toml:8: unknown key `abov` in [detect]; did you mean `above`?"),
    ("above = 0.9", "above = \"high\"", "x.toml:8: `above` must be a number, not a text"),
    ("above = 0.9", "", "system.memory.utilization is compared with nothing"),
    ("above = 0.9", "above = 0.9\nbelow = 0.1", "x.toml:9: `above` and `below` stand together"),
    ("above = 0.9", "above = 0.9\nat_least = \"5 of 4\"", "x.toml:9: \"5 of 4\" does not say how many"),
    ("for = \"5m\"", "for = \"5 minutes\"", "x.toml:9: `for` is \"5 minutes\", which is not a duration"),
    ("\"memory\"", "\"memroy\"", "x.toml:6: \"memroy\" is not a kind of component; did you mean `memory`?"),
    (
        "metric = \"system.memory.utilization\"\nabove",
        "metric = \"system.memory.utilisation\"\nabove",
        "x.toml:7: the metric `system.memory.utilisation` is not known; did you mean `system.memory.utilization`?",
    ),
    (
        "severity = \"warning\"\n[detect]",
        "severity = \"bad\"\n[detect]",
        "x.toml:4: \"bad\" is not a severity",
    ),
    ("severity = \"warning\"\n[detect]", "[detect]", "the entry has no `severity`"),
    (
        "category = \"test\"",
        "category = \"test\"\nimpact = 4",
        "x.toml:4: `impact` is 4, which is not 1, 2 or 3",
    ),
    ("id = \"test.entry\"", "", "the entry has no `id`"),
    ("Something is {value}", "Something is {vlaue}", "x.toml:2: nothing fills the placeholder `{vlaue}`"),
    (
        "[explain]",
        "depends_on = [\"net.gatway\"]\n[explain]",
        "x.toml:10: test.entry depends on net.gatway, which",
    ),
    (
        "[explain]",
        "depends_on = [\"test.entry\"]\n[explain]",
        "depends on test.entry, which depends on test.entry",
    ),
    (
        "[[example]]",
        "[[test]]\ndiagnostic = \"lnk\"\n[[example]]",
        "\"lnk\" is not a diagnostic; did you mean `link`?",
    ),
    (
        "[[example]]",
        "[[test]]\ndiagnostic = \"printer\"\n[[example]]",
        "`printer` needs a subject; add `subject = \"component\"`",
    ),
    (
        "[[example]]",
        "[[cause]]\nid = \"a\"\ntext = \"b\"\nsupported_by = [{ test = \"link\", outcome = \"ok\" }]\n[[example]]",
        "x.toml:16: \"link\" is not a test that this entry runs",
    ),
    (
        "value = 0.95",
        "value = 0.5",
        "x.toml:13: the worked example \"raises\" of test.entry fails: expected fired",
    ),
    ("title = ", "title = = ", "x.toml:2:"),
];

#[test]
fn a_mistake_is_said_with_its_line_and_what_to_do() {
    for (right, wrong, said) in MISTAKES {
        let text = ENTRY.replacen(right, wrong, 1);
        assert_ne!(text, ENTRY, "{right:?} is not in the entry");
        let problems = problems(&[source("x.toml", &text)]);
        assert!(problems.contains(said), "for {wrong:?} it was said:\n{problems}");
    }
}

#[test]
fn mistakes_over_several_files_are_said_too() {
    let twice = problems(&[source("a.toml", ENTRY), source("b.toml", ENTRY)]);
    assert!(twice.contains("b.toml:1: test.entry already stands in a.toml"), "{twice}");
    let nobody = problems(&[source("a.toml", "override = \"fs.spce\"\nabove = 0.5\n")]);
    assert!(nobody.contains("there is no entry fs.spce to override; did you mean `fs.space`?"), "{nobody}");
    let key = problems(&[source("a.toml", "override = \"fs.space\"\nabovee = 0.5\n")]);
    assert!(key.contains("a.toml:2: unknown key `abovee` in an override; did you mean `above`?"), "{key}");
    let level = problems(&[source("a.toml", "override = \"fs.space\"\n[detect.info]\nabove = 0.5\n")]);
    assert!(level.contains("fs.space has no level `info`"), "{level}");
    let foreign = problems(&[source("a.toml", "override = \"mem.oom\"\nabove = 0.5\n")]);
    assert!(foreign.contains("a.toml"), "{foreign}");
}

fn answer(command: &KnowledgeCommand, data: &Path) -> (Exit, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run(command, data, &mut out, &mut err).unwrap();
    (exit, String::from_utf8([out, err].concat()).unwrap())
}

#[test]
fn check_judges_the_folder_and_says_so_in_its_exit_code() {
    let data = tempfile::tempdir().unwrap();
    let check = |json| KnowledgeCommand::Check { dir: None, json, watch: false };
    let (exit, text) = answer(&check(false), data.path());
    assert_eq!(exit, Exit::Ok, "{text}");
    let folder = data.path().join(super::command::FOLDER);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.toml"), "override = \"fs.space\"\nabov = 0.5\n").unwrap();
    fs::write(folder.join(".a.toml.swp"), "not TOML").unwrap();
    let (exit, text) = answer(&check(false), data.path());
    assert_eq!(exit, Exit::Failed);
    assert!(text.starts_with("a.toml:2: unknown key `abov` in an override; did you mean `above`?"), "{text}");
    let (_, text) = answer(&check(true), data.path());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["ok"], &json["problems"][0]["line"]), (&false.into(), &2.into()));
    let missing = KnowledgeCommand::Check { dir: Some(data.path().join("none")), json: false, watch: false };
    assert_eq!(answer(&missing, data.path()).0, Exit::Usage);
}

#[test]
fn test_names_the_example_that_fails_and_show_tells_where_an_entry_stands() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("x.toml"), ENTRY.replace("value = 0.95", "value = 0.5")).unwrap();
    let dir = Some(data.path().to_owned());
    let (exit, text) = answer(&KnowledgeCommand::Test { dir: dir.clone(), json: false }, data.path());
    assert_eq!(exit, Exit::Failed);
    assert!(
        text.contains("FAIL  test.entry: raises (x.toml:13): expected fired warning, but saw nothing"),
        "{text}"
    );
    assert!(text.trim_end().ends_with(" 1 failed") || text.contains("passed, 1 failed"), "{text}");
    fs::write(data.path().join("x.toml"), "override = \"fs.space\"\nabove = 0.5\n").unwrap();
    let show = KnowledgeCommand::Show { code: Some("fs.space".to_owned()), dir, json: false };
    let (exit, text) = answer(&show, data.path());
    assert_eq!(exit, Exit::Ok);
    assert!(text.contains("file: fs.space.toml (built in), changed by x.toml"), "{text}");
    let other = KnowledgeCommand::Show { code: Some("fs.spac".to_owned()), dir: None, json: false };
    assert!(answer(&other, data.path()).1.contains("did you mean `fs.space`?"));
}

#[test]
fn a_change_in_the_folder_replaces_the_running_set_and_a_bad_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let knowledge = Arc::new(Knowledge::open(folder.path()).unwrap());
    let (_watch, mut reloads) = watch(Arc::clone(&knowledge)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut next = || {
        let wait = async { tokio::time::timeout(Duration::from_secs(30), reloads.recv()).await };
        runtime.block_on(wait).expect("the change was not noticed").expect("watching ended")
    };
    let hold = || entry(&knowledge.running(), "net.gateway").detection.levels[0].hold.as_secs();

    // As editors do: the new file replaces the old one at once, so that no half of it is ever read.
    let put = |text: &str| {
        fs::write(folder.path().join("a.toml.new"), text).unwrap();
        fs::rename(folder.path().join("a.toml.new"), folder.path().join("a.toml")).unwrap();
    };
    put("override = \"net.gateway\"\nfor = \"7s\"\n");
    assert!(matches!(next(), Reload::Replaced { overrides: 1, .. }));
    assert_eq!(hold(), 7);

    put("override = \"net.gateway\"\nfor = \"7\"\n");
    let Reload::Refused(problems) = next() else { panic!("a bad file was accepted") };
    assert_eq!((problems.len(), problems[0].place.line), (1, 2));
    assert_eq!((hold(), knowledge.problems().len()), (7, 1));

    put("override = \"net.gateway\"\nfor = \"9s\"\n");
    assert!(matches!(next(), Reload::Replaced { overrides: 1, .. }));
    assert_eq!((hold(), knowledge.problems().len()), (9, 0));

    fs::remove_file(folder.path().join("a.toml")).unwrap();
    assert!(matches!(next(), Reload::Replaced { overrides: 0, .. }));
    assert_eq!(hold(), 45);
}
