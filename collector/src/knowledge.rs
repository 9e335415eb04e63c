//! The running set of knowledge entries: read, judged as a whole, replaced at once.

mod command;
mod describe;
mod examples;
mod pack;
mod parse;
mod problem;
mod schema;
mod set;
#[cfg(test)]
mod tests;
mod tree;
mod watch;

pub(crate) use command::{Exit, FOLDER, KnowledgeCommand, run};
pub(crate) use describe::duration;
pub(crate) use problem::Problem;
pub(crate) use set::{Source, judge_alone, judge_to_run, rules, sources, subject};
pub use watch::built_in;
pub(crate) use watch::{Knowledge, Reload, watch};
