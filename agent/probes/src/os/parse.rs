//! Small texts about a Linux system: os-release(5), proc_uptime(5), the tables of the firmware.

use firstline_model::order;
use std::collections::BTreeMap;

/// The assignments of an os-release file, without quotes.
pub fn os_release(text: &str) -> BTreeMap<&str, String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| {
        let (name, value) = line.trim().split_once('=')?;
        Some((name, unquoted(value)))
    });
    order::map(lines)
}

/// A value as a shell would read it: quotes taken off, backslashes undone.
fn unquoted(value: &str) -> String {
    let inner =
        ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value);
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

/// Seconds since boot from `/proc/uptime`.
pub fn uptime(text: &str) -> Option<f64> {
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

/// Texts that manufacturers leave in the firmware's tables instead of a name.
const PLACEHOLDERS: &[&str] = &[
    "default string",
    "none",
    "not applicable",
    "not available",
    "not specified",
    "o.e.m.",
    "system manufacturer",
    "system product name",
    "system serial number",
    "to be filled by o.e.m.",
    "unknown",
];

/// Whether the firmware's text says something.
pub fn is_meaningful(text: &str) -> bool {
    let lower = text.trim().to_ascii_lowercase();
    !lower.is_empty()
        && !PLACEHOLDERS.contains(&lower.as_str())
        && lower.chars().any(|c| c != '0' && c != '-')
}

/// Why the last system ended, from the log that survived the restart: the panic's text, else the first fault.
pub fn crash_line(log: &str) -> Option<&str> {
    let after = |words: &str| log.lines().find_map(|line| line.find(words).map(|at| &line[at..]));
    let line = ["Kernel panic", "BUG: ", "Oops: "].iter().find_map(|words| after(words))?;
    Some(&line[..line.floor_char_boundary(300)])
}

/// Seconds from the start of the firmware, where it tells that, to the end of the start of all units; `None` while the
/// start goes on. The lines are those of `systemctl show`, in microseconds around the kernel's begin.
pub fn boot_duration(text: &str) -> Option<f64> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        line.trim().parse::<u64>().ok()
    };
    let finished = value("FinishTimestampMonotonic").filter(|at| *at > 0)?;
    let firmware = value("FirmwareTimestampMonotonic").unwrap_or(0);
    // A day in either part is no start but a damaged number.
    let longest = 86_400_000_000;
    (finished < longest && firmware < longest).then(|| (finished + firmware) as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_lasts_from_the_firmware_to_the_last_unit() {
        let text = |firmware: &str, finish: &str| {
            format!("FirmwareTimestampMonotonic={firmware}\nFinishTimestampMonotonic={finish}\n")
        };
        assert_eq!(boot_duration(&text("4500000", "31000000")), Some(35.5));
        assert_eq!(boot_duration("FinishTimestampMonotonic=31000000\n"), Some(31.0));
        for none in [text("0", "0"), text("1", "99999999999999"), text("x", ""), String::new()] {
            assert_eq!(boot_duration(&none), None, "{none}");
        }
    }

    #[test]
    fn quotes_and_comments_of_os_release_are_taken_off() {
        let release = os_release("# c\nNAME=\"Debian \\\"x\\\"\"\nID=debian\nVERSION_ID='12'\nbroken\n");
        assert_eq!(release["NAME"], "Debian \"x\"");
        assert_eq!((release["ID"].as_str(), release["VERSION_ID"].as_str()), ("debian", "12"));
        assert_eq!(release.len(), 3);
    }

    #[test]
    fn uptime_is_a_number_of_seconds() {
        assert_eq!(uptime("1234.56 99.1\n"), Some(1234.56));
        for bad in ["", "-1 2", "nan 1", "x"] {
            assert_eq!(uptime(bad), None, "{bad}");
        }
    }

    #[test]
    fn placeholders_of_the_firmware_are_not_names() {
        for bad in ["", " ", "To Be Filled By O.E.M.", "0000-00", "Default string"] {
            assert!(!is_meaningful(bad), "{bad}");
        }
        assert!(is_meaningful("Latitude 5440"));
    }

    #[test]
    fn a_panic_outranks_the_fault_before_it() {
        let log =
            "<1>[ 12.3] BUG: kernel NULL pointer\n<0>[ 12.4] Kernel panic - not syncing: Fatal exception\n";
        assert_eq!(crash_line(log), Some("Kernel panic - not syncing: Fatal exception"));
        assert_eq!(crash_line("all is well"), None);
    }
}
