//! A running macOS: its programs, through the one place that starts programs.

use super::{Half, Machine, Question};
use crate::exec::{self, Limits};
use crate::{Context, Descriptor, Probe, ProbeError, Root, Sink};
use std::time::Duration;

/// `system_profiler` walks through every program for its list.
const TIME: Duration = Duration::from_secs(25);

#[derive(Debug)]
struct Live {
    root: Root,
}

impl Machine for Live {
    fn answer(&self, question: Question) -> Result<String, ProbeError> {
        let limits = Limits { time: TIME, output: 8 << 20 };
        let finished = exec::run(&self.root, question.program(), question.arguments(), limits)?;
        if finished.exit_code == Some(0) {
            Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
        } else {
            let code = finished.exit_code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
            Err(ProbeError::Malformed(format!("{} ended with {code}", question.program().name())))
        }
    }

    fn root(&self) -> &Root {
        &self.root
    }
}

/// A probe whose half for macOS replaces what it does elsewhere. Of a captured machine it does what it does everywhere.
pub(crate) struct OnMacos {
    pub(crate) probe: Box<dyn Probe>,
    pub(crate) half: Box<dyn Half>,
}

impl Probe for OnMacos {
    fn descriptor(&self) -> Descriptor {
        self.probe.descriptor()
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        if context.root.is_system() {
            // Programs are started in steady looks only.
            if context.steady {
                self.half.collect(&Live { root: context.root.clone() }, context, sink);
            }
        } else {
            self.probe.collect(context, sink);
        }
    }
}
