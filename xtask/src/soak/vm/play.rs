//! One guest with its agent and collector, and the playing of kinds on it: healthy, broken, ticket, mended, resolved.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::guest::Guest;
use super::image::Image;
use super::kinds::{Holds, Kind, Mend, Step};
use super::monitor::Monitor;
use super::qemu::Qemu;
use crate::service::{Service, printable};

/// How long the guest may take for what is no fault: to set up both programs, to say that a part is well.
const SET_UP_S: u32 = 300;
const HEALTHY_S: f64 = 180.0;
/// How long nothing must come of what is no fault yet, and how long a ticket must stay.
const QUIET_S: u32 = 30;
/// How long one question may take.
const ASK_S: u32 = 120;

pub(super) struct Stage {
    guest: Guest,
    monitor: Monitor,
    qemu: Service,
    console: PathBuf,
    device: String,
    /// The sockets lie in it: their paths must be short.
    _sockets: tempfile::TempDir,
}

/// What came of a kind, in seconds of the guest.
pub(super) struct Outcome {
    pub key: String,
    pub ticket_s: f64,
    pub resolved_s: Option<f64>,
}

impl Stage {
    /// Starts the guest, prepares what the kinds need, then its collector and its agent.
    pub(super) fn start(qemu: &Qemu, image: &Image, kinds: &[&Kind]) -> Result<Self> {
        let sockets =
            tempfile::Builder::new().prefix("firstline-vm").tempdir().context("no temporary folder")?;
        let console = image.folder.join("console.log");
        let service = qemu.start(image, sockets.path(), &console)?;
        let mut stage = Self {
            guest: Guest::connect(&sockets.path().join("control"))?,
            monitor: Monitor::connect(&sockets.path().join("monitor"))?,
            qemu: service,
            console,
            device: String::new(),
            _sockets: sockets,
        };
        stage.guest.started().with_context(|| stage.where_it_stands())?;
        for kind in kinds {
            stage
                .guest
                .run(&optional(kind, "prepare"), SET_UP_S)
                .with_context(|| format!("cannot prepare {}", kind.name))?;
        }
        stage.guest.run("set_up", SET_UP_S).context("cannot set up the agent and its collector")?;
        stage.device = stage.until("the device's stream", HEALTHY_S, |stage| {
            let devices = stage.api("devices")?;
            Ok(items(&devices)
                .iter()
                .find(|device| device["presence"] == "online")
                .map(|device| word(&device["id"])))
        })?;
        Ok(stage)
    }

    pub(super) fn play(&mut self, kind: &Kind) -> Result<Outcome> {
        self.guest.run(&optional(kind, "begin"), SET_UP_S)?;
        if let Some((component, name)) = kind.healthy {
            self.until(&format!("a first {name} of {}", component.1), HEALTHY_S, |stage| {
                let latest = stage.latest()?;
                let is_said =
                    |row: &Value| is_of(row, component) && row["name"] == name && !row["value"].is_null();
                Ok(items(&latest["latest"]).iter().any(is_said).then_some(()))
            })?;
        }
        self.still_well(kind)?;
        let mut since = self.guest.uptime;
        for step in kind.fault {
            self.perform(kind, step, "inject")?;
            if matches!(step, Step::Restart) {
                since = 0.0;
            }
        }
        let ticket =
            self.until("the ticket", kind.within_s, |stage| stage.ticket(kind.rule, kind.component))?;
        let ticket_s = self.guest.uptime - since;
        judge(kind, &ticket)?;
        for holds in kind.besides {
            let latest = self.latest()?;
            if !items(&latest["latest"]).iter().any(|row| is_held(row, holds)) {
                bail!("{} of {} has no {} {:?}", holds.2, holds.1, holds.3, holds.4);
            }
        }
        let key = word(&ticket["key"]);
        println!(
            "    {key} {} after {ticket_s:.1} s: {}",
            word(&ticket["priority"]),
            printable(&word(&ticket["title"]))
        );
        let resolved_s = match &kind.mend {
            Mend::Resolves(steps, within_s) => {
                let since = self.guest.uptime;
                self.mend(kind, steps)?;
                self.until("the ticket's resolution", *within_s, |stage| {
                    Ok((stage.state(&key)? == "resolved").then_some(()))
                })?;
                Some(self.guest.uptime - since)
            }
            Mend::Stays(steps, _) => {
                self.mend(kind, steps)?;
                self.guest.run(&format!("sleep {QUIET_S}"), ASK_S)?;
                let state = self.state(&key)?;
                if state == "resolved" {
                    bail!("{key} resolved, although it had to stay");
                }
                None
            }
            Mend::Left(_) => None,
        };
        for (rule, component) in kind.silent {
            if let Some(ticket) = self.ticket(rule, *component)? {
                bail!("there is {} about {}, which is well", word(&ticket["key"]), component.1);
            }
        }
        Ok(Outcome { key, ticket_s, resolved_s })
    }

    fn mend(&mut self, kind: &Kind, steps: &[Step]) -> Result<()> {
        steps.iter().try_for_each(|step| self.perform(kind, step, "mend"))
    }

    fn perform(&mut self, kind: &Kind, step: &Step, how: &str) -> Result<()> {
        match step {
            Step::Guest => self.guest.run(&format!("{}_{how}", kind.name), ASK_S).map(drop),
            Step::Hardware(command) => {
                let (command, arguments) = command();
                self.monitor.call(command, &arguments)
            }
            Step::Repeated(times, command, words) => {
                let count = format!("dmesg | grep -c '{words}' || true");
                for _ in 0..*times {
                    let (command, arguments) = command();
                    let before = self.guest.run(&count, ASK_S)?;
                    self.monitor.call(command, &arguments)?;
                    let told = format!(
                        "for _ in $(seq 300); do [ \"$({count})\" -gt {} ] && exit 0; sleep 0.1; done; exit 1",
                        before.trim()
                    );
                    self.guest
                        .run(&told, ASK_S)
                        .with_context(|| format!("the kernel did not log {words:?}"))?;
                }
                Ok(())
            }
            Step::Restart => {
                self.guest.started()?;
                self.guest.run("again", SET_UP_S).map(drop)
            }
            Step::StillWell => {
                self.guest.run(&format!("sleep {QUIET_S}"), ASK_S)?;
                self.still_well(kind)
            }
        }
    }

    fn still_well(&mut self, kind: &Kind) -> Result<()> {
        match self.ticket(kind.rule, kind.component)? {
            Some(ticket) => bail!("there is {} already, before the fault", word(&ticket["key"])),
            None => Ok(()),
        }
    }

    /// The open ticket of a check about a part.
    fn ticket(&mut self, rule: &str, component: (&str, &str)) -> Result<Option<Value>> {
        let tickets = self.api(&format!("tickets?rule={rule}"))?;
        let is_meant = |ticket: &&Value| is_of(ticket, component) && ticket["state"] != "resolved";
        let Some(row) = items(&tickets).iter().find(is_meant) else { return Ok(None) };
        self.api(&format!("tickets/{}", row["id"])).map(Some)
    }

    fn state(&mut self, key: &str) -> Result<String> {
        let tickets = self.api("tickets?limit=200")?;
        let row = items(&tickets).iter().find(|ticket| ticket["key"] == key);
        row.map(|ticket| word(&ticket["state"])).with_context(|| format!("{key} is gone"))
    }

    fn latest(&mut self) -> Result<Value> {
        self.api(&format!("devices/{}", self.device))
    }

    fn api(&mut self, path: &str) -> Result<Value> {
        let text = self.guest.run(&format!("api '{path}'"), ASK_S)?;
        serde_json::from_str(&text).with_context(|| format!("{path} answered something that is not JSON"))
    }

    /// Asks every two seconds of the guest; fails after `limit_s` of them, naming `what` was waited for.
    fn until<T>(
        &mut self,
        what: &str,
        limit_s: f64,
        mut ask: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let begun = self.guest.uptime;
        loop {
            if let Some(answer) = ask(self)? {
                return Ok(answer);
            }
            if self.guest.uptime - begun >= limit_s {
                bail!("{what} did not come within {limit_s:.0} s of the guest");
            }
            self.qemu.check_alive()?;
            self.guest.run("sleep 2", ASK_S)?;
        }
    }

    /// What there is to see after a failure.
    pub(super) fn show(&mut self, kind: &Kind) {
        let script = format!(
            "echo 'tickets:'; api tickets?limit=200 | sed 's/{{\"id\":\\([0-9]*\\),/\\n&/g' | cut -c 1-400 | grep key; \
             echo 'newest values:'; api devices/{} | sed 's/{{\"component\"/\\n&/g' | grep '\"{}\"' | cut -c 1-300 | head -n 30; \
             echo 'agent:'; journalctl -u firstline-agent -n 30 --no-pager -o cat; \
             echo 'collector:'; tail -n 15 /run/collector.log; echo 'kernel:'; dmesg | tail -n 15",
            self.device, kind.component.0
        );
        match self.guest.run(&script, ASK_S) {
            Ok(text) => text.lines().for_each(|line| println!("    | {}", printable(line))),
            Err(error) => {
                println!("    and the guest does not tell more: {error:#}; {}", self.where_it_stands())
            }
        }
    }

    fn where_it_stands(&self) -> String {
        format!("what it printed stands in {}", self.console.display())
    }

    /// Names what else the guest has tickets about, then ends it.
    pub(super) fn finish(mut self) {
        if let Ok(tickets) = self.api("tickets?limit=200") {
            let other = |ticket: &&Value| !super::kinds::KINDS.iter().any(|kind| ticket["rule"] == kind.rule);
            let named = items(&tickets).iter().filter(other).map(|ticket| {
                format!(
                    "{} ({} {})",
                    word(&ticket["rule"]),
                    word(&ticket["component"]["kind"]),
                    word(&ticket["component"]["id"])
                )
            });
            println!("\nother tickets of the guest: {}", printable(&named.collect::<Vec<_>>().join(", ")));
        }
        if let Err(error) = self.qemu.stop() {
            println!("{error:#}");
        }
    }
}

/// Whether the ticket says what it should.
fn judge(kind: &Kind, ticket: &Value) -> Result<()> {
    if ticket["severity"] != kind.severity {
        bail!("{} has severity {} instead of {}", word(&ticket["key"]), ticket["severity"], kind.severity);
    }
    let evidence = ticket["evidence"].to_string();
    for words in kind.evidence {
        if !evidence.contains(words) {
            bail!("the evidence of {} does not hold {words:?}: {evidence}", word(&ticket["key"]));
        }
    }
    Ok(())
}

/// A function of the guest that not every kind has.
fn optional(kind: &Kind, what: &str) -> String {
    format!("if declare -F {0}_{what} > /dev/null; then {0}_{what}; fi", kind.name)
}

fn is_of(row: &Value, (kind, id): (&str, &str)) -> bool {
    row["component"]["kind"] == kind && row["component"]["id"] == id
}

fn is_held(row: &Value, (kind, id, name, attribute, value): &Holds) -> bool {
    is_of(row, (kind, id)) && row["name"] == *name && row["attributes"][attribute] == *value
}

/// The rows of a list, which is one itself or stands under `items`.
fn items(list: &Value) -> &[Value] {
    list.as_array().or_else(|| list["items"].as_array()).map(Vec::as_slice).unwrap_or_default()
}

fn word(value: &Value) -> String {
    value.as_str().map(str::to_owned).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::kinds::KINDS;
    use super::*;
    use serde_json::json;

    fn ticket(severity: &str) -> Value {
        json!({"key": "INC-000001", "severity": severity, "evidence": [
            {"label": "nvme critical warning (bit 2)", "value": "yes", "metric": "endpoint.nvme.critical_warning"},
        ]})
    }

    #[test]
    fn a_ticket_of_another_severity_or_without_its_evidence_is_refused() {
        let nvme = KINDS.iter().find(|kind| kind.name == "nvme").unwrap();
        judge(nvme, &ticket("critical")).unwrap();
        assert!(judge(nvme, &ticket("warning")).unwrap_err().to_string().contains("warning"));
        let mut bare = ticket("critical");
        bare["evidence"] = json!([]);
        assert!(judge(nvme, &bare).unwrap_err().to_string().contains("endpoint.nvme.critical_warning"));
    }

    #[test]
    fn observations_are_compared_by_part_name_and_attribute() {
        let row = json!({"component": {"kind": "physical_disk", "id": "A"}, "name": "hw.status", "attributes": {"hw.state": "ok"}});
        assert!(is_held(&row, &("physical_disk", "A", "hw.status", "hw.state", "ok")));
        assert!(!is_held(&row, &("physical_disk", "B", "hw.status", "hw.state", "ok")));
        assert!(!is_held(&row, &("physical_disk", "A", "hw.status", "hw.state", "failed")));
    }

    #[test]
    fn the_kind_that_restarts_the_guest_comes_last() {
        let restarts = |kind: &Kind| kind.fault.iter().any(|step| matches!(step, Step::Restart));
        assert!(KINDS.iter().rev().skip(1).all(|kind| !restarts(kind)));
    }
}
