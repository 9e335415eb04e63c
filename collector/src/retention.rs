//! Raw records are kept for a time and then deleted. What is deleted does not come back, and the clock that says what is
//! old may be wrong, so a pass takes at most a day's worth from the old end: a clock that jumped ahead costs little until
//! somebody sets it right.

use crate::clock::Clock;
use firstline_collector_store::{Store, StoreError};
use firstline_model::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Raw records are kept this long unless `serve --keep-records` says otherwise.
#[cfg(test)]
const USUAL: Duration = Duration::from_secs(7 * 24 * 3600);
/// Why a breach made no ticket is told this long.
const KEEP_SUPPRESSIONS: Duration = Duration::from_secs(90 * 24 * 3600);
/// How often old records are deleted.
const PRUNE: Duration = Duration::from_secs(600);
/// Records deleted in one transaction, so that batches of agents get in between.
const AT_ONCE: u32 = 5_000;

/// Deletes what is too old, until `stop`.
pub(crate) async fn follow(
    store: Arc<dyn Store>,
    clock: Clock,
    keep: Duration,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PRUNE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        match pass(&*store, clock(), keep).await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "old records are deleted"),
            Err(error) => tracing::warn!(error = %error, "old records cannot be deleted"),
        }
        if let Err(error) = store.prune_suppressions(clock().minus(KEEP_SUPPRESSIONS), AT_ONCE).await {
            tracing::warn!(error = %error, "old suppressions cannot be deleted");
        }
    }
}

/// Deletes what is too old at `now`, though no more than the oldest day.
async fn pass(store: &dyn Store, now: Timestamp, keep: Duration) -> Result<u64, StoreError> {
    let Some(oldest) = store.oldest_record().await? else { return Ok(0) };
    // Fixed for the whole pass: the oldest record moves while records are deleted.
    let before = now.minus(keep).min(oldest.plus(DAY));
    let mut deleted = 0;
    loop {
        let more = store.prune_records(before, AT_ONCE).await?;
        deleted += more;
        if more < u64::from(AT_ONCE) {
            return Ok(deleted);
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_collector_store::engines::memory::Memory;
    use firstline_collector_store::plan::{CommitPlan, DevicePlan, NewMark, NewRecord};
    use firstline_collector_store::record::{AuditEntry, Device, DeviceStatus, EnrollmentToken};
    use firstline_collector_store::store::{Desk, Enrollment, Ingest};
    use firstline_model::{DeviceId, Epoch, SequenceNumber, Value};

    const START: Timestamp = Timestamp::from_millis(1_767_603_300_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const TEN_YEARS: Duration = Duration::from_secs(3650 * 24 * 3600);

    /// A store with one record an hour, the first received at [`START`].
    async fn with_records(hours: u32) -> Memory {
        let store = Memory::default();
        let audit = AuditEntry {
            at: START,
            actor: "anna".to_owned(),
            action: "test".to_owned(),
            subject: "x".to_owned(),
            detail: String::new(),
        };
        let token = EnrollmentToken {
            hash: [1; 32],
            uses_left: 1,
            expires_at: START.plus(HOUR),
            site: None,
            created_at: START,
        };
        store.create_token(&token, &audit).await.unwrap();
        let device = Device {
            id: DeviceId::new("pc").unwrap(),
            hostname: "pc".to_owned(),
            site: None,
            status: DeviceStatus::Active,
            tags: Vec::new(),
            facts: Value::map::<&'static str>([]),
            agent_version: "0.1.0".to_owned(),
            enrolled_at: START,
            last_seen_at: None,
            presence: None,
            certificate_fingerprint: String::new(),
            certificate_not_after: START,
        };
        store.enroll(&[1; 32], &device, START).await.unwrap();
        let epoch = Epoch([1; 16]);
        let record = |hour: u32| NewRecord {
            epoch,
            seq: SequenceNumber(u64::from(hour) + 1),
            received_at: START.plus(HOUR * hour),
            payload: vec![1],
            clock_suspect: false,
        };
        let plan = CommitPlan::of(vec![DevicePlan {
            records: (0..hours).map(record).collect(),
            marks: vec![NewMark { epoch, before: None, through: SequenceNumber(u64::from(hours)) }],
            ..DevicePlan::unchanged(device.id)
        }]);
        store.commit(plan).await.unwrap();
        store
    }

    #[tokio::test]
    async fn r20_a_pass_deletes_at_most_a_day_of_records_however_the_clock_jumps() {
        let store = with_records(7 * 24).await;
        let last = START.plus(HOUR * (7 * 24));
        assert_eq!(pass(&store, last.minus(TEN_YEARS), USUAL).await.unwrap(), 0, "a clock that jumped back");
        assert_eq!(pass(&store, last.plus(TEN_YEARS), USUAL).await.unwrap(), 24, "a clock that jumped ahead");
        assert_eq!(store.oldest_record().await.unwrap(), Some(START.plus(DAY)));
        assert_eq!(
            pass(&store, last, USUAL).await.unwrap(),
            0,
            "the clock is right again and nothing is too old"
        );
        assert_eq!(pass(&store, Timestamp::from_millis(i64::MAX), USUAL).await.unwrap(), 24);
        assert_eq!(pass(&store, Timestamp::from_millis(i64::MIN), USUAL).await.unwrap(), 0);
        assert_eq!(store.totals().await.unwrap().records, 5 * 24);
    }

    #[tokio::test]
    async fn r20_retention_keeps_seven_days_and_catches_up_a_day_a_pass() {
        let store = with_records(10 * 24).await;
        let now = START.plus(HOUR * (10 * 24));
        let mut deleted = Vec::new();
        for _ in 0..4 {
            deleted.push(pass(&store, now, USUAL).await.unwrap());
        }
        assert_eq!(deleted, [24, 24, 24, 0]);
        assert_eq!(store.oldest_record().await.unwrap(), Some(START.plus(DAY * 3)));
    }
}
