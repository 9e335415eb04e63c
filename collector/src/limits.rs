//! What bounds a peer of either listener, each with its reason. Bounds of the writer stand in
//! `ingest/worker.rs`. What concerns operators stands in [`OPERATORS`] too,
//! and a test compares that with the table in `collector/README.md`. Sizes of what travels between agent and collector
//! are both sides' and stand in `firstline_proto::limits`.

use firstline_proto::limits as wire;
use std::time::Duration;

// --- connections

/// How long a peer may take to finish its handshake. A slow mobile link needs about one second.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes that may be unfinished at once. One that waits for its peer costs a few KiB and no processor time; with the
/// time limit above, an attacker would have to open 800 a second to fill this.
pub(crate) const PENDING_HANDSHAKES: usize = 4_096;
/// ... and of one address (of one /64 with IPv6). A site of a thousand devices may stand behind one address.
pub(crate) const PENDING_HANDSHAKES_PER_ADDRESS: usize = 1_024;
/// Handshakes that are worked on at once; the others wait for their turn, so that what streams bring is served between
/// them. One costs about a millisecond of processor time.
pub(crate) const HANDSHAKES_AT_ONCE: usize = 32;
/// Handshakes that wait for their turn; beyond, connections are closed at once, which costs next to nothing. At the slowest
/// (see [`HANDSHAKE_TURN`]) the last one waits 4 s, within the 10 s that an agent has patience for.
pub(crate) const HANDSHAKE_QUEUE: usize = 512;
/// A turn ends after this, though the handshake may go on: it waits for its peer, and a slow peer must not keep others out.
pub(crate) const HANDSHAKE_TURN: Duration = Duration::from_millis(250);
/// Connections of the agents' listener, if the system gives so many file handles: see [`SPARE_FILES`].
pub(crate) const AGENT_CONNECTIONS: usize = 120_000;
/// Connections of the web listener, likewise: people and their programs, not devices.
pub(crate) const WEB_CONNECTIONS: usize = 4_096;
/// File handles that connections leave to the store, the knowledge folder and everything else.
pub(crate) const SPARE_FILES: usize = 128;
/// Connections of one device. A second one is a reconnect whose predecessor has not been noticed as dead; beyond, the
/// oldest is cut.
pub(crate) const CONNECTIONS_PER_DEVICE: usize = 4;
/// After an accept error (no file handles left) the loop waits this long: well below the second in which it must go on.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a new connection may take to bring the head of its first request; also for each head with HTTP/1.1.
pub(crate) const REQUEST_HEAD: Duration = Duration::from_secs(10);
/// How long an agent's connection may stand without a request: an agent that has no stream has no use for it.
pub(crate) const AGENT_IDLE: Duration = Duration::from_secs(10);
/// How long a browser's connection may stand without a request.
pub(crate) const WEB_IDLE: Duration = Duration::from_secs(60);
/// How long an answer may stand without its reader taking any of it. Live pages carry a sign of life every 15 s.
pub(crate) const WEB_STALLED: Duration = Duration::from_secs(60);
/// How long an answer may take to begin, the request's body included.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// How long an agent's stream may be silent. Agents send a record a minute, and a ping after 70 s without a word.
pub(crate) const AGENT_SILENT: Duration = Duration::from_secs(100);
/// After so long without a packet the network is asked whether the agent's machine is there (TCP keepalive), which costs a
/// fifth of what a ping through TLS does: a machine that is gone is noticed within 30 s.
pub(crate) const PROBED: Duration = Duration::from_secs(20);
/// How often it is asked again, twice.
pub(crate) const PROBED_AGAIN: Duration = Duration::from_secs(4);
/// A silent browser is asked for a sign of life this often, and has [`KEEPALIVE_ANSWER`] for it.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(20);
/// See [`KEEPALIVE`].
pub(crate) const KEEPALIVE_ANSWER: Duration = Duration::from_secs(8);
/// Streams of one agent's connection at once; it uses one.
pub(crate) const AGENT_STREAMS: u32 = 8;
/// Requests of one browser's connection at once.
pub(crate) const WEB_STREAMS: u32 = 64;
/// All headers of a request, decoded. A session cookie and a bearer token are some 200 bytes.
pub(crate) const HEADERS: u32 = 16 << 10;
/// HTTP/2 frames that cost work and bring nothing (PING, SETTINGS, PRIORITY, RST_STREAM, CONTINUATION, empty DATA; on the
/// agents' listener HEADERS too) that a connection may send at once. Libraries send a handful a minute.
pub(crate) const CONTROL_FRAMES: u32 = 500;
/// ... and for each further second.
pub(crate) const CONTROL_FRAMES_PER_SECOND: u32 = 50;
/// Streams that a peer may open and reset, or make us reset, before its connection is closed.
pub(crate) const RESET_STREAMS: usize = 20;

// --- everybody at once

/// Streams that are opened at once: each reads the store a few times and waits for one transaction, which they share.
pub(crate) const OPENINGS_AT_ONCE: usize = 16;
/// ... and that wait for their turn; beyond, agents are told when to come again. At [`ADMITTED_PER_SECOND`], the last one waits
/// less than 2 s.
pub(crate) const OPENING_QUEUE: usize = 64;
/// Enrollments and renewals at once: each makes a signature and a transaction.
pub(crate) const ENROLLMENTS_AT_ONCE: usize = 8;
/// ... and that wait for their turn; beyond, they are told when to come again.
pub(crate) const ENROLLMENT_QUEUE: usize = 128;
/// Those that are told to come again get times that follow on each other at this pace: well below what one core opens, so
/// that it has time for what streams bring. A thousand agents are in within 20 s.
pub(crate) const ADMITTED_PER_SECOND: u32 = 50;
/// The latest time that anybody is told: the longest that an agent waits by itself.
pub(crate) const LONGEST_TURNED_AWAY: Duration = Duration::from_secs(300);

// --- what one device brings. Normal is a record a minute of some 5 KiB.

/// Records that one device may have on their way without an ack, while the writer keeps up. A batch and the next one, so
/// that the line is never empty.
pub(crate) const DEVICE_CREDIT: u32 = 2_000;
/// Records that a device may bring at once: a week of backlog.
pub(crate) const DEVICE_RECORDS: u32 = 10_000;
/// ... and for each further second: three hundred times the normal.
pub(crate) const DEVICE_RECORDS_PER_SECOND: u32 = 5;
/// Bytes of records that a device may bring at once: the same backlog.
pub(crate) const DEVICE_BYTES: u32 = 64 << 20;
/// ... and for each further second. The largest batch is paid off in 16 s, well before its sender takes the connection for
/// dead (30 s without an ack).
pub(crate) const DEVICE_BYTES_PER_SECOND: u32 = 64 << 10;
/// Records of one device that go into a transaction at once, so that a full batch stands in nobody's way.
pub(crate) const SLICE_RECORDS: usize = 16;
/// ... and bytes of them, if they are more than one.
pub(crate) const SLICE_BYTES: usize = 64 << 10;
/// Bytes of a stream that wait for their turn before it is read on; a batch more may be there.
pub(crate) const HELD_BYTES: usize = 256 << 10;

// --- web

/// The largest body of a request.
pub(crate) const BODY_BYTES: usize = 1 << 20;
/// So much of a body that is refused is read and forgotten, so that its sender gets the answer; beyond, it may be lost.
pub(crate) const REFUSED_BODY_BYTES: usize = 16 << 20;
/// ... and for so long. Within [`ANSWER`].
pub(crate) const REFUSED_BODY: Duration = Duration::from_secs(2);
/// How deep a JSON body may nest.
pub(crate) const JSON_LEVELS: usize = 64;

/// What operators should know: what is limited, to what, and why.
#[cfg_attr(not(test), expect(dead_code, reason = "the test compares it with the README"))]
pub(crate) const OPERATORS: &[(&str, Amount, &str)] = &[
    (
        "gRPC message",
        Amount::Bytes(wire::MESSAGE_BYTES),
        "a batch with room for its frame; compressed ones are refused",
    ),
    ("batch", Amount::Count(wire::BATCH_RECORDS), "records; an agent with a backlog sends full ones"),
    ("payload of a batch", Amount::Bytes(wire::BATCH_BYTES), "what one transaction takes of a device"),
    (
        "text in a record",
        Amount::Bytes(wire::TEXT_BYTES),
        "names; a larger record is kept as it came and not judged",
    ),
    (
        "messages inside each other",
        Amount::Count(wire::MESSAGE_LEVELS),
        "levels; a decoder calls itself for each",
    ),
    ("handshake", Amount::Time(HANDSHAKE), "slow peers are cut"),
    ("unfinished handshakes", Amount::Count(PENDING_HANDSHAKES), "beyond, connections are closed at once"),
    (
        "... of one address",
        Amount::Count(PENDING_HANDSHAKES_PER_ADDRESS),
        "a site may stand behind one address",
    ),
    (
        "handshakes worked on",
        Amount::Count(HANDSHAKES_AT_ONCE),
        "the others wait for their turn, so that streams are served between them",
    ),
    ("... their queue", Amount::Count(HANDSHAKE_QUEUE), "beyond, connections are closed at once"),
    ("... their turn", Amount::Time(HANDSHAKE_TURN), "then it goes on beside: a slow peer keeps nobody out"),
    ("agents' connections", Amount::Count(AGENT_CONNECTIONS), "or three quarters of the file handles"),
    ("web connections", Amount::Count(WEB_CONNECTIONS), "or a quarter of the file handles"),
    (
        "file handles kept back",
        Amount::Count(SPARE_FILES),
        "the store must work when connections use up the rest",
    ),
    ("connections of a device", Amount::Count(CONNECTIONS_PER_DEVICE), "beyond, its oldest is cut"),
    ("head of a request", Amount::Time(REQUEST_HEAD), "slow peers are cut"),
    ("headers of a request", Amount::Bytes(HEADERS as usize), "more is answered 431 or resets the stream"),
    ("answer to a request", Amount::Time(ANSWER), "its body included; slow bodies are given up"),
    ("agent's connection without a stream", Amount::Time(AGENT_IDLE), "cut"),
    ("browser's connection without a request", Amount::Time(WEB_IDLE), "cut"),
    ("answer that nobody reads", Amount::Time(WEB_STALLED), "cut"),
    (
        "machine that is gone",
        Amount::Time(PROBED.saturating_add(PROBED_AGAIN.saturating_mul(2))),
        "noticed by TCP keepalive",
    ),
    ("silent agent", Amount::Time(AGENT_SILENT), "cut; agents send a ping after 70 s without a word"),
    ("dead browser", Amount::Time(KEEPALIVE.saturating_add(KEEPALIVE_ANSWER)), "noticed by HTTP/2 pings"),
    (
        "HTTP/2 control frames",
        Amount::Rate(CONTROL_FRAMES, CONTROL_FRAMES_PER_SECOND),
        "floods end the connection",
    ),
    ("reset streams", Amount::Count(RESET_STREAMS), "rapid reset ends the connection"),
    (
        "streams opened at once",
        Amount::Count(OPENINGS_AT_ONCE),
        "each reads the store and shares a transaction",
    ),
    ("... their queue", Amount::Count(OPENING_QUEUE), "beyond, agents are told when to come again"),
    (
        "enrollments and renewals at once",
        Amount::Count(ENROLLMENTS_AT_ONCE),
        "each is a signature and a transaction",
    ),
    ("... their queue", Amount::Count(ENROLLMENT_QUEUE), "beyond, they are told when to come again"),
    (
        "agents told to come again",
        Amount::PerSecond(ADMITTED_PER_SECOND),
        "told times follow on each other; a thousand are in within 20 s",
    ),
    ("... at the latest", Amount::Time(LONGEST_TURNED_AWAY), "the longest that an agent waits by itself"),
    (
        "records on their way of a device",
        Amount::Count(DEVICE_CREDIT as usize),
        "less while backlogs of many wait; told with each ack",
    ),
    (
        "records of a device",
        Amount::Rate(DEVICE_RECORDS, DEVICE_RECORDS_PER_SECOND),
        "what it has more waits in its spool",
    ),
    (
        "bytes of a device",
        Amount::ByteRate(DEVICE_BYTES, DEVICE_BYTES_PER_SECOND),
        "likewise; its stream is not read meanwhile",
    ),
    (
        "records of a device in a transaction",
        Amount::Count(SLICE_RECORDS),
        "of each of its live data and its backlog; a full batch stands in nobody's way",
    ),
    ("bytes that a stream holds", Amount::Bytes(HELD_BYTES), "and one batch; beyond, it is not read"),
    ("REST body", Amount::Bytes(BODY_BYTES), "413; a compressed one is answered 415"),
    ("JSON nesting", Amount::Count(JSON_LEVELS), "400"),
];

/// How much.
#[cfg_attr(not(test), expect(dead_code, reason = "the test compares it with the README"))]
pub(crate) enum Amount {
    /// So many.
    Count(usize),
    /// So many bytes.
    Bytes(usize),
    /// So long.
    Time(Duration),
    /// So many each second.
    PerSecond(u32),
    /// So many at once, and so many for each further second.
    Rate(u32, u32),
    /// So many bytes at once, and so many for each further second.
    ByteRate(u32, u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(amount: &Amount) -> String {
        match amount {
            Amount::Count(count) => count.to_string(),
            Amount::Bytes(bytes) => size(*bytes),
            Amount::Time(time) if time.as_secs() == 0 => format!("{} ms", time.as_millis()),
            Amount::Time(time) => format!("{} s", time.as_secs()),
            Amount::PerSecond(rate) => format!("{rate} a second"),
            Amount::Rate(burst, rate) => format!("{burst}, then {rate} a second"),
            Amount::ByteRate(burst, rate) => {
                format!("{}, then {} a second", size(*burst as usize), size(*rate as usize))
            }
        }
    }

    fn size(bytes: usize) -> String {
        if bytes.is_multiple_of(1 << 20) {
            format!("{} MiB", bytes >> 20)
        } else {
            format!("{} KiB", bytes >> 10)
        }
    }

    #[test]
    fn r16_the_operators_table_says_what_is_in_force() {
        let row =
            |(what, amount, why): &(&str, Amount, &str)| format!("| {what} | {} | {why} |", shown(amount));
        let rows: Vec<String> = OPERATORS.iter().map(row).collect();
        let table = format!("| what | limit | why |\n|---|---|---|\n{}\n", rows.join("\n"));
        let readme = include_str!("../README.md");
        assert!(readme.contains(&table), "collector/README.md must hold this table:\n{table}");
    }
}
