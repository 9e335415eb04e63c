//! A collector of the test's own: data folder, free ports, commands, and what it knows over REST.

use crate::database;
use crate::fake_clock::FakeClock;
use crate::process::{self, Process};
use crate::rest::Rest;
use crate::wait::{seconds, until_ok};
use serde_json::Value as Json;
use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use tempfile::TempDir;

const READY: Duration = Duration::from_secs(30);

/// A collector; it runs after [`Collector::start`] and ends with this value.
#[derive(Debug)]
pub struct Collector {
    // The order is that of dropping: nothing is deleted under a process that runs.
    process: Option<Process>,
    folder: Option<TempDir>,
    data: PathBuf,
    host: IpAddr,
    listeners: Option<(SocketAddr, SocketAddr)>,
    setup_link: Option<String>,
    token: Option<String>,
    expected_errors: Vec<String>,
    arguments: Vec<String>,
    /// Most file handles that it may have.
    files: Option<u32>,
    environment: Vec<(OsString, OsString)>,
    ahead_days: u64,
}

impl Collector {
    /// One that runs.
    pub fn started() -> Self {
        let mut collector = Self::prepared();
        collector.start();
        collector
    }

    /// One that does not run yet.
    ///
    /// # Panics
    /// When there is no room for its data.
    pub fn prepared() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut collector = Self::prepared_in(folder.path().to_owned());
        collector.folder = Some(folder);
        collector
    }

    /// One whose data lie in this folder, which the test looks after.
    pub fn prepared_in(data: PathBuf) -> Self {
        Self {
            folder: None,
            data,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            process: None,
            listeners: None,
            setup_link: None,
            token: None,
            expected_errors: Vec::new(),
            arguments: Vec::new(),
            files: None,
            environment: Vec::new(),
            ahead_days: 0,
        }
    }

    /// Has this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: &FakeClock) -> Self {
        self.environment = clock.environment();
        self
    }

    /// Has at most so many file handles.
    #[must_use]
    pub fn with_files(mut self, most: u32) -> Self {
        self.files = Some(most);
        self
    }

    /// Starts with further arguments of `serve`.
    #[must_use]
    pub fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// Listens on this address of the machine instead of loopback.
    #[must_use]
    pub fn listening_on(mut self, host: IpAddr) -> Self {
        self.host = host;
        self
    }

    /// With hold times of an entry shortened: `detect` are keys of `[detect]`.
    #[must_use]
    pub fn overriding(self, rule: &str, detect: &str) -> Self {
        self.write_knowledge(
            &format!("short-{rule}.toml"),
            &format!("override = \"{rule}\"\n[detect]\n{detect}\n"),
        );
        self
    }

    /// Writes (or replaces) a file of the administrators' folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_knowledge(&self, name: &str, text: &str) {
        let folder = self.data().join("knowledge.d");
        std::fs::create_dir_all(&folder).expect("the folder of knowledge can be made");
        let mut file = std::fs::File::create(folder.join(name)).expect("a knowledge file can be made");
        file.write_all(text.as_bytes()).expect("a knowledge file can be written");
        // It is the test's, so it has to outlive a power cut by itself.
        file.sync_all().expect("a knowledge file can be kept");
    }

    /// Starts `serve` on free ports and waits until it listens.
    pub fn start(&mut self) {
        let binary = process::binary("firstline-collector");
        let mut command = match self.files {
            None => process::command(binary),
            Some(most) => {
                let mut command = process::command("sh");
                command.arg("-c").arg(format!("ulimit -n {most} && exec \"$0\" \"$@\"")).arg(binary);
                command
            }
        };
        command.args([
            "serve",
            "--agents",
            &format!("{}:0", self.host),
            "--web",
            &format!("{}:0", self.host),
        ]);
        command.arg("--data").arg(self.data()).args(&self.arguments);
        command.envs(self.environment.iter().cloned());
        let process = Process::start("the collector", command, &self.expected_errors);
        let after = |prefix: &'static str| move |line: &str| line.strip_prefix(prefix).map(str::to_owned);
        let agents = process.answers.wait("it listens for agents", READY, after("listening agents "));
        let web = process.answers.wait("it listens for browsers", READY, after("listening web https://"));
        let address = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text:?} is no address"));
        self.listeners = Some((address(&agents), address(&web)));
        self.process = Some(process);
    }

    /// The link for the first administrator.
    ///
    /// # Panics
    /// When none is printed.
    pub fn setup_link(&mut self) -> String {
        let answers = &self.running().answers;
        let link = answers.wait("a sign-in link is printed", READY, |line| {
            line.strip_prefix("first sign-in ").map(str::to_owned)
        });
        self.setup_link.get_or_insert(link).clone()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.take().expect("the collector runs").kill();
    }

    /// Stops it where it stands: from now on it neither writes nor answers.
    pub fn freeze(&self) {
        self.running().freeze();
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.running().thaw();
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.running().pid()
    }

    /// The memory that it has now, in bytes.
    pub fn memory(&self) -> u64 {
        self.running().memory()
    }

    /// Whether it ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::has_ended)
    }

    /// Asks it to end.
    pub fn stop(&mut self) {
        self.process.take().expect("the collector runs").stop();
    }

    /// Errors in its log that contain this are part of the test. To be said before it starts.
    #[must_use]
    pub fn expecting_error(mut self, part: &str) -> Self {
        self.expected_errors.push(part.to_owned());
        self
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the collector runs")
    }

    /// Its log.
    pub fn log(&self) -> &process::Log {
        &self.running().log
    }

    /// What it printed since it was started.
    pub fn answers(&self) -> Vec<String> {
        self.running().answers.lines()
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its database.
    pub fn database(&self) -> PathBuf {
        self.data().join("collector.db")
    }

    /// Where agents connect.
    pub fn agents(&self) -> SocketAddr {
        self.listeners.expect("the collector was started").0
    }

    /// Where browsers connect.
    pub fn web(&self) -> SocketAddr {
        self.listeners.expect("the collector was started").1
    }

    /// Runs an administrator's command.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = process::command(process::binary("firstline-collector"));
        command.arg("--data").arg(self.data()).args(arguments);
        process::run_with_input(command, "")
    }

    /// Runs an administrator's command that must succeed and prints JSON.
    ///
    /// # Panics
    /// When it fails.
    pub fn run_json(&self, arguments: &[&str]) -> Json {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// A fresh enrollment address, with further arguments of `token create`.
    ///
    /// # Panics
    /// When none is made.
    pub fn enrollment_url(&self, arguments: &[&str]) -> String {
        let created = self.run_json(&[&["token", "create", "--json"], arguments].concat());
        created["url"].as_str().expect("an address").to_owned()
    }

    /// Those who ask it over REST from now on live so many days ahead.
    pub fn is_ahead(&mut self, days: u64) {
        self.ahead_days = days;
    }

    /// REST as an administrator.
    pub fn rest(&mut self) -> Rest {
        if self.token.is_none() {
            let created = self.run_json(&["api-token", "create", "--role", "admin", "--json"]);
            self.token = created["token"].as_str().map(str::to_owned);
        }
        Rest::ahead(self.web(), &self.authority(), self.token.clone(), self.ahead_days)
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.data().join("authority/certificate.pem")
    }

    /// Waits until the one ticket of this rule fulfils a condition.
    ///
    /// # Panics
    /// After `limit`, or as soon as there is more than one ticket of this rule.
    pub fn ticket(&mut self, rule: &str, what: &str, limit: Duration, is_so: impl Fn(&Json) -> bool) -> Json {
        self.ticket_where(rule, |_| true, what, limit, is_so)
    }

    /// As [`Self::ticket`], for the tickets that are meant: the real machine may have faults of its own.
    pub fn ticket_where(
        &mut self,
        rule: &str,
        is_meant: impl Fn(&Json) -> bool,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&Json) -> bool,
    ) -> Json {
        let rest = self.rest();
        until_ok(&format!("a ticket {rule} that {what}"), limit, || {
            let found = rest.get_json(&format!("/api/v1/tickets?rule={rule}"));
            let mut tickets = found["items"].as_array().cloned().unwrap_or_default();
            tickets.retain(&is_meant);
            assert!(tickets.len() <= 1, "one fault made {} tickets: {tickets:#?}", tickets.len());
            match tickets.into_iter().next() {
                Some(ticket) if is_so(&ticket) => Ok(ticket),
                Some(ticket) => Err(format!("the ticket is {ticket:#}")),
                None => Err("there is no ticket".to_owned()),
            }
        })
    }

    /// Waits until a device is heard.
    pub fn wait_for_device(&mut self, device: &str) {
        let rest = self.rest();
        until_ok("the device is heard", seconds(30), || {
            let device = rest.get_json(&format!("/api/v1/devices/{device}"));
            if device["presence"] == "online" { Ok(()) } else { Err(device.to_string()) }
        });
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if std::thread::panicking() && self.database().exists() {
            process::say(&format!("--- what the collector knew:\n{}", database::summary(&self.database())));
        }
    }
}
