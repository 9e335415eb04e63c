//! How a stream ends: what the agent is told, and when it may come again.

use super::admission::Admission;
use super::registry::EndReason;
use firstline_delivery::Refusal;
use firstline_model::Presence;
use firstline_proto::v1;
use std::time::Duration;

/// How long an agent whose device is in quarantine is asked to wait: it is let in again soon after it was released. Its
/// own backoff adds up to five minutes of jitter.
const QUARANTINE_RETRY: Duration = Duration::from_secs(30);
/// How long an agent is asked to wait whose device was revoked: it cannot come back with this identity.
const REVOKED_RETRY: Duration = Duration::from_secs(3600);

/// How a stream ended.
pub(super) enum Ending {
    /// The agent said goodbye, or the connection went away.
    Gone(Presence),
    /// The agent is told why.
    Refused(v1::Refusal),
}

pub(super) fn protocol(text: &str) -> Ending {
    Ending::Refused(refusal(v1::RefusalReason::Protocol, text, Duration::ZERO))
}

pub(super) fn refused(refusal: &Refusal) -> Ending {
    protocol(&refusal.to_string())
}

/// The agent is to come again, at a time that [`Admission`] gives.
pub(super) fn busy(text: &str, admission: &Admission) -> Ending {
    Ending::Refused(later(text, admission.come_again_in()))
}

/// The agent is to come again after so long.
pub(super) fn later(text: &str, retry_after: Duration) -> v1::Refusal {
    refusal(v1::RefusalReason::Busy, text, retry_after)
}

pub(super) fn expired() -> Ending {
    let text = "this device's certificate has expired; it can be renewed";
    Ending::Refused(refusal(v1::RefusalReason::Expired, text, Duration::ZERO))
}

pub(super) fn quarantined() -> v1::Refusal {
    let text = "two machines use this device's identity; it is in quarantine until somebody releases it";
    refusal(v1::RefusalReason::Revoked, text, QUARANTINE_RETRY)
}

pub(super) fn end(reason: EndReason, admission: &Admission) -> Ending {
    match reason {
        EndReason::Revoked => {
            let text = "this device's identity was withdrawn";
            Ending::Refused(refusal(v1::RefusalReason::Revoked, text, REVOKED_RETRY))
        }
        EndReason::Quarantined => Ending::Refused(quarantined()),
        EndReason::Superseded => {
            let text = "a newer stream of this device took over";
            Ending::Refused(refusal(v1::RefusalReason::Superseded, text, Duration::ZERO))
        }
        EndReason::Stopping => busy("the collector stops", admission),
    }
}

fn refusal(reason: v1::RefusalReason, text: &str, retry_after: Duration) -> v1::Refusal {
    v1::Refusal {
        reason: reason.into(),
        text: text.to_owned(),
        // Upwards, so that nobody who was told a time comes before it.
        retry_after_s: u32::try_from(retry_after.as_millis().div_ceil(1000)).unwrap_or(u32::MAX),
    }
}
