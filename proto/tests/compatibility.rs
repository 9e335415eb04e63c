//! Bytes of every released version decode for ever, to the same content.
//!
//! `testdata/<version>/<name>.bin` holds bytes as that version sent them, `<name>.txt` what they say. A pair is never
//! changed and never removed; a new message gets a new pair, written by `FIRSTLINE_WRITE_SPECIMENS=1 cargo test -p
//! firstline-proto --test compatibility` and then committed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use firstline_proto::convert::decode_record;
use firstline_proto::v1;
use prost::Message;
use std::path::{Path, PathBuf};

type Describe = fn(&[u8]) -> String;

const KINDS: &[(&str, Describe)] = &[
    ("record", |bytes| format!("{:#?}\n", decode_record(bytes).unwrap())),
    ("agent_message", |bytes| format!("{:#?}\n", v1::AgentMessage::decode(bytes).unwrap())),
    ("collector_message", |bytes| format!("{:#?}\n", v1::CollectorMessage::decode(bytes).unwrap())),
    ("enroll_request", |bytes| format!("{:#?}\n", v1::EnrollRequest::decode(bytes).unwrap())),
    ("renew_request", |bytes| format!("{:#?}\n", v1::RenewRequest::decode(bytes).unwrap())),
    ("renew_response", |bytes| format!("{:#?}\n", v1::RenewResponse::decode(bytes).unwrap())),
    ("enroll_response", |bytes| format!("{:#?}\n", v1::EnrollResponse::decode(bytes).unwrap())),
];

#[test]
fn bytes_of_every_released_version_say_what_they_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata");
    if std::env::var_os("FIRSTLINE_WRITE_SPECIMENS").is_some() {
        write_specimens(&root.join("v1"));
    }
    let mut checked = 0;
    for version in std::fs::read_dir(&root).unwrap() {
        for file in std::fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "bin") {
                let said = std::fs::read_to_string(path.with_extension("txt")).unwrap();
                let bytes = std::fs::read(&path).unwrap();
                let says = describe(&path)(&bytes);
                let fits = says_as_before(&says, &said);
                assert!(
                    fits,
                    "{} no longer says what it said but:\n{says}\nand not:\n{said}",
                    path.display()
                );
                checked += 1;
            }
        }
    }
    assert!(checked >= 5, "only {checked} specimens were found");
}

/// Whether a description has every line of an older one, in order, and beyond that only fields that are absent: those
/// were added since.
fn says_as_before(says: &str, said: &str) -> bool {
    let absent = [": None,", ": [],", ": 0,", ": \"\",", ": false,"];
    let mut said = said.lines().peekable();
    for line in says.lines() {
        if said.peek() == Some(&line) {
            said.next();
        } else if !absent.iter().any(|end| line.ends_with(end)) {
            return false;
        }
    }
    said.next().is_none()
}

#[test]
fn an_added_field_may_be_absent_and_nothing_else_may_change() {
    let said = "Hello {\n    protocol: 1,\n    epochs: [],\n}\n";
    assert!(says_as_before("Hello {\n    protocol: 1,\n    epochs: [],\n    lineage: None,\n}\n", said));
    for changed in [
        "Hello {\n    protocol: 2,\n    epochs: [],\n}\n",
        "Hello {\n    epochs: [],\n}\n",
        "Hello {\n    protocol: 1,\n    epochs: [],\n    lineage: Some(1),\n}\n",
    ] {
        assert!(!says_as_before(changed, said), "{changed}");
    }
}

/// `record-filesystem.bin` is a `record`.
fn describe(path: &Path) -> Describe {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let kind = name.split('-').next().unwrap();
    KINDS.iter().find(|(known, _)| *known == kind).unwrap_or_else(|| panic!("{name} is of no known kind")).1
}

fn write_specimens(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let epoch = (0..16).collect::<Vec<u8>>();
    let record = v1::Record {
        base_ms: 1_767_603_300_000,
        texts: [
            "/home",
            "system.filesystem.utilization",
            "system.filesystem.type",
            "ext4",
            "0",
            "os.bugcheck",
        ]
        .map(str::to_owned)
        .to_vec(),
        observations: vec![
            v1::Observation {
                component_kind: v1::ComponentKind::Filesystem.into(),
                component_id_text: 0,
                offset_ms: -250,
                body: Some(v1::observation::Body::Sample(v1::Sample {
                    metric_text: 1,
                    attribute_texts: vec![2, 3],
                    value: 0.973,
                    decimals: 0,
                })),
            },
            v1::Observation {
                component_kind: v1::ComponentKind::Os.into(),
                component_id_text: 4,
                offset_ms: 0,
                body: Some(v1::observation::Body::Event(v1::Event { name_text: 5, attribute_texts: vec![] })),
            },
        ],
        repeats: Vec::new(),
        inventories: Vec::new(),
    }
    .encode_to_vec();
    let batch = v1::Batch {
        epoch: epoch.clone(),
        first_seq: 41,
        records: vec![record.clone()],
        sent_at_ms: 1_767_603_301_000,
        clock_ms: 0,
        generation: 0,
    };
    let hello = v1::Hello {
        protocol: 1,
        agent_version: "0.1.0".into(),
        sent_at_ms: 1_767_603_300_000,
        epochs: vec![v1::EpochOffer { epoch: epoch.clone(), first_unacked: 41, next: 42 }],
        policy_revision: 3,
        lineage: None,
    };
    let agent = |message| v1::AgentMessage { message: Some(message) }.encode_to_vec();
    let collector = |message| v1::CollectorMessage { message: Some(message) }.encode_to_vec();
    let specimens: Vec<(&str, Vec<u8>)> = vec![
        ("record-filesystem", record),
        ("agent_message-hello", agent(v1::agent_message::Message::Hello(hello))),
        ("agent_message-batch", agent(v1::agent_message::Message::Batch(batch))),
        (
            "collector_message-ack",
            collector(v1::collector_message::Message::Ack(v1::Ack { epoch, through_seq: 41, credit: 1000 })),
        ),
        (
            "collector_message-run_diagnostic",
            collector(v1::collector_message::Message::Directive(v1::Directive {
                directive: Some(v1::directive::Directive::RunDiagnostic(v1::RunDiagnostic {
                    request_id: "17-1".into(),
                    diagnostic: Some(v1::run_diagnostic::Diagnostic::Printer(v1::PrinterTest {
                        queue: "finance-2".into(),
                    })),
                    asked_ago_s: 0,
                })),
            })),
        ),
        (
            "agent_message-hello_with_lineage",
            agent(v1::agent_message::Message::Hello(v1::Hello {
                protocol: 1,
                lineage: Some(v1::HelloLineage {
                    incarnation: vec![7; 16],
                    attempt: 2,
                    generation: 5,
                    token: vec![9; 16],
                }),
                ..v1::Hello::default()
            })),
        ),
        (
            "collector_message-trust",
            collector(v1::collector_message::Message::Trust(v1::Trust {
                authorities: vec![vec![0x30, 0x00]],
                renew: true,
            })),
        ),
        ("renew_request", v1::RenewRequest { certificate_signing_request: vec![0x30, 0x00] }.encode_to_vec()),
        (
            "renew_response",
            v1::RenewResponse { certificate: vec![0x30, 0x00], authorities: vec![vec![0x30, 0x00]] }
                .encode_to_vec(),
        ),
        (
            "enroll_request",
            v1::EnrollRequest {
                token: "t0ken".into(),
                certificate_signing_request: vec![0x30, 0x00],
                hostname: "pc-017".into(),
                agent_version: "0.1.0".into(),
            }
            .encode_to_vec(),
        ),
    ];
    for (name, bytes) in specimens {
        let path: PathBuf = folder.join(format!("{name}.bin"));
        if !path.exists() {
            std::fs::write(path.with_extension("txt"), describe(&path)(&bytes)).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
    }
}
