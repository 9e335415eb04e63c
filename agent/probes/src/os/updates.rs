//! Whether updates wait, and when updates were installed last, from what package managers leave in files. Nothing is
//! refreshed and no package manager is started: that would lock its database and cost seconds of processor time.

use super::apt::{self, Installed};
use crate::{Context, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, Timestamp};
use std::io::BufReader;
use std::time::Duration;

/// Logs of package managers, and what begins the line that dates an installation of updates.
const HISTORIES: [(&str, History); 2] =
    [("/var/log/apt/history.log", History::Apt), ("/var/log/dnf.rpm.log", History::Dnf)];
const PENDING: &str = "/var/lib/update-notifier/updates-available";

#[derive(Debug, Clone, Copy)]
enum History {
    Apt,
    Dnf,
}

pub(super) fn collect(context: &Context, os: &Component, sink: &mut Sink) {
    match pending(context) {
        Ok(Pending { security, others }) => {
            for (kind, count) in [("true", Some(security)), ("false", others)] {
                let Some(count) = count else { continue };
                let attributes = Attributes::none().with(attribute::SECURITY, kind);
                sink.sample(os, semconv::OS_UPDATES_PENDING, attributes, f64::from(count));
            }
        }
        Err(error) => sink.failed(os, semconv::OS_UPDATES_PENDING, &error),
    }
    match last_patched(&context.root) {
        Ok(at) if at <= context.now => {
            let age = context.now.since(at).as_secs_f64();
            sink.sample(os, semconv::OS_LAST_PATCHED_AGE, Attributes::none(), age);
        }
        Ok(_) => {
            let error =
                ProbeError::Malformed("updates were installed in the future of this clock".to_owned());
            sink.failed(os, semconv::OS_LAST_PATCHED_AGE, &error);
        }
        Err(error) => sink.failed(os, semconv::OS_LAST_PATCHED_AGE, &error),
    }
}

/// Updates that wait.
struct Pending {
    security: u32,
    /// Those that are not for security, where somebody counts them.
    others: Option<u32>,
}

/// As update-notifier has counted them; without it, those for security by apt's own lists.
fn pending(context: &Context) -> Result<Pending, ProbeError> {
    match context.root.read_text(PENDING) {
        Ok(text) => {
            let (all, security) = counts(&text)
                .ok_or_else(|| ProbeError::Malformed(format!("{PENDING} has no number of updates")))?;
            Ok(Pending { security, others: Some(all - security) })
        }
        Err(ProbeError::NotPresent(_)) => {
            security_updates(context).map(|security| Pending { security, others: None })
        }
        Err(error) => Err(error),
    }
}

/// Lists that were not refreshed for so long do not show that nothing waits.
const STALE: Duration = Duration::from_secs(14 * 86_400);
const LISTS: &str = "/var/lib/apt/lists";

fn security_updates(context: &Context) -> Result<u32, ProbeError> {
    let root = &context.root;
    let unsupported = |why: &str| ProbeError::Unsupported(why.to_owned());
    let names = match root.list(LISTS) {
        Err(ProbeError::NotPresent(_)) => {
            return Err(unsupported("nothing on this machine counts updates into a file"));
        }
        names => names?,
    };
    let lists: Vec<String> = names.iter().filter(|name| apt::is_security_list(name)).cloned().collect();
    if lists.is_empty() {
        return Err(unsupported(if names.iter().any(|name| apt::is_compressed_list(name)) {
            "apt keeps its lists of security updates compressed"
        } else {
            "apt has no list of security updates"
        }));
    }
    let failed = |path: &str, error: &std::io::Error| ProbeError::from_io(&root.path(path), error);
    let status = "/var/lib/dpkg/status";
    let mut installed =
        Installed::read(BufReader::new(root.open(status)?)).map_err(|error| failed(status, &error))?;
    for name in lists {
        let path = format!("{LISTS}/{name}");
        let list = BufReader::with_capacity(64 << 10, root.open(&path)?);
        installed.compare(list).map_err(|error| failed(&path, &error))?;
    }
    // The lists themselves carry the server's time; this folder is used with every refresh.
    let refreshed = std::fs::metadata(root.path("/var/lib/apt/lists/partial"))
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|at| i64::try_from(at.as_millis()).ok().map(Timestamp::from_millis));
    let age = refreshed.filter(|at| *at < context.now).map(|at| context.now.since(at));
    match (installed.behind(), age) {
        (0, Some(age)) if age > STALE => Err(ProbeError::Unsupported(format!(
            "apt's lists were not refreshed for {} days, so what they lack is not known",
            age.as_secs() / 86_400
        ))),
        (behind, _) => Ok(behind),
    }
}

/// `7 updates can be applied immediately.` and `3 of these updates are standard security updates.`; older ones say `3
/// updates are security updates.` An empty file means none.
fn counts(text: &str) -> Option<(u32, u32)> {
    let (mut all, mut security) = (None, 0);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let number = line.split_ascii_whitespace().next().and_then(|word| word.parse::<u32>().ok());
        let Some(number) = number else { continue };
        if line.contains("security update") {
            security = number;
        } else if line.contains("update") && all.is_none() {
            all = Some(number);
        }
    }
    match (all, text.trim().is_empty()) {
        (None, true) => Some((0, 0)),
        (None, false) => None,
        (Some(all), _) => (security <= all).then_some((all, security)),
    }
}

/// When updates were installed last. The logs are in local time without a zone: it is exact to a day.
fn last_patched(root: &Root) -> Result<Timestamp, ProbeError> {
    let mut unread = None;
    for (path, history) in HISTORIES {
        match root.read_text(path) {
            Ok(text) => {
                return last(&text, history).ok_or_else(|| {
                    ProbeError::NotPresent(format!("{path} names no installation of updates"))
                });
            }
            Err(ProbeError::NotPresent(_)) => {}
            Err(error) => unread = Some(error),
        }
    }
    Err(unread
        .unwrap_or_else(|| ProbeError::Unsupported("no log of a package manager that is known".to_owned())))
}

fn last(text: &str, history: History) -> Option<Timestamp> {
    let mut found = None;
    let mut begun = None;
    for line in text.lines() {
        match history {
            History::Apt => {
                if let Some(date) = line.strip_prefix("Start-Date: ") {
                    begun = day(date);
                } else if line.starts_with("Upgrade: ") {
                    found = begun.or(found);
                }
            }
            History::Dnf => {
                if line.contains(" Upgrade: ") || line.contains(" Upgraded: ") {
                    found = day(line).or(found);
                }
            }
        }
    }
    found
}

/// The time of a text that begins with `2026-01-05`, and may go on with `T06:25:14` or a space and the time.
fn day(text: &str) -> Option<Timestamp> {
    let text =
        text.get(..19).map(|text| text.replace("  ", "T")).or_else(|| text.get(..10).map(str::to_owned))?;
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let clock = (|| Some(number(11..13)? * 3600 + number(14..16)? * 60))().unwrap_or(0);
    let begin = Timestamp::from_date(year, month, day).filter(|_| text.as_bytes().get(4) == Some(&b'-'))?;
    Some(begin.plus(Duration::from_secs(u64::try_from(clock).unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_wordings_are_counted_and_nonsense_is_not() {
        let new =
            "\n7 updates can be applied immediately.\n3 of these updates are standard security updates.\n";
        assert_eq!(counts(new), Some((7, 3)));
        assert_eq!(counts("12 packages can be updated.\n4 updates are security updates.\n"), Some((12, 4)));
        assert_eq!(counts("0 updates can be applied immediately.\n"), Some((0, 0)));
        assert_eq!(counts("\n"), Some((0, 0)));
        assert_eq!(counts("\u{fffd}\u{fffd}"), None);
        assert_eq!(counts("1 update can be applied.\n9 updates are security updates.\n"), None);
    }

    #[test]
    fn only_upgrades_date_an_installation_of_updates() {
        let log = "Start-Date: 2026-01-02  06:25:14\nUpgrade: a:amd64 (1, 2)\nEnd-Date: x\n\nStart-Date: 2026-01-04  10:00:00\nInstall: b:amd64 (1)\n";
        let at = |seconds: i64| Some(Timestamp::from_millis(seconds * 1000));
        assert_eq!(last(log, History::Apt), at(1_767_335_100));
        let rpm = "2026-01-02T06:25:14+0000 SUBDEBUG Upgrade: a-2\n2026-01-03T00:00:00+0000 SUBDEBUG Installed: b\n";
        assert_eq!(last(rpm, History::Dnf), at(1_767_335_100));
        assert_eq!(last("Start-Date: hostile\nUpgrade: x\n", History::Apt), None);
    }
}
