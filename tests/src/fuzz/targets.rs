//! The targets that need no world around them.

use firstline_agent_probes::{physical_disk, printer};
use firstline_collector::untrusted::SigningDesk;
use firstline_proto::convert::{decode_record, diagnostic_from_wire, encode_record};
use firstline_proto::v1;
use prost::Message;
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;
use x509_parser::extensions::GeneralName;

/// What either side may receive on the stream: the first byte says which message the others are.
pub(super) fn frames(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => {
            let Ok(message) = v1::AgentMessage::decode(bytes) else { return };
            if let Some(v1::agent_message::Message::Batch(batch)) = message.message {
                batch.records.iter().for_each(|bytes| record(bytes));
            }
        }
        1 => record(bytes),
        2 => {
            let Ok(message) = v1::CollectorMessage::decode(bytes) else { return };
            let Some(v1::collector_message::Message::Directive(directive)) = message.message else { return };
            if let Some(v1::directive::Directive::RunDiagnostic(asked)) = directive.directive {
                // What may be asked is a closed list; anything else is refused, never guessed.
                let _ = diagnostic_from_wire(asked);
            }
        }
        _ => {
            let _ = v1::EnrollRequest::decode(bytes);
        }
    }
}

/// A record that is accepted is accepted for good: written again it reads the same.
fn record(bytes: &[u8]) {
    let Ok(observations) = decode_record(bytes) else { return };
    let written = encode_record(&observations);
    let again = decode_record(&written).expect("a record that was accepted is accepted again");
    assert_eq!(encode_record(&again), written, "a record changed by being written and read");
}

/// Whatever is signed gives a device certificate for exactly the device that was meant.
pub(super) fn signing_request(bytes: &[u8]) {
    static DESK: OnceLock<SigningDesk> = OnceLock::new();
    let desk = DESK.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
        SigningDesk::open(folder.path()).expect("an authority")
    });
    let Ok(leaf) = desk.sign(bytes, "the-device") else { return };
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).expect("a certificate that can be read");
    assert!(!leaf.is_ca(), "an authority was signed");
    let usage = leaf.extended_key_usage().expect("readable").expect("an extended key usage").value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any, "{usage:?}");
    let names = leaf.subject_alternative_name().expect("readable").expect("a name").value;
    let [GeneralName::URI(uri)] = names.general_names.as_slice() else {
        panic!("not exactly one name: {:?}", names.general_names)
    };
    assert!(uri.ends_with(":the-device"), "{uri}");
}

/// A damaged spool still opens, still takes records and still gives them back. The first byte says where the database
/// ends and its write-ahead log begins.
pub(super) fn spool(bytes: &[u8]) {
    let Some((split, bytes)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir_in(fast_folder()).expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let at = bytes.len() * usize::from(*split) / 255;
    for (name, content) in [("spool.db", &bytes[..at]), ("spool.db-wal", &bytes[at..])] {
        if !content.is_empty() {
            let file = folder.path().join(name);
            std::fs::write(&file, content).expect("a file");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        }
    }
    if let Err(error) = firstline_agent::untrusted::spool_files(folder.path()) {
        panic!("a damaged spool stops the agent: {error}");
    }
}

/// In memory where the system has it: thousands of synchronous commits need no disk to be judged.
fn fast_folder() -> std::path::PathBuf {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// A refused configuration says why, in one line that a terminal can show.
pub(super) fn agent_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(why) = firstline_agent::untrusted::configuration(text) {
        assert!(why.contains("line "), "a refusal without a line: {why:?}");
    }
}

/// A refused knowledge file says where.
pub(super) fn knowledge(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(problems) = firstline_collector::untrusted::knowledge_file(text) {
        assert!(problems.iter().all(|problem| problem.starts_with("fuzzed.toml")), "{problems:?}");
    }
}

/// What smartctl says is the drive's text as much as the program's.
pub(super) fn smartctl(bytes: &[u8]) {
    let _ = physical_disk::smartctl::read(&String::from_utf8_lossy(bytes));
}

/// What answers at a printer's address.
pub(super) fn ipp(bytes: &[u8]) {
    printer::reads_reply(bytes);
}

/// What answers for a printer's SNMP agent, datagram after datagram. However it answers, the walk ends.
pub(super) fn snmp(bytes: &[u8]) {
    let requests = printer::reads_datagrams(bytes);
    assert!(requests <= 100, "{requests} requests to one printer");
}
