//! Who is signed in, how long that took, and which accounts are locked after wrong passwords.
//!
//! Who is signed in stands in systemd's `/run/systemd/sessions`, where there is none in `/run/utmp`; both can be read by
//! everybody. Locks are those of `pam_faillock`: its files of failures (for which the administrator's rights are needed) are
//! judged by its own rules. Told are names of accounts of this machine only, because people type passwords where a name
//! belongs, and never from where somebody tried.

pub mod faillock;
pub mod journal;
pub mod on_windows;
pub mod session;
mod sign_in;

use crate::{Context, Descriptor, Due, Probe, ProbeError, Root, Sink};
use faillock::{Policy, TALLY_BYTES};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason, Value, semconv};
use session::Session;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SESSIONS: &str = "/run/systemd/sessions";
/// More sessions, and more accounts than this are not told of.
const MAX_SESSIONS: usize = 64;
const MAX_ACCOUNTS: usize = 64;
/// More failures of one account are not read; the limit of any policy is far below.
const MAX_FAILURES: usize = 1024;

/// Sessions and locks.
#[derive(Debug)]
pub struct Account {
    slow: Due,
    /// Whose end is still to be told.
    signed_in: BTreeSet<String>,
    sign_in: sign_in::SignIn,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            slow: Due::every(Duration::from_secs(3600)),
            signed_in: BTreeSet::new(),
            sign_in: sign_in::SignIn::default(),
        }
    }
}

impl Probe for Account {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "account",
            interval: Duration::from_secs(60),
            trigger_interval: None,
            time_limit: Duration::from_secs(10),
            cpu_budget: Duration::from_millis(5),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let slow = self.slow.is_due(context.now);
        let all = Component::only(ComponentKind::User);
        if !context.reads_linux() {
            if slow {
                let why = "not read on this operating system yet";
                sink.unavailable(&all, semconv::USER_SESSIONS, UnavailableReason::Unsupported, why);
                sink.unavailable(&all, semconv::USER_LOCKED, UnavailableReason::Unsupported, why);
            }
            return;
        }
        match sessions(&context.root) {
            Ok(sessions) => {
                tell_sessions(&sessions, &mut self.signed_in, sink);
                if let Some(session) = newest_at_the_machine(&sessions)
                    && let Err(error) = self.sign_in.tell(session, context, sink)
                    && slow
                {
                    sink.failed(&all, semconv::LOGIN_DURATION, &error);
                }
            }
            Err(error) if slow => sink.failed(&all, semconv::USER_SESSIONS, &error),
            Err(_) => {}
        }
        match locks(context, sink) {
            Ok(()) => {}
            Err(error) if slow => sink.failed(&all, semconv::USER_LOCKED, &error),
            Err(_) => {}
        }
    }
}

fn sessions(root: &Root) -> Result<Vec<Session>, ProbeError> {
    match root.list(SESSIONS) {
        Ok(names) => {
            // Beside each session lies a pipe, `<name>.ref`.
            let files = names.iter().filter(|name| !name.ends_with(".ref")).take(MAX_SESSIONS);
            let texts = files.filter_map(|name| root.read_text(&format!("{SESSIONS}/{name}")).ok());
            Ok(texts.filter_map(|text| session::of_login_manager(&text)).collect())
        }
        Err(ProbeError::NotPresent(_)) => {
            let mut records = Vec::new();
            root.read_into("/run/utmp", Root::TEXT_LIMIT, &mut records).map_err(|error| match error {
                ProbeError::NotPresent(_) => {
                    ProbeError::Unsupported("nothing on this machine keeps a list of sessions".to_owned())
                }
                ProbeError::Unsupported(_)
                | ProbeError::NotPermitted(_)
                | ProbeError::TimedOut(_)
                | ProbeError::Malformed(_) => error,
            })?;
            Ok(session::of_utmp(&records).into_iter().take(MAX_SESSIONS).collect())
        }
        Err(error) => Err(error),
    }
}

/// The account of the person who sits at the machine.
pub(crate) fn at_the_machine(root: &Root) -> Option<String> {
    newest_at_the_machine(&sessions(root).ok()?).map(|session| session.user.clone())
}

fn newest_at_the_machine(sessions: &[Session]) -> Option<&Session> {
    sessions.iter().filter(|session| session.is_at_the_machine).max_by_key(|session| session.since)
}

/// Tells the sessions of each person, the end of the last one once, and who sits at the machine.
pub(crate) fn tell_sessions(sessions: &[Session], before: &mut BTreeSet<String>, sink: &mut Sink) {
    let mut by_user: BTreeMap<&str, Vec<&Session>> = BTreeMap::new();
    for session in sessions {
        by_user.entry(session.user.as_str()).or_default().push(session);
    }
    for gone in before.iter().filter(|user| !by_user.contains_key(user.as_str())) {
        if let Ok(component) = Component::new(ComponentKind::User, gone.as_str()) {
            sink.sample(&component, semconv::USER_SESSIONS, Attributes::none(), 0.0);
        }
    }
    for (user, of_user) in &by_user {
        let Ok(component) = Component::new(ComponentKind::User, *user) else { continue };
        sink.sample(&component, semconv::USER_SESSIONS, Attributes::none(), of_user.len() as f64);
        let mut kinds: Vec<&str> = of_user.iter().map(|session| session.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut document = vec![("kinds", Value::List(kinds.into_iter().map(Value::from).collect()))];
        let since = of_user.iter().filter_map(|session| session.since).min();
        document.extend(since.map(|since| ("since", Value::from(since.to_string()))));
        sink.state(&component, "sessions", Value::map(document));
    }
    if let Some(newest) = newest_at_the_machine(sessions) {
        sink.facts(
            &Component::only(ComponentKind::Os),
            Value::map([("user", Value::from(newest.user.as_str()))]),
        );
    }
    *before = by_user.keys().map(|user| (*user).to_owned()).collect();
}

/// Accounts of people have such numbers (login.defs(5)); others are told of only when somebody failed to sign in as them.
const OF_PEOPLE: std::ops::Range<u32> = 1000..60_000;

fn locks(context: &Context, sink: &mut Sink) -> Result<(), ProbeError> {
    let root = &context.root;
    let Some(policy) = policy(root)? else {
        let why = "this system does not lock accounts after wrong passwords";
        return Err(ProbeError::NotPresent(why.to_owned()));
    };
    let tallies = match root.list(&policy.folder) {
        Ok(names) => names,
        // It is made with the first failure after a start.
        Err(ProbeError::NotPresent(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let accounts = root.read_text("/etc/passwd")?;
    let groups = match &policy.admin_group {
        Some(_) => root.read_text("/etc/group").unwrap_or_default(),
        None => String::new(),
    };
    let accounts = accounts.lines().filter_map(|line| {
        let mut parts = line.split(':');
        let (name, number) = (parts.next()?, parts.nth(1)?.parse::<u32>().ok()?);
        let has_tally = tallies.iter().any(|tally| tally == name);
        (has_tally || OF_PEOPLE.contains(&number)).then_some((name, has_tally))
    });
    let mut refused = None;
    for (name, has_tally) in accounts.take(MAX_ACCOUNTS) {
        let Ok(component) = Component::new(ComponentKind::User, name) else { continue };
        let failures =
            if has_tally { failures(root, &format!("{}/{name}", policy.folder)) } else { Ok(Vec::new()) };
        let failures = match failures {
            Ok(failures) => failures,
            Err(error @ ProbeError::NotPermitted(_)) => {
                refused = Some(error);
                continue;
            }
            Err(error) => {
                sink.failed(&component, semconv::USER_LOCKED, &error);
                continue;
            }
        };
        let is_admin = name == "root" || faillock::is_member(&groups, policy.admin_group.as_deref(), name);
        let lock = policy.judge(&failures, is_admin, context.now);
        let locked = f64::from(u8::from(lock.is_locked));
        sink.sample(&component, semconv::USER_LOCKED, Attributes::none(), locked);
        if lock.failures > 0 {
            let mut document = vec![
                ("failures", Value::from(f64::from(lock.failures))),
                ("allowed", Value::from(f64::from(policy.deny))),
            ];
            document.extend(lock.unlocks_at.map(|at| ("unlocks_at", Value::from(at.to_string()))));
            sink.state(&component, "lockout", Value::map(document));
        }
    }
    refused.map_or(Ok(()), Err)
}

fn failures(root: &Root, path: &str) -> Result<Vec<u64>, ProbeError> {
    let mut records = Vec::new();
    match root.read_into(path, MAX_FAILURES * TALLY_BYTES, &mut records) {
        // It was taken away meanwhile.
        Err(ProbeError::NotPresent(_)) => Ok(Vec::new()),
        read => read.map(|()| faillock::tally(&records)),
    }
}

/// Files in which a stack of PAM modules may name `pam_faillock`, the usual ones first.
const STACKS: &[&str] = &["system-auth", "password-auth", "common-auth", "login", "gdm-password", "sshd"];

/// The rules in force; `None` when no stack uses the module.
fn policy(root: &Root) -> Result<Option<Policy>, ProbeError> {
    let mut arguments = None;
    for stack in STACKS {
        match root.read_text(&format!("/etc/pam.d/{stack}")) {
            Ok(text) => arguments = faillock::arguments(&text),
            Err(ProbeError::NotPresent(_)) => {}
            Err(error) => return Err(error),
        }
        if arguments.is_some() {
            break;
        }
    }
    let Some(arguments) = arguments else { return Ok(None) };
    let mut policy = Policy::default();
    match root.read_text(arguments.file.as_deref().unwrap_or("/etc/security/faillock.conf")) {
        Ok(text) => policy.take_file(&text),
        Err(ProbeError::NotPresent(_)) => {}
        Err(error) => return Err(error),
    }
    for option in &arguments.options {
        policy.take(option);
    }
    Ok(Some(policy))
}
