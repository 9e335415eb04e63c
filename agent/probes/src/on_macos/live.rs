//! A running macOS: its programs, through the one place that starts programs, and the counters of its processors.
#![expect(unsafe_code, reason = "the kernel hands out the counters of its processors through a call only")]

use super::{Half, Machine, Question};
use crate::exec::{self, Limits};
use crate::{Context, Descriptor, Probe, ProbeError, Root, Sink};
use std::time::Duration;

/// `system_profiler` walks through every program for its list.
const TIME: Duration = Duration::from_secs(25);

/// `HOST_CPU_LOAD_INFO` of `mach/host_info.h`, and the numbers that it fills in.
const CPU_LOAD: i32 = 3;
const CPU_LOAD_WORDS: u32 = 4;

// The interface of `mach/mach_host.h`: a port, a flavour, a place for numbers, and how many fit into it.
unsafe extern "C" {
    fn mach_host_self() -> u32;
    fn host_statistics(host: u32, flavour: i32, numbers: *mut u32, count: *mut u32) -> i32;
}

/// The machine that this program runs on.
#[derive(Debug)]
pub(crate) struct Live {
    root: Root,
}

impl Live {
    /// Its files are the system's own.
    pub(crate) const fn new() -> Self {
        Self { root: Root::system() }
    }
}

impl Machine for Live {
    fn processor_ticks(&self) -> Result<[u32; 4], ProbeError> {
        static HOST: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
        // SAFETY: it takes nothing; the right to the port that it gives is kept, so it is asked once.
        let host = *HOST.get_or_init(|| unsafe { mach_host_self() });
        let mut ticks = [0_u32; 4];
        let mut count = CPU_LOAD_WORDS;
        // SAFETY: the place has as many numbers as `count` says, and both are valid for the call.
        match unsafe { host_statistics(host, CPU_LOAD, ticks.as_mut_ptr(), &raw mut count) } {
            0 if count == CPU_LOAD_WORDS => Ok(ticks),
            code => Err(ProbeError::Malformed(format!("host_statistics answered {code}"))),
        }
    }

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
                self.half.collect(&Live::new(), context, sink);
            }
        } else {
            self.probe.collect(context, sink);
        }
    }
}
