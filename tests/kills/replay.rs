//! A batch counts once, however often and on whatever way it comes; bytes that were captured count nowhere.

use firstline_model::Timestamp;
use firstline_proto::v1;
use firstline_tests::Collector;
use firstline_tests::backlog::now_ms;
use firstline_tests::database::{number, texts};
use firstline_tests::effort::effort;
use firstline_tests::figure::figure;
use firstline_tests::oracle::generator::{BLOCK, RULE_FILE, record};
use firstline_tests::simulated::{SimulatedAgent, SimulatedStream};
use firstline_tests::wait::{seconds, until};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

const EPOCH: [u8; 16] = *b"replayed forever";
const SEED: u64 = 7;
/// Records of the batch: whole blocks of the generator, so that drives fill up and recover in it.
const BATCH: u64 = 5 * BLOCK;

struct Scene {
    collector: Collector,
    url: String,
    authority: String,
    at: Timestamp,
}

impl Scene {
    fn begin() -> Self {
        let mut collector = Collector::prepared();
        collector.write_knowledge("oracle.toml", RULE_FILE);
        collector.write_knowledge("space.toml", "override = \"fs.space\"\nenabled = false\n");
        collector.start();
        let url = collector.enrollment_url(&["--uses", "10"]);
        let authority = std::fs::read_to_string(collector.authority()).expect("an authority");
        Self { collector, url, authority, at: Timestamp::from_millis(now_ms()) }
    }

    async fn device(&self, name: &str) -> SimulatedAgent {
        SimulatedAgent::enroll(&self.url, &self.authority, name).await.expect("a device")
    }

    /// A stream of a device that has so many records.
    async fn stream(&self, device: &SimulatedAgent, records: u64) -> SimulatedStream {
        let offer = v1::EpochOffer { epoch: EPOCH.to_vec(), first_unacked: 1, next: records + 1 };
        let at = self.collector.agents().to_string();
        device.stream_to(&at, vec![offer]).await.expect("a stream").0
    }

    fn records(&self, first: u64, last: u64) -> Vec<Vec<u8>> {
        (first..=last).map(|seq| record(SEED, 0, seq, self.at)).collect()
    }

    /// Sends the next record, and waits for its ack: everything before it was dealt with.
    async fn next(&self, stream: &mut SimulatedStream, seq: u64) {
        stream.send_batch(EPOCH, seq, self.records(seq, seq)).await.expect("the stream takes it");
        acked(stream, seq).await;
    }
}

async fn acked(stream: &mut SimulatedStream, seq: u64) {
    loop {
        match stream.receive().await.expect("the stream lives").expect("the stream is open") {
            v1::collector_message::Message::Ack(ack) if ack.through_seq >= seq => return,
            v1::collector_message::Message::Refusal(refusal) => panic!("refused: {}", refusal.text),
            v1::collector_message::Message::Ack(_)
            | v1::collector_message::Message::Trust(_)
            | v1::collector_message::Message::Welcome(_)
            | v1::collector_message::Message::Directive(_) => {}
        }
    }
}

/// Everything that a device's records have made: rows, marks, rule state, findings, newest values, tickets and their
/// history, requests in the outbox. Without names and times of arrival.
fn made(database: &Path, device: &str) -> Vec<String> {
    [
        "SELECT 'record ' || seq || ' ' || hex(payload) FROM record WHERE device = ?1",
        "SELECT 'mark ' || hex(epoch) || ' ' || through FROM mark WHERE device = ?1",
        "SELECT 'state ' || body FROM engine_state WHERE device = ?1",
        "SELECT 'finding ' || rule || component_id || phase || since FROM finding WHERE device = ?1",
        "SELECT 'latest ' || component_id || name || series || content FROM latest WHERE device = ?1",
        "SELECT 'ticket ' || rule || component_id || state FROM ticket WHERE device = ?1",
        "SELECT 'timeline ' || t.component_id || l.kind || l.text FROM timeline l JOIN ticket t ON t.id = l.ticket
         WHERE t.device = ?1",
        "SELECT 'outbox ' || payload FROM outbox WHERE device = ?1",
    ]
    .iter()
    .flat_map(|query| {
        let mut lines = texts(database, &format!("SELECT * FROM ({query}) ORDER BY 1"), device);
        lines.push(format!("{} lines", lines.len()));
        lines
    })
    .collect()
}

#[test]
fn r19_a_batch_sent_a_thousand_times_counts_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut scene = Scene::begin();
    let (once, often) = runtime.block_on(async { (scene.device("once").await, scene.device("often").await) });
    let times = effort(1_000, 4_000) / 4;
    let tail = 4;

    runtime.block_on(async {
        let mut stream = scene.stream(&once, BATCH + tail).await;
        stream.send_batch(EPOCH, 1, scene.records(1, BATCH)).await.unwrap();
        acked(&mut stream, BATCH).await;
        for more in 1..=tail {
            scene.next(&mut stream, BATCH + more).await;
        }
    });

    // On one stream.
    runtime.block_on(async {
        let mut stream = scene.stream(&often, BATCH + tail).await;
        for _ in 0..times {
            stream.send_batch(EPOCH, 1, scene.records(1, BATCH)).await.unwrap();
        }
        scene.next(&mut stream, BATCH + 1).await;
    });
    // On a new stream each time.
    runtime.block_on(async {
        for _ in 0..times {
            let stream = scene.stream(&often, BATCH + tail).await;
            stream.send_batch(EPOCH, 1, scene.records(1, BATCH)).await.unwrap();
        }
        scene.next(&mut scene.stream(&often, BATCH + tail).await, BATCH + 2).await;
    });
    // After the collector was killed.
    scene.collector.kill();
    scene.collector.start();
    runtime.block_on(async {
        let mut stream = scene.stream(&often, BATCH + tail).await;
        for _ in 0..times {
            stream.send_batch(EPOCH, 1, scene.records(1, BATCH)).await.unwrap();
        }
        scene.next(&mut stream, BATCH + 3).await;
    });
    // By an agent that was restored from an old copy: it offers, and sends, what it had then.
    runtime.block_on(async {
        for _ in 0..times {
            let stream = scene.stream(&often, BATCH / 2).await;
            stream.send_batch(EPOCH, 1, scene.records(1, BATCH / 2)).await.unwrap();
        }
        scene.next(&mut scene.stream(&often, BATCH + tail).await, BATCH + 4).await;
    });

    let database = scene.collector.database();
    let (expected, found) = (made(&database, &once.device_id), made(&database, &often.device_id));
    let tickets = expected.iter().filter(|line| line.starts_with("ticket ")).count();
    assert!(tickets > 0, "the batch opens no ticket, so this test says nothing about tickets");
    let difference: Vec<_> =
        expected.iter().zip(&found).filter(|(one, other)| one != other).take(5).collect();
    assert!(difference.is_empty() && expected.len() == found.len(), "{difference:#?}");
    let counted = number(&database, "SELECT value FROM counter WHERE name = 'record'");
    assert_eq!(counted.unsigned_abs(), 2 * (BATCH + tail), "the count of records");
    figure("replay.sent", 4 * times, "count");
    figure("replay.doubled", 0, "count");
}

/// A wire tap: passes everything on and keeps what the device said.
struct Tap {
    address: SocketAddr,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn before(collector: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&said);
        std::thread::spawn(move || {
            let (mut device, _) = listener.accept().expect("a device");
            let mut to = TcpStream::connect(collector).expect("the collector");
            let (mut back, mut device_copy) =
                (to.try_clone().expect("a copy"), device.try_clone().expect("a copy"));
            std::thread::spawn(move || {
                // The connection ends when either side does.
                let _ = std::io::copy(&mut back, &mut device_copy);
                let _ = device_copy.shutdown(Shutdown::Both);
            });
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = device.read(&mut buffer) {
                kept.lock().expect("the tap").extend_from_slice(&buffer[..length]);
                if to.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
        Self { address, said }
    }
}

#[test]
fn r19_captured_bytes_sent_by_somebody_else_are_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let scene = Scene::begin();
    let (owner, other) =
        runtime.block_on(async { (scene.device("owner").await, scene.device("other").await) });
    let tap = Tap::before(scene.collector.agents());
    runtime.block_on(async {
        let offer = v1::EpochOffer { epoch: EPOCH.to_vec(), first_unacked: 1, next: 11 };
        let (mut stream, _) = owner.stream_to(&tap.address.to_string(), vec![offer]).await.expect("a stream");
        stream.send_batch(EPOCH, 1, scene.records(1, 10)).await.unwrap();
        acked(&mut stream, 10).await;
    });
    let database = scene.collector.database();
    let before = made(&database, &owner.device_id);
    assert!(before.len() > 10, "{before:?}");

    // The bytes of the wire, to the last: TLS answers with keys of a new connection, and they say nothing.
    let captured = tap.said.lock().expect("the tap").clone();
    assert!(captured.len() > 1_000, "only {} bytes were captured", captured.len());
    for _ in 0..10 {
        let mut wire = TcpStream::connect(scene.collector.agents()).expect("the collector listens");
        wire.set_read_timeout(Some(seconds(15))).expect("a time limit");
        // It may close before it has read everything.
        let _ = wire.write_all(&captured);
        let mut answer = Vec::new();
        match wire.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
    assert_eq!(made(&database, &owner.device_id), before, "replayed bytes changed something");

    // The same records under the same epoch, by a device with a certificate of its own: they are that device's.
    runtime.block_on(async {
        let mut stream = scene.stream(&other, 10).await;
        stream.send_batch(EPOCH, 1, scene.records(1, 10)).await.unwrap();
        acked(&mut stream, 10).await;
    });
    until("they are stored", seconds(5), || (made(&database, &other.device_id).len() > 10).then_some(()));
    assert_eq!(made(&database, &owner.device_id), before, "another device changed something");
}
