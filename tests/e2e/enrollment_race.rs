//! A one-time token makes one device, whatever races, and a refusal tells nothing but that it is one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use firstline_tests::database::number;
use firstline_tests::effort::effort;
use firstline_tests::enrollee::{Enrollee, own_address, token_of};
use firstline_tests::figure::figure;
use firstline_tests::wait::{seconds, until};
use firstline_tests::{Agent, Collector};
use std::path::Path;
use std::time::{Duration, Instant};
use tonic::{Code, Status};

const CLIENTS: usize = 64;
/// Rounds that one set of client addresses plays: one refusal more per minute and address would be throttled.
const ROUNDS_PER_ADDRESS: usize = 9;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// All that a caller can see of a refusal: code, message, details, names of headers.
type Seen = (Code, String, Vec<u8>, Vec<String>);

fn seen(status: &Status) -> Seen {
    let mut names: Vec<String> = status
        .metadata()
        .keys()
        .map(|key| match key {
            tonic::metadata::KeyRef::Ascii(key) => key.to_string(),
            tonic::metadata::KeyRef::Binary(key) => key.to_string(),
        })
        .collect();
    names.sort();
    (status.code(), status.message().to_owned(), status.details().to_vec(), names)
}

#[test]
fn r1_of_64_clients_with_a_one_time_token_exactly_one_gets_a_certificate_every_time() {
    let rounds = effort(20, 1_000);
    let collector = Collector::started();
    let (agents, authority) = (collector.agents(), collector.authority());
    runtime().block_on(async {
        let mut clients = Vec::new();
        for round in 0..rounds {
            if round % ROUNDS_PER_ADDRESS == 0 {
                clients.clear();
                for client in 0..CLIENTS {
                    let source = own_address((round / ROUNDS_PER_ADDRESS * CLIENTS + client) as u32);
                    clients.push(Enrollee::connected(source, agents, &authority).await);
                }
            }
            let url = collector.enrollment_url(&[]);
            let token = token_of(&url).to_owned();
            let attempts: Vec<_> = clients
                .iter()
                .map(|client| {
                    let (mut client, token) = (client.clone(), token.clone());
                    tokio::spawn(async move { client.presents(&token, &[]).await })
                })
                .collect();
            let mut certificates = 0;
            let mut refusals = Vec::new();
            for attempt in attempts {
                match attempt.await.unwrap() {
                    Ok(_) => certificates += 1,
                    Err(status) => refusals.push(seen(&status)),
                }
            }
            assert_eq!((certificates, refusals.len()), (1, CLIENTS - 1), "round {round}: {refusals:?}");
            assert_eq!(refusals[0].0, Code::PermissionDenied, "{refusals:?}");
            assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "they differ: {refusals:?}");
        }
    });
    let database = collector.database();
    let count = |query: &str| usize::try_from(number(&database, query)).unwrap();
    assert_eq!(count("SELECT count(*) FROM device"), rounds);
    assert_eq!(count("SELECT count(*) FROM audit WHERE action = 'enroll.accepted'"), rounds);
    let refused = "SELECT count(*) FROM audit WHERE action = 'enroll.refused' AND detail = 'used'";
    assert_eq!(count(refused), rounds * (CLIENTS - 1), "every refusal is in the audit log");
    figure("enrollment_race.rounds", rounds, "count");
}

#[test]
fn r1_a_refusal_does_not_tell_what_was_wrong_with_the_token() {
    const TRIES: u32 = 9;
    let collector = Collector::started();
    let expired = collector.enrollment_url(&["--ttl", "1s"]);
    let used = collector.enrollment_url(&["--ttl", "1h"]);
    let long = "x".repeat(256);
    let database = collector.database();
    until("the first token expires", seconds(10), || {
        let left = number(&database, "SELECT min(expires_at) FROM enrollment_token");
        (firstline_tests::backlog::now_ms() > left).then_some(())
    });
    runtime().block_on(async {
        let address = |number: u32| own_address(60_000 + number);
        let mut first = Enrollee::connected(address(0), collector.agents(), &collector.authority()).await;
        first.presents(token_of(&used), &[]).await.unwrap();
        let kinds = [
            ("expired", token_of(&expired)),
            ("used", token_of(&used)),
            ("unknown", "0123456789012345678901234567890123456789012"),
            ("empty", ""),
            ("long", long.as_str()),
        ];
        let mut medians = Vec::new();
        let mut answers = Vec::new();
        for (place, (kind, token)) in (1..).zip(kinds) {
            let mut client =
                Enrollee::connected(address(place), collector.agents(), &collector.authority()).await;
            let mut times = Vec::new();
            for _ in 0..TRIES {
                let begun = Instant::now();
                let status = client.presents(token, &[]).await.unwrap_err();
                times.push(begun.elapsed());
                answers.push((kind, seen(&status)));
            }
            times.sort_unstable();
            medians.push((kind, times[times.len() / 2]));
        }
        assert!(answers.iter().all(|(_, answer)| *answer == answers[0].1), "{answers:?}");
        // Each takes the same way to the same write; a shortcut for one of them would be several times quicker.
        let fastest = medians.iter().map(|(_, time)| *time).min().unwrap();
        let slowest = medians.iter().map(|(_, time)| *time).max().unwrap();
        assert!(slowest < fastest * 4 + Duration::from_millis(10), "the time tells: {medians:?}");
    });
}

#[test]
fn r1_the_eleventh_bad_token_of_an_address_has_to_wait_and_no_header_changes_whose_it_is() {
    let collector = Collector::started();
    let url = collector.enrollment_url(&["--uses", "5"]);
    let good = token_of(&url);
    runtime().block_on(async {
        let (one, other) = (own_address(70_000), own_address(70_001));
        let mut guesser = Enrollee::connected(one, collector.agents(), &collector.authority()).await;
        for attempt in 0..10 {
            let status = guesser.presents("a guess", &[]).await.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied, "attempt {attempt}");
        }
        for token in ["a guess", good] {
            let status = guesser.presents(token, &[]).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        }
        // A new connection is the same address, and what it says of itself counts for nothing.
        let mut again = Enrollee::connected(one, collector.agents(), &collector.authority()).await;
        for name in ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip"] {
            let status = again.presents(good, &[(name, "192.0.2.1")]).await.unwrap_err();
            assert!(
                matches!(status.code(), Code::ResourceExhausted | Code::PermissionDenied),
                "{name}: {status:?}"
            );
        }
        let mut neighbour = Enrollee::connected(other, collector.agents(), &collector.authority()).await;
        neighbour.presents(good, &[]).await.unwrap();
    });
    assert_eq!(number(&collector.database(), "SELECT count(*) FROM device"), 1);
}

#[test]
fn r1_a_token_is_in_no_log_and_in_no_file_after_its_use() {
    let mut collector = Collector::started();
    let url = collector.enrollment_url(&[]);
    let token = token_of(&url).to_owned();
    let mut agent = Agent::enrolled_at(&url).probing(&["memory"], "").started();
    collector.wait_for_device(agent.device());
    let lines: Vec<String> =
        collector.log().lines().into_iter().chain(collector.answers()).chain(agent.log().lines()).collect();
    assert!(!lines.iter().any(|line| line.contains(&token)), "a log holds the token");
    agent.stop();
    collector.stop();
    let mut files = 0;
    for folder in [collector.data(), agent.data()] {
        look_for(folder, token.as_bytes(), &mut files);
    }
    assert!(files >= 5, "only {files} files were looked at");
}

fn look_for(folder: &Path, secret: &[u8], files: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look_for(&path, secret, files);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{} holds it", path.display());
            *files += 1;
        }
    }
}
