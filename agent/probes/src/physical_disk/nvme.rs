//! The health log of NVMe drives: log page 02h of the NVM Express base specification.

use super::health::{Verdict, plausible_celsius};

/// Bytes of the log page.
pub const LOG_BYTES: usize = 512;

/// The fields that are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NvmeHealth {
    /// Bits of warnings that hold now: 0 spare low, 1 temperature, 2 unreliable, 3 read-only, 4 memory backup failed,
    /// 5 persistent memory region read-only.
    pub critical_warning: u8,
    /// Temperature in degrees Celsius.
    pub temperature: Option<f64>,
    /// Spare capacity left, percent.
    pub available_spare: u8,
    /// Spare capacity below which the drive warns, percent.
    pub available_spare_threshold: u8,
    /// Rated endurance that is used, percent; may pass 100.
    pub percentage_used: u8,
    /// Times that it was powered.
    pub power_cycles: f64,
    /// Hours that it was powered.
    pub power_on_hours: f64,
    /// Times that it lost power without notice.
    pub unsafe_shutdowns: f64,
    /// Errors of data that could not be corrected.
    pub media_errors: f64,
}

/// How many warning bits are defined.
pub const WARNING_BITS: u8 = 6;

impl NvmeHealth {
    /// The verdict that follows from the warning bits. Heat and the backup of volatile memory are no failures.
    pub const fn verdict(&self) -> Verdict {
        const SPARE: u8 = 1;
        const UNRELIABLE: u8 = 1 << 2;
        const READ_ONLY: u8 = 1 << 3;
        if self.critical_warning & READ_ONLY != 0 {
            Verdict::Failed
        } else if self.critical_warning & (SPARE | UNRELIABLE) != 0 {
            Verdict::PredictedFailure
        } else {
            Verdict::Ok
        }
    }

    /// Share of rated endurance left; zero when the rating is passed.
    pub fn endurance_remaining(&self) -> f64 {
        (1.0 - f64::from(self.percentage_used) / 100.0).max(0.0)
    }
}

/// Reads the log page. A page of zeros only is what some bridges answer for drives that they cannot ask.
pub fn health_log(page: &[u8; LOG_BYTES]) -> Option<NvmeHealth> {
    if page.iter().all(|&byte| byte == 0) {
        return None;
    }
    let kelvin = f64::from(u16::from_le_bytes([page[1], page[2]]));
    Some(NvmeHealth {
        critical_warning: page[0],
        temperature: plausible_celsius(kelvin - 273.0).filter(|_| kelvin > 0.0),
        available_spare: page[3],
        available_spare_threshold: page[4],
        percentage_used: page[5],
        power_cycles: counter(page, 112),
        power_on_hours: counter(page, 128),
        unsafe_shutdowns: counter(page, 144),
        media_errors: counter(page, 160),
    })
}

/// A counter of 128 bits, least significant byte first, to the precision of a floating point number.
fn counter(page: &[u8; LOG_BYTES], at: usize) -> f64 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&page[at..at + 16]);
    u128::from_le_bytes(bytes) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(fields: &[(usize, &[u8])]) -> [u8; LOG_BYTES] {
        let mut page = [0; LOG_BYTES];
        for (at, bytes) in fields {
            page[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        page
    }

    #[test]
    fn fields_of_the_log_page_are_read_at_their_places() {
        let log = page(&[
            (0, &[4]),
            (1, &311_u16.to_le_bytes()),
            (3, &[90, 10, 103]),
            (128, &[0x10, 0x27]),
            (160, &[7]),
        ]);
        let health = health_log(&log).unwrap();
        assert_eq!(
            (health.temperature, health.available_spare, health.percentage_used),
            (Some(38.0), 90, 103)
        );
        assert_eq!((health.power_on_hours, health.media_errors), (10_000.0, 7.0));
        assert_eq!((health.verdict(), health.endurance_remaining()), (Verdict::PredictedFailure, 0.0));
    }

    #[test]
    fn the_verdict_follows_from_the_bits_that_mean_failure() {
        let verdict = |bits: u8| health_log(&page(&[(0, &[bits]), (3, &[100])])).unwrap().verdict();
        assert_eq!(verdict(0), Verdict::Ok);
        assert_eq!(verdict(1 << 1 | 1 << 4 | 1 << 5), Verdict::Ok);
        assert_eq!(verdict(1), Verdict::PredictedFailure);
        assert_eq!(verdict(1 << 3 | 1), Verdict::Failed);
    }

    #[test]
    fn empty_and_absurd_pages_give_no_nonsense() {
        assert_eq!(health_log(&[0; LOG_BYTES]), None);
        let absurd = health_log(&[0xff; LOG_BYTES]).unwrap();
        assert_eq!(absurd.temperature, None);
        assert!(absurd.media_errors.is_finite());
    }
}
