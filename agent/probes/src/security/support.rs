//! Until when the maker mends this version of the operating system: what os-release says (`SUPPORT_END`), else a table.

use crate::os::parse::os_release;
use crate::{ProbeError, Root};
use firstline_model::Timestamp;
use std::time::Duration;

/// Distribution, version, and the last day of free support, which distributions that do not say it themselves announce.
const LAST_DAYS: &[(&str, &str, &str)] = &[
    ("debian", "9", "2022-06-30"),
    ("debian", "10", "2024-06-30"),
    ("debian", "11", "2026-08-31"),
    ("debian", "12", "2028-06-30"),
    ("debian", "13", "2030-06-30"),
    ("ubuntu", "18.04", "2023-05-31"),
    ("ubuntu", "20.04", "2025-05-31"),
    ("ubuntu", "22.04", "2027-04-30"),
    ("ubuntu", "24.04", "2029-04-30"),
];

pub(super) fn has_ended(root: &Root, now: Timestamp) -> Result<bool, ProbeError> {
    let release = root.read_text("/etc/os-release").or_else(|_| root.read_text("/usr/lib/os-release"))?;
    let last_day = last_day(&release).ok_or_else(|| {
        ProbeError::Unsupported("it is not known until when this distribution's version is mended".to_owned())
    })?;
    Ok(now > last_day)
}

/// The end of the last day of support; `None` when it is not known.
pub fn last_day(os_release_text: &str) -> Option<Timestamp> {
    let release = os_release(os_release_text);
    let said = release.get("SUPPORT_END").map(String::as_str);
    let listed = || {
        let (id, version) = (release.get("ID")?, release.get("VERSION_ID")?);
        LAST_DAYS.iter().find(|(of, version_id, _)| of == id && version_id == version).map(|(_, _, day)| *day)
    };
    end_of_day(said.or_else(listed)?)
}

/// The last second of a day written `2026-08-31`.
pub(super) fn end_of_day(day: &str) -> Option<Timestamp> {
    let mut parts = day.trim().splitn(3, '-');
    let mut part = || parts.next()?.parse::<i64>().ok();
    let begin = Timestamp::from_date(part()?, part()?, part()?)?;
    Some(begin.plus(Duration::from_secs(86_399)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_distribution_says_outranks_the_table() {
        let day = |text: &str| last_day(text).map(|day| day.to_string());
        assert_eq!(day("ID=debian\nVERSION_ID=\"12\"\n").as_deref(), Some("2028-06-30T23:59:59.000Z"));
        let fedora = "ID=fedora\nVERSION_ID=40\nSUPPORT_END=2025-05-13\n";
        assert_eq!(day(fedora).as_deref(), Some("2025-05-13T23:59:59.000Z"));
        assert_eq!(day("ID=arch\n"), None);
        assert_eq!(day("ID=fedora\nSUPPORT_END=soon\n"), None);
    }
}
