//! A print queue of the drill's own, on a CUPS of its own, that is stopped as a person would stop it. Behind the queue
//! is a port of this process that takes connections and nothing else, so that the printer itself can be seen to answer.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::cleanup::Cleanup;
use super::fault::{Fault, Plan, Stage, Surroundings};
use super::is_root;
use crate::install::Package;
use crate::process::{Process, find_program};
use crate::service::{Command, Service};

const QUEUE: &str = "finance";
const REASON: &str = "Helpdesk drill";
const READY_LIMIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

const PACKAGES: &[Package] = &[
    Package::program("cups-daemon", "cupsd", "a CUPS of the drill's own"),
    Package::program("cups-client", "lpadmin", "making and stopping a print queue"),
];

#[derive(Default)]
pub(super) struct PrinterStopped {
    server: String,
    is_stopped: bool,
}

impl Fault for PrinterStopped {
    fn plan(&self) -> Plan {
        Plan {
            rule: "prn.stopped",
            overrides: "for = \"5s\"\nclear = { for = \"5s\" }\n",
            hold_s: 5,
            clear_s: 5,
            packages: PACKAGES,
            needs_root: None,
        }
    }

    fn prepare(&mut self, around: &Surroundings<'_>, cleanup: &mut Cleanup) -> Result<Stage> {
        let printer = printer()?;
        // CUPS cannot be asked for a free port: this one was free a moment ago.
        let port = free_port()?;
        self.server = format!("127.0.0.1:{port}");
        let folder = around.folder.join("cups");
        write_config(&folder, port)?;
        let cupsd = find_program("cupsd").context("there is no cupsd")?;
        let command = Command::new(&cupsd)
            .arg("-f")
            .arg("-c")
            .arg(folder.join("cupsd.conf"))
            .arg("-s")
            .arg(folder.join("cups-files.conf"));
        let service = Service::start("print server", command, &folder.join("output.log"))?;
        let service = super::share("the print server", service, cleanup);
        around.interrupt.until("the print server's start", READY_LIMIT, LOOK_EVERY, || {
            service.borrow_mut().check_alive()?;
            Ok(self.cups("lpstat", &["-r"]).succeeds().then_some(()))
        })?;
        let uri = format!("socket://127.0.0.1:{printer}");
        self.cups("lpadmin", &["-p", QUEUE, "-E", "-v", &uri, "-m", "raw"]).read()?;
        Ok(Stage {
            agent_config: format!("[overrides]\ncups_server = \"{}\"\n", self.server),
            component: ("printer", None),
            baseline: ("printer", None),
            notes: vec![format!(
                "a CUPS of the drill's own listens on {} with the queue {QUEUE}; the machine's own printers are not touched",
                self.server
            )],
            ..Stage::default()
        })
    }

    fn inject(&mut self) -> Result<String> {
        self.is_stopped = true;
        self.cups("cupsdisable", &["-r", REASON, QUEUE]).read()?;
        Ok(format!("the queue {QUEUE} was stopped with: cupsdisable -r \"{REASON}\" {QUEUE}"))
    }

    fn undo(&mut self) -> Result<String> {
        if self.is_stopped {
            self.cups("cupsenable", &[QUEUE]).read()?;
            self.is_stopped = false;
        }
        Ok(format!("the queue {QUEUE} was resumed with: cupsenable {QUEUE}"))
    }
}

impl PrinterStopped {
    /// A command of CUPS for the drill's own server, whatever the person's settings are.
    fn cups(&self, program: &str, args: &[&str]) -> Process {
        let path = find_program(program).unwrap_or_else(|| PathBuf::from(program));
        Process::new(path)
            .quiet()
            .apart()
            .env("CUPS_SERVER", &self.server)
            .args(["-h", &self.server])
            .args(args)
    }
}

/// Something that takes connections; it ends with this process. Returns its port.
fn printer() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
    let port = listener.local_addr().context("the socket has no address")?.port();
    std::thread::Builder::new()
        .name("drill-printer".to_owned())
        .spawn(move || listener.incoming().for_each(drop))
        .context("cannot start a thread")?;
    Ok(port)
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
    Ok(listener.local_addr().context("the socket has no address")?.port())
}

fn write_config(folder: &Path, port: u16) -> Result<()> {
    for name in ["state", "cache", "spool", "temporary"] {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    for (name, text) in
        [("cupsd.conf", cupsd_conf(folder, port)), ("cups-files.conf", cups_files_conf(folder, is_root()))]
    {
        super::write(&folder.join(name), &text)?;
    }
    Ok(())
}

/// Only this machine reaches it, and it asks nobody for a password: it has one queue and lives for a minute.
fn cupsd_conf(folder: &Path, port: u16) -> String {
    format!(
        "LogLevel info\n\
         Listen 127.0.0.1:{port}\n\
         Listen {}/state/cups.sock\n\
         Browsing Off\n\
         WebInterface No\n\
         DefaultAuthType None\n\
         <Location />\nOrder allow,deny\nAllow localhost\n</Location>\n\
         <Location /admin>\nOrder allow,deny\nAllow localhost\n</Location>\n\
         <Policy default>\n\
         JobPrivateAccess all\n\
         JobPrivateValues none\n\
         <Limit All>\nOrder deny,allow\n</Limit>\n\
         </Policy>\n",
        folder.display()
    )
}

fn cups_files_conf(folder: &Path, is_root: bool) -> String {
    let dir = folder.display();
    // A server that is not root cannot become another user, and need not.
    let owner = if is_root { "User lp\nGroup lp\nSystemGroup root\n" } else { "" };
    format!(
        "{owner}\
         AccessLog {dir}/access.log\n\
         ErrorLog {dir}/error.log\n\
         PageLog {dir}/page.log\n\
         ServerRoot {dir}\n\
         StateDir {dir}/state\n\
         CacheDir {dir}/cache\n\
         RequestRoot {dir}/spool\n\
         TempDir {dir}/temporary\n\
         FileDevice No\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_print_server_listens_on_loopback_only_and_writes_into_the_drills_folder_only() {
        let folder = Path::new("/drill");
        let conf = cupsd_conf(folder, 6310);
        let listens: Vec<&str> = conf.lines().filter_map(|line| line.strip_prefix("Listen ")).collect();
        assert_eq!(listens, ["127.0.0.1:6310", "/drill/state/cups.sock"]);
        for line in cups_files_conf(folder, true).lines() {
            let value = line.split(' ').nth(1).unwrap();
            assert!(!value.starts_with('/') || value.starts_with("/drill"), "{line}");
        }
    }

    #[test]
    fn only_root_gives_its_print_server_to_another_user() {
        assert!(cups_files_conf(Path::new("/d"), true).contains("User lp\n"));
        assert!(!cups_files_conf(Path::new("/d"), false).contains("User"));
    }

    #[test]
    fn the_printer_takes_connections() {
        let port = printer().unwrap();
        for _ in 0..3 {
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
