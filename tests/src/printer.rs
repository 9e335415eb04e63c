//! A print server with a queue on a real IPP printer whose paper can jam.
//!
//! The printer is `ippeveprinter`, which needs Avahi to announce itself, which needs a system bus. All of it runs on
//! the desk of an [`Office`], with files of its own, and none of it is seen by the machine's own services.

use crate::needs::program;
use crate::office::Office;
use crate::process::{self, Process};
use crate::wait::until;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Where the print server listens, on the desk.
const SERVER: &str = "127.0.0.1:6310";
/// Where the printer listens, on the desk.
const PRINTER_PORT: u16 = 8631;
/// The queue.
pub const QUEUE: &str = "finance";
const READY: Duration = Duration::from_secs(30);

/// What the harness needs for it.
pub const PROGRAMS: &[&str] =
    &["dbus-daemon", "avahi-daemon", "ippeveprinter", "cupsd", "lpadmin", "lp", "lpstat", "unshare"];

/// A print server, its queue and its printer; they end with this value.
#[derive(Debug)]
pub struct PrintServer {
    // The order is that of dropping: what uses a service goes before it.
    _server: Process,
    _printer: Process,
    _announcer: Process,
    _bus: Process,
    desk: String,
    folder: TempDir,
}

impl PrintServer {
    /// Starts it.
    ///
    /// # Panics
    /// When a part of it does not become ready.
    pub fn started(office: &Office) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Parts of the print server run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .expect("the folder can be opened");
        let at = |name: &str| folder.path().join(name);
        write_files(folder.path());

        let mut bus = on_the_desk(office.name(), "dbus-daemon");
        bus.arg(format!("--config-file={}", at("bus.conf").display())).args(["--nofork", "--nopidfile"]);
        let bus = Process::start("the bus", bus, &[]);
        until("the bus listens", READY, || at("bus").exists().then_some(()));
        let bus_address = format!("unix:path={}", at("bus").display());

        let mut announcer = on_the_desk(office.name(), "sh");
        // It keeps its socket in a fixed place, which is given to it alone.
        let start = "mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon && exec \"$0\" \"$@\"";
        announcer.arg("-c").arg(start).arg(program("avahi-daemon").expect("the needs are met"));
        announcer.arg("-f").arg(at("avahi.conf")).args(["--no-drop-root", "--no-chroot", "--no-rlimits"]);
        announcer.env("DBUS_SYSTEM_BUS_ADDRESS", &bus_address);
        let announcer = Process::start("the announcer", announcer, &[]);
        announcer
            .log
            .wait("the announcer is ready", READY, |line| line.contains("startup complete").then_some(()));

        let mut printer = on_the_desk(office.name(), "ippeveprinter");
        printer.args([
            "-v",
            "-k",
            "-f",
            "application/pdf",
            "-n",
            "localhost",
            "-p",
            &PRINTER_PORT.to_string(),
        ]);
        printer.arg("-d").arg(at("printed")).arg("-K").arg(at("keys")).arg("-c").arg(at("print.sh"));
        printer.arg("Finance printer").env("DBUS_SYSTEM_BUS_ADDRESS", &bus_address);
        let printer = Process::start("the printer", printer, &[]);
        // It says who it is after it has begun to listen.
        printer.log.wait("the printer listens", READY, |line| line.contains("printer-uuid").then_some(()));

        let mut server = on_the_desk(office.name(), "cupsd");
        server.arg("-f").arg("-c").arg(at("cupsd.conf")).arg("-s").arg(at("cups-files.conf"));
        let server = Process::start("the print server", server, &[]);
        let desk = office.name().to_owned();
        let started =
            Self { _server: server, _printer: printer, _announcer: announcer, _bus: bus, desk, folder };
        until("the print server answers", READY, || {
            started.ask("lpstat", &["-r"]).contains("is running").then_some(())
        });
        let uri = format!("ipp://localhost:{PRINTER_PORT}/ipp/print");
        started.tell("lpadmin", &["-p", QUEUE, "-E", "-v", &uri, "-m", "raw"]);
        started
    }

    /// A second queue on the same printer, which is not asked over IPP because its address is an encrypted one.
    pub fn adds_an_encrypted_queue(&self, name: &str) {
        let uri = format!("ipps://localhost:{PRINTER_PORT}/ipp/print");
        self.tell("lpadmin", &["-p", name, "-E", "-v", &uri, "-m", "raw"]);
    }

    /// What an agent's configuration needs to look at this print server.
    pub fn overrides(&self) -> String {
        format!("[overrides]\ncups_server = \"{SERVER}\"\n")
    }

    /// Prints a page, on which the paper jams.
    ///
    /// # Panics
    /// When the printer does not take the page in.
    pub fn print_and_jam(&self) -> Jam {
        let page = self.folder.path().join("invoice.pdf");
        fs::write(&page, "%PDF-1.4\n%%EOF\n").expect("a page can be written");
        self.tell("lp", &["-d", QUEUE, page.to_str().expect("a readable path")]);
        Jam { hand: until("the printer takes the page in and jams", READY, || self.hand()) }
    }

    /// Where the jammed printer waits; nothing while none is jammed.
    fn hand(&self) -> Option<fs::File> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        OpenOptions::new().write(true).custom_flags(flags).open(self.folder.path().join("hand")).ok()
    }

    fn client(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = process::command("ip");
        command.args(["netns", "exec", &self.desk]).arg(program(name).expect("the needs are met"));
        command.args(["-h", SERVER]).args(arguments);
        command
    }

    fn ask(&self, name: &str, arguments: &[&str]) -> String {
        let output = process::run_with_input(self.client(name, arguments), "");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn tell(&self, name: &str, arguments: &[&str]) {
        process::succeed(self.client(name, arguments));
    }
}

/// Jammed paper. It comes out with [`Jam::clear`], or when this value goes.
#[derive(Debug)]
pub struct Jam {
    /// The printer waits until something comes through it or it is closed.
    hand: fs::File,
}

impl Jam {
    /// Pulls the paper out.
    ///
    /// # Panics
    /// When the printer is gone.
    pub fn clear(mut self) {
        self.hand.write_all(b"done\n").expect("the paper can be pulled out");
    }
}

/// A program on the desk; all its children end with it.
pub(crate) fn on_the_desk(desk: &str, name: &str) -> Command {
    let mut command = process::command("ip");
    command.args([
        "netns",
        "exec",
        desk,
        "unshare",
        "--pid",
        "--mount",
        "--fork",
        "--kill-child=SIGKILL",
        "--",
    ]);
    command.arg(program(name).unwrap_or_else(|| PathBuf::from(name)));
    command
}

fn write_files(folder: &Path) {
    let place = folder.display();
    let write = |name: &str, text: String| fs::write(folder.join(name), text).expect("a file can be written");
    for name in ["printed", "keys", "state", "cache", "jobs", "jobs/parts", "log"] {
        fs::create_dir_all(folder.join(name)).expect("a folder can be made");
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o777))
            .expect("a folder can be opened");
    }
    write(
        "bus.conf",
        format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={place}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_type="method_call"/><allow send_type="signal"/><allow send_requested_reply="true"/>
    <allow receive_type="method_call"/><allow receive_type="signal"/><allow receive_requested_reply="true"/>
    <allow receive_type="method_return"/><allow receive_type="error"/>
  </policy>
</busconfig>
"#
        ),
    );
    let avahi = "[server]\nhost-name=printer\nuse-ipv6=no\nallow-interfaces=lo\n[publish]\npublish-workstation=no\n[rlimits]\n";
    write("avahi.conf", avahi.to_owned());
    write(
        "cups-files.conf",
        format!(
            "SystemGroup root\nUser lp\nGroup lp\nAccessLog {place}/log/access\nErrorLog {place}/log/error\n\
             PageLog {place}/log/page\nServerRoot {place}\nStateDir {place}/state\nCacheDir {place}/cache\n\
             RequestRoot {place}/jobs\nTempDir {place}/jobs/parts\n"
        ),
    );
    write(
        "cupsd.conf",
        format!(
            "LogLevel info\nListen {SERVER}\nBrowsing Off\nWebInterface No\nDefaultAuthType None\n\
             <Location />\nOrder allow,deny\nAllow all\n</Location>\n\
             <Location /admin>\nOrder allow,deny\nAllow all\n</Location>\n\
             <Policy default>\nJobPrivateAccess all\nJobPrivateValues none\n\
             <Limit All>\nOrder deny,allow\n</Limit>\n</Policy>\n"
        ),
    );
    // What the printer runs for each page: its standard error is the printer's state, as of a real device.
    let print = "#!/bin/sh\necho 'STATE: +media-jam' >&2\nread -r _ < HAND\necho 'STATE: -media-jam' >&2\n";
    write("print.sh", print.replace("HAND", &folder.join("hand").display().to_string()));
    fs::set_permissions(folder.join("print.sh"), fs::Permissions::from_mode(0o755)).expect("a program");
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, folder.join("hand"), FileType::Fifo, mode, 0).expect("a pipe with a name");
}
