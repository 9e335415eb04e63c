//! What an ATA drive says of itself in pages of 512 bytes: IDENTIFY DEVICE, SMART READ DATA and READ THRESHOLDS, and the page
//! of the device statistics that tells the wear of flash (ATA/ATAPI Command Set 3; the layout of the attributes is that of
//! SFF-8035i, which drives still follow). Pure: the pages come from an ioctl or from a captured machine.
//!
//! Attributes are named as smartctl names them, and only where the name does not depend on the maker.

use super::health::{AtaAttribute, Health, Verdict, plausible_celsius};
use super::names;
use crate::ProbeError;

/// Bytes of each page.
pub const PAGE_BYTES: usize = 512;
const ATTRIBUTES: usize = 30;
const ATTRIBUTE_BYTES: usize = 12;
/// The attribute's failure comes before the drive's.
const PREFAIL: u16 = 1;

/// Names that mean the same on every maker's drives.
const NAMES: &[(u8, &str)] = &[
    (1, "Raw_Read_Error_Rate"),
    (3, "Spin_Up_Time"),
    (4, "Start_Stop_Count"),
    (5, "Reallocated_Sector_Ct"),
    (7, "Seek_Error_Rate"),
    (9, "Power_On_Hours"),
    (10, "Spin_Retry_Count"),
    (12, "Power_Cycle_Count"),
    (184, "End-to-End_Error"),
    (187, "Reported_Uncorrect"),
    (188, "Command_Timeout"),
    (190, "Airflow_Temperature_Cel"),
    (191, "G-Sense_Error_Rate"),
    (192, "Power-Off_Retract_Count"),
    (193, "Load_Cycle_Count"),
    (194, "Temperature_Celsius"),
    (196, "Reallocated_Event_Count"),
    (197, "Current_Pending_Sector"),
    (198, "Offline_Uncorrectable"),
    (199, "UDMA_CRC_Error_Count"),
];

/// What was read of a drive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pages {
    /// IDENTIFY DEVICE.
    pub identify: Vec<u8>,
    /// SMART READ DATA.
    pub data: Vec<u8>,
    /// SMART READ THRESHOLDS; drives of the newest standard need not have them.
    pub thresholds: Option<Vec<u8>>,
    /// Page 7 of the log of device statistics, about flash.
    pub statistics: Option<Vec<u8>>,
    /// SMART RETURN STATUS: whether a threshold is exceeded; `None` when the bridge swallowed the answer.
    pub is_exceeded: Option<bool>,
}

/// What a drive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// Whether it has spinning disks; `None` when it does not say.
    pub rotational: Option<bool>,
    /// Whether SMART is there and on.
    pub has_smart: bool,
    /// Whether logs can be read.
    pub has_logs: bool,
}

/// Reads IDENTIFY DEVICE. Malformed when it is none.
pub fn identity(page: &[u8]) -> Result<Identity, ProbeError> {
    let page = whole(page, "IDENTIFY DEVICE")?;
    // The last word holds a mark and a checksum, on drives since 2000.
    if page[510] == 0xa5 && sum(page) != 0 {
        return Err(ProbeError::Malformed("the checksum of IDENTIFY DEVICE is wrong".to_owned()));
    }
    if word(page, 0) & 1 << 15 != 0 || page.iter().all(|byte| *byte == page[0]) {
        return Err(ProbeError::Unsupported("this is no ATA drive".to_owned()));
    }
    // Words that are not valid say so in their two highest bits.
    let bit = |at: usize, bit: u16| word(page, at) >> 14 == 1 && word(page, at) & 1 << bit != 0;
    Ok(Identity {
        serial: names::serial(&text(page, 10..20)),
        firmware: meaningful(text(page, 23..27)),
        model: meaningful(text(page, 27..47)),
        rotational: match word(page, 217) {
            1 => Some(false),
            0x0401..=0xfffe => Some(true),
            _ => None,
        },
        has_smart: word(page, 82) & 1 != 0 && word(page, 85) & 1 != 0,
        has_logs: bit(87, 5),
    })
}

/// The drive's health. Malformed when a page is damaged, unsupported when the drive gives no verdict.
pub fn health(pages: &Pages) -> Result<Health, ProbeError> {
    let identity = identity(&pages.identify)?;
    if !identity.has_smart {
        return Err(ProbeError::Unsupported("the drive has no SMART, or it is switched off".to_owned()));
    }
    let rows = attributes(&pages.data, pages.thresholds.as_deref())?;
    let fails_by_value = rows.iter().any(|row| row.prefail && row.attribute.failing_now);
    let verdict = match (pages.is_exceeded, fails_by_value) {
        (Some(true), _) | (_, true) => Verdict::PredictedFailure,
        (Some(false), false) => Verdict::Ok,
        (None, false) => {
            return Err(ProbeError::Unsupported("the drive's own verdict does not get through".to_owned()));
        }
    };
    let attributes: Vec<AtaAttribute> = rows.into_iter().map(|row| row.attribute).collect();
    let raw = |id: u8| attributes.iter().find(|row| row.id == id).map(|row| row.raw);
    // The lowest byte is the temperature now; the others hold its lowest and highest in ways of each maker.
    let temperature = [194, 190]
        .into_iter()
        .filter_map(raw)
        .map(|raw| f64::from(raw as u8))
        .find_map(|celsius| plausible_celsius(celsius).filter(|celsius| *celsius > 0.0));
    Ok(Health {
        verdict: Some(verdict),
        rotational: identity.rotational,
        model: identity.model,
        serial: identity.serial,
        firmware: identity.firmware,
        endurance_remaining: pages.statistics.as_deref().and_then(endurance),
        temperature,
        // Above 24 bits some makers keep minutes.
        power_on_hours: raw(9).map(|raw| (raw & 0xff_ffff) as f64),
        attributes,
        nvme: None,
    })
}

struct Row {
    attribute: AtaAttribute,
    prefail: bool,
}

fn attributes(data: &[u8], thresholds: Option<&[u8]>) -> Result<Vec<Row>, ProbeError> {
    let data = checked(data, "SMART READ DATA")?;
    let thresholds = thresholds.map(|page| checked(page, "SMART READ THRESHOLDS")).transpose()?;
    let mut rows: Vec<Row> = Vec::new();
    for row in table(data) {
        let id = row[0];
        // 0 is an empty place. A number that stands twice is nonsense, of which the first is kept.
        if id == 0 || rows.iter().any(|known| known.attribute.id == id) {
            continue;
        }
        let threshold =
            thresholds.into_iter().flat_map(table).find(|other| other[0] == id).map(|other| other[1]);
        let value = row[3];
        let raw = row[5..11].iter().rev().fold(0_u64, |raw, byte| raw << 8 | u64::from(*byte));
        let name = NAMES.iter().find(|(known, _)| *known == id).map_or("Unknown_Attribute", |(_, name)| name);
        rows.push(Row {
            attribute: AtaAttribute {
                id,
                name: name.to_owned(),
                value: u64::from(value),
                raw,
                // 0 means that it never fails; 254 and 255 are no values.
                failing_now: threshold
                    .is_some_and(|threshold| (1..=253).contains(&threshold) && value <= threshold),
            },
            prefail: u16::from_le_bytes([row[1], row[2]]) & PREFAIL != 0,
        });
    }
    Ok(rows)
}

/// The places of a table of attributes or thresholds.
fn table(page: &[u8; PAGE_BYTES]) -> impl Iterator<Item = &[u8]> {
    page[2..2 + ATTRIBUTES * ATTRIBUTE_BYTES].chunks_exact(ATTRIBUTE_BYTES)
}

/// The share of the rated endurance that is left, from the page about flash.
fn endurance(page: &[u8]) -> Option<f64> {
    const SUPPORTED_AND_VALID: u8 = 0b1100_0000;
    let page: &[u8; PAGE_BYTES] = page.try_into().ok()?;
    let (number, used, flags) = (page[2], page[8], page[15]);
    let is_told = number == 7 && flags & SUPPORTED_AND_VALID == SUPPORTED_AND_VALID;
    is_told.then(|| (1.0 - f64::from(used) / 100.0).max(0.0))
}

fn whole<'a>(page: &'a [u8], name: &str) -> Result<&'a [u8; PAGE_BYTES], ProbeError> {
    page.try_into()
        .map_err(|_| ProbeError::Malformed(format!("{name} has {} bytes and not {PAGE_BYTES}", page.len())))
}

/// The page, when its bytes add up to nothing, as its last one is there for.
fn checked<'a>(page: &'a [u8], name: &str) -> Result<&'a [u8; PAGE_BYTES], ProbeError> {
    let page = whole(page, name)?;
    if page.iter().all(|byte| *byte == 0) {
        return Err(ProbeError::Unsupported(format!("{name} is empty")));
    }
    if sum(page) != 0 {
        return Err(ProbeError::Malformed(format!("the checksum of {name} is wrong")));
    }
    Ok(page)
}

fn sum(page: &[u8; PAGE_BYTES]) -> u8 {
    page.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

fn word(page: &[u8; PAGE_BYTES], at: usize) -> u16 {
    u16::from_le_bytes([page[at * 2], page[at * 2 + 1]])
}

/// A text of IDENTIFY DEVICE: two characters a word, the first in the higher byte.
fn text(page: &[u8; PAGE_BYTES], words: std::ops::Range<usize>) -> String {
    words.flat_map(|at| word(page, at).to_be_bytes()).map(char::from).filter(char::is_ascii).collect()
}

fn meaningful(text: String) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_ascii_control()).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::UnavailableReason;

    fn put_text(page: &mut [u8], at: usize, words: usize, text: &str) {
        let text = format!("{text:<width$}", width = words * 2);
        for (n, pair) in text.as_bytes().chunks(2).enumerate() {
            (page[(at + n) * 2], page[(at + n) * 2 + 1]) = (pair[1], pair[0]);
        }
    }

    fn sealed(mut page: Vec<u8>) -> Vec<u8> {
        page[511] = 0;
        page[511] = page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
        page
    }

    fn identify(rotation: u16) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES];
        put_text(&mut page, 10, 10, "  WD-WX11A2B3C4D5");
        put_text(&mut page, 23, 4, "01.01A01");
        put_text(&mut page, 27, 20, "EXAMPLE DISK 1000");
        for (at, value) in [(82, 1_u16), (85, 1), (87, 1 << 14 | 1 << 5), (217, rotation)] {
            page[at * 2..at * 2 + 2].copy_from_slice(&value.to_le_bytes());
        }
        page[510] = 0xa5;
        sealed(page)
    }

    /// Number, flags, value and raw value of each attribute.
    fn data(rows: &[(u8, u16, u8, u64)]) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES];
        page[0] = 16;
        for (n, (id, flags, value, raw)) in rows.iter().enumerate() {
            let row = &mut page[2 + n * ATTRIBUTE_BYTES..][..ATTRIBUTE_BYTES];
            row[0] = *id;
            row[1..3].copy_from_slice(&flags.to_le_bytes());
            (row[3], row[4]) = (*value, *value);
            row[5..11].copy_from_slice(&raw.to_le_bytes()[..6]);
        }
        sealed(page)
    }

    fn thresholds(rows: &[(u8, u8)]) -> Vec<u8> {
        let rows: Vec<_> = rows.iter().map(|(id, threshold)| (*id, u16::from(*threshold), 0, 0)).collect();
        data(&rows)
    }

    fn healthy() -> Pages {
        Pages {
            identify: identify(7200),
            data: data(&[(5, 3, 200, 0), (9, 0, 90, 0x1234_0000_2710), (194, 0x22, 117, 0x0014_002b_0021)]),
            thresholds: Some(thresholds(&[(5, 140), (9, 0), (194, 0)])),
            statistics: None,
            is_exceeded: Some(false),
        }
    }

    #[test]
    fn a_healthy_drive_has_its_names_values_and_temperature() {
        let health = health(&healthy()).unwrap();
        assert_eq!((health.verdict, health.rotational), (Some(Verdict::Ok), Some(true)));
        assert_eq!(health.serial.as_deref(), Some("WD-WX11A2B3C4D5"));
        assert_eq!(health.model.as_deref(), Some("EXAMPLE DISK 1000"));
        assert_eq!((health.temperature, health.power_on_hours), (Some(33.0), Some(10_000.0)));
        let first = &health.attributes[0];
        assert_eq!(
            (first.id, first.name.as_str(), first.value, first.raw),
            (5, "Reallocated_Sector_Ct", 200, 0)
        );
    }

    #[test]
    fn the_drives_own_verdict_or_a_value_that_announces_failure_decides() {
        let verdict =
            |pages: &Pages| health(pages).map(|health| health.verdict).map_err(|error| error.reason());
        let mut pages = healthy();
        pages.is_exceeded = Some(true);
        assert_eq!(verdict(&pages), Ok(Some(Verdict::PredictedFailure)));
        pages = healthy();
        pages.data = data(&[(5, 3, 140, 2000)]);
        assert_eq!(verdict(&pages), Ok(Some(Verdict::PredictedFailure)), "at its threshold");
        pages.is_exceeded = None;
        assert_eq!(verdict(&pages), Ok(Some(Verdict::PredictedFailure)), "a bridge that hides the verdict");
        pages.data = data(&[(5, 2, 140, 2000)]);
        assert_eq!(verdict(&pages), Err(UnavailableReason::Unsupported), "age alone announces nothing");
        pages = healthy();
        pages.thresholds = None;
        assert_eq!(verdict(&pages), Ok(Some(Verdict::Ok)), "thresholds are obsolete");
    }

    #[test]
    fn the_wear_of_flash_is_read_where_the_drive_says_that_it_knows_it() {
        let statistics = |used: u8, flags: u8| {
            let mut page = vec![0; PAGE_BYTES];
            (page[2], page[8], page[15]) = (7, used, flags);
            page
        };
        let left = |page: Vec<u8>| {
            let pages = Pages { identify: identify(1), statistics: Some(page), ..healthy() };
            let health = health(&pages).unwrap();
            (health.rotational, health.endurance_remaining)
        };
        assert_eq!(left(statistics(12, 0xc0)), (Some(false), Some(0.88)));
        assert_eq!(left(statistics(255, 0xc0)).1, Some(0.0));
        assert_eq!(left(statistics(12, 0x80)).1, None, "supported, but not valid");
        assert_eq!(left(vec![0xff; 100]).1, None);
    }

    #[test]
    fn truncated_damaged_and_empty_pages_are_refused() {
        let reason = |pages: &Pages| health(pages).map_err(|error| error.reason()).unwrap_err();
        let mut pages = healthy();
        pages.data.truncate(511);
        assert_eq!(reason(&pages), UnavailableReason::Malformed);
        pages = healthy();
        pages.data[20] ^= 1;
        assert_eq!(reason(&pages), UnavailableReason::Malformed, "checksum");
        pages = healthy();
        pages.identify[60] ^= 1;
        assert_eq!(reason(&pages), UnavailableReason::Malformed, "checksum of the identity");
        pages = healthy();
        pages.data = vec![0; PAGE_BYTES];
        assert_eq!(reason(&pages), UnavailableReason::Unsupported, "a bridge that answers zeros");
        pages = healthy();
        pages.identify = sealed({
            let mut page = identify(1);
            page[85 * 2] = 0;
            page
        });
        assert_eq!(reason(&pages), UnavailableReason::Unsupported, "switched off");
        pages.identify = vec![0xff; PAGE_BYTES];
        assert!(health(&pages).is_err());
    }

    #[test]
    fn hostile_pages_give_bounded_nonsense_at_most() {
        let mut pages = healthy();
        pages.data = data(&[(5, 0xffff, 0, 0xffff_ffff_ffff); 30]);
        pages.thresholds = Some(thresholds(&[(5, 255); 30]));
        let once = health(&pages).unwrap();
        assert_eq!(
            (once.attributes.len(), once.attributes[0].failing_now),
            (1, false),
            "255 is no threshold"
        );
        assert!(once.attributes.iter().all(|row| row.raw < 1 << 48));
        // A page of any bytes, with a right checksum.
        for seed in 0..500_u32 {
            let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
            let mut page = || {
                let bytes = (0..PAGE_BYTES).map(|_| {
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    state as u8
                });
                sealed(bytes.collect())
            };
            pages.identify = page();
            (pages.data, pages.thresholds, pages.statistics) = (page(), Some(page()), Some(page()));
            if let Ok(health) = health(&pages) {
                assert!(
                    health.attributes.len() <= ATTRIBUTES && health.temperature.is_none_or(|t| t <= 150.0)
                );
                assert!(health.model.is_none_or(|model| model.chars().all(|c| !c.is_control())));
            }
        }
    }
}
