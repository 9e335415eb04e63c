//! An agent of the test's own: data folder, identity, configuration, process.

use crate::collector::Collector;
use crate::fake_clock::FakeClock;
use crate::office::Office;
use crate::process::{self, Log, Process};
use firstline_agent_probes::PROBES;
use serde::Deserialize;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use tempfile::TempDir;

/// An enrolled agent; it runs after [`Agent::start`] and ends with this value.
#[derive(Debug)]
pub struct Agent {
    // The order is that of dropping: nothing is deleted under a process that runs.
    process: Option<Process>,
    folder: Option<TempDir>,
    data: PathBuf,
    network: Option<String>,
    wrapper: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    device: String,
}

/// What the agent keeps of its enrollment.
#[derive(Debug, Clone, Deserialize)]
pub struct Identity {
    /// The device's name.
    pub device_id: String,
    /// PKCS #8, PEM.
    pub private_key: String,
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub authorities: Vec<String>,
}

impl Agent {
    /// One that is enrolled with this collector.
    pub fn enrolled(collector: &Collector) -> Self {
        Self::enrolled_at(&collector.enrollment_url(&[]))
    }

    /// One that is enrolled through this address.
    ///
    /// # Panics
    /// When enrollment fails.
    pub fn enrolled_at(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The agent makes it, closed to others.
        let mut agent = Self::enrolled_in(folder.path().join("agent"), url);
        agent.folder = Some(folder);
        agent
    }

    /// One whose data lie in this folder, which the test looks after.
    ///
    /// # Panics
    /// When enrollment fails.
    pub fn enrolled_in(data: PathBuf, url: &str) -> Self {
        let output = enroll(&data, url);
        assert!(output.status.success(), "enroll: {}", String::from_utf8_lossy(&output.stderr));
        let mut agent = Self {
            process: None,
            folder: None,
            data,
            network: None,
            wrapper: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            device: String::new(),
        };
        agent.device = agent.identity().device_id;
        agent
    }

    /// A second machine with a copy of this one's disk. To be copied while it does not run.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn cloned(&self) -> Self {
        assert!(self.process.is_none(), "a disk is copied while the machine is off");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("agent");
        let mut copy = process::command("cp");
        copy.arg("-a").arg(&self.data).arg(&data);
        process::succeed(copy);
        Self {
            process: None,
            folder: Some(folder),
            data,
            network: self.network.clone(),
            wrapper: self.wrapper.clone(),
            arguments: self.arguments.clone(),
            environment: self.environment.clone(),
            device: self.device.clone(),
        }
    }

    /// Enrolls again, under a new name, keeping everything else.
    ///
    /// # Panics
    /// When enrollment fails.
    pub fn enroll_again(&mut self, url: &str) {
        let mut command = enroll_command(&self.data);
        command.arg("--replace");
        let output = process::run_with_input(command, url);
        assert!(output.status.success(), "enroll: {}", String::from_utf8_lossy(&output.stderr));
        self.device = self.identity().device_id;
    }

    /// Stands in this office's network.
    #[must_use]
    pub fn in_office(self, office: &Office) -> Self {
        self.in_namespace(office.name())
    }

    /// Stands in this network namespace.
    #[must_use]
    pub fn in_namespace(mut self, name: &str) -> Self {
        self.network = Some(name.to_owned());
        self
    }

    /// Runs under another program, which is told the agent's command behind these arguments.
    #[must_use]
    pub fn under(mut self, wrapper: &[&OsStr]) -> Self {
        self.wrapper = wrapper.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// Has this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: &FakeClock) -> Self {
        self.environment = clock.environment();
        self
    }

    /// Starts with further arguments of `run`.
    #[must_use]
    pub fn with_arguments(mut self, arguments: &[&OsStr]) -> Self {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// Runs only these probes, every five seconds; `more` is appended to the configuration.
    #[must_use]
    pub fn probing(self, only: &[&str], more: &str) -> Self {
        self.write_config(&format!("{}\n{more}\n", probes(only)));
        self
    }

    /// With this configuration file.
    #[must_use]
    pub fn configured(self, text: &str) -> Self {
        self.write_config(text);
        self
    }

    /// Writes the configuration file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_config(&self, text: &str) {
        // As editors do it: never half a file.
        let fresh = self.data().join("agent.toml.new");
        std::fs::write(&fresh, text).expect("the configuration can be written");
        std::fs::rename(fresh, self.data().join("agent.toml")).expect("the configuration can be replaced");
    }

    /// Starts `run`.
    pub fn start(&mut self) {
        let binary = process::binary("firstline-agent");
        let mut command = match (&self.network, self.wrapper.split_first()) {
            (Some(network), _) => {
                let mut command = process::command("ip");
                command.args(["netns", "exec", network]).args(&self.wrapper).arg(binary);
                command
            }
            (None, Some((program, arguments))) => {
                let mut command = process::command(program);
                command.args(arguments).arg(binary);
                command
            }
            (None, None) => process::command(binary),
        };
        command.arg("run").arg("--data").arg(self.data()).args(&self.arguments);
        command.envs(self.environment.iter().cloned());
        self.process = Some(Process::start("the agent", command, &[]));
    }

    /// The same, started.
    #[must_use]
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.take().expect("the agent runs").kill();
    }

    /// Ends it and gives everything that it logged.
    pub fn kill_for_log(&mut self) -> Vec<String> {
        let process = self.process.take().expect("the agent runs");
        let log = Arc::clone(&process.log);
        process.kill();
        log.lines()
    }

    /// Asks it to end and gives everything that it logged.
    pub fn stop_for_log(&mut self) -> Vec<String> {
        let process = self.process.take().expect("the agent runs");
        let log = Arc::clone(&process.log);
        process.stop();
        log.lines()
    }

    /// Stops it where it stands: from now on it neither writes nor sends.
    pub fn freeze(&self) {
        self.process.as_ref().expect("the agent runs").freeze();
    }

    /// Whether it ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::has_ended)
    }

    /// Asks it to end.
    pub fn stop(&mut self) {
        self.process.take().expect("the agent runs").stop();
    }

    /// The number of its process.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the agent runs").id()
    }

    /// The memory that it has now, in bytes.
    pub fn memory(&self) -> u64 {
        self.process.as_ref().expect("the agent runs").memory()
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.process.as_ref().expect("the agent runs").log
    }

    /// Its name.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its spool.
    pub fn spool(&self) -> PathBuf {
        self.data().join("spool.db")
    }

    /// What it kept of its enrollment.
    ///
    /// # Panics
    /// When it kept nothing.
    pub fn identity(&self) -> Identity {
        let text = std::fs::read_to_string(self.data().join("identity.toml")).expect("an identity");
        toml::from_str(&text).expect("an identity that can be read")
    }
}

/// A configuration with only these probes, every five seconds.
pub fn probes(only: &[&str]) -> String {
    let each = PROBES.iter().map(|probe| {
        let setting = if only.contains(&probe.name) { "interval_s = 5" } else { "enabled = false" };
        format!("[probes.{}]\n{setting}\n", probe.name)
    });
    each.collect()
}

/// The setting for tests that compare the spool with the store at any moment: no record is sent before it is on disk.
pub const SYNCED: &str = "[spool]\nsync_every_record = true";

/// Runs `enroll` to its end.
pub fn enroll(data: &Path, url: &str) -> Output {
    process::run_with_input(enroll_command(data), url)
}

/// `enroll`, which reads the address from its standard input.
pub fn enroll_command(data: &Path) -> Command {
    let mut command = process::command(process::binary("firstline-agent"));
    command.arg("enroll").arg("-").arg("--data").arg(data);
    command
}
