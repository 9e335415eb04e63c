//! What a stream has to do with its device's identity: whom it is told to trust, when it is told to renew its
//! certificate, and whether the stream continues the chain of those before it.

use super::listener::Validity;
use super::recovered;
use super::worker::{Ingest, Work};
use crate::secret;
use firstline_collector_core::lineage::{self, Place, Shown, Verdict};
use firstline_collector_store::StoreError;
use firstline_collector_store::identity::DeviceIdentity;
use firstline_collector_store::record::{AuditEntry, Device, DeviceStatus};
use firstline_model::{
    Attributes, Body, Component, ComponentKind, DeviceId, Observation, Timestamp, semconv,
};
use firstline_proto::v1;
use std::time::Duration;

/// How long after it was told to renew a device is told again, or sent away to come back with what it got.
pub(super) const RENEW_AGAIN: Duration = Duration::from_secs(45);
/// A device that has less than this share of its certificate's life left does not renew, and a person is told.
const OVERDUE: f64 = 0.25;
/// Devices renew within this time after a new authority became active, so that not all come at once.
const LONGEST_SPREAD: Duration = Duration::from_secs(600);

/// Whom agents are to trust, and how long certificates last.
#[derive(Debug)]
pub(crate) struct Trust {
    /// DER, the one that issues first.
    pub authorities: Vec<Vec<u8>>,
    /// SHA-256 of the one that issues, in hexadecimal.
    pub issuing: String,
    /// How long a device certificate is valid.
    pub lifetime: Duration,
}

impl Trust {
    /// When a device is told to renew: at half of its certificate's life, a tenth of that life earlier or later so that
    /// devices that were enrolled together do not come together; soon, when its certificate is of another authority.
    pub(super) fn renew_at(
        &self,
        device: &DeviceId,
        not_after: Timestamp,
        identity: &DeviceIdentity,
        now: Timestamp,
    ) -> Timestamp {
        let share = share(device);
        if identity.issuer.as_deref() != Some(self.issuing.as_str()) {
            return now.plus((self.lifetime / 20).min(LONGEST_SPREAD).mul_f64(share));
        }
        not_after.minus(self.lifetime.mul_f64(0.4 + 0.2 * share))
    }

    /// How long a device is given to renew before it is told again; short lives are renewed quickly.
    pub(super) fn patience(&self) -> Duration {
        RENEW_AGAIN.min(self.lifetime / 20)
    }

    /// Whether so little is left that the device should have renewed long ago.
    pub(super) fn is_overdue(&self, left: Duration) -> bool {
        left < self.lifetime.mul_f64(OVERDUE)
    }

    /// As it is sent.
    pub(super) fn message(&self, renew: bool) -> v1::Trust {
        v1::Trust { authorities: self.authorities.clone(), renew }
    }
}

/// A number in 0..1 that is always the same for a device and different for different ones.
fn share(device: &DeviceId) -> f64 {
    let [a, b, c, d, ..] = secret::digest(device.as_str().as_bytes());
    f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

/// Whether this certificate speaks for the device now. The first use of a renewed one ends the one before it.
pub(super) async fn is_current(
    ingest: &Ingest,
    known: &mut Device,
    fingerprint: &str,
    validity: Option<Validity>,
) -> Result<bool, StoreError> {
    if known.certificate_fingerprint == fingerprint {
        return Ok(true);
    }
    let is_expected = ingest.store.adopt_certificate(&known.id, fingerprint).await?;
    if !is_expected && !recovered::adopt(&*ingest.store, known, fingerprint, validity, ingest.now()).await? {
        return Ok(false);
    }
    tracing::info!(device = %known.id, "the device shows its renewed certificate");
    let left = known.certificate_not_after.since(ingest.now());
    let was_overdue = ingest.trust().is_some_and(|trust| trust.is_overdue(left));
    if let Some(now_known) = ingest.store.device(&known.id).await? {
        *known = now_known;
    }
    if was_overdue {
        // A ticket may be open; what counts now is a whole life.
        say_left(ingest, &known.id, WHOLE_LIFE).await;
    }
    Ok(true)
}

/// What a hello means for the chain of the device's streams.
pub(super) enum Traced {
    /// It goes on, at this place; `None` for an agent that knows of no chain.
    Continues(Option<Place>),
    /// Refuse it, it may be an accident of the network.
    Late,
    /// Two machines use this identity; the device is in quarantine now.
    Forked,
}

/// Judges a hello and makes its place durable before it is told.
pub(super) async fn trace(
    ingest: &Ingest,
    device: &DeviceId,
    shown: Option<&v1::HelloLineage>,
) -> Result<Traced, StoreError> {
    let kept = ingest.store.identity(device).await?.lineage;
    let shown = shown.and_then(read);
    let verdict = match (&kept, shown) {
        (None, None) => return Ok(Traced::Continues(None)),
        (Some(kept), None) => lineage::late(kept),
        (_, Some(shown)) => {
            let mut token = [0; 16];
            if secret::fill(&mut token).is_err() {
                return Err(StoreError::Unavailable { detail: "there are no random numbers".to_owned() });
            }
            lineage::judge(kept.as_ref(), &shown, token)
        }
    };
    match verdict {
        Verdict::Continues(next) => {
            let is_ours = ingest.store.move_lineage(device, kept.as_ref(), Some(&next)).await?;
            Ok(if is_ours { Traced::Continues(Some(next.place)) } else { Traced::Late })
        }
        Verdict::Late(next) => {
            tracing::info!(device = %device, late = next.late, "a hello does not follow on the ones before it");
            ingest.store.move_lineage(device, kept.as_ref(), Some(&next)).await?;
            Ok(Traced::Late)
        }
        Verdict::Forked => {
            quarantine(ingest, device).await?;
            Ok(Traced::Forked)
        }
    }
}

/// The agent has its place on its disk: whoever shows an older one from now on was set back.
pub(super) async fn settle(ingest: &Ingest, device: &DeviceId, durable: u64) -> Result<(), StoreError> {
    let kept = ingest.store.identity(device).await?.lineage;
    if let Some(next) = kept.and_then(|kept| kept.settled(durable)) {
        // When another stream moved the chain meanwhile, this one has nothing to say any more.
        ingest.store.move_lineage(device, kept.as_ref(), Some(&next)).await?;
    }
    Ok(())
}

/// A certificate came that was replaced: whoever shows it again and again is another machine with the same disk.
pub(super) async fn replaced_certificate(ingest: &Ingest, device: &DeviceId) -> Result<(), StoreError> {
    match trace(ingest, device, None).await? {
        Traced::Continues(_) | Traced::Late | Traced::Forked => Ok(()),
    }
}

async fn quarantine(ingest: &Ingest, device: &DeviceId) -> Result<(), StoreError> {
    let line = AuditEntry {
        at: ingest.now(),
        actor: "firstline".to_owned(),
        action: "device.quarantine".to_owned(),
        subject: device.to_string(),
        detail: "two machines use this device's identity: a disk was cloned or a snapshot restored"
            .to_owned(),
    };
    tracing::warn!(device = %device, "two machines use one identity; the device is in quarantine");
    ingest.store.set_device_status(device, DeviceStatus::Quarantined, &line).await?;
    let _ = ingest.work.send(Work::Forget { device: device.clone() }).await;
    say_conflict(ingest, device, true).await;
    Ok(())
}

/// What is said of a certificate that was just renewed: enough to end a ticket, however short lives are made.
const WHOLE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Tells the rules how long a device's certificate is still good.
pub(super) async fn say_left(ingest: &Ingest, device: &DeviceId, left: Duration) {
    observe(ingest, device, semconv::TLS_CERTIFICATE_TIME_TO_EXPIRY, left.as_secs_f64()).await;
}

/// Tells the rules whether two machines use the device's identity.
pub(crate) async fn say_conflict(ingest: &Ingest, device: &DeviceId, is_so: bool) {
    observe(ingest, device, semconv::AGENT_IDENTITY_CONFLICT, f64::from(u8::from(is_so))).await;
}

async fn observe(ingest: &Ingest, device: &DeviceId, metric: &'static str, value: f64) {
    let observation = Observation {
        component: Component::only(ComponentKind::Agent),
        observed_at: ingest.now(),
        body: Body::Sample { metric: metric.into(), attributes: Attributes::none(), value },
    };
    // Without a worker the collector is stopping.
    let _ = ingest.work.send(Work::Observe { device: device.clone(), observation }).await;
}

fn read(message: &v1::HelloLineage) -> Option<Shown> {
    let token = match message.token.as_slice() {
        [] => [0; 16],
        token => token.try_into().ok()?,
    };
    Some(Shown {
        incarnation: message.incarnation.as_slice().try_into().ok()?,
        attempt: message.attempt,
        place: Place { generation: message.generation, token },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5_devices_renew_around_half_of_their_certificates_life_each_at_its_own_time() {
        let day = Duration::from_secs(24 * 3600);
        let trust = Trust { authorities: Vec::new(), issuing: "new".to_owned(), lifetime: day * 30 };
        let (now, not_after) = (Timestamp::from_millis(0), Timestamp::from_millis(0).plus(day * 30));
        let identity =
            |issuer: &str| DeviceIdentity { issuer: Some(issuer.to_owned()), ..Default::default() };
        let mut hours = std::collections::BTreeSet::new();
        for number in 0..1_000 {
            let device = DeviceId::new(format!("pc-{number}")).unwrap();
            let at = trust.renew_at(&device, not_after, &identity("new"), now).since(now);
            assert!(day * 12 <= at && at <= day * 18, "{at:?}");
            hours.insert(at.as_secs() / 3600);
            let soon = trust.renew_at(&device, not_after, &identity("old"), now).since(now);
            assert!(soon <= LONGEST_SPREAD, "{soon:?}");
        }
        assert!(hours.len() > 100, "they come together: {} different hours", hours.len());
    }
}
