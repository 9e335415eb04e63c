//! What is malformed or too large costs the peer that sent it its stream, and nobody else anything.

use firstline_proto::v1;
use firstline_tests::Collector;
use firstline_tests::attack::{self, Attacker, END_HEADERS, END_STREAM, SESSION, frame, kind};
use firstline_tests::effort::effort;
use firstline_tests::figure::{figure, percentile};
use firstline_tests::healthy::{self, Healthy};
use firstline_tests::rest::Rest;
use firstline_tests::simulated::{SimulatedAgent, healthy_minute, now_ms};
use firstline_tests::wait::seconds;
use prost::Message;
use rustls::ClientConfig;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

/// Where attackers connect from.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Streams that one connection may have; a mutated frame is one.
const A_CONNECTION: usize = 8;

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides.max(1)
    }

    /// Bits flipped, bytes cut off, doubled or replaced.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.roll(4) {
            let at = self.roll(bytes.len());
            match self.roll(5) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.roll(8),
                1 => bytes.truncate(at),
                2 => bytes.splice(at..at, (0..self.roll(40)).map(|n| n as u8)).for_each(drop),
                3 if !bytes.is_empty() => bytes[at] = [0, 0x7f, 0x80, 0xff][self.roll(4)],
                _ => bytes.extend_from_within(at..),
            }
        }
    }
}

fn hello() -> Vec<u8> {
    let offer = v1::EpochOffer { epoch: vec![7; 16], first_unacked: 1, next: 3 };
    let hello = v1::Hello { protocol: 1, epochs: vec![offer], sent_at_ms: now_ms(), ..v1::Hello::default() };
    v1::AgentMessage { message: Some(v1::agent_message::Message::Hello(hello)) }.encode_to_vec()
}

fn batch() -> Vec<u8> {
    let records = vec![healthy_minute(1), healthy_minute(2)];
    let batch = v1::Batch {
        epoch: vec![7; 16],
        first_seq: 1,
        records,
        sent_at_ms: now_ms(),
        clock_ms: 0,
        generation: 0,
    };
    v1::AgentMessage { message: Some(v1::agent_message::Message::Batch(batch)) }.encode_to_vec()
}

/// The frames of one stream of which something is spoilt: a message, the head of a gRPC frame, or HTTP/2 itself.
fn spoilt(dice: &mut Dice, stream: u32) -> Vec<u8> {
    let mut head = frame(kind::HEADERS, END_HEADERS, stream, &attack::fields(&attack::grpc(SESSION, &[])));
    let (mut first, mut second) = (hello(), batch());
    match dice.roll(6) {
        0 => dice.spoil(&mut first),
        1 | 2 => dice.spoil(&mut second),
        3 => {
            let mut body = attack::message(0, &second);
            let mut lie: Vec<u8> = body.drain(..5).collect();
            dice.spoil(&mut lie);
            lie.extend(&body);
            let all = [attack::message(0, &first), lie].concat();
            return [head, frame(kind::DATA, END_STREAM, stream, &all)].concat();
        }
        4 => {
            let mut body = frame(kind::DATA, END_STREAM, stream, &attack::message(0, &first));
            dice.spoil(&mut body);
            return [head, body].concat();
        }
        _ => {
            dice.spoil(&mut head);
            return [head, frame(kind::DATA, END_STREAM, stream, &attack::message(0, &first))].concat();
        }
    }
    let body = [attack::message(0, &first), attack::message(0, &second)].concat();
    // No larger than a frame may be.
    let last = body.chunks(16_000).count().saturating_sub(1);
    let frames = body
        .chunks(16_000)
        .enumerate()
        .map(|(number, part)| frame(kind::DATA, if number == last { END_STREAM } else { 0 }, stream, part));
    [head, frames.collect::<Vec<_>>().concat()].concat()
}

fn tls_of(agent: &SimulatedAgent) -> Arc<ClientConfig> {
    let mut config = agent.tls().expect("a configuration");
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[test]
fn r15_mutated_frames_over_live_connections_hurt_nobody_but_their_sender() {
    let frames = effort(480, 10_000);
    let collector = Collector::started();
    let healthy = Healthy::start(&collector, 10);
    let before = percentile("r15.ack_alone", 99, &healthy.during(seconds(effort(3, 10))));
    let memory = collector.memory();

    // A device may open so many streams at once.
    let attackers = healthy::enrolled(&collector, &healthy::runtime(), frames / 80);
    let begun = Instant::now();
    let mut sent = 0;
    for (number, attacker) in attackers.iter().enumerate() {
        let tls = tls_of(attacker);
        let mut dice = Dice(number as u64);
        for _ in 0..80 / A_CONNECTION {
            let mut connection =
                Attacker::http2(ELSEWHERE, collector.agents(), &tls).expect("the collector accepts");
            for turn in 0..A_CONNECTION {
                sent += 1;
                let bytes = spoilt(&mut dice, 1 + 2 * turn as u32);
                if connection.send(&bytes).is_err() {
                    connection =
                        Attacker::http2(ELSEWHERE, collector.agents(), &tls).expect("the collector accepts");
                }
            }
            // A ping that is answered was read after all of them; a connection that is closed has judged them too.
            if connection.send(&frame(kind::PING, 0, 0, b"finished")).is_ok() {
                connection.heard(b"finished", seconds(5));
            }
        }
    }
    let during = percentile("r15.ack_under_attack", 99, &healthy.since(begun));
    let grown = collector.memory().saturating_sub(memory);
    figure("r15.frames", sent, "count");
    figure("r15.memory_growth", grown >> 20, "MiB");
    assert!(sent >= frames);
    let panics: Vec<String> =
        collector.log().lines().into_iter().filter(|line| line.contains("panicked")).collect();
    assert!(panics.is_empty(), "{panics:#?}");
    assert!(grown <= 64 << 20, "{grown} bytes more");
    // A few milliseconds doubled are still a few milliseconds.
    assert!(during <= (before * 2).max(seconds(1)), "p99 {during:?}, before {before:?}");
    healthy.stop();
}

#[test]
fn r16_a_message_above_four_mib_is_refused_and_not_kept() {
    let collector = Collector::started();
    let attacker = &healthy::enrolled(&collector, &healthy::runtime(), 1)[0];
    let memory = collector.memory();
    let mut connection = Attacker::http2(ELSEWHERE, collector.agents(), &tls_of(attacker)).expect("accepted");
    let head = frame(kind::HEADERS, END_HEADERS, 1, &attack::fields(&attack::grpc(SESSION, &[])));
    let mut body = attack::message(0, &hello());
    body.push(0);
    body.extend((5_u32 << 20).to_be_bytes());
    connection.send(&[head, frame(kind::DATA, 0, 1, &body)].concat()).expect("sent");
    let heard = connection.heard(b"4194304", seconds(10));
    assert!(contains(&heard, b"4194304"), "{}", String::from_utf8_lossy(&heard));
    assert!(collector.memory().saturating_sub(memory) < 16 << 20);
}

#[test]
fn r16_compressed_messages_are_refused_and_nothing_is_inflated() {
    let collector = Collector::started();
    let attacker = &healthy::enrolled(&collector, &healthy::runtime(), 1)[0];
    let memory = collector.memory();
    // The beginning of 4 GiB of zeros in each coding: whoever inflates it takes all memory.
    let bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let bomb: Vec<u8> = bomb.into_iter().chain((0..3_000_000).map(|_| 0)).collect();
    for coding in ["gzip", "zstd", "deflate", "identity", "br"] {
        let mut connection =
            Attacker::http2(ELSEWHERE, collector.agents(), &tls_of(attacker)).expect("accepted");
        let fields = attack::fields(&attack::grpc(SESSION, &[("grpc-encoding", coding)]));
        connection.send(&frame(kind::HEADERS, END_HEADERS, 1, &fields)).expect("sent");
        let body = attack::message(1, &bomb);
        // More than the first window is not sent; the collector says no before.
        for part in body.chunks(16_000).take(4) {
            if connection.send(&frame(kind::DATA, 0, 1, part)).is_err() {
                break;
            }
        }
        // 12 is UNIMPLEMENTED. "identity" with a compressed flag is no hello.
        let refused: &[u8] = if coding == "identity" { b"begins with a hello" } else { &attack::status(12) };
        let heard = connection.heard(refused, seconds(10));
        assert!(contains(&heard, refused), "{coding}: {}", heard.escape_ascii());
    }
    let grown = collector.memory().saturating_sub(memory);
    figure("r16.bomb_memory", grown >> 20, "MiB");
    assert!(grown <= 16 << 20, "{grown} bytes");
}

#[test]
fn r16_rest_bodies_and_headers_are_bounded_whatever_they_claim_to_be() {
    let mut collector = Collector::started();
    let rest: Rest = collector.rest();
    let memory = collector.memory();
    let json = [("content-type", "application/json")];
    let ask =
        |headers: &[(&str, &str)], body: &str| rest.ask("POST", "/api/v1/tickets/1/notes", headers, body);
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(ask(&json, &large).status, 413, "a megabyte and a few bytes");
    let nested = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(ask(&json, &nested).status, 400 | 404 | 405), "a hundred thousand levels");
    for coding in ["gzip", "zstd", "deflate", "br", "GZIP", "gzip, gzip"] {
        let reply = ask(&[json[0], ("content-encoding", coding)], "bomb");
        assert_eq!(reply.status, 415, "{coding}: {}", reply.body);
    }
    let header = "x".repeat(20 << 10);
    let reply = rest.ask("GET", "/healthz", &[("x-large", &header)], "");
    assert!(matches!(reply.status, 400 | 431), "20 KiB of headers: {}", reply.status);
    assert_eq!(rest.get("/healthz").status, 200);
    let grown = collector.memory().saturating_sub(memory);
    assert!(grown <= 16 << 20, "{grown} bytes");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
