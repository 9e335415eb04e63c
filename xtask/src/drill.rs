//! `cargo xtask drill <fault>`: a harmless real fault on this machine, its ticket, its repair, and nothing left behind.
//!
//! The drill has a collector and an agent of its own in a folder of its own, so neither an installed agent nor the
//! data of `up` is touched. Everything that it does is pushed to a [`Cleanup`] first.

mod cleanup;
mod disk_full;
mod dns_dead;
mod fault;
mod printer_stopped;
mod rest;
mod service_failed;
mod ticket;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use self::cleanup::Cleanup;
use self::fault::{FAULTS, Fault, Plan, Stage, Surroundings};
use self::rest::Rest;
use crate::install::{self, Package};
use crate::instance::{self, Binaries, Collector};
use crate::interrupt::{Interrupt, Interrupted};
use crate::process::Process;
use crate::service::Service;
use crate::workspace;

/// How long the device may take to be online and heard of.
const ONLINE_LIMIT: Duration = Duration::from_secs(60);
/// How long ticket and resolution may take beyond their hold times; services are looked at once a minute.
const GRACE: Duration = Duration::from_secs(150);
/// How long the tests of a ticket may take.
const TESTS_LIMIT: Duration = Duration::from_secs(45);
const ASK_EVERY: Duration = Duration::from_millis(100);
const SAY_EVERY: Duration = Duration::from_secs(5);
const TAIL_LINES: usize = 15;

const CURL: Package = Package::program("curl", "curl", "asking the collector's REST interface");

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What breaks
    #[arg(value_parser = PossibleValuesParser::new(FAULTS.iter().map(|fault| fault.name)))]
    fault: String,
    /// Leave the fault in place for so many seconds after the ticket came, to look around
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    linger: u64,
    /// Print one line of JSON with what was measured; everything else goes to standard error
    #[arg(long)]
    json: bool,
    /// Build without optimisation: quicker to build, slower to run
    #[arg(long)]
    dev: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let Some(entry) = FAULTS.iter().find(|entry| entry.name == args.fault) else {
        bail!("there is no drill called {}", args.fault);
    };
    let root = workspace::root()?;
    let voice = Voice { to_stderr: args.json };
    let fault = Rc::new(RefCell::new((entry.make)()));
    let plan = fault.borrow().plan();
    check_rights(&plan)?;
    let missing = install::packages(&[&[CURL], plan.packages].concat());
    if let Some(first) = missing.first() {
        bail!("{first}");
    }
    let binaries = Binaries::build(&root, !args.dev)?;
    let interrupt = Interrupt::listen()?;
    let mut cleanup = Cleanup::default();
    let outcome =
        Drill::prepare(&root, &binaries, &fault, &interrupt, &voice, &mut cleanup).and_then(|drill| {
            let measured = drill.play(args);
            if measured.as_ref().is_err_and(|error| !error.is::<Interrupted>()) {
                drill.show_logs();
            }
            measured
        });
    voice.say("undoing everything");
    let undone = cleanup.finish();
    match outcome {
        Ok(measured) => {
            undone?;
            voice.say("nothing is left behind");
            if args.json {
                println!("{}", measured.json(entry.name));
            }
            Ok(())
        }
        Err(error) if error.is::<Interrupted>() => {
            undone?;
            bail!("the drill was stopped by a signal; everything was undone")
        }
        Err(error) => Err(match undone {
            Ok(()) => error,
            Err(left) => error.context(format!("{left:#}")),
        }),
    }
}

fn check_rights(plan: &Plan) -> Result<()> {
    if let Some(why) = plan.needs_root
        && !is_root()
    {
        bail!("{why} needs root; run it with sudo (in a throw-away machine or container if you prefer)");
    }
    Ok(())
}

pub(crate) fn is_root() -> bool {
    Process::new("id").quiet().arg("-u").read().is_ok_and(|id| id.trim() == "0")
}

/// Where the story is told.
struct Voice {
    to_stderr: bool,
}

impl Voice {
    fn say(&self, text: impl AsRef<str>) {
        if self.to_stderr {
            eprintln!("{}", text.as_ref());
        } else {
            println!("{}", text.as_ref());
        }
    }
}

type Shared<T> = Rc<RefCell<T>>;

/// A stage with a collector and an agent that are connected.
struct Drill<'a> {
    plan: Plan,
    stage: Stage,
    fault: Shared<Box<dyn Fault>>,
    services: [Shared<Service>; 2],
    rest: Rest,
    device: String,
    interrupt: &'a Interrupt,
    voice: &'a Voice,
}

/// What came of it.
struct Measured {
    ticket: Value,
    rule: &'static str,
    hold_s: u64,
    clear_s: u64,
    to_ticket: Duration,
    to_worked: Duration,
    to_resolved: Duration,
}

impl<'a> Drill<'a> {
    fn prepare(
        root: &Path,
        binaries: &Binaries,
        fault: &Shared<Box<dyn Fault>>,
        interrupt: &'a Interrupt,
        voice: &'a Voice,
        cleanup: &mut Cleanup,
    ) -> Result<Self> {
        let plan = fault.borrow().plan();
        let home = root.join(".firstline");
        instance::private_folder(&home)?;
        sweep(&home, voice);
        let folder = home.join(format!("drill-{}", std::process::id()));
        let removed = folder.clone();
        cleanup.push("the drill's folder", move || remove_folder(&removed));
        let (collector_data, agent_data) = (folder.join("collector"), folder.join("agent"));
        for one in [&folder, &collector_data, &agent_data, &collector_data.join("knowledge.d")] {
            instance::private_folder(one)?;
        }
        let override_file = collector_data.join("knowledge.d").join("drill.toml");
        write(&override_file, &format!("override = \"{}\"\n{}", plan.rule, plan.overrides))?;
        voice.say(format!(
            "this drill's own collector holds {} for {} s before it opens a ticket and {} s before it resolves it, \
             instead of the usual times ({})",
            plan.rule,
            plan.hold_s,
            plan.clear_s,
            override_file.display()
        ));

        let surroundings = Surroundings { folder: &folder, interrupt };
        let stage = fault.borrow_mut().prepare(&surroundings, cleanup)?;
        for note in &stage.notes {
            voice.say(note);
        }
        write(&agent_data.join("agent.toml"), &stage.agent_config)?;

        let log = folder.join("collector.log");
        let any = ("127.0.0.1:0", "127.0.0.1:0");
        let collector = Collector::start(binaries, &collector_data, &log, any, interrupt)?;
        collector.enroll(&binaries.agent, &agent_data, false)?;
        let password = add_user(&collector)?;
        let rest = Rest::new(&collector.web, collector.authority(), &api_token(&collector)?, &folder)?;
        voice.say(format!("web   {}   sign in as `drill` with {password}", collector.web));
        let collector = share("the collector", collector.service, cleanup);
        let log = folder.join("agent.log");
        let agent = instance::start_agent(binaries, &agent_data, &log, &stage.agent_args)?;
        let agent = share("the agent", agent, cleanup);
        let mut drill = Self {
            plan,
            stage,
            fault: Rc::clone(fault),
            services: [collector, agent],
            rest,
            device: String::new(),
            interrupt,
            voice,
        };
        let came_up = drill.wait_for_device();
        if came_up.as_ref().is_err_and(|error| !error.is::<Interrupted>()) {
            drill.show_logs();
        }
        came_up?;
        let mended = Rc::clone(fault);
        // Pushed before the fault is there: mending what is whole does nothing.
        cleanup.push("the fault", move || mended.borrow_mut().undo().map(drop));
        Ok(drill)
    }

    fn wait_for_device(&mut self) -> Result<()> {
        self.voice.say("waiting for the agent's stream and its first look at things");
        let device = self.until("the device's stream", ONLINE_LIMIT, || {
            let devices = self.rest.items("devices")?;
            Ok(devices
                .iter()
                .find(|device| device["presence"] == "online")
                .map(|device| ticket::word(device, "id")))
        })?;
        let (kind, id) = &self.stage.baseline;
        let what = format!("a first observation of {kind} {}", id.as_deref().unwrap_or("of any name"));
        self.until(&what, ONLINE_LIMIT, || {
            let detail = self.rest.get(&format!("devices/{device}"))?;
            let heard = ticket::rows(&detail, "latest").iter().any(|latest| {
                let is_named = self.stage.baseline_name.is_none_or(|name| latest["name"] == name);
                is_named && is_component(&latest["component"], kind, id.as_deref())
            });
            Ok(heard.then_some(()))
        })?;
        self.voice.say(format!("online: device {device}"));
        self.device = device;
        Ok(())
    }

    fn play(&self, args: &Args) -> Result<Measured> {
        let injected = Instant::now();
        let done = self.fault.borrow_mut().inject()?;
        self.voice.say(format!("\nFAULT   {done}"));
        let hold = Duration::from_secs(self.plan.hold_s);
        let (ticket, to_ticket) = self.wait_for_ticket(injected, hold + GRACE)?;
        let id = ticket["id"].clone();
        let ticket = self.until("the answers of the ticket's tests", TESTS_LIMIT, || {
            let ticket = self.rest.get(&format!("tickets/{id}"))?;
            Ok(ticket::is_worked(&ticket).then_some(ticket))
        })?;
        let to_worked = injected.elapsed();
        self.voice.say(format!("\nTICKET  {:.1} s after the fault\n", to_ticket.as_secs_f64()));
        self.voice.say(ticket::worked(&ticket));
        if args.linger > 0 {
            self.voice.say(format!("the fault stays for {} s", args.linger));
            self.interrupt.wait(Duration::from_secs(args.linger))?;
        }

        let mended = Instant::now();
        let done = self.fault.borrow_mut().undo()?;
        self.voice.say(format!("MENDED  {done}"));
        let limit = Duration::from_secs(self.plan.clear_s) + GRACE;
        let ticket = self.until("the resolution of the ticket", limit, || {
            let ticket = self.rest.get(&format!("tickets/{id}"))?;
            Ok((ticket["state"] == "resolved").then_some(ticket))
        })?;
        let measured = Measured {
            rule: self.plan.rule,
            hold_s: self.plan.hold_s,
            clear_s: self.plan.clear_s,
            to_ticket,
            to_worked,
            to_resolved: mended.elapsed(),
            ticket,
        };
        self.voice.say(format!("\nRESOLVED  {}\n", ticket::word(&measured.ticket, "resolution")));
        self.voice.say(ticket::timeline(&self.rest.items(&format!("tickets/{id}/timeline"))?));
        self.voice.say(measured.sentence());
        Ok(measured)
    }

    fn wait_for_ticket(&self, injected: Instant, limit: Duration) -> Result<(Value, Duration)> {
        let (kind, id) = &self.stage.component;
        let query = format!("tickets?rule={}&device={}", self.plan.rule, self.device);
        let found = self.until("the ticket", limit, || {
            let tickets = self.rest.items(&query)?;
            Ok(tickets.into_iter().find(|ticket| is_component(&ticket["component"], kind, id.as_deref())))
        });
        found.map(|ticket| (ticket, injected.elapsed()))
    }

    /// Waits as [`Interrupt::until`] does, says now and then what for, and stops waiting when a program dies.
    fn until<T>(&self, what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let mut said = Instant::now();
        self.interrupt.until(what, limit, ASK_EVERY, || {
            for service in &self.services {
                service.borrow_mut().check_alive()?;
            }
            if said.elapsed() >= SAY_EVERY {
                self.voice.say(format!("  ... waiting for {what}"));
                said = Instant::now();
            }
            ask()
        })
    }

    fn show_logs(&self) {
        for service in &self.services {
            let service = service.borrow();
            eprintln!("last lines of the {} ({}):", service.name(), service.log().display());
            for line in service.tail(TAIL_LINES) {
                eprintln!("    | {line}");
            }
        }
    }
}

impl Measured {
    fn sentence(&self) -> String {
        format!(
            "fault to ticket {:.1} s (hold time {} s and {:.1} s more), tests answered after {:.1} s, \
             repair to resolved {:.1} s (hold time {} s and {:.1} s more)",
            self.to_ticket.as_secs_f64(),
            self.hold_s,
            beyond(self.to_ticket, self.hold_s),
            self.to_worked.as_secs_f64(),
            self.to_resolved.as_secs_f64(),
            self.clear_s,
            beyond(self.to_resolved, self.clear_s)
        )
    }

    fn json(&self, fault: &str) -> Value {
        json!({
            "fault": fault,
            "rule": self.rule,
            "ticket": self.ticket["key"],
            "component": self.ticket["component"],
            "priority": self.ticket["priority"],
            "likely_cause": self.ticket["likely_cause"],
            "tested": ticket::rows(&self.ticket, "tested").len(),
            "ruled_out": ticket::rows(&self.ticket, "ruled_out").len(),
            "first_observed_at": self.ticket["first_observed_at"],
            "opened_at": self.ticket["opened_at"],
            "resolved_at": self.ticket["resolved_at"],
            "hold_s": self.hold_s,
            "clear_hold_s": self.clear_s,
            "fault_to_ticket_s": rounded(self.to_ticket.as_secs_f64()),
            "ticket_after_hold_s": rounded(beyond(self.to_ticket, self.hold_s)),
            "fault_to_worked_s": rounded(self.to_worked.as_secs_f64()),
            "undo_to_resolved_s": rounded(self.to_resolved.as_secs_f64()),
            "resolved_after_hold_s": rounded(beyond(self.to_resolved, self.clear_s)),
        })
    }
}

/// Seconds beyond a hold time; below zero when an observation before the fault already began it.
fn beyond(took: Duration, hold_s: u64) -> f64 {
    took.as_secs_f64() - Duration::from_secs(hold_s).as_secs_f64()
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn is_component(component: &Value, kind: &str, id: Option<&str>) -> bool {
    component["kind"] == kind && id.is_none_or(|id| component["id"] == id)
}

fn share(what: &str, service: Service, cleanup: &mut Cleanup) -> Shared<Service> {
    let service = Rc::new(RefCell::new(service));
    let stopped = Rc::clone(&service);
    cleanup.push(what, move || stopped.borrow_mut().stop());
    service
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A person to sign in as, with a password that nobody can guess and that is gone with the drill.
fn add_user(collector: &Collector) -> Result<String> {
    let password = random_hex(10)?;
    let add = ["user", "add", "drill", "--role", "admin", "--password-stdin"];
    collector.admin().args(add).read_with_input(&format!("{password}\n"))?;
    Ok(password)
}

fn api_token(collector: &Collector) -> Result<String> {
    let text = collector.admin().args(["api-token", "create", "--role", "viewer", "--json"]).read()?;
    let answer: Value = serde_json::from_str(text.trim()).context("`api-token create` printed no JSON")?;
    answer["token"].as_str().map(str::to_owned).context("`api-token create` gave no token")
}

fn random_hex(bytes: usize) -> Result<String> {
    use std::io::Read;
    let mut random = vec![0; bytes];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .context("this system gives no random numbers; drills are for Unix systems")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Removes a drill's folder, but never through something that is still mounted there.
fn remove_folder(folder: &Path) -> Result<()> {
    if disk_full::is_mounted_below(folder)? {
        bail!("something is still mounted below {}; unmount it and remove the folder", folder.display());
    }
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Clears away what drills left that were killed without a word.
fn sweep(home: &Path, voice: &Voice) {
    for folder in stale(home, |pid| Path::new("/proc").join(pid).exists()) {
        voice.say(format!("clearing away {}: its drill was killed", folder.display()));
        let mount = folder.join("mnt");
        if disk_full::is_mounted_below(&mount).unwrap_or(false) {
            let _ = Process::new("umount").quiet().apart().arg("-l").arg(&mount).finish();
        }
        if let Err(error) = remove_folder(&folder) {
            voice.say(format!("  {error:#}"));
        }
    }
}

fn stale(home: &Path, is_running: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home).into_iter().flatten().filter_map(Result::ok);
    let is_stale = |name: &str| {
        name.strip_prefix("drill-")
            .is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()) && !is_running(pid))
    };
    entries.filter(|entry| is_stale(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_drills_are_stale() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["drill-1", "drill-2", "drill-x", "collector"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(stale(dir.path(), |pid| pid == "1"), [dir.path().join("drill-2")]);
        remove_folder(&dir.path().join("drill-2")).unwrap();
        remove_folder(&dir.path().join("drill-2")).unwrap();
        assert!(!dir.path().join("drill-2").exists());
    }

    #[test]
    fn the_measurements_are_one_line_of_json() {
        let measured = Measured {
            ticket: json!({"key": "INC-000001", "tested": [{}], "component": {"kind": "filesystem", "id": "/x"}}),
            rule: "fs.space",
            hold_s: 5,
            clear_s: 5,
            to_ticket: Duration::from_millis(7250),
            to_worked: Duration::from_millis(7500),
            to_resolved: Duration::from_millis(4900),
        };
        let line = measured.json("disk-full");
        assert_eq!(line["ticket_after_hold_s"], json!(2.25));
        assert_eq!(line["resolved_after_hold_s"], json!(-0.1));
        assert_eq!((&line["tested"], &line["ruled_out"]), (&json!(1), &json!(0)));
        assert!(!line.to_string().contains('\n'));
    }

    #[test]
    fn a_component_without_a_known_id_is_matched_by_its_kind() {
        let component = json!({"kind": "printer", "id": "finance"});
        assert!(is_component(&component, "printer", None));
        assert!(is_component(&component, "printer", Some("finance")));
        assert!(!is_component(&component, "printer", Some("other")));
        assert!(!is_component(&component, "service", None));
    }
}
