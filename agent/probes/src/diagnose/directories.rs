//! Where the space of a file system went: a bounded walk of one file system, and what grew since the last look.
//!
//! The walk follows no symbolic link, stays on one file system, and ends after a number of entries or a time. Names are
//! reported only as deep as the policy allows, because folder names of people are their own business; what lies deeper
//! is summed into its parents. The last look is kept in the agent's own folder.

mod history;
mod walk;

use crate::diagnose::{Examined, facts};
use crate::{Context, filesystem};
use firstline_model::{DiagnosticOutcome, Value, order};
use history::Look;
use std::path::PathBuf;
use std::time::Duration;
use walk::{Budget, Walk};

const MAX_ENTRIES: u64 = 1_500_000;
const TIME: Duration = Duration::from_secs(13);
const SHOWN: usize = 10;
/// A parent is left out when one reported child is at least this much of it: the child says more.
const DOMINATED: f64 = 0.8;
/// A folder that grew by this share of everything, or by this many bytes, is worth a word.
const GROWTH_SHARE: f64 = 0.2;
const GROWTH_BYTES: f64 = 10.0 * 1024.0 * 1024.0 * 1024.0;

/// Walks the file system that is mounted at `mount_point`.
pub(super) fn largest_directories(context: &Context, mount_point: &str) -> Examined {
    let place = match mounted(context, mount_point) {
        Ok(place) => place,
        Err(why) => return Examined::could_not_tell(why),
    };
    let budget = Budget { entries: MAX_ENTRIES, time: TIME };
    let walk = match walk::walk(&place, context.policy.directory_depth, budget) {
        Ok(walk) => walk,
        Err(error) => {
            return Examined::could_not_tell(format!("The folder {mount_point} could not be read: {error}."));
        }
    };
    let before = context.state_dir.as_deref().and_then(|dir| history::load(dir, mount_point));
    let examined = report(context, mount_point, &walk, before.as_ref(), space(&place));
    // A walk that was cut off has only lower bounds; comparing with them would show growth that never was.
    if let Some(dir) = context.state_dir.as_ref().filter(|_| !walk.cut_off) {
        let look = Look::new(context.now, &walk);
        if let Err(error) = history::save(dir, mount_point, look) {
            tracing::warn!(%error, "the sizes of directories could not be kept for comparison");
        }
    }
    examined
}

/// Where the file system lies. Only mount points that the agent itself would report are walked.
fn mounted(context: &Context, mount_point: &str) -> Result<PathBuf, String> {
    let mut bytes = Vec::new();
    context
        .root
        .read_into("/proc/self/mountinfo", crate::Root::TEXT_LIMIT, &mut bytes)
        .map_err(|error| format!("The list of file systems could not be read ({}).", error.detail()))?;
    let mounts = filesystem::select::local(filesystem::parse::mountinfo(&bytes));
    if mounts.iter().any(|mount| mount.name() == mount_point) {
        Ok(context.root.path(mount_point))
    } else {
        Err("That is no file system that this agent watches.".to_owned())
    }
}

/// Used and free bytes as statvfs(3) gives them.
#[derive(Debug, Clone, Copy)]
struct Space {
    used: f64,
    size: f64,
}

#[cfg(unix)]
fn space(place: &std::path::Path) -> Option<Space> {
    let sizes = rustix::fs::statvfs(place).ok()?;
    let (block, size) = (sizes.f_frsize as f64, sizes.f_blocks as f64);
    Some(Space { used: (size - sizes.f_bfree as f64) * block, size: size * block })
}

#[cfg(not(unix))]
fn space(_: &std::path::Path) -> Option<Space> {
    None
}

struct Entry {
    path: String,
    bytes: u64,
    growth: Option<f64>,
}

fn report(
    context: &Context,
    mount_point: &str,
    walk: &Walk,
    before: Option<&Look>,
    space: Option<Space>,
) -> Examined {
    let mut all: Vec<Entry> = walk
        .directories
        .iter()
        .map(|(path, &bytes)| Entry {
            path: path.clone(),
            bytes,
            growth: before
                .and_then(|look| look.growth(path, bytes))
                .filter(|growth| !walk.cut_off || *growth > 0.0),
        })
        .collect();
    all.extend(direct_files(walk));
    let mut shown: Vec<&Entry> = all.iter().filter(|entry| !dominated(entry, &all)).collect();
    order::sort_by(&mut shown, |one, other| {
        other.bytes.cmp(&one.bytes).then_with(|| one.path.cmp(&other.path))
    });
    shown.truncate(SHOWN);
    let base = space.map_or(walk.total as f64, |space| space.size);
    let threshold = GROWTH_BYTES.min(base * GROWTH_SHARE);
    let grew = shown
        .iter()
        .filter(|entry| entry.growth.is_some_and(|growth| growth >= threshold && growth > 0.0))
        .max_by(|one, other| one.growth.unwrap_or(0.0).total_cmp(&other.growth.unwrap_or(0.0)));
    let since = before.map(|look| context.now.since(look.at()));
    let full = if walk.complete { "" } else { " Not every folder could be read." };
    let (outcome, summary) = match (grew, shown.first()) {
        (Some(entry), _) => (
            DiagnosticOutcome::Problem,
            format!(
                "{} grew by {} in {} and now holds {}.{full}",
                at(mount_point, &entry.path),
                readable(entry.growth.unwrap_or(0.0)),
                span(since.unwrap_or_default()),
                readable(entry.bytes as f64)
            ),
        ),
        (None, Some(entry)) if entry.path == DIRECT => (
            DiagnosticOutcome::Ok,
            format!(
                "Files that lie directly in {mount_point} hold {}, more than any folder there.{full}",
                readable(entry.bytes as f64)
            ),
        ),
        (None, Some(entry)) => {
            let (place, bytes) = (at(mount_point, &entry.path), readable(entry.bytes as f64));
            (DiagnosticOutcome::Ok, format!("The largest folder is {place} with {bytes}.{full}"))
        }
        (None, None) => {
            (DiagnosticOutcome::Ok, format!("{mount_point} holds no folders worth naming.{full}"))
        }
    };
    let largest = shown.iter().map(|entry| {
        facts([
            ("path", Some(Value::from(at(mount_point, &entry.path)))),
            ("bytes", Some(Value::from(entry.bytes as f64))),
            ("growth_bytes", entry.growth.map(Value::from)),
        ])
    });
    // What is used but in no folder: deleted files that programs still hold open, or folders that could not be read.
    let unaccounted = space.filter(|_| walk.complete).map(|space| (space.used - walk.total as f64).max(0.0));
    let facts = facts([
        ("largest", Some(Value::List(largest.collect()))),
        ("complete", Some(Value::from(walk.complete))),
        ("total_bytes", Some(Value::from(walk.total as f64))),
        ("used_bytes", space.map(|space| Value::from(space.used))),
        ("size_bytes", space.map(|space| Value::from(space.size))),
        ("unaccounted_bytes", unaccounted.map(Value::from)),
        ("entries", Some(Value::from(walk.entries as f64))),
        ("unreadable", Some(Value::from(walk.unreadable as f64))),
        ("compared_with_s", since.map(|since| Value::from(since.as_secs_f64()))),
    ]);
    Examined::new(outcome, summary, facts)
}

/// The path under which files that lie in no folder of the file system are summed.
const DIRECT: &str = "/";

/// What lies in no folder, when it is a tenth of everything or more: a file system can be full of one large file.
fn direct_files(walk: &Walk) -> Option<Entry> {
    let in_folders: u64 = walk
        .directories
        .iter()
        .filter(|(path, _)| path.matches('/').count() == 1)
        .map(|(_, bytes)| bytes)
        .sum();
    let bytes = walk.total.saturating_sub(in_folders);
    let worth_naming = bytes > 0 && bytes.saturating_mul(10) >= walk.total && !walk.cut_off;
    worth_naming.then(|| Entry { path: DIRECT.to_owned(), bytes, growth: None })
}

fn dominated(entry: &Entry, all: &[Entry]) -> bool {
    all.iter().any(|other| {
        let below = other.path.strip_prefix(&entry.path).is_some_and(|rest| rest.starts_with('/'));
        below && other.bytes as f64 >= entry.bytes as f64 * DOMINATED
    })
}

/// The path as people write it: the mount point and what is below it.
fn at(mount_point: &str, path: &str) -> String {
    let path: String = path.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("{}{path}", mount_point.trim_end_matches('/'))
}

fn readable(bytes: f64) -> String {
    for (unit, size) in [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)] {
        if bytes >= size {
            return format!("{:.1} {unit}", bytes / size);
        }
    }
    format!("{bytes:.0} bytes")
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        0..=119 => "the last minutes".to_owned(),
        seconds @ 120..=7_199 => format!("{} minutes", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} hours", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use firstline_model::Timestamp;
    use std::fs;

    fn captured() -> (tempfile::TempDir, Context) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("proc/self")).unwrap();
        let mounts = "24 1 8:1 / /data rw - ext4 /dev/sda1 rw\n25 1 0:22 / /proc rw - proc proc rw\n";
        fs::write(root.join("proc/self/mountinfo"), mounts).unwrap();
        for (folder, bytes) in [("small", 4_000), ("deep/a/b/c/secret", 900_000), ("logs/app", 300_000)] {
            fs::create_dir_all(root.join("data").join(folder)).unwrap();
            fs::write(root.join("data").join(folder).join("file"), vec![1; bytes]).unwrap();
        }
        let mut context = Context::new(Root::at(root), Timestamp::from_millis(1_000_000_000));
        context.state_dir = Some(root.join("state"));
        context.policy.directory_depth = 2;
        fs::create_dir(root.join("state")).unwrap();
        (dir, context)
    }

    fn largest(examined: &Examined) -> Vec<(String, Option<f64>)> {
        let Some(Value::List(list)) = examined.facts.get("largest") else { panic!("{examined:?}") };
        let entry = |entry: &Value| {
            let path = entry.get("path").and_then(Value::as_text).unwrap().to_owned();
            (path, entry.get("growth_bytes").and_then(Value::as_number))
        };
        list.iter().map(entry).collect()
    }

    #[test]
    fn names_go_no_deeper_than_the_policy_allows_and_growth_is_seen_at_the_second_look() {
        let (dir, mut context) = captured();
        let first = largest_directories(&context, "/data");
        assert_eq!(first.facts.get("complete"), Some(&Value::Bool(true)));
        let names: Vec<String> = largest(&first).into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, ["/data/deep/a", "/data/logs/app", "/data/small"]);
        assert!(largest(&first).iter().all(|(_, growth)| growth.is_none()));
        context.now = context.now.plus(Duration::from_secs(7_200));
        fs::write(dir.path().join("data/logs/app/more"), vec![1; 2_000_000]).unwrap();
        let second = largest_directories(&context, "/data");
        let (path, growth) = largest(&second).remove(0);
        assert_eq!(path, "/data/logs/app");
        assert!(growth.unwrap() >= 2_000_000.0);
    }

    #[test]
    fn only_watched_file_systems_are_walked() {
        let (_dir, context) = captured();
        for place in ["/proc", "/etc", "/data/logs", "", "/data/../etc"] {
            assert_eq!(
                largest_directories(&context, place).outcome,
                DiagnosticOutcome::CouldNotTell,
                "{place}"
            );
        }
    }

    #[test]
    fn one_large_file_outside_of_all_folders_is_named_by_its_place() {
        let (dir, context) = captured();
        fs::write(dir.path().join("data/image"), vec![1; 5_000_000]).unwrap();
        let seen = largest_directories(&context, "/data");
        assert_eq!(largest(&seen).remove(0).0, "/data/");
        assert!(seen.summary.contains("directly in /data"), "{}", seen.summary);
    }

    #[test]
    fn a_parent_that_is_mostly_one_child_is_left_out() {
        let entry = |path: &str, bytes| Entry { path: path.to_owned(), bytes, growth: None };
        let all = [entry("/var", 100), entry("/var/log", 80), entry("/variant", 90), entry("/home", 10)];
        let left_out: Vec<bool> = all.iter().map(|one| dominated(one, &all)).collect();
        assert_eq!(left_out, [true, false, false, false]);
    }
}
