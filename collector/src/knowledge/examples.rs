//! Runs the worked examples of an entry: they are its tests.

use firstline_collector_core::knowledge::example::run_example;
use firstline_collector_core::knowledge::{Example, KnowledgeEntry};

/// Why the example does not hold; `None` when it does.
pub(crate) fn failure(entry: &KnowledgeEntry, example: &Example) -> Option<String> {
    let failure = run_example(entry, example).err()?;
    // The example's name is said by whoever shows the failure.
    let prefix = format!("example {:?}: ", example.name);
    Some(failure.strip_prefix(&prefix).unwrap_or(&failure).to_owned())
}
