//! The SNMP agent of a printer: net-snmp's own, on the desk of an [`Office`], with the printer's objects laid over those of
//! the machine. The machine's processors and disks stay in its device table, as a printer among other devices.

use crate::needs::program;
use crate::office::Office;
use crate::printer::on_the_desk;
use crate::process::{self, Process};
use crate::wait::until;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

const ADDRESS: &str = "127.0.0.1:161";
/// Not what the agent calls the file that it keeps things in, in the same folder.
const CONFIGURATION: &str = "printer.conf";
const COMMUNITY: &str = "desk";
const READY: Duration = Duration::from_secs(20);
const DEVICE_STATUS: &str = ".1.3.6.1.2.1.25.3.2.1.5.1";
const PRINTER_STATUS: &str = ".1.3.6.1.2.1.25.3.5.1.1.1";
const ERRORS: &str = ".1.3.6.1.2.1.25.3.5.1.2.1";
const TONER_CAPACITY: &str = ".1.3.6.1.2.1.43.11.1.1.8.1.1";
const TONER_LEVEL: &str = ".1.3.6.1.2.1.43.11.1.1.9.1.1";

/// What the harness needs for it.
pub const PROGRAMS: &[&str] = &["snmpd", "snmpget", "snmpset"];

/// A printer's agent; it ends with this value.
#[derive(Debug)]
pub struct SnmpPrinter {
    agent: Option<Process>,
    desk: String,
    folder: TempDir,
}

impl SnmpPrinter {
    /// One that is idle, with a cartridge of which something is left.
    ///
    /// # Panics
    /// When it does not start.
    pub fn started(office: &Office) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let objects = [
            (DEVICE_STATUS, "integer 2"),
            (PRINTER_STATUS, "integer 3"),
            (ERRORS, "octet_str \"0\""),
            (".1.3.6.1.2.1.43.5.1.1.17.1", "octet_str \"SN-4711\""),
            (".1.3.6.1.2.1.43.10.2.1.4.1.1", "counter 48213"),
            (".1.3.6.1.2.1.43.11.1.1.4.1.1", "integer 3"),
            (".1.3.6.1.2.1.43.11.1.1.6.1.1", "octet_str \"Black Toner\""),
            (".1.3.6.1.2.1.43.11.1.1.7.1.1", "integer 13"),
            (TONER_CAPACITY, "integer -2"),
            (TONER_LEVEL, "integer -3"),
        ];
        let mut text = format!("agentAddress udp:{ADDRESS}\nrwcommunity {COMMUNITY} 127.0.0.1\n");
        for (name, value) in objects {
            text.push_str(&format!("override -rw {name} {value}\n"));
        }
        let file = folder.path().join(CONFIGURATION);
        fs::write(&file, text).expect("a file can be written");
        let mut started = Self { agent: None, desk: office.name().to_owned(), folder };
        started.answers_again();
        started
    }

    /// Its agent ends: the printer still takes connections, and says nothing of itself.
    ///
    /// # Panics
    /// When it does not run.
    pub fn falls_silent(&mut self) {
        self.agent.take().expect("it runs").kill();
    }

    /// Its agent starts, and nothing is wrong with the printer.
    ///
    /// # Panics
    /// When it does not.
    pub fn answers_again(&mut self) {
        let mut command = on_the_desk(&self.desk, "snmpd");
        command
            .args(["-f", "-C", "-Lo", "-m", "", "-I", "-smux", "-c"])
            .arg(self.folder.path().join(CONFIGURATION));
        command.env("SNMP_PERSISTENT_DIR", self.folder.path());
        self.agent = Some(Process::start("the printer's SNMP agent", command, &[]));
        until("the printer's SNMP agent answers", READY, || {
            let answer = process::run_with_input(self.client("snmpget", &[TONER_LEVEL]), "");
            answer.status.success().then_some(())
        });
        self.set(ERRORS, "x", "00");
    }

    /// What an agent's configuration needs to ask it.
    pub fn overrides(&self) -> String {
        format!("snmp_community = \"{COMMUNITY}\"\n")
    }

    /// Paper jams.
    pub fn jams(&self) {
        self.set(DEVICE_STATUS, "i", "5");
        self.set(ERRORS, "x", "0400");
    }

    /// The paper is out again.
    pub fn recovers(&self) {
        self.set(ERRORS, "x", "00");
        self.set(DEVICE_STATUS, "i", "2");
    }

    /// The toner is used up.
    pub fn runs_out(&self) {
        self.set(TONER_CAPACITY, "i", "100");
        self.set(TONER_LEVEL, "i", "0");
        self.set(ERRORS, "x", "1000");
    }

    /// There is a new cartridge in it.
    pub fn is_refilled(&self) {
        self.set(TONER_LEVEL, "i", "98");
        self.set(ERRORS, "x", "00");
    }

    fn set(&self, name: &str, kind: &str, value: &str) {
        process::succeed(self.client("snmpset", &[name, kind, value]));
    }

    fn client(&self, name: &str, arguments: &[&str]) -> std::process::Command {
        let mut command = process::command("ip");
        command.args(["netns", "exec", &self.desk]).arg(program(name).expect("the needs are met"));
        command.args(["-v2c", "-m", "", "-On", "-t", "1", "-r", "1", "-c", COMMUNITY, ADDRESS]);
        command.args(arguments).env("SNMP_PERSISTENT_DIR", self.folder.path());
        command
    }
}
