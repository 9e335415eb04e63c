//! The built-in rule pack: every file of `collector/core/knowledge`, compiled in.

/// File names and texts, in order of name. The build script writes the list.
pub(crate) const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pack.rs"));

#[cfg(test)]
mod tests;
