//! What a drive's health consists of, whichever way it was read.

use super::nvme::NvmeHealth;

/// The verdict on a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The drive expects no failure. This rules nothing out.
    Ok,
    /// The drive expects to fail.
    PredictedFailure,
    /// The drive has failed: it no longer accepts writes.
    Failed,
}

impl Verdict {
    /// The verdict as the attribute `hw.state`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::PredictedFailure => "predicted_failure",
            Self::Failed => "failed",
        }
    }
}

/// An ATA SMART attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtaAttribute {
    /// Its number, 1 to 255.
    pub id: u8,
    /// smartctl's name of it.
    pub name: String,
    /// The normalised value; lower is worse.
    pub value: u64,
    /// The raw value, at most 48 bits.
    pub raw: u64,
    /// Whether the value is below the threshold now.
    pub failing_now: bool,
}

/// What a drive says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Health {
    /// The verdict; `None` when the drive gave none.
    pub verdict: Option<Verdict>,
    /// Whether it has spinning disks; `None` when it does not say.
    pub rotational: Option<bool>,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// SMART attributes of ATA drives.
    pub attributes: Vec<AtaAttribute>,
    /// Share of rated endurance left, 0 to 1.
    pub endurance_remaining: Option<f64>,
    /// Temperature in degrees Celsius.
    pub temperature: Option<f64>,
    /// Hours that it was powered.
    pub power_on_hours: Option<f64>,
    /// The health log of NVMe drives.
    pub nvme: Option<NvmeHealth>,
}

/// Attributes whose raw values are reported of drives with spinning disks. On others these numbers mean other things.
const COUNTED_SPINNING: &[u8] = &[5, 10, 187, 188, 196, 197, 198, 199];
/// Attributes whose raw values are reported of other drives: errors of the cable.
const COUNTED_OTHERS: &[u8] = &[199];

impl Health {
    /// Number and value of each attribute to report. Of 188 only the lowest of three packed counters is meant.
    pub fn counted(&self, rotational: bool) -> impl Iterator<Item = (u8, u64)> {
        let counted = if rotational { COUNTED_SPINNING } else { COUNTED_OTHERS };
        self.attributes.iter().filter(|attribute| counted.contains(&attribute.id)).map(|attribute| {
            (attribute.id, if attribute.id == 188 { attribute.raw & 0xffff } else { attribute.raw })
        })
    }
}

/// A temperature that a drive can have.
pub fn plausible_celsius(celsius: f64) -> Option<f64> {
    (-40.0..=150.0).contains(&celsius).then_some(celsius)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_mean_other_things_on_ssds_are_not_counted_there() {
        let attribute =
            |id, raw| AtaAttribute { id, name: String::new(), value: 100, raw, failing_now: false };
        let attributes =
            vec![attribute(5, 7), attribute(188, 0x4_0004_0004), attribute(199, 1), attribute(9, 5)];
        let health = Health { attributes, ..Health::default() };
        assert_eq!(health.counted(true).collect::<Vec<_>>(), [(5, 7), (188, 4), (199, 1)]);
        assert_eq!(health.counted(false).collect::<Vec<_>>(), [(199, 1)]);
    }
}
