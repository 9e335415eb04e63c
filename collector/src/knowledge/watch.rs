//! Follows the administrators' folder: a change is judged as a whole and replaces the running set, or is refused.

use super::problem::{Place, Problem};
use super::set::{self, Judged, Loaded, Source};
use arc_swap::ArcSwap;
use firstline_collector_core::knowledge::KnowledgeSet;
use notify::{EventKind, RecursiveMode, Watcher as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Editors save in several writes; changes within this time are one change.
const QUIET: Duration = Duration::from_millis(300);
/// A folder that never comes to rest is judged all the same after this time.
const LATEST: Duration = Duration::from_secs(3);

/// The running set, and what is wrong with the newest files if they were refused.
#[derive(Debug)]
pub(crate) struct Knowledge {
    folder: PathBuf,
    running: ArcSwap<Loaded>,
    problems: ArcSwap<Vec<Problem>>,
    judged: Mutex<Option<Vec<Source>>>,
}

/// What came of a change in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reload {
    /// The new set is in force.
    Replaced {
        /// How many entries it has.
        entries: usize,
        /// How many override files are applied.
        overrides: usize,
    },
    /// The files are refused; what ran before still runs.
    Refused(Vec<Problem>),
}

/// Why the built-in pack cannot run: a defect of the program itself.
#[derive(Debug, thiserror::Error)]
#[error("the built-in rule pack is refused ({first}); install a complete build of the collector")]
pub struct BrokenPack {
    first: String,
}

/// The pack that the program contains, without an administrator's folder.
pub fn built_in() -> Result<Arc<KnowledgeSet>, BrokenPack> {
    built_in_with_origins().map(|loaded| loaded.set)
}

fn built_in_with_origins() -> Result<Loaded, BrokenPack> {
    let Judged { loaded, problems, .. } = set::judge_to_run(&[]);
    loaded.ok_or_else(|| BrokenPack { first: problems.first().map_or_else(String::new, Problem::to_string) })
}

impl Knowledge {
    /// Loads the pack and the files of `folder`. If those are refused the pack runs alone and
    /// [`Knowledge::problems`] says why, because a collector without rules would be worse.
    pub(crate) fn open(folder: &Path) -> Result<Self, BrokenPack> {
        let knowledge = Self {
            folder: folder.to_owned(),
            running: ArcSwap::from_pointee(built_in_with_origins()?),
            problems: ArcSwap::default(),
            judged: Mutex::new(Some(Vec::new())),
        };
        knowledge.reload();
        Ok(knowledge)
    }

    /// The set that is in force with where its entries stand.
    pub(crate) fn running(&self) -> Arc<Loaded> {
        self.running.load_full()
    }

    /// What is wrong with the newest files; empty when they are in force.
    pub(crate) fn problems(&self) -> Arc<Vec<Problem>> {
        self.problems.load_full()
    }

    /// Reads the folder again; `None` when nothing in it differs from what was judged last.
    pub(crate) fn reload(&self) -> Option<Reload> {
        let mut last = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = match set::sources(&self.folder) {
            Ok(sources) => sources,
            Err(error) => {
                *last = None;
                return Some(self.refuse(vec![unreadable(&self.folder, &error)]));
            }
        };
        if last.as_ref() == Some(&sources) {
            return None;
        }
        let Judged { loaded, problems, .. } = set::judge_to_run(&sources);
        *last = Some(sources);
        Some(match loaded {
            None => self.refuse(problems),
            Some(loaded) => {
                let reload =
                    Reload::Replaced { entries: loaded.set.entries.len(), overrides: loaded.overrides };
                self.running.store(Arc::new(loaded));
                self.problems.store(Arc::new(Vec::new()));
                reload
            }
        })
    }

    fn refuse(&self, problems: Vec<Problem>) -> Reload {
        self.problems.store(Arc::new(problems.clone()));
        Reload::Refused(problems)
    }
}

fn unreadable(folder: &Path, error: &io::Error) -> Problem {
    Problem {
        place: Place { file: Arc::from(folder.display().to_string()), line: 0 },
        what: format!("the folder cannot be read: {error}"),
        advice: "make it readable for the collector".to_owned(),
    }
}

/// Follows a folder until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    // Dropping it ends the thread: the callback's sender goes with it.
    _watcher: notify::RecommendedWatcher,
}

/// Begins to follow the folder of `knowledge`, creating it if it is missing. Each change that was judged is sent.
pub(crate) fn watch(knowledge: Arc<Knowledge>) -> notify::Result<(Watch, UnboundedReceiver<Reload>)> {
    fs::create_dir_all(&knowledge.folder).map_err(notify::Error::io)?;
    let (changed, changes): (Sender<()>, Receiver<()>) = channel();
    let (reloaded, reloads) = unbounded_channel();
    // The folder and not each file is watched, because editors replace files instead of writing into them.
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| concerns_us(&event)) {
            // A closed channel means that the thread has ended together with the program.
            let _ = changed.send(());
        }
    })?;
    watcher.watch(&knowledge.folder, RecursiveMode::NonRecursive)?;
    std::thread::Builder::new()
        .name("knowledge-watch".to_owned())
        .spawn(move || follow(&knowledge, &changes, &reloaded))
        .map_err(notify::Error::io)?;
    Ok((Watch { _watcher: watcher }, reloads))
}

/// Reading the files is an event too and must not lead to reading them again.
fn concerns_us(event: &notify::Event) -> bool {
    let is_knowledge =
        |path: &PathBuf| path.file_name().is_some_and(|name| set::is_knowledge_file(&name.to_string_lossy()));
    !matches!(event.kind, EventKind::Access(_))
        && (event.need_rescan() || event.paths.iter().any(is_knowledge))
}

fn follow(knowledge: &Knowledge, changes: &Receiver<()>, reloaded: &UnboundedSender<Reload>) {
    // Files may have changed between the first load and the start of watching.
    loop {
        if let Some(reload) = knowledge.reload()
            && reloaded.send(reload).is_err()
        {
            return;
        }
        if changes.recv().is_err() || !settle(changes) {
            return;
        }
    }
}

/// Waits until the folder is quiet; false when watching has ended.
fn settle(changes: &Receiver<()>) -> bool {
    let began = Instant::now();
    while began.elapsed() < LATEST {
        match changes.recv_timeout(QUIET) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}
