//! The agent's disk: a file system for SQLite in memory that knows what was synced.
//!
//! A power cut loses what was not: each write since the last sync of its file survives whole, in part or not at all, as the
//! seed says. The disk can be full, refuse to sync, or lose power in the middle of any write. Everything belongs to the
//! thread, so that seeds run side by side.

use crate::random::Random;
use firstline_agent::seams::Disk;
use rusqlite::{Connection, OpenFlags};
use sqlite_vfs::wip::{WalIndex, WalIndexLock};
use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenOptions, Vfs};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

/// The name under which SQLite knows this file system.
const NAME: &str = "firstline-sim";
/// What a disk writes at once; a power cut can tear longer writes.
const SECTOR: usize = 512;

thread_local! {
    static DISKS: RefCell<BTreeMap<String, Contents>> = const { RefCell::new(BTreeMap::new()) };
}

/// A disk.
struct Contents {
    files: BTreeMap<String, File>,
    random: Random,
    full: bool,
    sync_fails: bool,
    /// Power goes after so many more writes and syncs.
    power_for: Option<u64>,
    has_power: bool,
    handles: u64,
    locks: BTreeMap<String, Locks>,
}

#[derive(Default)]
struct File {
    live: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<Write>,
}

enum Write {
    Bytes { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// Who holds what of one database.
#[derive(Default)]
struct Locks {
    file: BTreeMap<u64, u8>,
    index: BTreeMap<u8, BTreeMap<u64, bool>>,
    regions: BTreeMap<u32, Box<[u8; 32768]>>,
}

fn write_into(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn with<T>(disk: &str, act: impl FnOnce(&mut Contents) -> io::Result<T>) -> io::Result<T> {
    DISKS.with_borrow_mut(|disks| match disks.get_mut(disk) {
        Some(contents) => act(contents),
        None => Err(io::ErrorKind::NotFound.into()),
    })
}

/// `/disk/file`.
fn split(path: &str) -> io::Result<(&str, &str)> {
    path.trim_start_matches('/').split_once('/').ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Contents {
    fn step(&mut self) -> io::Result<()> {
        if !self.has_power {
            return Err(io::Error::other("no power"));
        }
        match &mut self.power_for {
            Some(0) => {
                self.has_power = false;
                Err(io::Error::other("no power"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A disk from outside: what the world does to it, and what an independent reader finds on it.
#[derive(Debug, Clone)]
pub(crate) struct Drive {
    name: String,
    path: PathBuf,
}

impl Drive {
    /// An empty disk.
    pub(crate) fn new(name: &str, random: Random) -> Self {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(|| {
            if let Err(error) = sqlite_vfs::register(NAME, FileSystem, false) {
                panic!("SQLite refuses the simulated file system: {error}");
            }
        });
        let contents = Contents {
            files: BTreeMap::new(),
            random,
            full: false,
            sync_fails: false,
            power_for: None,
            has_power: true,
            handles: 0,
            locks: BTreeMap::new(),
        };
        DISKS.with_borrow_mut(|disks| disks.insert(name.to_owned(), contents));
        Self { name: name.to_owned(), path: PathBuf::from(format!("/{name}/spool.db")) }
    }

    fn change(&self, act: impl FnOnce(&mut Contents)) {
        DISKS.with_borrow_mut(|disks| disks.get_mut(&self.name).map(act));
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.change(|disk| disk.full = full);
    }

    pub(crate) fn set_sync_fails(&self, fails: bool) {
        self.change(|disk| disk.sync_fails = fails);
    }

    /// Power goes in the middle of the writes to come.
    pub(crate) fn lose_power_after(&self, writes: u64) {
        self.change(|disk| disk.power_for = Some(writes));
    }

    /// Power is cut: what was not synced is lost, whole or in part.
    pub(crate) fn cut_power(&self) {
        self.change(|disk| {
            let Contents { files, random, .. } = disk;
            let survives = *random.pick(&[0, 0, 50, 90]);
            for file in files.values_mut() {
                for write in std::mem::take(&mut file.pending) {
                    if !random.percent(survives) {
                        continue;
                    }
                    match write {
                        Write::Bytes { at, mut bytes } => {
                            if random.percent(20) {
                                bytes.truncate(bytes.len() / 2 / SECTOR * SECTOR);
                            }
                            write_into(&mut file.synced, at, &bytes);
                        }
                        Write::Length(length) => file.synced.resize(length, 0),
                    }
                }
                file.live.clone_from(&file.synced);
            }
            disk.locks.clear();
            disk.power_for = None;
            disk.has_power = false;
        });
    }

    /// Power is back, and the process that had files open is gone.
    pub(crate) fn restart(&self) {
        self.change(|disk| {
            disk.has_power = true;
            disk.power_for = None;
            disk.locks.clear();
        });
    }

    /// A copy of the spool as it is now, opened by a reader of its own.
    pub(crate) fn read(&self) -> Option<Connection> {
        let copy = format!("{}-copy", self.name);
        let files = DISKS.with_borrow(|disks| {
            let disk = disks.get(&self.name)?;
            let main = disk.files.get("spool.db")?.live.clone();
            let log = disk.files.get("spool.db-wal").map(|file| file.live.clone());
            Some((main, log))
        })?;
        Self::new(&copy, Random::new(0, "copy")).change(|disk| {
            disk.files.insert("spool.db".to_owned(), File { live: files.0, ..File::default() });
            if let Some(log) = files.1 {
                disk.files.insert("spool.db-wal".to_owned(), File { live: log, ..File::default() });
            }
        });
        open(&format!("/{copy}/spool.db")).ok()
    }
}

fn open(path: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    Connection::open_with_flags_and_vfs(path, flags, NAME)
}

impl Disk for Drive {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        open(&self.path.to_string_lossy())
    }

    fn set_aside(&self) -> io::Result<()> {
        with(&self.name, |disk| {
            disk.files.retain(|name, _| !name.starts_with("spool.db"));
            disk.locks.clear();
            Ok(())
        })
    }
}

struct FileSystem;

impl Vfs for FileSystem {
    type Handle = Handle;

    fn open(&self, path: &str, options: OpenOptions) -> io::Result<Handle> {
        let (disk, file) = split(path)?;
        let id = with(disk, |contents| {
            if !contents.has_power {
                return Err(io::Error::other("no power"));
            }
            let exists = contents.files.contains_key(file);
            match options.access {
                OpenAccess::Read | OpenAccess::Write if !exists => return Err(io::ErrorKind::NotFound.into()),
                OpenAccess::CreateNew if exists => return Err(io::ErrorKind::AlreadyExists.into()),
                OpenAccess::Create | OpenAccess::CreateNew if !exists => {
                    if contents.full {
                        return Err(io::ErrorKind::StorageFull.into());
                    }
                    contents.files.insert(file.to_owned(), File::default());
                }
                OpenAccess::Read | OpenAccess::Write | OpenAccess::Create | OpenAccess::CreateNew => {}
            }
            contents.handles += 1;
            Ok(contents.handles)
        })?;
        Ok(Handle { disk: disk.to_owned(), file: file.to_owned(), id })
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        let (disk, file) = split(path)?;
        with(disk, |contents| {
            contents.step()?;
            contents.files.remove(file);
            Ok(())
        })
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        let (disk, file) = split(path)?;
        with(disk, |contents| Ok(contents.files.contains_key(file)))
    }

    fn temporary_name(&self) -> String {
        "/none/temporary".to_owned()
    }

    fn random(&self, buffer: &mut [i8]) {
        buffer.fill(7);
    }

    /// Nothing in this thread could let go of a lock meanwhile.
    fn sleep(&self, duration: Duration) -> Duration {
        duration
    }

    fn full_pathname<'a>(&self, path: &'a str) -> io::Result<Cow<'a, str>> {
        Ok(path.into())
    }
}

/// An open file.
struct Handle {
    disk: String,
    file: String,
    id: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The disk may be gone with its seed.
        let _ = with(&self.disk, |contents| {
            if let Some(locks) = contents.locks.get_mut(&self.file) {
                locks.file.remove(&self.id);
                for holders in locks.index.values_mut() {
                    holders.remove(&self.id);
                }
            }
            Ok(())
        });
    }
}

const fn rank(kind: LockKind) -> u8 {
    match kind {
        LockKind::None => 0,
        LockKind::Shared => 1,
        LockKind::Reserved => 2,
        LockKind::Pending => 3,
        LockKind::Exclusive => 4,
    }
}

impl DatabaseHandle for Handle {
    type WalIndex = Index;

    fn size(&self) -> io::Result<u64> {
        with(&self.disk, |disk| Ok(disk.file(&self.file)?.live.len() as u64))
    }

    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        with(&self.disk, |disk| {
            let live = &disk.file(&self.file)?.live;
            let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(live.len());
            let end = begin.saturating_add(buffer.len()).min(live.len());
            let there = end - begin;
            buffer[..there].copy_from_slice(&live[begin..end]);
            // What is beyond the end reads as zeros, which SQLite counts on.
            buffer[there..].fill(0);
            if there < buffer.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        })
    }

    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        with(&self.disk, |disk| {
            disk.step()?;
            if disk.full {
                // What this file system calls a full disk.
                return Err(io::ErrorKind::WriteZero.into());
            }
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            let file = disk.file(&self.file)?;
            write_into(&mut file.live, at, bytes);
            file.pending.push(Write::Bytes { at, bytes: bytes.to_vec() });
            Ok(())
        })
    }

    fn sync(&mut self, _: bool) -> io::Result<()> {
        with(&self.disk, |disk| {
            disk.step()?;
            if disk.sync_fails {
                // As Linux does it: what could not be written is forgotten, and the next sync reports success.
                let keep = disk.random.percent(50);
                let file = disk.file(&self.file)?;
                if !keep {
                    file.pending.clear();
                }
                return Err(io::Error::other("the disk does not answer"));
            }
            let file = disk.file(&self.file)?;
            for write in std::mem::take(&mut file.pending) {
                match write {
                    Write::Bytes { at, bytes } => write_into(&mut file.synced, at, &bytes),
                    Write::Length(length) => file.synced.resize(length, 0),
                }
            }
            Ok(())
        })
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        with(&self.disk, |disk| {
            disk.step()?;
            let length = usize::try_from(size).unwrap_or(usize::MAX);
            let file = disk.file(&self.file)?;
            file.live.resize(length, 0);
            file.pending.push(Write::Length(length));
            Ok(())
        })
    }

    fn lock(&mut self, kind: LockKind) -> io::Result<bool> {
        let (id, wanted) = (self.id, rank(kind));
        with(&self.disk, |disk| {
            let locks = disk.locks.entry(self.file.clone()).or_default();
            let others = locks.file.iter().filter(|(other, _)| **other != id).map(|(_, held)| *held).max();
            let others = others.unwrap_or(0);
            let granted = match wanted {
                0 => true,
                1 => others < 3 || locks.file.get(&id).is_some_and(|held| *held >= 1),
                2 | 3 => others < 2,
                _ => others == 0,
            };
            if granted {
                locks.file.insert(id, wanted);
            }
            Ok(granted)
        })
    }

    fn reserved(&mut self) -> io::Result<bool> {
        with(&self.disk, |disk| {
            let locks = disk.locks.entry(self.file.clone()).or_default();
            Ok(locks.file.values().any(|held| *held >= 2))
        })
    }

    fn current_lock(&self) -> io::Result<LockKind> {
        let held = with(&self.disk, |disk| {
            let locks = disk.locks.entry(self.file.clone()).or_default();
            Ok(locks.file.get(&self.id).copied().unwrap_or(0))
        })?;
        Ok(match held {
            0 => LockKind::None,
            1 => LockKind::Shared,
            2 => LockKind::Reserved,
            3 => LockKind::Pending,
            _ => LockKind::Exclusive,
        })
    }

    fn wal_index(&self, _: bool) -> io::Result<Index> {
        Ok(Index { disk: self.disk.clone(), file: self.file.clone(), id: self.id })
    }
}

/// The shared memory of a database's log.
struct Index {
    disk: String,
    file: String,
    id: u64,
}

impl Index {
    fn locks<T>(&self, act: impl FnOnce(&mut Locks) -> T) -> io::Result<T> {
        with(&self.disk, |disk| Ok(act(disk.locks.entry(self.file.clone()).or_default())))
    }
}

impl WalIndex for Index {
    fn map(&mut self, region: u32) -> io::Result<[u8; 32768]> {
        self.locks(|locks| **locks.regions.entry(region).or_insert_with(|| Box::new([0; 32768])))
    }

    fn lock(&mut self, slots: Range<u8>, kind: WalIndexLock) -> io::Result<bool> {
        let id = self.id;
        self.locks(|locks| {
            let is_free = |slot: &u8| {
                locks.index.get(slot).is_none_or(|holders| {
                    let mut others = holders.iter().filter(|(other, _)| **other != id);
                    match kind {
                        WalIndexLock::None => true,
                        WalIndexLock::Shared => !others.any(|(_, exclusive)| *exclusive),
                        WalIndexLock::Exclusive => others.next().is_none(),
                    }
                })
            };
            if !slots.clone().all(|slot| is_free(&slot)) {
                return false;
            }
            for slot in slots {
                let holders = locks.index.entry(slot).or_default();
                match kind {
                    WalIndexLock::None => holders.remove(&id),
                    WalIndexLock::Shared => holders.insert(id, false),
                    WalIndexLock::Exclusive => holders.insert(id, true),
                };
            }
            true
        })
    }

    fn delete(self) -> io::Result<()> {
        self.locks(|locks| locks.regions.clear())
    }

    fn pull(&mut self, region: u32, data: &mut [u8; 32768]) -> io::Result<()> {
        self.locks(|locks| {
            if let Some(shared) = locks.regions.get(&region) {
                *data = **shared;
            }
        })
    }

    fn push(&mut self, region: u32, data: &[u8; 32768]) -> io::Result<()> {
        self.locks(|locks| {
            locks.regions.insert(region, Box::new(*data));
        })
    }
}

/// Forgets the disks of this thread.
pub(crate) fn forget_all() {
    DISKS.with_borrow_mut(BTreeMap::clear);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_survives_a_power_cut_only_if_it_was_synced() {
        for (synchronous, kept) in [("FULL", 5), ("OFF", 0)] {
            let drive = Drive::new("test", Random::new(1, "test"));
            let database = drive.open().unwrap();
            database.pragma_update(None, "journal_mode", "WAL").unwrap();
            database.pragma_update(None, "synchronous", "FULL").unwrap();
            database.execute_batch("CREATE TABLE t(n)").unwrap();
            database.pragma_update(None, "synchronous", synchronous).unwrap();
            for n in 0..5 {
                database.execute("INSERT INTO t VALUES(?)", [n]).unwrap();
            }
            drive.change(|disk| disk.random = Random::new(3, "nothing survives"));
            drive.cut_power();
            drop(database);
            drive.restart();
            let database = drive.open().unwrap();
            let found: u64 = database.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
            assert!(if kept == 0 { found < 5 } else { found == kept }, "{synchronous}: {found}");
        }
    }

    #[test]
    fn a_full_disk_and_a_failed_sync_are_errors_and_a_reader_sees_what_is_there() {
        let drive = Drive::new("test", Random::new(1, "test"));
        let database = drive.open().unwrap();
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
        database.pragma_update(None, "synchronous", "FULL").unwrap();
        database.execute_batch("CREATE TABLE t(n); INSERT INTO t VALUES(1)").unwrap();
        drive.set_full(true);
        assert!(database.execute("INSERT INTO t VALUES(2)", []).is_err());
        drive.set_full(false);
        drive.set_sync_fails(true);
        assert!(database.execute("INSERT INTO t VALUES(3)", []).is_err());
        drive.set_sync_fails(false);
        database.execute("INSERT INTO t VALUES(4)", []).unwrap();
        let copy = drive.read().unwrap();
        let sum: u64 = copy.query_row("SELECT sum(n) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(sum, 5);
    }
}
