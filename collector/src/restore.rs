//! `restore FILE`: makes a data folder from a backup. Everything is unpacked and checked in a folder beside it, which takes
//! its name at the end, so that whatever stops this leaves no data folder, or a whole one.
//!
//! A restored collector does not know what happened after the backup was taken. What can be settled is settled here (what was
//! good for one use ends, ticket numbers move on); what agents send again, and what only a person can know, is said.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

use crate::authority::{self, Authority};
use crate::backup::archive::{self, About};
use crate::backup::progress::Progress;
use crate::backup::staging::Staging;
use crate::cli::RestoreArgs;
use crate::seal::Seal;
use crate::serve::open_store;
use crate::{clock, private};
use anyhow::{Context, Result, bail};
use firstline_collector_store::engines::sqlite;
use firstline_collector_store::engines::sqlite::backup::Snapshot;
use firstline_collector_store::record::{AuditEntry, Recovered, Settled};
use firstline_model::Timestamp;
use serde_json::json;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long agents keep what was acknowledged (`agent/src/config.rs`: the default of `keep_acked_hours`).
const AGENTS_KEEP: Duration = Duration::from_secs(24 * 3600);
/// Ticket numbers left out for each day that may have passed, and more where there are more devices: nobody knows how many
/// were given out, and a number must not mean two tickets.
const TICKETS_A_DAY: u64 = 10_000;
/// The next ticket's number is one more than a multiple of this, so that a person sees where the gap ends.
const ROUND: u64 = 1_000;

pub(crate) fn command(data: &Path, args: &RestoreArgs) -> Result<ExitCode> {
    let target = target(data)?;
    let staging = Staging::beside(&target)?;
    let restored = fill(&staging.path, &args.file)
        .with_context(|| format!("{} was not restored and nothing was changed", args.file.display()))?;
    sync_tree(&staging.path)?;
    std::fs::rename(&staging.path, &target)
        .with_context(|| format!("cannot put the data folder {} in its place", target.display()))?;
    private::sync_folder_of(&target)?;
    say(args, &target, &restored);
    Ok(ExitCode::SUCCESS)
}

struct Restored {
    about: About,
    holds: Snapshot,
    settled: Settled,
    now: Timestamp,
    /// Why the authority cannot be used yet.
    authority: Option<String>,
}

/// Unpacks, checks and settles.
fn fill(folder: &Path, file: &Path) -> Result<Restored> {
    let mut progress = Progress::new("unpacking the backup");
    let about = archive::unpack(file, folder, &mut |done, total| progress.at(done, total))?;
    if about.schema > sqlite::backup::newest_schema() {
        bail!(
            "it was made by collector {} (schema {}), this one knows schema {}: install that version, then restore",
            about.program,
            about.schema,
            sqlite::backup::newest_schema()
        );
    }
    let database = folder.join(sqlite::FILE_NAME);
    if !database.is_file() {
        bail!("there is no store in it");
    }
    if !folder.join(authority::FOLDER).join("certificate.pem").is_file() {
        bail!("there is no authority in it");
    }
    let holds = sqlite::backup::check(&database).context("its store is damaged; restore an older backup")?;
    let now = clock::now();
    let taken_at = Timestamp::from_millis(about.taken_at_ms);
    let skipped = skipped_tickets(holds.last_ticket, holds.devices, now.since(taken_at));
    let recovered = Recovered { taken_at, restored_at: now };
    let line = AuditEntry {
        at: now,
        actor: "command line".to_owned(),
        action: "collector.restore".to_owned(),
        subject: file.display().to_string(),
        detail: format!("a backup taken at {taken_at}"),
    };
    let store = open_store(folder, "sqlite")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let settled = runtime
        .block_on(store.settle(recovered, skipped, &line))
        .context("the restored store cannot be settled")?;
    // The store's journal goes into its file before the folder takes its name.
    drop(store);
    let authority = authority_trouble(folder, &about);
    Ok(Restored { about, holds, settled, now, authority })
}

/// How many numbers are left out.
fn skipped_tickets(last: u64, devices: u64, age: Duration) -> u64 {
    let days = age.as_secs() / (24 * 3600) + 1;
    let least = days.saturating_mul(TICKETS_A_DAY.max(devices.saturating_mul(2)));
    let next = last.saturating_add(least).div_ceil(ROUND).saturating_mul(ROUND);
    // The numbers stay within what people can say and columns hold, however wrong a clock is.
    next.saturating_sub(last).min(1_000_000_000)
}

/// Whether the authority can be used: its key may be sealed with one that is not here.
fn authority_trouble(folder: &Path, about: &About) -> Option<String> {
    if !about.has_seal_key && !Seal::of(folder).path().exists() {
        return Some(
            "the seal key is not in this backup: put it back as seal.key into the data folder (mode 0600), or name the \
             file with FIRSTLINE_SEAL_KEY, before the collector is started"
                .to_owned(),
        );
    }
    Authority::open(folder).err().map(|error| format!("{error:#}"))
}

/// The folder that is to be made: one that is not there, or is empty.
fn target(data: &Path) -> Result<PathBuf> {
    let name = data.file_name().with_context(|| format!("{} names no folder", data.display()))?;
    let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    private::create_folder(parent)?;
    let parent = parent.canonicalize().with_context(|| format!("there is no folder {}", parent.display()))?;
    let target = parent.join(name);
    let Ok(metadata) = target.symlink_metadata() else { return Ok(target) };
    if !metadata.is_dir() {
        bail!("{} is no folder", target.display());
    }
    if is_served(&target) {
        bail!("a collector serves {}; stop it, and restore into another folder", target.display());
    }
    let is_empty = std::fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty {
        bail!(
            "{} is not empty and was not touched; name a folder that is not there yet (--data DIR), or move this one away",
            target.display()
        );
    }
    let is_mount = parent.metadata().is_ok_and(|parent| parent.dev() != metadata.dev());
    if is_mount {
        bail!("{0} is a file system of its own; name a folder inside it: --data {0}/data", target.display());
    }
    Ok(target)
}

fn is_served(data: &Path) -> bool {
    let lock = File::open(data.join("serve.lock"));
    lock.is_ok_and(|file| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

/// Makes every file and every name in a folder durable.
fn sync_tree(folder: &Path) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot look into {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot look into {}", folder.display()))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            let synced = File::open(&path).and_then(|file| file.sync_all());
            synced.with_context(|| format!("cannot make {} durable", path.display()))?;
        }
    }
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("cannot make {} durable", folder.display()))
}

/// What agents send again, in words.
fn resent(age: Duration, taken_at: Timestamp, now: Timestamp) -> String {
    if age <= AGENTS_KEEP {
        format!(
            "Agents keep what was acknowledged for 24 h, so they send everything since {taken_at} again; nothing of \
             theirs is lost."
        )
    } else {
        format!(
            "Agents keep what was acknowledged for 24 h: they send what they spooled since {} again. What was \
             acknowledged between {taken_at} and then is lost; the audit log names it for each device when it comes \
             back (record.gap).",
            now.minus(AGENTS_KEEP)
        )
    }
}

fn say(args: &RestoreArgs, target: &Path, restored: &Restored) {
    let Restored { about, holds, settled, now, authority } = restored;
    let taken_at = Timestamp::from_millis(about.taken_at_ms);
    let age = now.since(taken_at);
    if args.json {
        println!(
            "{}",
            json!({"data": target.display().to_string(), "taken_at": taken_at.to_string(), "age_s": age.as_secs(),
                   "devices": holds.devices, "tickets": holds.tickets, "records": holds.records,
                   "sessions_ended": settled.sessions, "tokens_withdrawn": settled.tokens,
                   "next_ticket": settled.next_ticket, "is_within_what_agents_keep": age <= AGENTS_KEEP,
                   "authority": authority})
        );
        return;
    }
    println!(
        "{} holds {} devices, {} tickets and {} records as of {taken_at}, {} ago.",
        target.display(),
        holds.devices,
        holds.tickets,
        holds.records,
        words(age)
    );
    println!("{}", resent(age, taken_at, *now));
    println!(
        "Ended: {} sessions, {} enrollment tokens, any first sign-in link. The next ticket gets number {}: numbers in \
         between may have been given out.",
        settled.sessions, settled.tokens, settled.next_ticket
    );
    println!(
        "This collector does not know what was done after {taken_at}. Do again, if it was: revoking and retiring \
         devices, enrolling new ones (enroll --replace keeps their spool), adding users and bearer tokens, changes of \
         tickets by people, a rotation of the authority."
    );
    if let Some(trouble) = authority {
        println!("BEFORE THE START: {trouble}");
    }
    println!("Start it with: firstline-collector --data {} serve", target.display());
}

/// A length of time for a person.
fn words(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f26_ticket_numbers_move_beyond_whatever_may_have_been_given_out() {
        let hour = Duration::from_secs(3600);
        assert_eq!(skipped_tickets(7, 40, hour), 10_993, "one day has begun");
        assert_eq!(skipped_tickets(7, 100_000, hour * 30), 400_993, "two days of a large fleet");
        assert_eq!(skipped_tickets(0, 1, Duration::ZERO), 10_000, "a clock that went back counts as one day");
        assert_eq!(skipped_tickets(5, 1, Duration::MAX), 1_000_000_000, "a clock of another age");
    }

    #[test]
    fn f26_what_agents_no_longer_have_is_said() {
        let (taken_at, hour) = (Timestamp::from_millis(0), Duration::from_secs(3600));
        assert!(resent(hour * 24, taken_at, taken_at.plus(hour * 24)).contains("nothing of theirs is lost"));
        let old = resent(hour * 30, taken_at, taken_at.plus(hour * 30));
        assert!(old.contains("is lost") && old.contains("1970-01-01T06:00"), "{old}");
    }
}
