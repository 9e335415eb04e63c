//! What one device may bring: a bucket for each, of records and of bytes, that fills at the quota's pace.
//!
//! Nothing is refused for it. A device whose bucket is empty gets no further credit, and its stream is not read while it owes
//! bytes, so what it has more waits in its own spool. Buckets outlive streams: coming again fills none. Whose bucket it
//! is follows from the certificate. They live in memory, so a collector that restarts begins with full ones.

use crate::limits;
use firstline_model::DeviceId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Credit is given in portions of at least so many records, because a transaction for each record helps nobody.
pub(crate) const PORTION: u32 = 32;
/// Full buckets are forgotten when there are more than this.
const MOST_KEPT: usize = 1_024;

/// The buckets of all devices that brought something lately.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    buckets: Mutex<(usize, HashMap<DeviceId, Bucket>)>,
}

/// How a device stands with its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// So many further records it may be given credit for; none rather than less than a portion.
    pub records: u32,
    /// When there is a portion again.
    pub portion_in: Duration,
    /// How long nothing should be read from it.
    pub owes_for: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    records: f64,
    bytes: f64,
    at: Instant,
}

impl Quotas {
    /// How this device stands.
    pub(crate) fn standing(&self, device: &DeviceId, now: Instant) -> Standing {
        let mut buckets = self.lock();
        match buckets.1.get_mut(device) {
            Some(bucket) => {
                bucket.fill(now);
                bucket.standing()
            }
            None => Bucket::full(now).standing(),
        }
    }

    /// A device brought so much.
    pub(crate) fn charge(&self, device: &DeviceId, records: usize, bytes: usize, now: Instant) {
        let mut buckets = self.lock();
        let (most, known) = &mut *buckets;
        if known.len() >= (*most).max(MOST_KEPT) && !known.contains_key(device) {
            known.retain(|_, bucket| {
                bucket.fill(now);
                !bucket.is_full()
            });
            // Looking through all of them is worth it once they have doubled.
            *most = known.len() * 2;
        }
        let bucket = known.entry(device.clone()).or_insert_with(|| Bucket::full(now));
        bucket.fill(now);
        bucket.records -= records as f64;
        bucket.bytes -= bytes as f64;
    }

    fn lock(&self) -> MutexGuard<'_, (usize, HashMap<DeviceId, Bucket>)> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self { records: f64::from(limits::DEVICE_RECORDS), bytes: f64::from(limits::DEVICE_BYTES), at: now }
    }

    fn is_full(&self) -> bool {
        self.records >= f64::from(limits::DEVICE_RECORDS) && self.bytes >= f64::from(limits::DEVICE_BYTES)
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let filled =
            |level: f64, pace: u32, most: u32| (level + passed * f64::from(pace)).min(f64::from(most));
        self.records = filled(self.records, limits::DEVICE_RECORDS_PER_SECOND, limits::DEVICE_RECORDS);
        self.bytes = filled(self.bytes, limits::DEVICE_BYTES_PER_SECOND, limits::DEVICE_BYTES);
    }

    fn standing(&self) -> Standing {
        let until = |missing: f64, pace: u32| Duration::from_secs_f64(missing.max(0.0) / f64::from(pace));
        let owes_for = until(-self.bytes, limits::DEVICE_BYTES_PER_SECOND);
        let for_records =
            until(f64::from(PORTION) - self.records, limits::DEVICE_RECORDS_PER_SECOND).max(owes_for);
        let has_portion = for_records.is_zero();
        Standing {
            // Between a portion and the burst, so it fits.
            records: if has_portion { self.records as u32 } else { 0 },
            portion_in: for_records,
            owes_for,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).unwrap()
    }

    #[test]
    fn r18_over_any_time_a_device_gets_the_burst_and_its_pace_and_no_more() {
        let (quotas, flooder, begun) = (Quotas::default(), device("flooder"), Instant::now());
        let mut taken = 0_u64;
        for second in 0..=600_u64 {
            let now = begun + Duration::from_secs(second);
            let may = quotas.standing(&flooder, now).records;
            quotas.charge(&flooder, may as usize, 0, now);
            taken += u64::from(may);
            let quota =
                u64::from(limits::DEVICE_RECORDS) + second * u64::from(limits::DEVICE_RECORDS_PER_SECOND);
            assert!(taken <= quota, "{taken} in {second} s");
            assert!(taken + u64::from(PORTION) > quota, "{taken} in {second} s: it gets what is its own");
        }
        let other = quotas.standing(&device("other"), begun).records;
        assert_eq!(other, limits::DEVICE_RECORDS, "one device's bucket is nobody else's");
    }

    #[test]
    fn r18_large_records_are_owed_and_paid_off_before_more_is_read() {
        let (quotas, flooder, begun) = (Quotas::default(), device("flooder"), Instant::now());
        let owed = 1 << 20;
        quotas.charge(&flooder, 1, limits::DEVICE_BYTES as usize + owed, begun);
        let standing = quotas.standing(&flooder, begun);
        let seconds = owed as u64 / u64::from(limits::DEVICE_BYTES_PER_SECOND);
        assert_eq!(
            standing,
            Standing {
                records: 0,
                portion_in: Duration::from_secs(seconds),
                owes_for: Duration::from_secs(seconds)
            }
        );
        let paid = quotas.standing(&flooder, begun + Duration::from_secs(seconds));
        assert_eq!(paid.owes_for, Duration::ZERO);
        assert_eq!(paid.records, limits::DEVICE_RECORDS, "a pause fills the bucket up to the burst");
    }

    #[test]
    fn r18_the_memory_of_quiet_devices_is_given_back() {
        let (quotas, begun) = (Quotas::default(), Instant::now());
        for number in 0..MOST_KEPT {
            quotas.charge(&device(&format!("pc-{number}")), 1, 1, begun);
        }
        let later = begun + Duration::from_secs(1);
        quotas.charge(&device("flooder"), 1_000, 0, begun);
        quotas.charge(&device("another"), 1, 1, later);
        let kept: Vec<DeviceId> = quotas.lock().1.keys().cloned().collect();
        assert!(kept.len() <= 2 + MOST_KEPT, "{}", kept.len());
        for number in 0..MOST_KEPT {
            quotas.charge(&device(&format!("pd-{number}")), 1, 1, later);
        }
        quotas.charge(&device("last"), 1, 1, later + Duration::from_secs(60));
        assert!(quotas.lock().1.contains_key(&device("flooder")), "who owes is remembered");
        assert!(quotas.lock().1.len() <= MOST_KEPT + 3, "{}", quotas.lock().1.len());
    }
}
