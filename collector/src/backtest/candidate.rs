//! The two sets of rules that a back-test compares: those in force, and the same with one file more.

use crate::knowledge::{self, Source};
use firstline_collector_core::knowledge::KnowledgeSet;
use firstline_model::RuleCode;
use std::sync::Arc;

/// What is compared.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The entry that the file is about.
    pub(crate) code: RuleCode,
    /// The rules in force.
    pub(crate) before: Arc<KnowledgeSet>,
    /// The same with the file.
    pub(crate) after: Arc<KnowledgeSet>,
}

/// Judges the text of a file over the rules in force; the error names every problem with its line.
pub(crate) type Judge = dyn Fn(&str) -> Result<Rules, Vec<String>> + Send + Sync;

/// Judges `text` under the name `file` over `sources`, which made `before`. A file of the same name, and an entry that
/// it replaces, give way to it; an override is laid over what is there.
pub(crate) fn judge(
    before: &Arc<KnowledgeSet>,
    sources: &[Source],
    file: &str,
    text: &str,
) -> Result<Rules, Vec<String>> {
    let words = |problems: Vec<knowledge::Problem>| problems.iter().map(ToString::to_string).collect();
    let (code, is_entry) = knowledge::subject(file, text).map_err(words)?;
    let mut added: Vec<Source> = sources
        .iter()
        .filter(|source| source.file != file && !(is_entry && source.is_entry_of(&code)))
        .cloned()
        .collect();
    added.push(Source { file: file.to_owned(), text: Ok(text.to_owned()) });
    let after = knowledge::judge_to_run(&added);
    match after.loaded {
        Some(loaded) => Ok(Rules { code, before: Arc::clone(before), after: loaded.set }),
        None => Err(words(after.problems)),
    }
}
