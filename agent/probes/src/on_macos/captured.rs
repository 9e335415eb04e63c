//! What was captured of a machine that runs macOS: the answers in the files that [`Question::file`] names, and folders such
//! as `Library/Logs/DiagnosticReports`. An answer that begins with `!not_permitted` stands for a refusal.

use super::{Machine, Question};
use crate::{ProbeError, Root};
use std::path::Path;

const MAX_ANSWER_BYTES: usize = 8 << 20;

/// A folder that answers as a machine.
#[derive(Debug)]
pub struct Captured {
    root: Root,
}

impl Captured {
    /// The machine in this folder.
    pub fn at(folder: &Path) -> Self {
        Self { root: Root::at(folder) }
    }
}

impl Machine for Captured {
    /// From the file `processor.txt`, four numbers.
    fn processor_ticks(&self) -> Result<[u32; 4], ProbeError> {
        let malformed = || ProbeError::Malformed("processor.txt holds no four numbers".to_owned());
        let text = self.root.read_text("/processor.txt")?;
        let numbers: Result<Vec<u32>, _> = text.split_ascii_whitespace().map(str::parse).collect();
        numbers.map_err(|_| malformed())?.try_into().map_err(|_| malformed())
    }

    fn answer(&self, question: Question) -> Result<String, ProbeError> {
        let file = question.file();
        let mut bytes = Vec::new();
        match self.root.read_into(&format!("/{file}"), MAX_ANSWER_BYTES, &mut bytes) {
            Ok(()) if bytes.starts_with(b"!not_permitted") => {
                Err(ProbeError::NotPermitted(format!("{file}: the program was refused")))
            }
            Ok(()) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(ProbeError::NotPresent(_)) => Err(ProbeError::NotPresent(format!("{file} was not captured"))),
            Err(error) => Err(error),
        }
    }

    fn root(&self) -> &Root {
        &self.root
    }
}
