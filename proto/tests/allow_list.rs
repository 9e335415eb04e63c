//! The collector cannot make an agent run code: every message and field that travels from collector to agent stands
//! in the list below, and the build fails when the schema has one that the list does not name.
//!
//! Before adding a line, answer: can a hostile collector use it to name a command, a script, a path that is written,
//! or an address that is contacted? If so, it must not be added.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

const ALLOWED: &[&str] = &[
    "CollectorMessage.ack",
    "CollectorMessage.directive",
    "CollectorMessage.welcome",
    "CollectorMessage.refusal",
    // Certificates to trust, kept in the agent's one identity file: it names no command, no path and no address. Only the
    // collector that the agent trusts already can send them.
    "CollectorMessage.trust",
    "Trust.authorities",
    "Trust.renew",
    "Refusal.reason",
    "Refusal.retry_after_s",
    "Refusal.text",
    "Welcome.credit",
    "Welcome.marks",
    "Welcome.sent_at_ms",
    // A number and 16 random bytes, kept in one file of a fixed name and sent back.
    "Welcome.generation",
    "Welcome.token",
    "EpochMark.epoch",
    "EpochMark.through_seq",
    "Ack.credit",
    "Ack.epoch",
    "Ack.through_seq",
    "Directive.policy",
    "Directive.run_diagnostic",
    // Holds nothing: the agent says in full what it would have said as a repeat, at most once a minute.
    "Directive.send_whole",
    // A number of seconds, cut to five minutes: the agent looks more often, at what it looks at anyway, within its budget.
    "Directive.live_view",
    "LiveView.for_s",
    "Policy.directory_depth",
    "Policy.probe_intervals",
    "Policy.revision",
    "Policy.triggers",
    "ProbeInterval.interval_s",
    "ProbeInterval.probe",
    "Trigger.attributes",
    "Trigger.component_kind",
    "Trigger.level",
    "Trigger.metric",
    "RunDiagnostic.dns_servers",
    "RunDiagnostic.gateway",
    "RunDiagnostic.kernel_log",
    "RunDiagnostic.largest_directories",
    "RunDiagnostic.link",
    "RunDiagnostic.physical_disk",
    "RunDiagnostic.printer",
    // Compared with what was recorded and written nowhere; the folder of recordings has a fixed name.
    "RunDiagnostic.recorder",
    "RunDiagnostic.asked_ago_s",
    "RunDiagnostic.request_id",
    "RunDiagnostic.service",
    "RunDiagnostic.top_processes",
    "LargestDirectories.mount_point",
    "PrinterTest.queue",
    "ServiceTest.name",
    "PhysicalDiskTest.id",
    "RecorderWindow.component",
    "EnrollResponse.authorities",
    "EnrollResponse.certificate",
    "EnrollResponse.device_id",
    "RenewResponse.authorities",
    "RenewResponse.certificate",
];

/// What the agent receives begins at these messages.
const ROOTS: &[&str] = &["CollectorMessage", "EnrollResponse", "RenewResponse"];

#[test]
fn the_collector_can_send_nothing_that_the_list_does_not_name() {
    let reachable = reachable(&schema(&texts()));
    let allowed: BTreeSet<String> = ALLOWED.iter().map(|&name| name.to_owned()).collect();
    let added: Vec<_> = reachable.difference(&allowed).collect();
    let gone: Vec<_> = allowed.difference(&reachable).collect();
    assert!(added.is_empty(), "not on the allow-list of what a collector may send: {added:?}");
    assert!(gone.is_empty(), "on the allow-list, but not in the schema: {gone:?}");
}

/// Every field that can be reached from what the agent receives.
fn reachable(schema: &[(String, String, String)]) -> BTreeSet<String> {
    let mut reachable = BTreeSet::new();
    let mut waiting: Vec<&str> = ROOTS.to_vec();
    let mut seen = BTreeSet::new();
    while let Some(message) = waiting.pop() {
        if !seen.insert(message) {
            continue;
        }
        for (owner, field, kind) in schema.iter().filter(|(owner, ..)| owner == message) {
            reachable.insert(format!("{owner}.{field}"));
            // A message may be named with those that it stands in.
            let kind = kind.rsplit('.').next().unwrap_or(kind);
            if schema.iter().any(|(other, ..)| other == kind) {
                waiting.push(kind);
            }
        }
    }
    reachable
}

#[test]
fn r12_a_field_added_anywhere_below_what_the_collector_sends_is_noticed() {
    let texts = texts();
    let before = reachable(&schema(&texts));
    // Each message that the agent can receive, however deep, grows by one field in turn.
    let mut messages: BTreeSet<&str> = before.iter().filter_map(|name| name.split('.').next()).collect();
    messages.extend(["LinkTest", "GatewayTest", "DnsServersTest", "TopProcesses", "KernelLog", "SendWhole"]);
    let depths = ["CollectorMessage", "Directive", "Policy", "Trigger", "LargestDirectories", "EpochMark"];
    assert!(depths.iter().all(|message| messages.contains(message)), "{messages:?}");
    for message in messages {
        let head = format!("message {message} {{");
        let grown = |line: &str| {
            let texts = texts.iter().map(|text| text.replacen(&head, &format!("{head}\n{line}\n"), 1));
            reachable(&schema(&texts.collect::<Vec<_>>()))
        };
        let added = |line: &str| grown(line).difference(&before).cloned().collect::<BTreeSet<_>>();
        assert_eq!(added("string script = 99;"), BTreeSet::from([format!("{message}.script")]));
        assert_eq!(added("repeated bytes program = 99;"), BTreeSet::from([format!("{message}.program")]));
        // A new message inside of it, with everything that it holds.
        let nested = "message Extra {\nstring url = 1;\n}\nExtra extra = 99;";
        let both = BTreeSet::from(["Extra.url".to_owned(), format!("{message}.extra")]);
        assert_eq!(added(nested), both);
        let named = format!("message Extra {{\nstring url = 1;\n}}\n{message}.Extra extra = 99;");
        assert_eq!(added(&named), both);
    }
}

#[test]
fn r12_a_field_of_a_form_that_this_test_cannot_read_stops_it() {
    for line in ["map<string, string> environment = 99;", "optional string script = 99;"] {
        let grown = format!("message Policy {{\n{line}");
        let texts: Vec<String> =
            texts().iter().map(|text| text.replace("message Policy {", &grown)).collect();
        let read = std::panic::catch_unwind(|| schema(&texts));
        assert!(read.is_err(), "{line:?} was passed over");
    }
}

#[test]
fn no_service_lets_the_collector_call_the_agent() {
    let services: Vec<String> = texts()
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("service ")?.split_whitespace().next().map(str::to_owned))
        .collect();
    assert_eq!(services, ["Enrollment", "Session"], "a new service needs a place in ROOTS");
}

fn texts() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/firstline/v1");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 4, "the schema is not where this test looks for it");
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// (message, field, type) of every field in the schema. The schema is plain enough for line by line reading; a line
/// inside a message that this does not understand fails the test.
fn schema(texts: &[String]) -> Vec<(String, String, String)> {
    let mut fields = Vec::new();
    for text in texts {
        let mut inside: Vec<Option<String>> = Vec::new();
        for line in text.lines().map(str::trim) {
            let words: Vec<&str> = line.trim_end_matches(['{', '}', ';']).split_whitespace().collect();
            match words.as_slice() {
                [] if line == "}" => {
                    inside.pop();
                }
                [] => {}
                ["//", ..] | ["syntax" | "package" | "import", ..] => {}
                [comment, ..] if comment.starts_with("//") => {}
                ["message", name] => inside.push(Some((*name).to_owned())),
                ["enum" | "service", ..] => inside.push(None),
                ["oneof", _] => inside.push(inside.last().cloned().flatten()),
                ["rpc", ..] => {}
                _ if inside.last().is_some_and(Option::is_none) => {}
                ["repeated", kind, name, "=", _] | [kind, name, "=", _] => {
                    let owner = inside.last().cloned().flatten().expect("a field outside a message");
                    fields.push((owner, (*name).to_owned(), (*kind).to_owned()));
                }
                _ => panic!("unreadable line {line:?}"),
            }
            if line.starts_with("message") && line.ends_with("{}") {
                inside.pop();
            }
        }
    }
    fields
}
