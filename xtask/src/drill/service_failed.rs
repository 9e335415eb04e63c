//! A service of the drill's own whose process is killed. Where systemd runs the machine it is a transient unit of
//! systemd; where not (containers), a small supervisor stands in, and the agent reads this machine through a folder of
//! links that has the supervisor's `systemctl` in it. The process, its death and its state are real in both.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cleanup::Cleanup;
use super::fault::{Fault, Plan, Stage, Surroundings};
use crate::process::{Process, find_program};
use crate::service::{Command, Service};

const READY_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The folders of the machine that the agent reads.
const LINKED: &[&str] = &["proc", "sys", "etc", "usr", "var"];

#[derive(Default)]
pub(super) struct ServiceFailed {
    ground: Option<Ground>,
    is_broken: bool,
}

/// Who runs the service.
enum Ground {
    Systemd { unit: String },
    StandIn(StandIn),
}

impl Fault for ServiceFailed {
    fn plan(&self) -> Plan {
        let with_systemd = runs_systemd();
        Plan {
            rule: "svc.failed",
            overrides: "for = \"5s\"\nclear = { for = \"5s\" }\n",
            hold_s: 5,
            clear_s: 5,
            packages: &[],
            needs_root: with_systemd.then_some("a unit of the system's own service manager"),
        }
    }

    fn prepare(&mut self, around: &Surroundings<'_>, cleanup: &mut Cleanup) -> Result<Stage> {
        let name = format!("firstline-drill-{}", std::process::id());
        let mut stage = Stage {
            component: ("service", Some(name.clone())),
            // Services that are well are not reported; the same look of the same probe reports the system's uptime.
            baseline: ("os", None),
            baseline_name: Some("system.uptime"),
            ..Stage::default()
        };
        if runs_systemd() {
            let unit = format!("{name}.service");
            let removed = unit.clone();
            cleanup.push("the drill's unit", move || remove_unit(&removed));
            systemctl_run(&unit)?;
            stage.notes.push(format!("the unit {unit} runs; it does nothing but wait"));
            self.ground = Some(Ground::Systemd { unit });
        } else {
            let stand_in = StandIn::prepare(around, &name)?;
            stage.agent_args = vec!["--root".to_owned(), stand_in.root.display().to_string()];
            stage.notes.push(format!(
                "systemd does not run this machine, so there is no unit that could fail. A small supervisor stands in: it \
                 runs a real process as {name}.service, and the drill's agent reads this machine through {}, which \
                 links to the real /proc, /sys and /etc and has the supervisor's `systemctl`",
                stand_in.root.display()
            ));
            self.ground = Some(Ground::StandIn(stand_in));
        }
        Ok(stage)
    }

    fn inject(&mut self) -> Result<String> {
        self.is_broken = true;
        match &mut self.ground {
            Some(Ground::Systemd { unit }) => {
                let kill = ["kill", "--signal=KILL", "--", unit];
                Process::new("systemctl").apart().args(kill).read()?;
                Ok(format!("the process of {unit} was killed (SIGKILL)"))
            }
            Some(Ground::StandIn(stand_in)) => stand_in.kill(),
            None => bail!("the service was not started"),
        }
    }

    fn undo(&mut self) -> Result<String> {
        if !self.is_broken {
            return Ok("the service runs".to_owned());
        }
        let done = match &mut self.ground {
            Some(Ground::Systemd { unit }) => {
                Process::new("systemctl").apart().args(["restart", "--", unit]).read()?;
                format!("{unit} was started again")
            }
            Some(Ground::StandIn(stand_in)) => stand_in.start()?,
            None => "there is no service".to_owned(),
        };
        self.is_broken = false;
        Ok(done)
    }
}

/// Whether systemd is the service manager of this machine (sd_booted(3)).
fn runs_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir() && find_program("systemctl").is_some()
}

fn systemctl_run(unit: &str) -> Result<()> {
    let what = ["--description=Firstline drill: waits to be killed", "--", "sleep", "infinity"];
    Process::new("systemd-run").apart().arg(format!("--unit={unit}")).args(what).read().map(drop)
}

fn remove_unit(unit: &str) -> Result<()> {
    let systemctl = |verb: &str| Process::new("systemctl").quiet().apart().args([verb, "--", unit]).finish();
    // A unit that was never loaded cannot be stopped, and one that is stopped has nothing to reset.
    systemctl("stop")?;
    systemctl("reset-failed")?;
    let state = Process::new("systemctl").quiet().apart().args(["is-active", "--", unit]).finish()?;
    if state.succeeded {
        bail!("{unit} still runs; stop it with: systemctl stop {unit}");
    }
    Ok(())
}

/// The supervisor and the folder through which the agent sees it.
struct StandIn {
    name: String,
    /// What the agent reads instead of `/`.
    root: PathBuf,
    /// State of the service, as shell variables; the pid of its process.
    state: PathBuf,
    pid: PathBuf,
    supervisor: Option<Service>,
}

impl StandIn {
    fn prepare(around: &Surroundings<'_>, name: &str) -> Result<Self> {
        let root = around.folder.join("machine");
        for folder in ["bin", "run/systemd/system", "drill"] {
            let path = root.join(folder);
            std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        for folder in LINKED {
            let (from, to) = (Path::new("/").join(folder), root.join(folder));
            link(&from, &to).with_context(|| format!("cannot link {}", to.display()))?;
        }
        let (state, pid) = (root.join("drill/state"), root.join("drill/pid"));
        script(&root.join("drill/supervise"), SUPERVISE)?;
        script(&root.join("bin/systemctl"), &systemctl(name, &state))?;
        let mut stand_in = Self { name: name.to_owned(), root, state, pid, supervisor: None };
        stand_in.start()?;
        around.interrupt.until("the start of the service", READY_LIMIT, LOOK_EVERY, || {
            Ok(stand_in.has_state("active").then_some(()))
        })?;
        Ok(stand_in)
    }

    /// Starts the supervisor, which starts the service.
    fn start(&mut self) -> Result<String> {
        if let Some(mut before) = self.supervisor.take() {
            before.stop()?;
        }
        let sh = find_program("sh").context("there is no sh")?;
        let command =
            Command::new(&sh).arg(self.root.join("drill/supervise")).arg(&self.state).arg(&self.pid);
        let log = self.root.join("drill/supervisor.log");
        self.supervisor = Some(Service::start("service's supervisor", command, &log)?);
        Ok(format!("{}.service was started again", self.name))
    }

    /// Kills the service's process, not the supervisor.
    fn kill(&mut self) -> Result<String> {
        let pid = std::fs::read_to_string(&self.pid)
            .with_context(|| format!("cannot read {}", self.pid.display()))?;
        let pid: u32 = pid.trim().parse().with_context(|| format!("{} holds no pid", self.pid.display()))?;
        Process::new("sh")
            .quiet()
            .apart()
            .args(["-c", "kill -KILL \"$1\"", "sh", &pid.to_string()])
            .read()?;
        Ok(format!("process {pid} of {}.service was killed (SIGKILL)", self.name))
    }

    fn has_state(&self, wanted: &str) -> bool {
        std::fs::read_to_string(&self.state)
            .is_ok_and(|text| text.lines().any(|line| line == format!("active={wanted}")))
    }
}

/// `supervise STATE PID`: runs the service, writes down what becomes of it, ends with it.
const SUPERVISE: &str = r#"#!/bin/sh
state() { printf 'active=%s\nsub=%s\nresult=%s\nstatus=%s\n' "$@" > "$STATE.new" && mv "$STATE.new" "$STATE"; }
STATE=$1
PID=$2
sleep infinity &
main=$!
trap 'kill "$main"; state inactive dead success 0; exit 0' TERM
echo "$main" > "$PID"
state active running success 0
wait "$main"
code=$?
if [ "$code" -gt 128 ]; then state failed failed signal "$((code - 128))"; else state failed failed exit-code "$code"; fi
"#;

/// What the agent asks of systemctl, answered for one unit in the words of systemd.
fn systemctl(name: &str, state: &Path) -> String {
    format!(
        r#"#!/bin/sh
. {state}
unit={name}.service
case "$1" in
list-units)
    if [ "$active" = failed ]; then
        printf '[{{"unit":"%s","load":"loaded","active":"%s","sub":"%s","description":"Firstline drill"}}]\n' "$unit" "$active" "$sub"
    else
        echo '[]'
    fi ;;
show)
    for argument in "$@"; do
        [ "$argument" = "$unit" ] || continue
        printf 'Id=%s\nLoadState=loaded\nActiveState=%s\nSubState=%s\nResult=%s\nExecMainStatus=%s\nNRestarts=0\n\n' "$unit" "$active" "$sub" "$result" "$status"
    done ;;
*)
    exit 1 ;;
esac
"#,
        state = quoted(&state.display().to_string())
    )
}

/// As one word of sh.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn script(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot make {} executable", path.display()))?;
    }
    Ok(())
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::Error::from(std::io::ErrorKind::Unsupported))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn until(what: &str, mut is_true: impl FnMut() -> bool) {
        let begun = std::time::Instant::now();
        while !is_true() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{what} did not come");
            std::thread::yield_now();
        }
    }

    fn ask(stand_in: &StandIn, args: &[&str]) -> String {
        Process::new(stand_in.root.join("bin/systemctl")).quiet().args(args).read().unwrap()
    }

    #[test]
    fn the_stand_in_tells_of_a_killed_process_and_of_its_new_start() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("it's");
        for folder in ["bin", "drill"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let (state, pid) = (root.join("drill/state"), root.join("drill/pid"));
        script(&root.join("drill/supervise"), SUPERVISE).unwrap();
        script(&root.join("bin/systemctl"), &systemctl("x", &state)).unwrap();
        let mut stand_in = StandIn { name: "x".to_owned(), root, state, pid, supervisor: None };
        stand_in.start().unwrap();
        until("the start", || stand_in.has_state("active"));
        assert_eq!(ask(&stand_in, &["list-units", "--all"]), "[]\n");
        stand_in.kill().unwrap();
        until("the death", || stand_in.has_state("failed"));
        assert!(ask(&stand_in, &["list-units", "--all"]).contains(r#""unit":"x.service""#));
        let shown = ask(&stand_in, &["show", "--no-pager", "--", "other.service", "x.service"]);
        assert!(
            shown.starts_with("Id=x.service\n") && shown.contains("Result=signal\nExecMainStatus=9\n"),
            "{shown}"
        );
        stand_in.start().unwrap();
        until("the new start", || stand_in.has_state("active"));
        let pid = std::fs::read_to_string(&stand_in.pid).unwrap();
        drop(stand_in);
        until("the end of the service", || !Path::new("/proc").join(pid.trim()).join("fd").exists());
    }
}
