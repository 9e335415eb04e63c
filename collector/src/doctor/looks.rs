//! What `doctor` looks at in the data folder.

use super::{Seen, Trouble, ago, until};
use crate::authority::{self, Authority};
use crate::backup::note;
use crate::clock;
use crate::knowledge::{self, Knowledge};
use crate::private;
use crate::seal::Seal;
use firstline_collector_store::StoreError;
use firstline_collector_store::engines::sqlite::{self, backup::Snapshot};
use firstline_model::Timestamp;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Below this much free space, or this share of the disk, a busy collector may soon store nothing.
const LEAST_FREE: u64 = 1 << 30;
const LEAST_SHARE: u64 = 20;
/// A backup that is older is a problem; agents keep what they delivered for one day.
const OLDEST_BACKUP: Duration = Duration::from_secs(7 * 24 * 3600);
/// Clocks of one machine that are set by small steps differ by less.
const CLOCK_SLACK: Duration = Duration::from_secs(60);
/// Problems of knowledge files that are named.
const MOST_PROBLEMS: usize = 5;
const START_ONCE: &str = "start the collector once: firstline-collector serve";

/// What the store's file says; `None` when there is none.
pub(super) type Survey = Option<Result<Snapshot, StoreError>>;

/// Reads the store's file from end to end without changing it.
pub(super) fn survey(data: &Path) -> Survey {
    let path = data.join(sqlite::FILE_NAME);
    path.exists().then(|| sqlite::backup::quick_check(&path))
}

pub(super) fn folder(data: &Path) -> Seen {
    if !data.exists() {
        return Err(Trouble::new(format!("{} is not there", data.display()), START_ONCE));
    }
    private::check_closed(data)?;
    Ok(data.display().to_string())
}

pub(super) fn modes(data: &Path) -> Seen {
    let folder = data.join(authority::FOLDER);
    let seal = Seal::of(data);
    let mut count = 0;
    let closed = [
        folder.clone(),
        folder.join("key.pem"),
        folder.join("next"),
        folder.join("next/key.pem"),
        data.join(sqlite::FILE_NAME),
        data.join("collector.db-wal"),
        seal.path().to_owned(),
    ];
    let owner = data.metadata().map(|metadata| metadata.uid()).ok();
    for path in closed {
        let Ok(metadata) = path.symlink_metadata() else { continue };
        private::check_closed(&path)?;
        if Some(metadata.uid()) != owner {
            let remedy = format!("chown --reference={} {}", data.display(), path.display());
            return Err(Trouble::new(
                format!("{} belongs to another user than its folder", path.display()),
                remedy,
            ));
        }
        count += 1;
    }
    Ok(format!("{count} files and folders with secrets are closed to others"))
}

pub(super) fn disk(data: &Path) -> Seen {
    let sizes = rustix::fs::statvfs(data).map_err(|error| {
        Trouble::new(format!("the disk of {} cannot be asked: {error}", data.display()), "")
    })?;
    let free = sizes.f_bavail.saturating_mul(sizes.f_frsize);
    let total = sizes.f_blocks.saturating_mul(sizes.f_frsize);
    let said = format!("{} MiB of {} MiB free", free >> 20, total >> 20);
    if free < LEAST_FREE.min(total / LEAST_SHARE) || free < 64 << 20 {
        return Err(Trouble::new(
            said,
            format!(
                "make room on the disk of {}: a full disk stops storing, agents then keep their data",
                data.display()
            ),
        ));
    }
    if sizes.f_ffree == 0 && sizes.f_files > 0 {
        return Err(Trouble::new("the disk has no room for another file (no free inodes)", "delete files"));
    }
    Ok(said)
}

/// Whether this machine's clock can be right, by what was written here before.
pub(super) fn clock(data: &Path, store: &Survey, now: Timestamp) -> Seen {
    let newest = match store {
        Some(Ok(snapshot)) => snapshot.newest_record,
        Some(Err(_)) | None => None,
    };
    let backup = note::Note::read(data).ok().flatten().map(|note| Timestamp::from_millis(note.taken_at_ms));
    let before = [("the newest record", newest), ("the last backup", backup)];
    for (what, at) in before.into_iter().filter_map(|(what, at)| Some((what, at?))) {
        if at > now.plus(CLOCK_SLACK) {
            return Err(Trouble::new(
                format!("it says {now}, but {what} is of {at}: it was set back, or was ahead before"),
                "set the clock, best by NTP; certificates, tokens and retention go by it",
            ));
        }
    }
    if let Some(off) = clock::doubt() {
        return Err(Trouble::new(
            format!("it is {} h from the collector's time {now} and is not followed", off.as_secs() / 3600),
            "set the clock; if it is right, start the collector once with --believe-clock",
        ));
    }
    Ok(format!("{now}, not before anything that was stored"))
}

pub(super) fn authority(data: &Path, now: Timestamp) -> Seen {
    let folder = data.join(authority::FOLDER);
    if !folder.join("certificate.pem").exists() {
        return Err(Trouble::new("there is none yet", START_ONCE));
    }
    private::check_closed(&folder.join("key.pem"))?;
    let authority = Authority::open(data)?;
    let mut said = Vec::new();
    for (fingerprint, end) in authority.ends()? {
        if authority::is_near_its_end(end, now) {
            return Err(Trouble::new(
                format!("sha256:{fingerprint} ends at {}", until(end, now)),
                "replace it: firstline-collector authority rotate",
            ));
        }
        said.push(format!("sha256:{fingerprint} until {}", until(end, now)));
    }
    Ok(said.join("; "))
}

pub(super) fn store(survey: &Survey, now: Timestamp) -> Seen {
    let snapshot = match survey {
        None => return Err(Trouble::new("there is none yet", START_ONCE)),
        Some(Err(error)) => {
            let remedy = match error {
                StoreError::Corrupt { .. } => {
                    "stop the collector, move the data folder away, restore the newest backup"
                }
                StoreError::Unavailable { .. } | StoreError::Conflict { .. } | StoreError::Invalid { .. } => {
                    "look at the disk and at who holds the file"
                }
            };
            return Err(Trouble::new(error.to_string(), remedy));
        }
        Some(Ok(snapshot)) => snapshot,
    };
    let known = sqlite::backup::newest_schema();
    if snapshot.schema > known {
        return Err(Trouble::new(
            format!(
                "it has schema {}, this program knows {known}: it was written by a newer version",
                snapshot.schema
            ),
            "start that version, or restore a backup that this one made",
        ));
    }
    let last = snapshot.newest_record.map_or_else(|| "none yet".to_owned(), |at| ago(at, now));
    let mut said = format!(
        "sound, schema {}, {} devices, {} tickets, {} records, the last {last}",
        snapshot.schema, snapshot.devices, snapshot.tickets, snapshot.records
    );
    if snapshot.schema < known {
        said += "; the next start updates the schema";
    }
    Ok(said)
}

pub(super) fn knowledge(data: &Path) -> Seen {
    let folder = data.join(knowledge::FOLDER);
    let knowledge = Knowledge::open(&folder)
        .map_err(|error| Trouble::from(anyhow::Error::from(error).context("the rule pack is refused")))?;
    let problems = knowledge.problems();
    if problems.iter().next().is_some() {
        let said: Vec<String> = problems.iter().take(MOST_PROBLEMS).map(ToString::to_string).collect();
        let remedy = format!(
            "mend the file; what was in force before stays. Check with: firstline-collector knowledge check {}",
            folder.display()
        );
        return Err(Trouble::new(said.join("; "), remedy).since(newest_change(&folder)));
    }
    let running = knowledge.running();
    Ok(format!("{} entries, {} overrides", running.set.entries.len(), running.overrides))
}

/// When a file of the folder was changed last.
fn newest_change(folder: &Path) -> Option<Timestamp> {
    let entries = std::fs::read_dir(folder).ok()?;
    let changed = entries.flatten().filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()?;
    let millis = changed.duration_since(UNIX_EPOCH).ok()?.as_millis();
    i64::try_from(millis).ok().map(Timestamp::from_millis)
}

pub(super) fn backup(data: &Path, survey: &Survey, now: Timestamp) -> Seen {
    const REMEDY: &str = "make one a day: firstline-collector backup FILE";
    let Some(note) = note::Note::read(data)? else {
        // A store that has been in use for a week by now needs one.
        let first = match survey {
            Some(Ok(snapshot)) => snapshot.first_enrolled,
            Some(Err(_)) | None => None,
        };
        return match first {
            Some(first) if now.since(first) >= OLDEST_BACKUP => {
                Err(Trouble::new("there has never been one", REMEDY).since(Some(first)))
            }
            Some(_) | None => Ok("none yet; agents keep what they delivered for 24 h".to_owned()),
        };
    };
    let at = Timestamp::from_millis(note.taken_at_ms);
    let said = format!("the last one is {} ({} MiB), taken {}", note.file, note.bytes >> 20, ago(at, now));
    if now.since(at) >= OLDEST_BACKUP {
        return Err(Trouble::new(said, REMEDY).since(Some(at.plus(DAY))));
    }
    if !Path::new(&note.file).exists() {
        return Ok(format!("{said}; it is not there any more, which is well if it was moved away"));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_603_300_000);

    fn survey_of(change: impl FnOnce(&mut Snapshot)) -> Survey {
        let mut snapshot = Snapshot {
            schema: sqlite::backup::newest_schema(),
            devices: 3,
            tickets: 2,
            records: 1,
            last_ticket: 2,
            newest_record: Some(NOW.minus(DAY)),
            first_enrolled: Some(NOW.minus(DAY * 3)),
        };
        change(&mut snapshot);
        Some(Ok(snapshot))
    }

    #[test]
    fn an_old_backup_and_none_at_all_after_a_week_are_troubles() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert!(backup(data, &None, NOW).is_ok());
        assert!(backup(data, &survey_of(|_| ()), NOW).is_ok(), "a young collector needs none yet");
        let old = survey_of(|snapshot| snapshot.first_enrolled = Some(NOW.minus(DAY * 8)));
        let trouble = backup(data, &old, NOW).unwrap_err();
        assert!(trouble.remedy.contains("backup FILE") && trouble.since == Some(NOW.minus(DAY * 8)));
        let noted = |age: Duration| note::Note {
            taken_at_ms: NOW.minus(age).as_millis(),
            file: "/backups/x.tar".to_owned(),
            bytes: 5 << 20,
        };
        noted(DAY).write(data).unwrap();
        assert!(backup(data, &old, NOW).unwrap().contains("24 h ago"));
        noted(DAY * 8).write(data).unwrap();
        assert!(backup(data, &old, NOW).unwrap_err().detail.contains("8 days ago"));
        std::fs::write(data.join(note::FILE_NAME), "{").unwrap();
        assert!(backup(data, &old, NOW).unwrap_err().detail.contains("damaged"));
    }

    #[test]
    fn a_clock_that_was_set_back_is_seen_by_what_was_stored() {
        let folder = tempfile::tempdir().unwrap();
        assert!(clock(folder.path(), &survey_of(|_| ()), NOW).is_ok());
        let ahead = survey_of(|snapshot| snapshot.newest_record = Some(NOW.plus(DAY)));
        assert!(clock(folder.path(), &ahead, NOW).unwrap_err().remedy.contains("set the clock"));
    }

    #[test]
    fn a_store_that_is_damaged_or_newer_or_not_there_says_what_to_do() {
        assert!(store(&None, NOW).unwrap_err().remedy.contains("serve"));
        let newer = survey_of(|snapshot| snapshot.schema += 1);
        assert!(store(&newer, NOW).unwrap_err().remedy.contains("start that version"));
        let damaged = Some(Err(StoreError::Corrupt { detail: "row 7 missing".to_owned() }));
        assert!(store(&damaged, NOW).unwrap_err().remedy.contains("restore"));
        let sound = store(&survey_of(|_| ()), NOW).unwrap();
        assert!(sound.contains("3 devices") && sound.contains("24 h ago"), "{sound}");
    }

    #[test]
    fn an_end_within_sixty_days_is_a_trouble_and_is_said_in_days() {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(folder.path()).unwrap();
        let now = clock::now();
        assert!(authority(folder.path(), now).unwrap().contains("in 3649 days"));
        let trouble = authority(folder.path(), now.plus(DAY * 3_600)).unwrap_err();
        assert!(trouble.detail.contains("in 49 days") && trouble.remedy.contains("rotate"), "{trouble:?}");
        let trouble = authority(folder.path(), now.plus(DAY * 3_660)).unwrap_err();
        assert!(trouble.detail.contains("days ago"), "{trouble:?}");
    }
}
