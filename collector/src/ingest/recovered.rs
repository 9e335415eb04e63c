//! A collector that was restored from a backup, and devices that remember more than it does: their certificates may have
//! been renewed since, and of what they had delivered they no longer have everything.

use super::listener::Validity;
use super::worker::Ingest;
use firstline_collector_store::identity::NextCertificate;
use firstline_collector_store::record::{AuditEntry, Device, Recovered};
use firstline_collector_store::{Store, StoreError};
use firstline_delivery::{Hello, Skipped};
use firstline_model::{DeviceId, Epoch, SequenceNumber, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Certificates say when they were issued to the second, and the clocks of two machines differ.
const SLACK: Duration = Duration::from_secs(120);
/// Noted as the issuer of a certificate of which only the signature is known: the device is soon told to renew.
const UNKNOWN_ISSUER: &str = "not known since a restore";

/// Takes a certificate that nothing is known of for the device's present one, if it was issued after the backup was taken
/// and before it was restored. Its signature was verified when the connection was made. Of several only ever later ones
/// are taken, so a copy of the disk with an older one does not get in after the device itself.
pub(super) async fn adopt(
    store: &dyn Store,
    known: &Device,
    fingerprint: &str,
    validity: Option<Validity>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (Some(validity), Some(recovered)) = (validity, store.recovered().await?) else { return Ok(false) };
    if !is_of_the_time_between(&recovered, known, validity) {
        return Ok(false);
    }
    let next = NextCertificate {
        fingerprint: fingerprint.to_owned(),
        not_after: validity.not_after,
        issuer: UNKNOWN_ISSUER.to_owned(),
    };
    let line = AuditEntry {
        at: now,
        actor: "firstline".to_owned(),
        action: "device.certificate_recognized".to_owned(),
        subject: known.id.to_string(),
        detail: format!("issued at {}, after the backup that was restored", validity.issued_at),
    };
    store.offer_certificate(&known.id, &next, &line).await?;
    tracing::info!(device = %known.id, "a certificate that was renewed after the backup is recognized");
    store.adopt_certificate(&known.id, fingerprint).await
}

fn is_of_the_time_between(recovered: &Recovered, known: &Device, validity: Validity) -> bool {
    let (taken, restored) = (recovered.taken_at.minus(SLACK), recovered.restored_at.plus(SLACK));
    known.enrolled_at <= recovered.taken_at
        && (taken..=restored).contains(&validity.issued_at)
        && validity.not_after > known.certificate_not_after
}

/// What a device can no longer send and the collector does not have, by its marks.
pub(super) fn lost(marks: &[(Epoch, SequenceNumber)], hello: &Hello) -> Vec<Skipped> {
    let marks: BTreeMap<Epoch, u64> = marks.iter().map(|(epoch, through)| (*epoch, through.0)).collect();
    let lost = hello.epochs.iter().filter_map(|offer| {
        let first = marks.get(&offer.epoch).copied().unwrap_or(0) + 1;
        let through = offer.first_unacked.0.checked_sub(1).filter(|&through| through >= first)?;
        Some(Skipped { epoch: offer.epoch, first: SequenceNumber(first), through: SequenceNumber(through) })
    });
    lost.collect()
}

/// Writes down what was lost with the collector that the backup was of, where a person and a reader of the store find gaps.
/// What a device gave up by itself is named by its own gap records.
pub(super) async fn note(ingest: &Ingest, device: &DeviceId, lost: &[Skipped]) {
    if lost.is_empty() {
        return;
    }
    let of_before = async {
        let Some(recovered) = ingest.store.recovered().await? else { return Ok(false) };
        let known = ingest.store.device(device).await?;
        Ok::<_, StoreError>(known.is_some_and(|known| known.enrolled_at <= recovered.taken_at))
    };
    let mut noted = of_before.await;
    if let Ok(true) = noted {
        for Skipped { epoch, first, through } in lost {
            tracing::warn!(
                %device, %epoch, %first, %through,
                "records were acknowledged after the backup that was restored, and the agent no longer has them: they are lost"
            );
            let line = AuditEntry {
                at: ingest.now(),
                actor: format!("device:{device}"),
                action: "record.gap".to_owned(),
                subject: format!("{epoch}/{first}-{through}"),
                detail: "acknowledged after the backup that was restored, and no longer kept by the agent"
                    .to_owned(),
            };
            noted = noted.and(ingest.store.append_audit(&line).await.map(|()| true));
        }
    }
    if let Err(error) = noted {
        tracing::warn!(%device, %error, "it cannot be written down which records were lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_collector_store::engines::memory::Memory;
    use firstline_collector_store::record::{DeviceStatus, EnrollmentToken};
    use firstline_collector_store::store::{Devices, Enrollment, Recovery};
    use firstline_delivery::EpochOffer;
    use firstline_model::Value;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: u32) -> Timestamp {
        Timestamp::from_millis(1_767_603_300_000).plus(HOUR * hours)
    }

    fn line() -> AuditEntry {
        AuditEntry {
            at: at(0),
            actor: "anna".to_owned(),
            action: "test".to_owned(),
            subject: "x".to_owned(),
            detail: String::new(),
        }
    }

    /// A store with one device whose certificate ends at hour 100; the backup is of hour 10.
    async fn with_device() -> (Memory, DeviceId) {
        let store = Memory::default();
        let token =
            EnrollmentToken { hash: [1; 32], uses_left: 1, expires_at: at(1), site: None, created_at: at(0) };
        store.create_token(&token, &line()).await.unwrap();
        let device = Device {
            id: DeviceId::new("pc").unwrap(),
            hostname: "pc".to_owned(),
            site: None,
            status: DeviceStatus::Active,
            tags: Vec::new(),
            facts: Value::map::<&'static str>([]),
            agent_version: "0.1.0".to_owned(),
            enrolled_at: at(0),
            last_seen_at: None,
            presence: None,
            certificate_fingerprint: "old".to_owned(),
            certificate_not_after: at(100),
        };
        store.enroll(&[1; 32], &device, at(0)).await.unwrap();
        (store, device.id)
    }

    async fn shows(store: &Memory, id: &DeviceId, name: &str, issued: u32, ends: u32) -> bool {
        let known = store.device(id).await.unwrap().unwrap();
        let validity = Validity { issued_at: at(issued), not_after: at(ends) };
        adopt(store, &known, name, Some(validity), at(31)).await.unwrap()
    }

    #[tokio::test]
    async fn f26_certificates_renewed_after_the_backup_are_recognized_and_replaced_ones_are_not() {
        let (store, id) = with_device().await;
        assert!(!shows(&store, &id, "renewed", 20, 120).await, "nothing was ever restored");
        let recovered = Recovered { taken_at: at(10), restored_at: at(30) };
        store.settle(recovered, 1, &line()).await.unwrap();
        assert!(!shows(&store, &id, "replaced long ago", 5, 105).await, "issued before the backup");
        assert!(!shows(&store, &id, "later", 40, 140).await, "the restored collector would know it");
        assert!(!shows(&store, &id, "shorter", 20, 99).await, "it ends before the one that is known");
        assert!(shows(&store, &id, "renewed twice", 25, 125).await);
        assert!(!shows(&store, &id, "renewed once", 20, 120).await, "a copy of the disk of that time");
        let known = store.device(&id).await.unwrap().unwrap();
        assert_eq!(known.certificate_fingerprint, "renewed twice");
    }

    #[test]
    fn f26_what_the_agent_no_longer_has_is_counted_from_the_restored_mark() {
        let epoch = |name: u8| Epoch([name; 16]);
        let offer = |name: u8, first: u64, next: u64| EpochOffer {
            epoch: epoch(name),
            first_unacked: SequenceNumber(first),
            next: SequenceNumber(next),
        };
        let hello = Hello { epochs: vec![offer(1, 8, 20), offer(2, 1, 5), offer(3, 4, 9), offer(4, 3, 9)] };
        let marks = [(epoch(1), SequenceNumber(5)), (epoch(4), SequenceNumber(7))];
        let lost: Vec<(u8, u64, u64)> =
            lost(&marks, &hello).iter().map(|lost| (lost.epoch.0[0], lost.first.0, lost.through.0)).collect();
        assert_eq!(lost, [(1, 6, 7), (3, 1, 3)]);
    }
}
