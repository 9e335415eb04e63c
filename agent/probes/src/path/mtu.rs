//! The largest packet that gets through to a target: echo requests that must not be broken into fragments, in a binary
//! search. Only asked where small requests are answered, so that silence is about size.

use super::{Network, failed, open};
use crate::network::echo::Answer;
use crate::{ProbeError, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What Ethernet carries; no more is asked for.
const LARGEST: usize = 1500;
/// What every host takes (RFC 1122). A target that does not even answer this limits the size of echo requests.
const SMALLEST: usize = 576;
/// The size that each network must carry for IPv6, and below which a rule complains.
const SUSPECT: usize = 1280;
const ECHO_LIMIT: Duration = Duration::from_millis(500);
/// Requests of one size before it counts as too large.
const TRIES: u32 = 2;
const SEARCH_LIMIT: Duration = Duration::from_secs(12);
const STEADY: Duration = Duration::from_secs(3600);
/// A complaint needs a second look, and so does its end.
const SUSPICIOUS: Duration = Duration::from_secs(300);

/// When the size is to be looked at again.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    at: Timestamp,
    of: (IpAddr, Network),
    pause: Duration,
}

impl Watch {
    /// Measures and reports if it is time.
    pub(super) fn look(
        &mut self,
        name: &str,
        target: IpAddr,
        network: Network,
        now: Timestamp,
        sink: &mut Sink,
    ) {
        let of = (target, network);
        if !self.is_due(&of, now) {
            return;
        }
        let found = measure(target);
        self.note(of, now, found.as_ref().ok().copied());
        match found {
            Ok(size) => {
                let attributes = Attributes::none().with(attribute::TARGET, name);
                let network = Component::only(ComponentKind::Network);
                sink.sample(&network, semconv::NETWORK_PATH_MTU, attributes, size as f64);
            }
            Err(error) => {
                if let Ok(component) = Component::new(ComponentKind::Endpoint, name) {
                    sink.failed(&component, semconv::NETWORK_PATH_MTU, &error);
                }
            }
        }
    }

    fn is_due(&self, of: &(IpAddr, Network), now: Timestamp) -> bool {
        self.last
            .as_ref()
            .is_none_or(|last| last.of != *of || now < last.at || now.since(last.at) >= last.pause)
    }

    fn note(&mut self, of: (IpAddr, Network), at: Timestamp, size: Option<usize>) {
        let pause = if size.is_some_and(|size| size < SUSPECT) { SUSPICIOUS } else { STEADY };
        self.last = Some(Last { at, of, pause });
    }
}

fn measure(target: IpAddr) -> Result<usize, ProbeError> {
    let mut echo = open(target, 0)?;
    echo.forbid_fragments().map_err(|error| failed(&error))?;
    let deadline = Instant::now() + SEARCH_LIMIT;
    search(|size| {
        for _ in 0..TRIES {
            if Instant::now() >= deadline {
                let why = "the search for the largest packet took too long";
                return Err(ProbeError::TimedOut(why.to_owned()));
            }
            match echo.probe(size, ECHO_LIMIT).map_err(|error| failed(&error))? {
                Answer::After(_) => return Ok(true),
                Answer::TooLarge => return Ok(false),
                Answer::Silent => {}
            }
        }
        Ok(false)
    })
}

/// The largest size that fits.
fn search(mut fits: impl FnMut(usize) -> Result<bool, ProbeError>) -> Result<usize, ProbeError> {
    if fits(LARGEST)? {
        return Ok(LARGEST);
    }
    if !fits(SMALLEST)? {
        let why = "the target answers small echo requests only, which proves nothing about the path";
        return Err(ProbeError::Unsupported(why.to_owned()));
    }
    let (mut fitting, mut failing) = (SMALLEST, LARGEST);
    while failing - fitting > 1 {
        let middle = usize::midpoint(fitting, failing);
        if fits(middle)? {
            fitting = middle;
        } else {
            failing = middle;
        }
    }
    Ok(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::UnavailableReason;

    #[test]
    fn every_size_is_found_in_a_dozen_steps_and_the_usual_one_in_one() {
        for mtu in SMALLEST..=LARGEST {
            let mut steps = 0;
            let found = search(|size| {
                steps += 1;
                Ok(size <= mtu)
            });
            assert_eq!(found.unwrap(), mtu);
            assert!(steps <= if mtu == LARGEST { 1 } else { 12 }, "{mtu}: {steps}");
        }
    }

    #[test]
    fn a_target_that_takes_small_requests_only_gives_no_size() {
        assert_eq!(search(|size| Ok(size < SMALLEST)).unwrap_err().reason(), UnavailableReason::Unsupported);
    }

    #[test]
    fn a_steady_network_is_measured_once_an_hour_and_a_suspicious_one_every_five_minutes() {
        let of = (IpAddr::from([127, 0, 0, 1]), None);
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut watch = Watch::default();
        assert!(watch.is_due(&of, at(0)));
        watch.note(of.clone(), at(0), Some(1280));
        assert!(!watch.is_due(&of, at(3599)) && watch.is_due(&of, at(3600)));
        assert!(watch.is_due(&(IpAddr::from([127, 0, 0, 2]), None), at(1)), "another target");
        watch.note(of.clone(), at(3600), Some(1279));
        assert!(!watch.is_due(&of, at(3899)) && watch.is_due(&of, at(3900)));
        watch.note(of.clone(), at(3900), None);
        assert!(!watch.is_due(&of, at(4200)), "no size is no suspicion");
    }
}
