//! What earlier looks at a gateway tell about this one, so that a dead gateway is not taken for a dead name server.
//!
//! The kernel believes in a neighbour for up to a minute after it was last heard. A gateway that answered echo requests and
//! is silent now is therefore believed only when its neighbour entry was confirmed since; until that is decided nobody
//! knows which layer fails, and what lies behind the gateway is not judged. Pure.

use crate::network::gateway::GatewayCheck;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The clocks of the kernel's table and of this process are read one after the other.
const TOLERANCE: Duration = Duration::from_secs(1);

/// What is remembered of the gateways, by the probe and the tests of a ticket alike.
#[derive(Debug)]
pub(super) struct Memory {
    gateways: BTreeMap<IpAddr, Gateway>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gateway {
    looked: Instant,
    /// It has answered echo requests, and nothing has shown since that it is there without answering them.
    answers_echo: bool,
    /// Since when it answers none, after it did.
    silent: Option<Instant>,
}

/// What is known of a gateway's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was heard just now.
    Open,
    /// It was asked and is not there.
    Closed,
    /// It may be there, for all that can be told at the moment.
    Undecided,
}

impl Memory {
    /// Nothing is remembered.
    pub(super) const fn new() -> Self {
        Self { gateways: BTreeMap::new() }
    }

    /// Corrects a check by what is remembered, and says how far the way is known.
    pub(super) fn weigh(&mut self, gateway: IpAddr, check: &mut GatewayCheck, now: Instant) {
        let before = self.gateways.get(&gateway).copied();
        let mut known = Gateway {
            looked: now,
            answers_echo: before.is_some_and(|known| known.answers_echo),
            silent: None,
        };
        check.way = if check.rtt.is_some() {
            known.answers_echo = check.answered > 0;
            Way::Open
        } else {
            match check.reachable {
                None => Way::Undecided,
                Some(false) => {
                    known.silent = before.and_then(|known| known.silent).or(Some(now));
                    Way::Closed
                }
                Some(true) if known.answers_echo => {
                    let since = before.and_then(|known| known.silent);
                    known.silent = since.or(Some(now));
                    believe(check, since.map(|since| now.duration_since(since)), &mut known)
                }
                Some(true) => {
                    let unseen = before.map(|known| now.duration_since(known.looked));
                    let is_fresh = unseen.is_some_and(|unseen| is_within(check.confirmed, unseen));
                    if is_fresh { Way::Open } else { Way::Undecided }
                }
            }
        };
        self.gateways.insert(gateway, known);
    }

    /// Forgets gateways that are none any more.
    pub(super) fn keep(&mut self, gateways: &[IpAddr]) {
        self.gateways.retain(|address, _| gateways.contains(address));
    }
}

/// A gateway that has been silent for `silent` after it answered, although the kernel still believes in it.
fn believe(check: &mut GatewayCheck, silent: Option<Duration>, known: &mut Gateway) -> Way {
    match silent {
        Some(silent) if is_within(check.confirmed, silent) => {
            // It is there and answers no echo requests any more.
            known.answers_echo = false;
            known.silent = None;
            Way::Open
        }
        Some(_) => {
            check.reachable = Some(false);
            Way::Closed
        }
        None => {
            check.reachable = None;
            check.detail =
                Some("it does not answer echo requests any more; the next look will tell more".to_owned());
            Way::Undecided
        }
    }
}

fn is_within(confirmed: Option<Duration>, time: Duration) -> bool {
    confirmed.is_some_and(|age| age + TOLERANCE < time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::gateway::not_checked;

    fn heard() -> GatewayCheck {
        let rtt = Some(Duration::from_millis(1));
        GatewayCheck { reachable: Some(true), rtt, sent: 1, answered: 1, detail: None, ..not_checked() }
    }

    /// No answer, and the kernel heard the neighbour so many seconds ago.
    fn believed(confirmed: u64) -> GatewayCheck {
        let confirmed = Some(Duration::from_secs(confirmed));
        GatewayCheck { reachable: Some(true), sent: 2, confirmed, detail: None, ..not_checked() }
    }

    fn story(checks: &[(u64, GatewayCheck)]) -> Vec<(Way, Option<bool>)> {
        let begun = Instant::now();
        let mut memory = Memory::new();
        let look = |(at, check): &(u64, GatewayCheck)| {
            let mut check = check.clone();
            memory.weigh([192, 0, 2, 1].into(), &mut check, begun + Duration::from_secs(*at));
            (check.way, check.reachable)
        };
        checks.iter().map(look).collect()
    }

    #[test]
    fn a_gateway_that_falls_silent_is_undecided_and_then_gone_while_the_kernel_still_believes_in_it() {
        let story = story(&[
            (0, heard()),
            (30, believed(10)),
            (60, believed(40)),
            (90, believed(70)),
            (120, heard()),
        ]);
        let gone = (Way::Closed, Some(false));
        assert_eq!(
            story,
            [(Way::Open, Some(true)), (Way::Undecided, None), gone, gone, (Way::Open, Some(true))]
        );
    }

    #[test]
    fn a_gateway_that_stops_answering_echo_requests_and_is_confirmed_is_there() {
        let there = (Way::Open, Some(true));
        let story = story(&[(0, heard()), (30, believed(10)), (60, believed(12)), (90, believed(20))]);
        assert_eq!(story, [there, (Way::Undecided, None), there, there]);
    }

    #[test]
    fn one_that_never_answered_is_there_and_what_lies_behind_it_is_judged_only_when_it_was_heard_since() {
        let story = story(&[(0, believed(10)), (30, believed(20)), (60, believed(50))]);
        let unsure = (Way::Undecided, Some(true));
        assert_eq!(story, [unsure, (Way::Open, Some(true)), unsure]);
    }

    #[test]
    fn what_the_check_knows_is_not_changed() {
        let gone = GatewayCheck { reachable: Some(false), detail: None, ..not_checked() };
        assert_eq!(
            story(&[(0, gone), (30, not_checked())]),
            [(Way::Closed, Some(false)), (Way::Undecided, None)]
        );
    }

    #[test]
    fn gateways_of_an_earlier_network_are_forgotten() {
        let mut memory = Memory::new();
        memory.weigh([192, 0, 2, 1].into(), &mut heard(), Instant::now());
        memory.keep(&[[192, 0, 2, 2].into()]);
        assert!(memory.gateways.is_empty());
    }
}
