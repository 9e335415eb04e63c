//! A live printer: one request at a time over a connected socket, so that only its own address is heard, each sent twice
//! at most, all of them within a bound.

use super::message::{self, Version};
use super::{Agent, Oid, Settings, Variable};
use crate::ProbeError;
use crate::ber::Broken;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Printers answer within milliseconds; those that sleep take a moment.
const WAIT: Duration = Duration::from_millis(600);
const TRIES: usize = 2;
/// After this long no further request is sent.
const ALL: Duration = Duration::from_secs(4);
/// Printers answer with less than 1,500 bytes; a longer datagram is cut off and is then no answer.
const MAX_DATAGRAM: usize = 8 << 10;
/// Datagrams that answer nothing that was asked, per request.
const MAX_STRAYS: usize = 16;

const NO_SUCH_NAME: i64 = 2;
const GENERAL_ERROR: i64 = 5;

/// Where datagrams go and come from.
pub(super) trait Link {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;
    /// Waits at most this long; cuts a datagram off that does not fit.
    fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize>;
}

impl Link for UdpSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        Self::send(self, datagram).map(drop)
    }

    fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        self.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        self.recv(buffer)
    }
}

/// A printer that is spoken to.
#[derive(Debug)]
pub(super) struct Printer<'a, L> {
    link: L,
    community: &'a str,
    version: Version,
    id: i32,
    requests: usize,
    until: Instant,
    buffer: Vec<u8>,
}

impl<'a> Printer<'a, UdpSocket> {
    /// Nothing is sent yet.
    pub(super) fn connected(
        address: IpAddr,
        settings: Settings<'a>,
        version: Version,
    ) -> Result<Self, ProbeError> {
        let any = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).map_err(|error| failed(&error))?;
        socket.connect(SocketAddr::new(address, settings.port)).map_err(|error| failed(&error))?;
        // A stranger who does not see the requests cannot guess their numbers.
        let first = RandomState::new().build_hasher().finish() as i32;
        Ok(Self::over(socket, settings.community, version, first))
    }
}

/// Finds out which version a printer speaks by a first question, and gives its answer.
pub(super) fn introduced<'a, T>(
    address: IpAddr,
    settings: Settings<'a>,
    ask: impl Fn(&mut dyn Agent) -> Result<T, ProbeError>,
) -> Result<(Printer<'a, UdpSocket>, T), ProbeError> {
    let mut outcome = Err(ProbeError::TimedOut("no version was tried".to_owned()));
    for version in [Version::V2c, Version::V1] {
        let mut printer = Printer::connected(address, settings, version)?;
        outcome = ask(&mut printer).map(|answer| (printer, answer));
        // Old printers drop what is not of version 1 without a word.
        if !matches!(outcome, Err(ProbeError::TimedOut(_))) {
            break;
        }
    }
    outcome
}

impl<'a, L: Link> Printer<'a, L> {
    pub(super) fn over(link: L, community: &'a str, version: Version, first_id: i32) -> Self {
        let buffer = vec![0; MAX_DATAGRAM];
        Self { link, community, version, id: first_id, requests: 0, until: Instant::now() + ALL, buffer }
    }

    pub(super) const fn version(&self) -> Version {
        self.version
    }

    pub(super) const fn requests(&self) -> usize {
        self.requests
    }

    fn request(&mut self, names: &[Oid]) -> Result<message::Response, ProbeError> {
        self.id = self.id.wrapping_add(1) & i32::MAX;
        self.requests += 1;
        let datagram = message::get_next(self.version, self.community, self.id, names);
        let mut strays = 0;
        let mut is_broken = false;
        for _ in 0..TRIES {
            self.link.send(&datagram).map_err(|error| failed(&error))?;
            let until = self.until.min(Instant::now() + WAIT);
            loop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let length = match self.link.receive(&mut self.buffer, left) {
                    Ok(length) => length,
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                    {
                        break;
                    }
                    Err(error) => return Err(failed(&error)),
                };
                let received = self.buffer.get(..length).unwrap_or_default();
                match message::response(received, self.version, self.community, self.id, names.len()) {
                    Ok(Some(response)) => return Ok(response),
                    Ok(None) => {}
                    Err(Broken) => is_broken = true,
                }
                strays += 1;
                if strays == MAX_STRAYS {
                    return Err(ProbeError::Malformed("the printer answers what was not asked".to_owned()));
                }
            }
        }
        Err(if is_broken {
            ProbeError::Malformed("the printer's SNMP answer is damaged".to_owned())
        } else {
            ProbeError::TimedOut("the printer's SNMP agent does not answer".to_owned())
        })
    }
}

impl<L: Link> Agent for Printer<'_, L> {
    fn after(&mut self, names: &[Oid]) -> Result<Vec<Option<Variable>>, ProbeError> {
        let mut answers = vec![None; names.len()];
        let mut asked: Vec<usize> = (0..names.len()).collect();
        while !asked.is_empty() {
            let wanted: Vec<Oid> = asked.iter().filter_map(|&at| names.get(at).cloned()).collect();
            let response = self.request(&wanted)?;
            match response.error_status {
                0 if response.variables.len() == asked.len() => {
                    for (at, variable) in asked.into_iter().zip(response.variables) {
                        if let Some(answer) = answers.get_mut(at) {
                            *answer = Some(variable);
                        }
                    }
                    return Ok(answers);
                }
                // One name without a next one spoils the whole answer in version 1: it is left out, and the rest is
                // asked again.
                NO_SUCH_NAME | GENERAL_ERROR => {
                    let blamed = usize::try_from(response.error_index).ok().and_then(|at| at.checked_sub(1));
                    let Some(blamed) = blamed.filter(|at| *at < asked.len()) else {
                        return Err(ProbeError::Malformed(
                            "the printer's SNMP agent blames nothing".to_owned(),
                        ));
                    };
                    asked.remove(blamed);
                }
                0 => {
                    let why = "the printer's SNMP agent answers a part of what was asked";
                    return Err(ProbeError::Malformed(why.to_owned()));
                }
                other => {
                    return Err(ProbeError::Malformed(format!(
                        "the printer's SNMP agent answers error {other}"
                    )));
                }
            }
        }
        Ok(answers)
    }
}

fn failed(error: &io::Error) -> ProbeError {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        ProbeError::NotPresent("nothing listens for SNMP at the printer".to_owned())
    } else {
        ProbeError::TimedOut(format!("no way to the printer's SNMP agent: {error}"))
    }
}

/// A printer that sends prepared datagrams, each behind its length in two bytes, whatever it is asked.
#[derive(Debug)]
pub(super) struct Scripted<'a> {
    rest: &'a [u8],
}

impl<'a> Scripted<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl Link for Scripted<'_> {
    fn send(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], _: Duration) -> io::Result<usize> {
        let [high, low, rest @ ..] = self.rest else { return Err(io::ErrorKind::WouldBlock.into()) };
        let (datagram, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(rest.len()));
        self.rest = rest;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Value, testing};
    use super::*;

    /// Answers each request with what `answer` makes of it.
    struct Answering<F: FnMut(&[u8]) -> Vec<Vec<u8>>> {
        answer: F,
        waiting: Vec<Vec<u8>>,
    }

    impl<F: FnMut(&[u8]) -> Vec<Vec<u8>>> Link for Answering<F> {
        fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
            self.waiting = (self.answer)(datagram);
            self.waiting.reverse();
            Ok(())
        }

        fn receive(&mut self, buffer: &mut [u8], _: Duration) -> io::Result<usize> {
            let datagram = self.waiting.pop().ok_or(io::ErrorKind::WouldBlock)?;
            let length = datagram.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram[..length]);
            Ok(length)
        }
    }

    fn asked(
        version: Version,
        answer: impl FnMut(&[u8]) -> Vec<Vec<u8>>,
    ) -> (Result<Vec<Option<Variable>>, ProbeError>, usize) {
        let link = Answering { answer, waiting: Vec::new() };
        let mut printer = Printer::over(link, "public", version, i32::MAX - 1);
        let answers = printer.after(&[vec![1, 3, 1], vec![1, 3, 2]]);
        (answers, printer.requests())
    }

    fn good(request: &[u8]) -> Vec<u8> {
        let following = |mut name: Oid| {
            name.push(1);
            (name, Value::Integer(5))
        };
        let variables: Vec<Variable> = testing::names_of(request).into_iter().map(following).collect();
        testing::respond(Version::V2c, "public", testing::id_of(request), (0, 0), &variables)
    }

    #[test]
    fn strays_before_the_answer_are_passed_over_and_a_flood_of_them_is_not() {
        let stray = |request: &[u8]| {
            testing::respond(Version::V2c, "public", testing::id_of(request) ^ 1, (0, 0), &[])
        };
        let (answers, _) = asked(Version::V2c, |request| vec![stray(request), vec![0xff], good(request)]);
        assert_eq!(answers.unwrap()[1], Some((vec![1, 3, 2, 1], Value::Integer(5))));
        let (answers, _) = asked(Version::V2c, |request| vec![stray(request); 1000]);
        assert!(matches!(answers, Err(ProbeError::Malformed(_))), "{answers:?}");
    }

    #[test]
    fn in_version_1_a_name_without_a_next_one_does_not_cost_the_others() {
        let (answers, requests) = asked(Version::V1, |request| {
            let names = testing::names_of(request);
            let (error, variables): (_, Vec<Variable>) = if names.len() == 2 {
                ((2, 1), names.into_iter().map(|name| (name, Value::Other)).collect())
            } else {
                assert_eq!(names, [vec![1, 3, 2]]);
                ((0, 0), vec![(vec![1, 3, 2, 7], Value::Integer(3))])
            };
            vec![testing::respond(Version::V1, "public", testing::id_of(request), error, &variables)]
        });
        assert_eq!(answers.unwrap(), [None, Some((vec![1, 3, 2, 7], Value::Integer(3)))]);
        assert_eq!(requests, 2);
    }

    #[test]
    fn an_agent_that_blames_nobody_or_answers_a_part_is_malformed() {
        for (error, count) in [((2, 0), 2), ((2, 9), 2), ((2, -1), 2), ((1, 0), 0), ((0, 0), 1)] {
            let (answers, requests) = asked(Version::V2c, |request| {
                let variables = vec![(vec![1, 3, 9], Value::Other); count];
                vec![testing::respond(Version::V2c, "public", testing::id_of(request), error, &variables)]
            });
            assert!(matches!(answers, Err(ProbeError::Malformed(_))), "{error:?}: {answers:?}");
            assert_eq!(requests, 1);
        }
    }

    #[test]
    fn silence_and_damage_are_told_apart() {
        let (answers, _) = asked(Version::V2c, |_| Vec::new());
        assert!(matches!(answers, Err(ProbeError::TimedOut(_))), "{answers:?}");
        let cut = |request: &[u8]| {
            let whole = good(request);
            vec![whole[..whole.len() - 2].to_vec()]
        };
        let (answers, _) = asked(Version::V2c, cut);
        assert!(matches!(answers, Err(ProbeError::Malformed(_))), "{answers:?}");
    }

    #[test]
    fn a_closed_port_is_no_snmp() {
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = Settings { port: nobody.port(), community: "public" };
        let mut printer = Printer::connected(nobody.ip(), settings, Version::V2c).unwrap();
        let answers = printer.after(&[vec![1, 3]]);
        if cfg!(target_os = "linux") {
            assert!(matches!(answers, Err(ProbeError::NotPresent(_))), "{answers:?}");
        } else {
            assert!(answers.is_err());
        }
    }
}
