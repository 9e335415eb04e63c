//! Slow and malicious peers are cut, and agents that do nothing wrong do not notice them.

use firstline_tests::Collector;
use firstline_tests::attack::{self, Attacker, END_HEADERS, SESSION, frame, kind};
use firstline_tests::effort::effort;
use firstline_tests::figure::{figure, percentile};
use firstline_tests::healthy::{self, Healthy};
use firstline_tests::wait::{seconds, until};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where attackers connect from.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// What a healthy agent's ack may take at most under attack.
const PATIENCE: Duration = Duration::from_secs(2);

/// Without a certificate, as anybody can.
fn anybody(collector: &Collector) -> Arc<ClientConfig> {
    let pem = std::fs::read(collector.authority()).expect("an authority");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("an authority");
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn head(stream: u32, flags: u8) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, &attack::fields(&attack::grpc(SESSION, &[])))
}

#[test]
fn r17_peers_that_say_nothing_or_too_little_are_cut() {
    let collector = Collector::started();
    let (address, tls) = (collector.agents(), anybody(&collector));
    let device = healthy::enrolled(&collector, &healthy::runtime(), 1).remove(0);
    let known = {
        let mut config = device.tls().expect("a configuration");
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    };
    let closes = |what: &str, limit: u64, mut attacker: Attacker| {
        let took = attacker.closed_within(seconds(limit + 3));
        let (took, _) = took.unwrap_or_else(|| panic!("{what}: it is still open after {limit} s"));
        assert!(took <= seconds(limit), "{what}: {took:?}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut silent = attack::tcp(ELSEWHERE, address).expect("a connection");
            let begun = Instant::now();
            assert!(matches!(silent.read(&mut [0; 16]), Ok(0) | Err(_)));
            let took = begun.elapsed();
            assert!(
                took >= seconds(4) && took <= seconds(7),
                "an unfinished handshake is cut after {took:?}"
            );
        });
        scope.spawn(|| {
            let attacker = Attacker::connect(ELSEWHERE, address, &tls).expect("a handshake");
            closes("TLS and nothing more", 12, attacker);
        });
        scope.spawn(|| {
            let mut attacker = Attacker::http2(ELSEWHERE, address, &tls).expect("a handshake");
            attacker.send(&head(1, 0)).expect("sent");
            closes("half of a head", 12, attacker);
        });
        scope.spawn(|| {
            let mut attacker = Attacker::http2(ELSEWHERE, address, &known).expect("a handshake");
            attacker.send(&head(1, END_HEADERS)).expect("sent");
            // 10 s for the hello, 10 s for another request.
            closes("a stream without a hello", 23, attacker);
        });
        scope.spawn(|| {
            let mut attacker = Attacker::http2(ELSEWHERE, address, &tls).expect("a handshake");
            let fields = attack::fields(&attack::grpc("/firstline.v1.Enrollment/Enroll", &[]));
            attacker.send(&frame(kind::HEADERS, END_HEADERS, 1, &fields)).expect("sent");
            attacker.send(&frame(kind::DATA, 0, 1, &[0, 0, 0, 1, 0])).expect("sent");
            closes("a body of an enrollment that never ends", 23, attacker);
        });
    });
}

#[test]
fn r17_web_peers_that_say_too_little_are_cut() {
    let collector = Collector::started();
    let (address, tls) = (collector.web(), {
        let mut config = ClientConfig::clone(&anybody(&collector));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    });
    let closes = |what: &str, begin: &str, limit: u64| {
        let mut attacker = Attacker::connect_as("localhost", ELSEWHERE, address, &tls).expect("a handshake");
        attacker.send(begin.as_bytes()).expect("sent");
        let begun = Instant::now();
        // A byte now and then keeps nothing alive.
        until(what, seconds(limit), || {
            let gone = attacker.closed_within(Duration::from_millis(900)).is_some();
            (gone || attacker.send(b"x").is_err()).then_some(())
        });
        figure(&format!("r17.web_{}", what.replace(' ', "_")), begun.elapsed().as_millis(), "ms");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| closes("slow head", "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ", 14));
        scope.spawn(|| {
            let begin = "POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                         sec-fetch-site: same-origin\r\ncontent-length: 1000\r\n\r\n";
            closes("slow body", begin, 14);
        });
        scope.spawn(|| closes("nothing after the handshake", "", 14));
    });
}

/// An attack: its name, how long it may go on, and what is sent in each turn.
type Flood = (&'static str, fn(u32) -> Vec<u8>);

const FLOODS: &[Flood] = &[
    ("continuation", |turn| match turn {
        0 => head(1, 0),
        _ => frame(kind::CONTINUATION, 0, 1, &attack::fields(&[("x-more", "x")])),
    }),
    ("rapid_reset", |turn| {
        let stream = 1 + 2 * turn;
        [head(stream, END_HEADERS), frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    }),
    ("made_you_reset", |turn| {
        // An increment of nothing is an error that the server has to answer with a reset.
        let stream = 1 + 2 * turn;
        [head(stream, END_HEADERS), frame(kind::WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    }),
    ("ping", |turn| frame(kind::PING, 0, 0, &u64::from(turn).to_be_bytes())),
    ("settings", |_| frame(kind::SETTINGS, 0, 0, &[])),
    ("empty_data", |turn| match turn {
        0 => head(1, END_HEADERS),
        _ => frame(kind::DATA, 0, 1, &[]),
    }),
    ("unknown", |_| frame(0xaa, 0, 0, &[])),
];

#[test]
fn r17_floods_of_http2_are_ended_within_a_second_and_healthy_agents_do_not_notice() {
    let collector = Collector::started();
    let healthy = Healthy::start(&collector, effort(20, 100));
    let tls = anybody(&collector);
    let known = {
        let device = healthy::enrolled(&collector, &healthy::runtime(), 1).remove(0);
        let mut config = device.tls().expect("a configuration");
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    };
    let begun = Instant::now();
    for (name, next) in FLOODS {
        // A stream without a certificate is refused at once; with one it stays open for the flood.
        for (who, tls) in [("anybody", &tls), ("a device", &known)] {
            let mut attacker = Attacker::http2(ELSEWHERE, collector.agents(), tls).expect("a handshake");
            let took = attacker.flood(seconds(10), next);
            let took = took.unwrap_or_else(|| panic!("{name} by {who} went on for 10 s"));
            figure(&format!("r17.{name}_ended"), took.as_millis(), "ms");
            assert!(took <= seconds(1), "{name} by {who} went on for {took:?}");
        }
    }
    let p99 = percentile("r17.ack_during_floods", 99, &healthy.since(begun));
    assert!(p99 <= PATIENCE, "{p99:?}");
    healthy.stop();
}

#[test]
fn r17_healthy_agents_keep_their_acks_while_thousands_of_connections_do_nothing() {
    let count = effort(500, 5_000);
    let collector = Collector::started();
    let healthy = Healthy::start(&collector, effort(20, 100));
    let tls = anybody(&collector);
    let begun = Instant::now();
    // A third does not finish the handshake, a third says nothing after it, a third begins a request.
    let mut raw = Vec::new();
    let mut shaken = Vec::new();
    for number in 0..count {
        match number % 3 {
            0 => raw.push(attack::tcp(ELSEWHERE, collector.agents()).expect("a connection")),
            1 => shaken.push(Attacker::connect(ELSEWHERE, collector.agents(), &tls).expect("a handshake")),
            _ => {
                let mut attacker = Attacker::http2(ELSEWHERE, collector.agents(), &tls).expect("a handshake");
                attacker.send(&head(1, 0)).expect("sent");
                shaken.push(attacker);
            }
        }
    }
    let closed = |tcp: &mut TcpStream| {
        tcp.set_read_timeout(Some(seconds(20))).expect("a time limit");
        matches!(tcp.read(&mut [0; 64]), Ok(0))
            || matches!(tcp.read(&mut [0; 64]), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
    };
    assert!(raw.iter_mut().all(closed), "an unfinished handshake was not cut");
    let cut = shaken.iter_mut().all(|attacker| attacker.closed_within(seconds(20)).is_some());
    assert!(cut, "a connection without a request was not cut");
    figure("r17.connections_all_cut", begun.elapsed().as_millis(), "ms");
    let p99 = percentile("r17.ack_among_idle_connections", 99, &healthy.since(begun));
    assert!(p99 <= PATIENCE, "{p99:?}");
    healthy.stop();
}

#[test]
fn r17_f16_when_file_handles_run_out_healthy_agents_go_on_and_accepting_resumes_within_a_second() {
    let collector = Collector::started();
    let healthy = Healthy::start(&collector, 10);
    // So many more and no further one.
    let open =
        std::fs::read_dir(format!("/proc/{}/fd", collector.pid())).expect("the collector runs").count();
    let limit = |soft: usize| {
        let pid = rustix::process::Pid::from_raw(i32::try_from(collector.pid()).expect("a number"));
        let soft = Some(soft as u64);
        let limits = rustix::process::Rlimit { current: soft, maximum: soft };
        rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limits).expect("a limit");
    };
    limit(open + 20);
    let begun = Instant::now();
    let attackers: Vec<_> =
        (0..60).map(|_| attack::tcp(ELSEWHERE, collector.agents()).expect("a connection")).collect();
    collector.log().wait("it says that it cannot accept", seconds(5), |line| {
        line.contains("connections are refused until there is room").then_some(())
    });
    let during = healthy.during(seconds(2));
    drop(attackers);
    let freed = Instant::now();
    let tls = anybody(&collector);
    until("it accepts again", seconds(5), || {
        Attacker::http2(Ipv4Addr::LOCALHOST, collector.agents(), &tls).ok().map(drop)
    });
    figure("r17.accept_resumes", freed.elapsed().as_millis(), "ms");
    assert!(freed.elapsed() <= seconds(1), "{:?}", freed.elapsed());
    assert!(begun.elapsed() < seconds(60));
    let p99 = percentile("r17.ack_without_file_handles", 99, &during);
    assert!(p99 <= PATIENCE, "{p99:?}");
    healthy.stop();
}

#[test]
fn r17_a_collector_with_few_file_handles_keeps_some_back_for_its_store() {
    let mut collector = Collector::prepared().with_files(200);
    collector.start();
    let healthy = Healthy::start(&collector, 5);
    let attackers: Vec<_> =
        (0..300).map(|_| attack::tcp(ELSEWHERE, collector.agents()).expect("a connection")).collect();
    collector
        .log()
        .wait("it refuses", seconds(5), |line| line.contains("there are too many connections").then_some(()));
    let p99 = percentile("r17.ack_with_few_handles", 99, &healthy.during(seconds(2)));
    assert!(p99 <= PATIENCE, "{p99:?}");
    let refused: Vec<String> =
        collector.log().lines().into_iter().filter(|line| line.contains("cannot accept")).collect();
    assert!(refused.is_empty(), "the system ran out of handles: {refused:?}");
    drop(attackers);
    healthy.stop();
}
