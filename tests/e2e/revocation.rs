//! A withdrawn identity is worth nothing within a second, by whatever process it was withdrawn.

use firstline_tests::Collector;
use firstline_tests::database::number;
use firstline_tests::effort::effort;
use firstline_tests::figure::percentile;
use firstline_tests::simulated::{SimulatedAgent, healthy_minute, now_ms};
use firstline_tests::wait::seconds;
use std::time::{Duration, Instant};

/// What is promised.
const LIMIT: Duration = Duration::from_secs(1);

#[test]
fn r4_a_revoked_device_is_cut_and_stores_nothing_within_a_second_every_time() {
    let runs = effort(20, 100);
    let collector = Collector::started();
    let url = collector.enrollment_url(&["--uses", "1000"]);
    let authority = std::fs::read_to_string(collector.authority()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut cut = Vec::new();
    for run in 0..runs {
        let (device, took, revoked_at) = runtime.block_on(async {
            let device = SimulatedAgent::enroll(&url, &authority, "pc").await.unwrap();
            let mut stream = device.stream([u8::try_from(run % 251).unwrap(); 16]).await.unwrap();
            stream.deliver(healthy_minute(0)).await.unwrap();
            let id = device.device_id.clone();
            let busy = tokio::spawn(async move {
                // As fast as it is let, until it is cut.
                for minute in 1.. {
                    if stream.deliver(healthy_minute(minute)).await.is_err() {
                        break;
                    }
                }
                Instant::now()
            });
            let output = collector.run(&["device", "revoke", &id]);
            let (begun, revoked_at) = (Instant::now(), now_ms());
            assert!(output.status.success());
            let ended = tokio::time::timeout(seconds(10), busy).await.expect("the stream is cut").unwrap();
            // The cut can come before the command has ended.
            let took = ended.saturating_duration_since(begun);
            assert!(device.stream([9; 16]).await.is_err(), "it came back");
            (id, took, revoked_at)
        });
        cut.push(took);
        let late = number(
            &collector.database(),
            &format!(
                "SELECT count(*) FROM record WHERE device = '{device}' AND received_at > {revoked_at} + 1000"
            ),
        );
        assert_eq!(late, 0, "run {run}: {late} records were stored a second after the revocation");
    }
    let p99 = percentile("revocation.cut", 99, &cut);
    assert!(p99 <= LIMIT, "{cut:?}");
}

#[test]
fn r4_a_revoked_device_that_says_nothing_is_cut_as_fast() {
    let collector = Collector::started();
    let url = collector.enrollment_url(&[]);
    let authority = std::fs::read_to_string(collector.authority()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let device = SimulatedAgent::enroll(&url, &authority, "pc").await.unwrap();
        let mut stream = device.stream([1; 16]).await.unwrap();
        stream.deliver(healthy_minute(0)).await.unwrap();
        let silent = tokio::spawn(async move {
            // Reads what comes until the stream has ended; sends nothing, so that no commit could refuse it.
            while let Ok(Some(_)) = stream.receive().await {}
            Instant::now()
        });
        let output = collector.run(&["device", "revoke", &device.device_id]);
        let begun = Instant::now();
        assert!(output.status.success());
        let ended = tokio::time::timeout(seconds(5), silent).await.expect("the stream is cut").unwrap();
        let took = ended.saturating_duration_since(begun);
        assert!(took <= LIMIT, "the stream was cut after {took:?}");
    });
}

#[test]
fn r4_a_status_that_another_process_changed_stops_the_next_commit() {
    let collector = Collector::started();
    let url = collector.enrollment_url(&[]);
    let authority = std::fs::read_to_string(collector.authority()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let device = SimulatedAgent::enroll(&url, &authority, "pc").await.unwrap();
        let mut stream = device.stream([1; 16]).await.unwrap();
        stream.deliver(healthy_minute(0)).await.unwrap();
        // Not even a line in the log that collectors follow: only the row itself changes, as on another replica.
        let database = rusqlite::Connection::open(collector.database()).unwrap();
        database.busy_timeout(seconds(5)).unwrap();
        database.execute("UPDATE device SET status = 'revoked'", []).unwrap();
        let refused = stream.deliver(healthy_minute(1)).await.unwrap_err();
        assert!(format!("{refused:#}").contains("withdrawn"), "{refused:#}");
    });
    assert_eq!(number(&collector.database(), "SELECT count(*) FROM record"), 1);
}
