//! Asks DNS servers one by one, which the system's resolver cannot do: it hides a dead first server behind seconds of
//! waiting. All names go out at once on one connected socket, so a server costs one time limit however many names fail.

use super::dns_message::Question;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Names that every working resolver knows or knows not to exist; both stand for decades and belong to nobody's business.
pub(crate) const DEFAULT_NAMES: &[&str] = &["example.com", "www.iana.org"];
/// How long a server may take.
pub(crate) const TIME_LIMIT: Duration = Duration::from_millis(1500);
/// How many servers are asked at the same time.
const PARALLEL: usize = 4;
const MAX_NAMES: usize = 8;
const MAX_REPLY_BYTES: usize = 4096;

/// What one server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// `noerror`, `nxdomain`, `servfail`, `refused`, `timeout`, ...
    pub(crate) rcode: &'static str,
    /// How long the answer took, or how long was waited for it.
    pub(crate) took: Duration,
    /// What stood in the way of asking, for a person.
    pub(crate) detail: Option<String>,
}

impl Lookup {
    /// Whether the server does its work: knowing that a name does not exist is an answer too.
    pub(crate) fn answered(&self) -> bool {
        is_answer(self.rcode)
    }
}

fn is_answer(rcode: &str) -> bool {
    matches!(rcode, "noerror" | "nxdomain")
}

/// Asks every server for `names`, a few servers at a time. One result per server, in their order.
pub(crate) fn ask_all(servers: &[SocketAddr], names: &[String], limit: Duration) -> Vec<Lookup> {
    let mut results = Vec::with_capacity(servers.len());
    for some in servers.chunks(PARALLEL) {
        std::thread::scope(|scope| {
            let asked: Vec<_> =
                some.iter().map(|&server| scope.spawn(move || ask(server, names, limit))).collect();
            results.extend(
                asked
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|_| failed("the query panicked"))),
            );
        });
    }
    results
}

fn failed(detail: &str) -> Lookup {
    Lookup { rcode: "timeout", took: Duration::ZERO, detail: Some(detail.to_owned()) }
}

/// Asks one server for all names; the first name that gets an answer decides. A server that answers none of them
/// gives its error, and a server that cannot be reached at all counts as one that does not answer.
pub(crate) fn ask(server: SocketAddr, names: &[String], limit: Duration) -> Lookup {
    let started = Instant::now();
    match exchange(server, names, started, limit) {
        Ok(rcode) => Lookup { rcode, took: started.elapsed(), detail: None },
        Err(error) => Lookup { rcode: "timeout", took: started.elapsed(), detail: Some(error.to_string()) },
    }
}

fn exchange(
    server: SocketAddr,
    names: &[String],
    started: Instant,
    limit: Duration,
) -> io::Result<&'static str> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    let mut open: Vec<Question> =
        names.iter().take(MAX_NAMES).filter_map(|name| Question::of(name)).collect();
    if open.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no name to ask for"));
    }
    for question in &open {
        socket.send(&question.encode())?;
    }
    let mut refusal = None;
    let mut buffer = [0u8; MAX_REPLY_BYTES];
    while !open.is_empty() {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return refusal.ok_or(error),
        };
        // What is no answer to a question of ours may come from anybody: it is passed over.
        let answers = |(at, question): (usize, &Question)| Some((at, question.answer(&buffer[..length])?));
        let Some((at, code)) = open.iter().enumerate().find_map(answers) else { continue };
        open.swap_remove(at);
        let answer = rcode(code);
        if is_answer(answer) {
            return Ok(answer);
        }
        refusal = Some(answer);
    }
    Ok(refusal.unwrap_or("timeout"))
}

/// The name of a response code in lower case; rare ones share a word.
fn rcode(code: u8) -> &'static str {
    match code {
        0 => "noerror",
        1 => "formerr",
        2 => "servfail",
        3 => "nxdomain",
        4 => "notimp",
        5 => "refused",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Message, OpCode, ResponseCode};
    use std::sync::mpsc;

    /// Answers every question as `behave` says until the socket is dropped with the test.
    fn responder(behave: fn(&Message) -> Vec<Vec<u8>>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (ready, listening) = mpsc::channel();
        std::thread::spawn(move || {
            ready.send(()).unwrap();
            let mut buffer = [0u8; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                for answer in behave(&question) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        listening.recv().unwrap();
        address
    }

    fn reply(question: &Message, code: ResponseCode) -> Vec<u8> {
        let mut reply = Message::response(question.metadata.id, OpCode::Query);
        reply.metadata.response_code = code;
        reply.add_queries(question.queries.clone());
        reply.to_vec().unwrap()
    }

    fn names() -> Vec<String> {
        DEFAULT_NAMES.iter().map(|&name| name.to_owned()).collect()
    }

    fn has_name(question: &Message, name: &str) -> bool {
        question.queries.first().is_some_and(|query| query.name().to_string().starts_with(name))
    }

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn an_answer_and_a_name_that_does_not_exist_both_count_as_answered() {
        let good = responder(|question| vec![reply(question, ResponseCode::NoError)]);
        assert_eq!(ask(good, &names(), LONG).rcode, "noerror");
        let unknown = responder(|question| vec![reply(question, ResponseCode::NXDomain)]);
        let lookup = ask(unknown, &names(), LONG);
        assert!(lookup.answered() && lookup.took < LONG);
    }

    #[test]
    fn a_server_fails_only_when_every_name_fails() {
        let one = responder(|question| {
            let code = if has_name(question, "www") { ResponseCode::NoError } else { ResponseCode::ServFail };
            vec![reply(question, code)]
        });
        assert_eq!(ask(one, &names(), LONG).rcode, "noerror");
        let none = responder(|question| vec![reply(question, ResponseCode::ServFail)]);
        assert_eq!(ask(none, &names(), LONG).rcode, "servfail");
        let refuses = responder(|question| {
            let mut short = Message::error_msg(question.metadata.id, OpCode::Query, ResponseCode::Refused);
            short.queries.clear();
            vec![short.to_vec().unwrap()]
        });
        assert_eq!(ask(refuses, &names(), LONG).rcode, "refused");
    }

    #[test]
    fn silence_is_a_timeout_that_took_the_whole_limit() {
        let lookup = ask(responder(|_| Vec::new()), &names(), SHORT);
        assert_eq!(lookup.rcode, "timeout");
        assert!(lookup.took >= SHORT);
    }

    #[test]
    fn rubbish_and_answers_to_other_questions_are_passed_over() {
        let server = responder(|question| {
            let mut other = Message::response(question.metadata.id.wrapping_add(1), OpCode::Query);
            other.add_queries(question.queries.clone());
            vec![vec![0xff; 600], Vec::new(), other.to_vec().unwrap()]
        });
        assert_eq!(ask(server, &names(), SHORT).rcode, "timeout");
    }

    #[test]
    fn a_port_where_nobody_listens_counts_as_no_answer_without_the_wait() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        let lookup = ask(address, &names(), Duration::from_secs(30));
        assert_eq!(lookup.rcode, "timeout");
        assert!(lookup.took < Duration::from_secs(30) && lookup.detail.is_some());
    }

    #[test]
    fn more_servers_than_threads_are_all_asked_and_keep_their_order() {
        let good = responder(|question| vec![reply(question, ResponseCode::NoError)]);
        let silent = responder(|_| Vec::new());
        let servers = [good, silent, good, good, good, silent];
        let found: Vec<bool> = ask_all(&servers, &names(), SHORT).iter().map(Lookup::answered).collect();
        assert_eq!(found, [true, false, true, true, true, false]);
    }

    #[test]
    fn names_that_are_no_names_are_not_asked_for() {
        let lookup = ask(responder(|_| Vec::new()), &["..".to_owned()], SHORT);
        assert_eq!(lookup.rcode, "timeout");
        assert!(lookup.detail.is_some());
    }
}
