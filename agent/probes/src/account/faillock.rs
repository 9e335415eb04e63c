//! What `pam_faillock` counts and by which rules it locks an account (faillock.conf(5), pam_faillock(8)).

use firstline_model::Timestamp;
use std::time::Duration;

/// One failure in a file: `struct tally`.
pub const TALLY_BYTES: usize = 64;
const STATUS_AT: usize = 54;
const TIME_AT: usize = 56;
/// The failure counts; else it was forgiven.
const VALID: u16 = 1;

/// The rules. The values at the beginning are the module's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Failures from which an account is locked; 0 locks nobody.
    pub deny: u32,
    /// Failures count that are no older than this, seen from the last one.
    pub interval: Duration,
    /// After this long since the last failure the lock is over; `None`: never.
    pub unlock: Option<Duration>,
    /// The same for administrators.
    pub admin_unlock: Option<Duration>,
    /// Whether administrators are locked too.
    pub even_admins: bool,
    /// Whose members count as administrators.
    pub admin_group: Option<String>,
    /// Where the files of failures lie.
    pub folder: String,
}

impl Default for Policy {
    fn default() -> Self {
        let unlock = Some(Duration::from_secs(600));
        Self {
            deny: 3,
            interval: Duration::from_secs(900),
            unlock,
            admin_unlock: unlock,
            even_admins: false,
            admin_group: None,
            folder: "/var/run/faillock".to_owned(),
        }
    }
}

/// How an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Failures that count.
    pub failures: u32,
    /// Whether a right password is refused too.
    pub is_locked: bool,
    /// When a lock ends by itself.
    pub unlocks_at: Option<Timestamp>,
}

impl Policy {
    /// Takes over what the configuration file says.
    pub fn take_file(&mut self, text: &str) {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        for line in lines.filter(|line| !line.is_empty()) {
            self.take(line);
        }
    }

    /// Takes over one option, `deny = 5` or `deny=5`. What is not understood changes nothing, as in the module.
    pub fn take(&mut self, option: &str) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let (name, value) = (name.trim(), value.trim());
        let seconds = || value.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()));
        let until = || match value {
            "never" | "0" => Some(None),
            _ => seconds().map(Some),
        };
        match name {
            "deny" => self.deny = value.parse().unwrap_or(self.deny),
            "fail_interval" => self.interval = seconds().unwrap_or(self.interval),
            "unlock_time" => {
                if let Some(unlock) = until() {
                    self.unlock = unlock;
                    self.admin_unlock = unlock;
                }
            }
            "root_unlock_time" => {
                self.admin_unlock = until().unwrap_or(self.admin_unlock);
                self.even_admins = true;
            }
            "even_deny_root" => self.even_admins = true,
            "admin_group" if !value.is_empty() => self.admin_group = Some(value.to_owned()),
            "dir" if value.starts_with('/') => value.trim_end_matches('/').clone_into(&mut self.folder),
            _ => {}
        }
    }

    /// Judges failures, given by their time in seconds since 1970.
    pub fn judge(&self, failures: &[u64], is_admin: bool, now: Timestamp) -> Lock {
        let open = |failures| Lock { failures, is_locked: false, unlocks_at: None };
        let Some(latest) = failures.iter().copied().max() else { return open(0) };
        let counted = failures.iter().filter(|at| latest - **at < self.interval.as_secs()).count();
        let counted = u32::try_from(counted).unwrap_or(u32::MAX);
        if self.deny == 0 || counted < self.deny || (is_admin && !self.even_admins) {
            return open(counted);
        }
        let Some(unlock) = (if is_admin { self.admin_unlock } else { self.unlock }) else {
            return Lock { failures: counted, is_locked: true, unlocks_at: None };
        };
        /// The end of the year 9999.
        const LATEST: u64 = 253_402_300_799;
        let until = i64::try_from(latest.saturating_add(unlock.as_secs()).min(LATEST)).unwrap_or(0);
        let until = Timestamp::from_millis(until * 1000);
        if until < now {
            open(counted)
        } else {
            Lock { failures: counted, is_locked: true, unlocks_at: Some(until) }
        }
    }
}

/// When the failures that count happened, in seconds since 1970. A record that is cut off is none.
pub fn tally(records: &[u8]) -> Vec<u64> {
    let failure = |record: &[u8]| {
        let status = u16::from_ne_bytes([*record.get(STATUS_AT)?, *record.get(STATUS_AT + 1)?]);
        let time = u64::from_ne_bytes(record.get(TIME_AT..TALLY_BYTES)?.try_into().ok()?);
        (status & VALID != 0).then_some(time)
    };
    records.chunks_exact(TALLY_BYTES).filter_map(failure).collect()
}

/// What a stack of PAM modules tells the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arguments {
    /// Another configuration file.
    pub file: Option<String>,
    /// Options, which win over the file.
    pub options: Vec<String>,
}

/// The arguments of the first line that uses the module; `None` when none does.
pub fn arguments(stack: &str) -> Option<Arguments> {
    let line = stack.lines().map(str::trim).find(|line| {
        !line.starts_with('#') && line.split_ascii_whitespace().any(|word| word.ends_with("pam_faillock.so"))
    })?;
    let words = line.split_ascii_whitespace().skip_while(|word| !word.ends_with("pam_faillock.so")).skip(1);
    let mut arguments = Arguments::default();
    for word in words {
        match word.strip_prefix("conf=") {
            Some(file) => arguments.file = Some(file.to_owned()),
            None => arguments.options.push(word.to_owned()),
        }
    }
    Some(arguments)
}

/// Whether `/etc/group` names this account as a member of the group.
pub fn is_member(groups: &str, group: Option<&str>, account: &str) -> bool {
    let Some(group) = group else { return false };
    groups.lines().any(|line| {
        let mut parts = line.split(':');
        let name = parts.next();
        let members = parts.nth(2).unwrap_or_default();
        name == Some(group) && members.split(',').any(|member| member.trim() == account)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_third_failure_locks_until_the_time_is_over() {
        let policy = Policy::default();
        let lock = |failures: &[u64], now| policy.judge(failures, false, at(now));
        assert!(!lock(&[1000, 1010], 1011).is_locked);
        let third = lock(&[1000, 1010, 1020], 1021);
        assert_eq!(third, Lock { failures: 3, is_locked: true, unlocks_at: Some(at(1620)) });
        assert!(lock(&[1000, 1010, 1020], 1620).is_locked);
        assert!(!lock(&[1000, 1010, 1020], 1621).is_locked);
        // The first one is too old to count.
        assert_eq!(lock(&[100, 1010, 1020], 1021).failures, 2);
        assert!(!policy.judge(&[1, 2, 3, 4], true, at(5)).is_locked, "root is not locked unless it is said");
        assert_eq!(lock(&[], 0), Lock { failures: 0, is_locked: false, unlocks_at: None });
    }

    #[test]
    fn options_of_the_stack_win_over_the_file_and_nonsense_changes_nothing() {
        let mut policy = Policy::default();
        policy.take_file(
            "# deny = 9\ndeny = 5 # five\nunlock_time=0\n\ndir = /run/f/\nadmin_group=wheel\ndeny = many\nsilent\n",
        );
        assert_eq!((policy.deny, policy.unlock, policy.folder.as_str()), (5, None, "/run/f"));
        policy.take("deny=4");
        policy.take("root_unlock_time=60");
        assert_eq!((policy.deny, policy.even_admins), (4, true));
        assert_eq!(policy.admin_unlock, Some(Duration::from_secs(60)));
        assert!(policy.judge(&[1, 2, 3, 4], false, at(i64::MAX / 2000)).is_locked, "it never ends");
        assert!(policy.judge(&[u64::MAX; 4], true, at(5)).is_locked);
    }

    #[test]
    fn a_stack_that_names_the_module_in_a_comment_does_not_use_it() {
        assert_eq!(arguments("#auth required pam_faillock.so preauth\nauth required pam_unix.so\n"), None);
        let stack = "auth [default=die] /usr/lib/security/pam_faillock.so authfail deny=4 conf=/etc/f.conf\n";
        let found = arguments(stack).unwrap();
        assert_eq!(found.file.as_deref(), Some("/etc/f.conf"));
        assert_eq!(found.options, ["authfail", "deny=4"]);
    }

    #[test]
    fn only_valid_whole_records_count() {
        let record = |status: u16, time: u64| {
            let mut bytes = vec![b'x'; STATUS_AT];
            bytes.extend(status.to_ne_bytes());
            bytes.extend(time.to_ne_bytes());
            bytes
        };
        let mut bytes = record(VALID | 4, 7);
        bytes.extend(record(0, 8));
        bytes.extend(record(VALID, 9));
        assert_eq!(tally(&bytes), [7, 9]);
        assert_eq!(tally(&bytes[..bytes.len() - 1]), [7]);
    }

    #[test]
    fn members_of_the_administrators_group_are_found() {
        let groups = "root:x:0:\nwheel:x:10:anna, otto\n:::\nwheel\n";
        assert!(is_member(groups, Some("wheel"), "otto") && !is_member(groups, Some("wheel"), "eve"));
        assert!(!is_member(groups, None, "otto"));
    }
}
