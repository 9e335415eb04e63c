//! Sessions as systemd's login manager keeps them in files, and as `utmp` (utmp(5)) lists them where there is no such manager.

use firstline_model::Timestamp;

/// A longer name is no account's.
const MAX_NAME_BYTES: usize = 256;

/// A person's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The account.
    pub user: String,
    /// How the person works in it.
    pub kind: Kind,
    /// Whether it is the one that is shown at the machine's own screen now.
    pub is_at_the_machine: bool,
    /// When it began.
    pub since: Option<Timestamp>,
    /// The same in microseconds of the clock that stands while the machine sleeps.
    pub begun: Option<u64>,
    /// The account's number.
    pub number: Option<u32>,
}

/// How a person works in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With a desktop at the machine.
    Desktop,
    /// With a text screen at the machine.
    Console,
    /// From elsewhere.
    Remote,
}

impl Kind {
    /// The kind as documents have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Console => "console",
            Self::Remote => "remote",
        }
    }
}

/// A time in seconds since 1970, unless it is absurd.
fn plausible(seconds: i64) -> Option<Timestamp> {
    /// The end of the year 9999.
    const LATEST: i64 = 253_402_300_799;
    (0..=LATEST).contains(&seconds).then(|| Timestamp::from_millis(seconds * 1000))
}

/// Reads a file of systemd's login manager, `NAME=value` by lines. `None` when it is no person's session: a greeter, a
/// timer's, the manager of a user's services.
pub fn of_login_manager(text: &str) -> Option<Session> {
    let value = |wanted: &str| {
        text.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix('=')).map(|value| {
            // Values with spaces are quoted.
            value.trim().trim_matches('"')
        })
    };
    if !matches!(value("CLASS")?, "user" | "user-early" | "user-light") || value("STATE") == Some("closing") {
        return None;
    }
    let user = value("USER").filter(|user| is_name(user))?.to_owned();
    let is_remote = value("REMOTE") == Some("1");
    let kind = match value("TYPE") {
        _ if is_remote => Kind::Remote,
        Some("x11" | "wayland" | "mir") => Kind::Desktop,
        Some(_) | None => Kind::Console,
    };
    let has_seat = value("SEAT").is_some_and(|seat| !seat.is_empty());
    let is_at_the_machine = !is_remote && has_seat && value("ACTIVE") == Some("1");
    let since = value("REALTIME").and_then(|micros| micros.parse::<i64>().ok());
    let since = since.and_then(|micros| plausible(micros / 1_000_000));
    let begun = value("MONOTONIC").and_then(|micros| micros.parse().ok());
    let number = value("UID").and_then(|number| number.parse().ok());
    Some(Session { user, kind, is_at_the_machine, since, begun, number })
}

/// A record of `utmp`, on most machines and on those whose times there have 64 bits.
const RECORD_BYTES: [usize; 2] = [384, 400];
const USER_PROCESS: i16 = 7;
const LARGEST_TYPE: i16 = 9;

/// Reads the list of sessions. What is of neither form has none.
pub fn of_utmp(records: &[u8]) -> Vec<Session> {
    let kind_of = |record: &[u8]| Some(i16::from_ne_bytes([*record.first()?, *record.get(1)?]));
    let fits = |size: &usize| {
        records.len().is_multiple_of(*size)
            && records
                .chunks_exact(*size)
                .all(|record| kind_of(record).is_some_and(|kind| (0..=LARGEST_TYPE).contains(&kind)))
    };
    let Some(size) = RECORD_BYTES.into_iter().find(fits) else { return Vec::new() };
    let people = records.chunks_exact(size).filter(|record| kind_of(record) == Some(USER_PROCESS));
    people.filter_map(|record| of_record(record, size)).collect()
}

fn of_record(record: &[u8], size: usize) -> Option<Session> {
    let text = |from: usize, length: usize| {
        let bytes = record.get(from..from + length)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(length);
        std::str::from_utf8(&bytes[..end]).ok()
    };
    let (line, user, host) = (text(8, 32)?, text(44, 32)?, text(76, 256)?);
    let seconds = if size == RECORD_BYTES[0] {
        i64::from(i32::from_ne_bytes(record.get(340..344)?.try_into().ok()?))
    } else {
        i64::from_ne_bytes(record.get(344..352)?.try_into().ok()?)
    };
    let is_display = |text: &str| text.starts_with(':');
    let kind = if is_display(line) || is_display(host) {
        Kind::Desktop
    } else if host.is_empty() {
        Kind::Console
    } else {
        Kind::Remote
    };
    let since = plausible(seconds);
    let is_at_the_machine = kind != Kind::Remote && (is_display(line) || line.starts_with("tty"));
    let user = Some(user).filter(|user| is_name(user))?.to_owned();
    Some(Session { user, kind, is_at_the_machine, since, begun: None, number: None })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(|c| c.is_control() || c == '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESKTOP: &str = "# This is private data. Do not parse.\nUID=1000\nUSER=anna\nACTIVE=1\nIS_DISPLAY=1\nSTATE=active\nREMOTE=0\nTYPE=wayland\nORIGINAL_TYPE=wayland\nCLASS=user\nSCOPE=session-2.scope\nSEAT=seat0\nVTNR=2\nLEADER=1423\nREALTIME=1767600000123456\nMONOTONIC=41000000\n";

    #[test]
    fn who_works_at_the_machine_is_told_from_who_works_from_elsewhere() {
        let desktop = of_login_manager(DESKTOP).unwrap();
        assert_eq!((desktop.user.as_str(), desktop.kind), ("anna", Kind::Desktop));
        assert!(desktop.is_at_the_machine);
        assert_eq!(desktop.since, Some(Timestamp::from_millis(1_767_600_000_000)));
        let remote = DESKTOP.replace("REMOTE=0", "REMOTE=1").replace("wayland", "tty");
        let remote = of_login_manager(&remote).unwrap();
        assert_eq!((remote.kind, remote.is_at_the_machine), (Kind::Remote, false));
        for other in ["CLASS=greeter", "CLASS=manager", "CLASS=background", "CLASS=lock-screen"] {
            assert_eq!(of_login_manager(&DESKTOP.replace("CLASS=user", other)), None, "{other}");
        }
        assert_eq!(of_login_manager(&DESKTOP.replace("STATE=active", "STATE=closing")), None);
        assert_eq!(of_login_manager(&DESKTOP.replace("USER=anna", "USER=a\u{1b}[2J")), None);
    }

    fn record(kind: i16, size: usize, line: &str, user: &str, host: &str, seconds: i64) -> Vec<u8> {
        let mut bytes = vec![0; size];
        bytes[..2].copy_from_slice(&kind.to_ne_bytes());
        for (at, text) in [(8, line), (44, user), (76, host)] {
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        if size == 384 {
            bytes[340..344].copy_from_slice(&(seconds as i32).to_ne_bytes());
        } else {
            bytes[344..352].copy_from_slice(&seconds.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn both_forms_of_records_are_read_and_rubbish_is_nobody() {
        for size in RECORD_BYTES {
            let mut records = record(2, size, "~", "reboot", "", 5);
            records.extend(record(USER_PROCESS, size, "tty2", "anna", ":0", 1_767_600_000));
            records.extend(record(USER_PROCESS, size, "pts/0", "otto", "198.51.100.7", 1_767_600_000));
            records.extend(record(8, size, "pts/1", "eve", "", 0));
            let sessions = of_utmp(&records);
            let seen: Vec<_> =
                sessions.iter().map(|s| (s.user.as_str(), s.kind, s.is_at_the_machine)).collect();
            assert_eq!(seen, [("anna", Kind::Desktop, true), ("otto", Kind::Remote, false)], "{size}");
            assert_eq!(sessions[0].since, Some(Timestamp::from_millis(1_767_600_000_000)));
            assert_eq!(of_utmp(&records[..records.len() - 1]), Vec::new());
        }
        assert_eq!(of_utmp(&[0xff; 768]), Vec::new());
        assert_eq!(of_utmp(&[]), Vec::new());
    }
}
