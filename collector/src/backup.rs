//! `backup FILE`: everything that a data folder holds, of one moment, in one file, while the collector goes on working.
//!
//! The file is written under another name beside its place and takes its own when it is whole and durable, so that whatever
//! stops this leaves the file that was there before, or the new one. The seal key stays out unless it is asked for: a backup
//! that lies about somewhere must not be worth an authority.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

pub(crate) mod archive;
pub(crate) mod note;
pub(crate) mod progress;
pub(crate) mod staging;

use crate::authority::{self, Authority};
use crate::cli::BackupArgs;
use crate::seal::Seal;
use crate::{clock, private, seal};
use anyhow::{Context, Result, bail};
use archive::{About, Writer};
use firstline_collector_store::engines::sqlite;
use firstline_collector_store::engines::sqlite::backup::Snapshot;
use firstline_model::Timestamp;
use note::Note;
use progress::Progress;
use serde_json::json;
use staging::Staging;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Files of a running collector that mean nothing elsewhere, at the top of the data folder.
const OF_THIS_RUN: &[&str] = &["serve.lock", "listeners.json", clock::FILE_NAME, note::FILE_NAME];
/// Folders inside each other that are looked into.
const DEEPEST: usize = 8;
/// How often files that change while they are copied are copied again.
const TRIES: usize = 10;

pub(crate) fn command(data: &Path, args: &BackupArgs) -> Result<ExitCode> {
    let place = place(data, &args.file, args.replace)?;
    let database = data.join(sqlite::FILE_NAME);
    if !database.exists() {
        bail!("there is nothing to back up in {}: no collector was started there", data.display());
    }
    let taken_at = clock::now();
    let staging = Staging::beside(&place)?;
    let mut made = make(data, &staging, args.with_seal_key)?;
    let about = About {
        format: archive::FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at_ms: taken_at.as_millis(),
        schema: made.snapshot.schema,
        has_seal_key: args.with_seal_key,
    };
    let whole = staging.path.join("archive");
    let mut writer = Writer::begin(private::open_new(&whole)?, &about)?;
    let mut progress = Progress::new("writing the archive");
    let total: u64 = made.files.iter().map(|(_, path)| std::fs::metadata(path).map_or(0, |m| m.len())).sum();
    for (name, path) in &made.files {
        writer.append(name, path, &mut |done| progress.at(done, total))?;
    }
    writer.finish()?;
    put_in_place(&whole, &place, args.replace)?;
    let bytes = std::fs::metadata(&place).map_or(0, |metadata| metadata.len());
    let note = Note { taken_at_ms: taken_at.as_millis(), file: place.display().to_string(), bytes };
    if let Err(error) = note.write(data) {
        // The backup is good all the same.
        made.left_out.push(format!("the note by which `doctor` knows of this backup: {error:#}"));
    }
    say(data, args, &place, bytes, &made, taken_at);
    Ok(ExitCode::SUCCESS)
}

/// What goes into the archive: names in it, and where the copies lie.
struct Made {
    files: Vec<(String, PathBuf)>,
    snapshot: Snapshot,
    /// What was left out, with the reason.
    left_out: Vec<String>,
}

fn make(data: &Path, staging: &Staging, with_seal_key: bool) -> Result<Made> {
    let mut progress = Progress::new("copying the store");
    let copy = staging.path.join(sqlite::FILE_NAME);
    let snapshot = sqlite::backup::snapshot(&data.join(sqlite::FILE_NAME), &copy, &mut |done, total| {
        progress.at(done, total);
    })
    .context("the store cannot be copied; the collector goes on, and `doctor` looks at the store")?;
    let mut made = Made { files: vec![(sqlite::FILE_NAME.to_owned(), copy)], snapshot, left_out: Vec::new() };
    // After the store: of a rotation that goes on meanwhile the backup then knows the newer authority.
    seal_what_is_clear(data)?;
    copy_files(data, staging, &mut made)?;
    if with_seal_key {
        let key = Seal::of(data);
        let bytes = key.bytes().context("the seal key cannot be read, so it cannot be in the backup")?;
        let path = staging.path.join(seal::FILE_NAME);
        private::create_bytes(&path, &bytes)?;
        made.files.push((seal::FILE_NAME.to_owned(), path));
    }
    Ok(made)
}

/// A key that an earlier version left in clear is sealed before it is copied.
fn seal_what_is_clear(data: &Path) -> Result<()> {
    let folder = data.join(authority::FOLDER);
    let is_clear =
        |path: PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY"));
    if is_clear(folder.join("key.pem")) || is_clear(folder.join("next/key.pem")) {
        Authority::open(data).context("an authority's key lies here in clear and cannot be sealed")?;
    }
    Ok(())
}

/// Copies everything beside the store as it is at one moment: when something changed meanwhile, all of it again.
fn copy_files(data: &Path, staging: &Staging, made: &mut Made) -> Result<()> {
    for round in 0..TRIES {
        let before = look_at(data)?;
        let folder = staging.path.join(format!("files-{round}"));
        let mut files = Vec::new();
        let mut is_same = true;
        for entry in &before.files {
            let target = folder.join(&entry.name);
            if let Some(parent) = target.parent() {
                private::create_folder(parent)?;
            }
            match std::fs::read(data.join(&entry.name)) {
                Ok(bytes) => private::create_bytes(&target, &bytes)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => is_same = false,
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot read {}", data.join(&entry.name).display()));
                }
            }
            files.push((entry.name.clone(), target));
        }
        if is_same && look_at(data)?.files == before.files {
            made.files.extend(files);
            made.left_out = before.left_out;
            return Ok(());
        }
    }
    bail!("files in {} change all the time; is something else at work there?", data.display())
}

#[derive(Default)]
struct Seen {
    files: Vec<Entry>,
    left_out: Vec<String>,
}

/// A file, and by what a change of it shows.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    stamp: (u64, u64, i64, i64),
}

fn look_at(data: &Path) -> Result<Seen> {
    let mut seen = Seen::default();
    look_into(data, "", 0, &mut seen)?;
    seen.files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(seen)
}

fn look_into(data: &Path, folder: &str, depth: usize, seen: &mut Seen) -> Result<()> {
    let place = data.join(folder);
    let entries =
        std::fs::read_dir(&place).with_context(|| format!("cannot look into {}", place.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot look into {}", place.display()))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            seen.left_out.push(format!("{}: its name is not UTF-8", entry.path().display()));
            continue;
        };
        let whole = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        if is_of_no_use(folder, name) {
            continue;
        }
        // Deleted meanwhile: the second look tells.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth < DEEPEST {
            look_into(data, &whole, depth + 1, seen)?;
        } else if metadata.is_file() && archive::can_be_named(&whole) {
            let stamp = (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
            seen.files.push(Entry { name: whole, stamp });
        } else {
            let why = "only files and folders with ordinary names of at most 100 characters are taken";
            seen.left_out.push(format!("{}: {why}", entry.path().display()));
        }
    }
    Ok(())
}

/// What the archive has another way, what belongs to this run, and what is being written.
fn is_of_no_use(folder: &str, name: &str) -> bool {
    let is_being_written = name.starts_with('.') && name.contains(".new-") || name.starts_with(".new-");
    let is_other = match folder {
        "" => name.starts_with(sqlite::FILE_NAME) || name == seal::FILE_NAME || OF_THIS_RUN.contains(&name),
        authority::FOLDER => name == "rotation.lock" || name == "next.new",
        _ => false,
    };
    is_being_written || is_other
}

/// Where the backup goes: outside of the data folder, and not over a file unless that was said.
fn place(data: &Path, file: &Path, replace: bool) -> Result<PathBuf> {
    let name = file.file_name().with_context(|| format!("{} names no file", file.display()))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder
        .canonicalize()
        .with_context(|| format!("there is no folder {}; make it first", folder.display()))?;
    if data.canonicalize().is_ok_and(|data| folder.starts_with(data)) {
        bail!("{} lies in the data folder; a backup belongs on another disk", file.display());
    }
    let place = folder.join(name);
    match std::fs::symlink_metadata(&place) {
        Ok(metadata) if !metadata.is_file() => bail!("{} is no file", place.display()),
        Ok(_) if !replace => {
            bail!("{} is there already; choose another name, or say --replace", place.display())
        }
        Ok(_) | Err(_) => Ok(place),
    }
}

fn put_in_place(whole: &Path, place: &Path, replace: bool) -> Result<()> {
    if !replace && place.symlink_metadata().is_ok() {
        bail!("{} was made by somebody else meanwhile; it was not touched", place.display());
    }
    std::fs::rename(whole, place).with_context(|| format!("cannot put {} in its place", place.display()))?;
    private::sync_folder_of(place)
}

fn say(data: &Path, args: &BackupArgs, place: &Path, bytes: u64, made: &Made, taken_at: Timestamp) {
    let Snapshot { schema, devices, tickets, records, .. } = made.snapshot;
    if args.json {
        println!(
            "{}",
            json!({"file": place.display().to_string(), "bytes": bytes, "taken_at": taken_at.to_string(),
                   "schema": schema, "devices": devices, "tickets": tickets, "records": records,
                   "files": made.files.len(), "seal_key": args.with_seal_key, "left_out": made.left_out})
        );
        return;
    }
    println!("{}: {devices} devices, {tickets} tickets, {records} records as of {taken_at}", place.display());
    for left_out in &made.left_out {
        println!("left out: {left_out}");
    }
    if args.with_seal_key {
        println!(
            "The seal key is in it: whoever reads this file can issue certificates. Keep it as a secret."
        );
    } else {
        println!(
            "The seal key ({}) is not in it. Keep a copy of it elsewhere: without it a restored collector has no \
             authority, and every device has to enroll again.",
            Seal::of(data).path().display()
        );
    }
    println!(
        "Agents keep what was acknowledged for 24 h; data of a day on which no backup is younger can be lost."
    );
}
