//! What the pages see of the rest of the collector: the entries in force, and whether it can do its work.

use crate::knowledge::Knowledge;
use crate::telemetry::Figures;
use crate::web::{Health, KnowledgeList, KnowledgeText, RefusedFile};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// The running knowledge, as pages list it.
pub(crate) struct Entries {
    knowledge: Arc<Knowledge>,
    /// The list that was made last, for the set that it was made of.
    made: Mutex<Option<(usize, Arc<Vec<KnowledgeText>>)>>,
}

impl Entries {
    pub(crate) fn new(knowledge: Arc<Knowledge>) -> Self {
        Self { knowledge, made: Mutex::new(None) }
    }
}

impl KnowledgeList for Entries {
    fn entries(&self) -> Arc<Vec<KnowledgeText>> {
        let running = self.knowledge.running();
        let set = Arc::as_ptr(&running.set).addr();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, list)) = made.as_ref()
            && *of == set
        {
            return Arc::clone(list);
        }
        let list: Arc<Vec<KnowledgeText>> =
            Arc::new(running.set.entries.values().map(KnowledgeText::of).collect());
        *made = Some((set, Arc::clone(&list)));
        list
    }

    fn refused(&self) -> Vec<RefusedFile> {
        let problems = self.knowledge.problems();
        let shown = problems.iter().map(|problem| RefusedFile {
            file: problem.place.file.to_string(),
            line: problem.place.line,
            reason: problem.what.clone(),
            advice: problem.advice.clone(),
        });
        shown.collect()
    }
}

/// What keeps the collector from doing its work. A refused knowledge file is not such a thing: what ran before still
/// runs, and `doctor` and the log say what is wrong.
pub(crate) struct Condition {
    pub figures: Arc<Figures>,
    /// Failures of the store at the last look; new ones since make the collector not ready.
    pub seen: Mutex<(u64, u64)>,
}

impl Health for Condition {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let (failures, commits) = (
            self.figures.store_failures.load(Ordering::Relaxed),
            self.figures.commits.load(Ordering::Relaxed),
        );
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // A failure is over when something was committed after it.
        if failures > seen.0 {
            *seen = (failures, commits);
        }
        // While no agent is active only the check knows.
        let refuses = self.figures.store_refuses.load(Ordering::Relaxed);
        if refuses || (failures > 0 && commits <= seen.1) {
            problems.push("the store cannot be written; agents keep their records until it can".to_owned());
        }
        problems
    }
}
