//! Whether the way out of the local network answers: echo requests first, and the neighbour table where the gateway
//! drops those.

use crate::network::echo::Echo;
use crate::network::layers::Way;
use crate::network::neighbour::{self, Neighbour, Presence};
use std::net::IpAddr;
use std::time::{Duration, Instant};

const ECHO_LIMIT: Duration = Duration::from_millis(800);
/// The kernel asks a neighbour again 5 s after its entry was used and gives up 3 s later; the wait covers most of that.
const NEIGHBOUR_WAIT: Duration = Duration::from_secs(6);
const NEIGHBOUR_STEP: Duration = Duration::from_millis(500);

/// What was asked of a gateway and what came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GatewayCheck {
    /// `None` when neither echo nor neighbour table allows a verdict.
    pub(crate) reachable: Option<bool>,
    /// The fastest answer.
    pub(crate) rtt: Option<Duration>,
    /// Echo requests sent and answered; zero sent when the system allows none.
    pub(crate) sent: u32,
    pub(crate) answered: u32,
    /// The neighbour entry's state after the requests, where it could be read.
    pub(crate) neighbour: Option<&'static str>,
    /// How long ago the neighbour was confirmed, where that is told.
    pub(crate) confirmed: Option<Duration>,
    /// How far the way behind it is known.
    pub(crate) way: Way,
    /// Why there is no verdict, or why no echo request was sent.
    pub(crate) detail: Option<String>,
}

/// The result where the check itself broke down.
pub(crate) fn not_checked() -> GatewayCheck {
    let detail = Some("the check broke down".to_owned());
    GatewayCheck {
        reachable: None,
        rtt: None,
        sent: 0,
        answered: 0,
        neighbour: None,
        confirmed: None,
        way: Way::Undecided,
        detail,
    }
}

/// How much to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Stop at the first answer.
    Quick,
    /// Send all requests, for a share of loss.
    Full,
}

/// Checks one gateway. `neighbours` reads the neighbour table anew; `None` where there is none to read.
pub(crate) fn check(
    gateway: IpAddr,
    interface: &str,
    scope: u32,
    effort: Effort,
    neighbours: impl Fn() -> Option<Vec<Neighbour>>,
) -> GatewayCheck {
    let requests = match effort {
        Effort::Quick => 2,
        Effort::Full => 3,
    };
    let mut check = GatewayCheck { detail: None, ..not_checked() };
    let mut echo = match Echo::open(gateway, scope) {
        Ok(echo) => Some(echo),
        Err(error) => {
            check.detail = Some(format!("no echo request could be sent: {error}"));
            None
        }
    };
    if let Some(echo) = &mut echo {
        for _ in 0..requests {
            match echo.request(ECHO_LIMIT) {
                Ok(answer) => {
                    check.sent += u32::from(echo.is_icmp());
                    check.answered += u32::from(echo.is_icmp() && answer.is_some());
                    check.rtt = [check.rtt, answer].into_iter().flatten().min();
                    if check.rtt.is_some() && effort == Effort::Quick {
                        break;
                    }
                }
                Err(error) => {
                    check.detail = Some(format!("echo request: {error}"));
                    break;
                }
            }
        }
    }
    let deadline = Instant::now() + NEIGHBOUR_WAIT;
    loop {
        let table = neighbours();
        let entry = table.as_deref().and_then(|table| neighbour::find(table, gateway, interface));
        check.neighbour = entry.map(|entry| entry.state.as_str());
        check.confirmed = entry.and_then(|entry| entry.confirmed);
        if check.rtt.is_some() {
            check.reachable = Some(true);
            return check;
        }
        if table.is_none() {
            check.detail.get_or_insert_with(|| {
                "no answer to an echo request, and the neighbour table cannot be read".to_owned()
            });
            return check;
        }
        match neighbour::judge(entry) {
            Presence::There => {
                check.reachable = Some(true);
                return check;
            }
            Presence::NotThere => {
                check.reachable = Some(false);
                return check;
            }
            Presence::Undecided => {}
        }
        // The kernel is asking the neighbour right now. A late answer to an echo request ends the wait too.
        let late = echo.as_ref().map(|echo| echo.listen(NEIGHBOUR_STEP));
        match late {
            Some(Ok(true)) => check.reachable = Some(true),
            Some(Ok(false)) if Instant::now() < deadline => continue,
            Some(Ok(false) | Err(_)) | None => check.reachable = Some(false),
        }
        return check;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::neighbour::NeighbourState;

    fn silent() -> IpAddr {
        // TEST-NET-1: no host answers there, so only the neighbour table can speak for it.
        [192, 0, 2, 254].into()
    }

    fn table(state: NeighbourState) -> Option<Vec<Neighbour>> {
        Some(vec![Neighbour {
            address: silent(),
            interface: "eth0".to_owned(),
            hardware: None,
            state,
            confirmed: Some(Duration::from_secs(1)),
        }])
    }

    #[test]
    fn a_gateway_that_drops_echo_requests_but_resolves_is_reachable() {
        let check = check(silent(), "eth0", 0, Effort::Quick, || table(NeighbourState::Reachable));
        assert_eq!((check.reachable, check.neighbour), (Some(true), Some("reachable")));
        assert_eq!(check.rtt, None);
    }

    #[test]
    fn a_gateway_that_neither_answers_nor_resolves_is_not_reachable() {
        let check = check(silent(), "eth0", 0, Effort::Quick, || table(NeighbourState::Failed));
        assert_eq!(check.reachable, Some(false));
    }

    #[test]
    fn without_a_neighbour_table_silence_proves_nothing() {
        let check = check(silent(), "eth0", 0, Effort::Quick, || None);
        assert_eq!(check.reachable, None);
        assert!(check.detail.is_some());
    }

    #[test]
    fn an_answer_needs_no_neighbour_entry() {
        let check = check([127, 0, 0, 1].into(), "lo", 0, Effort::Full, || Some(Vec::new()));
        assert_eq!(check.reachable, Some(true));
        assert_eq!(check.sent, check.answered);
    }
}
