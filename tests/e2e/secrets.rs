//! Secrets stay where they belong: canaries are put through both programs, errors are provoked with them, and then
//! everything that the programs wrote, answered or show of themselves is searched for them.

use firstline_tests::process::{binary, command, run_with_input};
use firstline_tests::rest::Reply;
use firstline_tests::wait::{seconds, until};
use firstline_tests::{Agent, Collector, agent};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::path::{Path, PathBuf};

const PASSWORD: &str = "canary-Rk7vQ2-correct-horse";
const WRONG_PASSWORD: &str = "canary-Zt9xL4-wrong-horse";

/// A secret, and the only files that may hold it.
struct Canary {
    what: &'static str,
    bytes: Vec<u8>,
    at_home_in: Vec<PathBuf>,
}

impl Canary {
    fn new(what: &'static str, bytes: impl Into<Vec<u8>>, at_home_in: &[PathBuf]) -> Self {
        let bytes = bytes.into();
        assert!(bytes.len() >= 16, "{what} is too short to be searched for");
        Self { what, bytes, at_home_in: at_home_in.to_vec() }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        let first = self.bytes[0];
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == first) {
            rest = &rest[at..];
            if rest.starts_with(&self.bytes) {
                return true;
            }
            rest = &rest[1..];
        }
        false
    }
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.is_file() {
            found.push(entry);
        }
    }
}

/// The lines of a PEM file that hold the secret itself.
fn inside(pem: &str) -> Vec<String> {
    pem.lines().filter(|line| line.len() >= 32 && !line.starts_with("-----")).map(str::to_owned).collect()
}

/// The authority's key in clear, as text. It stands in no file: it is unsealed here, by code that is not the product's.
fn authority_key(folder: &Path, seal: &Path) -> String {
    let armored = |path: &Path| {
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        pem::parse(text).expect("an armored file").into_contents()
    };
    let key = UnboundKey::new(&AES_256_GCM, &armored(seal)).expect("a seal key");
    let mut sealed = armored(&folder.join("key.pem"));
    let mut rest = sealed.split_off(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(&sealed).expect("a nonce");
    let clear = LessSafeKey::new(key)
        .open_in_place(nonce, Aad::from(b"authority key"), &mut rest)
        .expect("the authority's key is sealed with the seal key");
    String::from_utf8(clear.to_vec()).expect("a key is text")
}

fn process_of(pid: u32, file: &str) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/{file}")).expect("the process runs")
}

#[test]
fn r30_secrets_stand_in_no_log_answer_error_page_process_or_foreign_file() {
    let mut collector = Collector::prepared().with_arguments(&["--log", "trace"]);
    collector.start();
    let url = collector.enrollment_url(&[]);
    let token =
        url.split("token=").nth(1).and_then(|rest| rest.split('&').next()).expect("a token").to_owned();
    let mut device = Agent::enrolled_at(&url);
    device.write_config(&format!("log = \"trace\"\n{}", agent::probes(&["memory"])));
    device.start();
    collector.wait_for_device(device.device());

    // A person signs in, and wrongly too.
    let link = collector.setup_link();
    let setup = link.split("token=").nth(1).expect("a token").to_owned();
    let anybody = collector.rest().anonymous();
    let mut answers: Vec<Reply> = Vec::new();
    let first = anybody.post_form("/setup", &[("token", &setup), ("name", "ada"), ("password", PASSWORD)]);
    let cookie = first.header("set-cookie").expect("a session").split(';').next().expect("a pair").to_owned();
    let session = cookie.split_once('=').expect("a value").1.to_owned();
    answers.push(anybody.post_form("/login", &[("name", "ada"), ("password", WRONG_PASSWORD)]));
    answers.push(
        anybody.post_form("/setup", &[("token", &setup), ("name", "eve"), ("password", WRONG_PASSWORD)]),
    );
    let created = collector.run_json(&["api-token", "create", "--role", "viewer", "--json"]);
    let api_token = created["token"].as_str().expect("a token").to_owned();

    // Errors of every kind, with the secrets in hand.
    let bearer = format!("Bearer {api_token}");
    let with_token = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let with_cookie = [("cookie", cookie.as_str())];
    for (method, path, headers, body) in [
        ("GET", "/api/v1/devices", &with_token[..], ""),
        ("GET", "/api/v1/nowhere", &with_token, ""),
        ("GET", "/api/v1/audit", &with_token, ""),
        ("GET", "/metrics", &with_token, ""),
        ("PATCH", "/api/v1/tickets/1", &with_token, "{\"note\": "),
        ("POST", "/api/v1/devices", &with_token, "{}"),
        ("GET", "/", &with_cookie, ""),
        ("GET", "/devices", &with_cookie, ""),
        ("GET", "/audit", &with_cookie, ""),
        ("GET", "/tickets/99", &with_cookie, ""),
        ("GET", "/nowhere", &with_cookie, ""),
        ("POST", "/logout", &with_cookie, "csrf=wrong"),
        ("GET", "/api/v1/audit", &with_cookie, ""),
    ] {
        answers.push(anybody.ask(method, path, headers, body));
    }
    // A used token once more.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let refused = agent::enroll(&folder.path().join("again"), &url);
    assert!(!refused.status.success());
    let doctor = run_with_input(
        {
            let mut doctor = command(binary("firstline-agent"));
            doctor.arg("doctor").arg("--data").arg(device.data());
            doctor
        },
        "",
    );
    let said =
        [refused.stdout, refused.stderr, doctor.stdout, doctor.stderr, collector.run(&["doctor"]).stdout];

    let identity = device.data().join("identity.toml");
    let data = collector.data().to_owned();
    let seal = data.join("seal.key");
    let mut canaries = vec![
        Canary::new("the password", PASSWORD, &[]),
        Canary::new("a wrong password", WRONG_PASSWORD, &[]),
        Canary::new("the enrollment token", token, &[]),
        Canary::new("the sign-in link's token", setup, &[]),
        Canary::new("the session's secret", session, &[]),
        Canary::new("the token of the interface", api_token, &[]),
    ];
    for line in inside(&device.identity().private_key) {
        canaries.push(Canary::new("the agent's key", line, std::slice::from_ref(&identity)));
    }
    for line in inside(&std::fs::read_to_string(&seal).expect("a seal key")) {
        canaries.push(Canary::new("the seal key", line, std::slice::from_ref(&seal)));
    }
    let authority = authority_key(&data.join("authority"), &seal);
    for line in inside(&authority) {
        canaries.push(Canary::new("the authority's key", line, &[]));
    }
    let der = pem::parse(&authority).expect("a key").into_contents();
    assert!(der.len() > 100, "a key of P-256 in PKCS #8");
    // Of the private number itself, wherever it may stand: 32 bytes from the 36th on, behind the same beginning in every key.
    canaries.push(Canary::new("the authority's number", &der[36..68], &[]));
    assert!(canaries.len() >= 11, "a key was not found");
    // What is asked for below has happened: the logs are complete up to here.
    until("a record is stored", seconds(20), || {
        let rows = firstline_tests::database::number(&collector.database(), "SELECT count(*) FROM record");
        (rows > 0).then_some(())
    });

    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for (what, pid) in [("the collector", collector.pid()), ("the agent", device.process_id())] {
        let limits = String::from_utf8(process_of(pid, "limits")).expect("text");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
        let numbers: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
        // One byte: the only limit that also keeps a core from a program that collects cores.
        assert_eq!(numbers, ["1", "1"], "{what} may leave its memory in a core file: {core}");
        for file in ["cmdline", "environ"] {
            places.push((format!("{file} of {what}"), process_of(pid, file)));
        }
    }
    places.push(("the collector's log".to_owned(), collector.log().lines().join("\n").into_bytes()));
    places.push(("the agent's log".to_owned(), device.log().lines().join("\n").into_bytes()));
    for (at, text) in said.into_iter().enumerate() {
        places.push((format!("what command {at} says"), text));
    }
    for reply in &answers {
        let headers: Vec<String> =
            reply.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        places.push((
            format!("an answer {}", reply.status),
            format!("{}\n{}", headers.join("\n"), reply.body).into_bytes(),
        ));
    }
    let mut all = Vec::new();
    files(&data, &mut all);
    files(device.data(), &mut all);
    assert!(all.iter().any(|file| file.ends_with("collector.db")) && all.contains(&identity));
    for canary in &canaries {
        for (place, bytes) in &places {
            assert!(!canary.is_in(bytes), "{} stands in {place}", canary.what);
        }
        let mut is_at_home = canary.at_home_in.is_empty();
        for file in &all {
            // A journal of the database may have gone meanwhile.
            let Ok(bytes) = std::fs::read(file) else { continue };
            let is_home = canary.at_home_in.contains(file);
            is_at_home |= is_home && canary.is_in(&bytes);
            assert!(is_home || !canary.is_in(&bytes), "{} stands in {}", canary.what, file.display());
        }
        assert!(is_at_home, "{} is not where it belongs: nothing was searched for", canary.what);
    }
}

#[test]
fn r30_programs_hold_no_fault_that_could_be_switched_on() {
    for name in ["firstline-agent", "firstline-collector"] {
        let bytes = std::fs::read(binary(name)).expect("a program");
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds("FIRSTLINE_DATA"), "{name} cannot be searched for texts");
        assert!(!holds("FIRSTLINE_SABOTAGE"), "{name} was built with the feature `sabotage`");
    }
}
