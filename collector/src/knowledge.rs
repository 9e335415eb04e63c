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

pub(crate) use command::{FOLDER, KnowledgeCommand, run};
pub(crate) use set::{judge_alone, rules};
pub use watch::built_in;
pub(crate) use watch::{Knowledge, Reload, watch};
